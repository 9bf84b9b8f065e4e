"""What UNITER and ROSITA share: text and regions in one stream, from end to end in code of ours."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from alignscope.attribution.cross import cross_heats
from alignscope.models.cross import rosita, uniter
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.cross.regions import padded
from alignscope.records import Regions

TIED: dict[str, dict[str, str]] = {"uniter": uniter.TIED, "uniter-retrieval": {}, "rosita": rosita.TIED}


@pytest.fixture(params=TIED)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def scorer(kind: str, shaken: Callable[[str], TransformersCrossEncoder]) -> TransformersCrossEncoder:
    return shaken(kind)


def test_order_batch_and_padding_change_nothing(
    scorer: TransformersCrossEncoder,
    regions: Sequence[Regions],
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = scorer.score(regions, texts).tolist()
    assert scorer.score(regions[::-1], texts[::-1]).tolist() == pytest.approx(scores[::-1], abs=1e-5)
    monkeypatch.setattr("alignscope.models.cross.encoder.BATCH", 3)
    assert scorer.score(regions, texts).tolist() == pytest.approx(scores, abs=1e-5)
    assert scorer.score([], []).shape == (0,)


def test_what_lies_in_the_padding_has_no_influence_at_all(
    scorer: TransformersCrossEncoder, regions: Sequence[Regions], texts: list[str]
) -> None:
    ids, mask, features, positions, present = padded(scorer.model, scorer.inputs(regions, texts))
    assert not mask.all()
    assert not present.all()
    other = (
        torch.where(mask, ids, 7),
        mask,
        features.masked_fill(~present[..., None], 1e4),
        positions.masked_fill(~present[..., None], -1e4),
        present,
    )
    with torch.no_grad():
        assert torch.equal(scorer.model(ids, mask, features, positions, present), scorer.model(*other))


def test_saved_and_loaded_it_is_the_same(
    kind: str,
    scorer: TransformersCrossEncoder,
    regions: Sequence[Regions],
    texts: list[str],
    tmp_path: Path,
) -> None:
    scorer.model.save_pretrained(tmp_path)
    scorer.tokenizer.save_pretrained(tmp_path)
    again = load(tmp_path)
    before, after = scorer.model.state_dict(), again.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert again.fingerprint == scorer.fingerprint
    assert torch.equal(again.score(regions, texts), scorer.score(regions, texts))
    for key, other in TIED[kind].items():
        assert again.model.get_parameter(key) is again.model.get_parameter(other)


def test_maps_of_every_layer_are_kept_and_heats_are_finite(
    scorer: TransformersCrossEncoder, regions: Sequence[Regions], texts: list[str]
) -> None:
    inputs = scorer.inputs(regions, texts)
    with scorer.pair_attention() as maps:
        scorer.match(inputs)
    width = inputs.tokens.ids.shape[1] + inputs.units.shape[1]
    assert [(each.query, each.key, each.block) for each in maps] == [("joint", "joint", n) for n in range(2)]
    hidden = ~torch.cat([inputs.tokens.mask.bool(), inputs.units >= 0], dim=1)
    for each in maps:
        assert each.probabilities.shape == (4, 2, width, width)
        assert torch.allclose(each.probabilities.sum(dim=-1), torch.ones(()))
        assert not each.probabilities.masked_select(hidden[:, None, None]).any()
    heats = cross_heats(scorer, inputs, methods=("attention", "gradcam", "gradient"))
    assert all(heat.isfinite().all() and heat.any() for heat in heats.tokens.values())
    assert heats.images is not None
    assert heats.images.isfinite().all()
    assert heats.images[heats.seen].any()
    assert not heats.images[~heats.seen].any()
    assert heats.seen.sum(dim=-1).tolist() == [len(each) for each in regions]
