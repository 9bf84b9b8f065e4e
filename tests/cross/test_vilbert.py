"""ViLBERT's twins against a forward in plain loops (vilbert_oracle.py), Chefer's rules and hand-worked cases."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from alignscope.attribution.cross import cross_heats
from alignscope.attribution.words import merged
from alignscope.errors import BadInput
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.cross.vilbert import OPTIONAL, TIED, locations
from alignscope.models.protocols import CrossEncoder, Tokens
from alignscope.records import Caption, Regions, Word

spec = importlib.util.spec_from_file_location("vilbert_oracle", Path(__file__).with_name("vilbert_oracle.py"))
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)
KINDS = ("vilbert", "vilbert-tasks", "vilbert-with-task")
METHODS = ("attention", "gradcam", "gradient")


@pytest.fixture(params=KINDS)
def scorer(request: pytest.FixtureRequest, twin: Callable[..., Path]) -> TransformersCrossEncoder:
    return load(directory(twin, request.param))


def directory(twin: Callable[..., Path], kind: str) -> Path:
    return twin("vilbert-tasks", task_specific_tokens=True) if kind == "vilbert-with-task" else twin(kind)


def test_the_whole_forward_is_that_of_plain_loops(
    scorer: TransformersCrossEncoder, regions: list[Regions], texts: list[str]
) -> None:
    """Pairs of four lengths and four numbers of regions in one batch, against each alone; every map too.

    In float64 but for what is made of the boxes and features, which are float32.
    """
    scorer.model.double()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for parameter in scorer.model.parameters():  # no gain is 1, no bias 0
            parameter += 0.2 * torch.randn_like(parameter) * (parameter.ndim == 1)
    inputs = scorer.inputs(regions, texts)
    with scorer.pair_attention() as maps, torch.no_grad():
        got = scorer.match(inputs)
    for row, (image, text) in enumerate(zip(regions, texts, strict=True)):
        plain = oracle.Plain(scorer.model.state_dict(), scorer.model.config)
        ids = scorer.tokenizer(text, truncation=True, max_length=20)["input_ids"]
        assert got[row].item() == pytest.approx(plain.score(ids, image), abs=1e-6)
        assert len(maps) == len(plain.maps) == 9
        for mine, wanted in zip(maps, plain.maps, strict=True):
            _, queries, keys = wanted.shape
            found = mine.probabilities[row].numpy()
            assert np.allclose(found[:, :queries, :keys], wanted, rtol=0, atol=1e-6)
            assert not found[:, :queries, keys:].any()
    assert got.std() > 0.01


def test_padding_order_and_batch_change_no_score(
    scorer: TransformersCrossEncoder,
    regions: list[Regions],
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = scorer.score(regions, texts)
    alone = [scorer.score([image], [text]).item() for image, text in zip(regions, texts, strict=True)]
    assert scores.tolist() == pytest.approx(alone, abs=1e-5)
    assert scorer.score(regions[::-1], texts[::-1]).flip(0).tolist() == pytest.approx(alone, abs=1e-5)
    monkeypatch.setattr("alignscope.models.cross.encoder.BATCH", 3)
    assert scorer.score(regions, texts).tolist() == pytest.approx(alone, abs=1e-5)
    assert scorer.score([], []).shape == (0,)
    turned = regions[3]
    turned = Regions(
        "turned", turned.width, turned.height, turned.boxes[::-1].copy(), turned.features[::-1].copy()
    )
    assert scorer.score([turned], texts[3:]).tolist() == pytest.approx(alone[3:], abs=1e-5)


def two_regions() -> Regions:
    boxes = np.array([[10, 5, 60, 45], [0, 0, 100, 50]], np.float32)
    features = np.array([[1, 2, 3, 4, 5, 6], [3, 2, 1, 0, -1, -2]], np.float32)
    return Regions("by hand", 100, 50, boxes, features)


def test_what_enters_by_hand(twin: Callable[..., Path]) -> None:
    """The whole image first, as the mean of its regions and no unit; then shares of sides and of the area."""
    wanted = torch.tensor([[0.1, 0.1, 0.6, 0.9, 0.4], [0, 0, 1, 1, 1]])
    assert torch.allclose(locations(two_regions()), wanted)
    other = Regions("other", 10, 10, np.array([[0, 0, 5, 5]], np.float32), np.ones((1, 6), np.float32))
    inputs = load(twin("vilbert")).inputs([two_regions(), other], ["cat", "a cat"])
    assert inputs.images[0].tolist() == [[2, 2, 2, 2, 2, 2], [1, 2, 3, 4, 5, 6], [3, 2, 1, 0, -1, -2]]
    assert torch.allclose(inputs.positions[0], torch.cat([torch.tensor([[0.0, 0, 1, 1, 1]]), wanted]))
    assert inputs.units.tolist() == [[-1, 0, 1], [-1, 0, -1]]
    assert inputs.counts == (2, 1)
    assert inputs.tokens.ids.shape == (2, 4)


def test_a_task_token_follows_the_first_and_stands_for_no_characters(
    twin: Callable[..., Path], regions: list[Regions]
) -> None:
    scorer = load(directory(twin, "vilbert-with-task"))
    text = "a red dog " * 20
    plain, inputs = scorer.tokens([text, "cat"]), scorer.inputs(regions[:2], [text, "cat"])
    assert plain.ids.shape[1] == scorer.traits.context_length == 20
    assert inputs.tokens.ids.shape == (2, 21)  # the task has no position of its own: nothing more is cut
    assert inputs.tokens.mask.sum(dim=-1).tolist() == [21, 4]
    assert inputs.tokens.lengths == plain.lengths
    assert [row[1] for row in inputs.tokens.offsets] == [(0, 0)] * 2
    assert [(row[0], *row[2:]) for row in inputs.tokens.offsets] == [*plain.offsets]
    caption = Caption(
        text.strip(), tuple(Word("red", 2 + 10 * at, 5 + 10 * at, "attribute") for at in range(6))
    )
    heats = torch.zeros(1, 21)
    heats[0, [3, 6]] = torch.tensor([5.0, 7.0])  # after [CLS] and the task: a red dog a red dog
    one = Tokens(
        *(each[:1] for each in (inputs.tokens.ids, inputs.tokens.mask, inputs.tokens.readout)),
        inputs.tokens.offsets[:1],
        inputs.tokens.lengths[:1],
    )
    assert merged(scorer, one, heats, [caption]).values[0].tolist() == [5, 7, 0, 0, 0, 0]
    before = scorer.score(regions[:1], ["cat"])
    with torch.no_grad():
        scorer.model.bert.embeddings.task_embeddings.weight[8] += 1
        assert torch.equal(scorer.score(regions[:1], ["cat"]), before)
        scorer.model.bert.embeddings.task_embeddings.weight[7] += torch.arange(16)
    assert not torch.equal(scorer.score(regions[:1], ["cat"]), before)


def test_the_first_logit_says_match(
    twin: Callable[..., Path], regions: list[Regions], texts: list[str]
) -> None:
    scorer = load(twin("vilbert"))
    assert scorer.traits.match_index == 0
    before = scorer.score(regions, texts)
    for index, change in ((0, 2.0), (1, -2.0)):
        changed = load(twin("vilbert"))
        with torch.no_grad():
            changed.model.cls.bi_seq_relationship.bias[index] += 2
        assert torch.allclose(changed.score(regions, texts), before + change, atol=1e-5)
    assert torch.equal(load(twin("vilbert"), match_index=1).score(regions, texts), -before)


def test_retrieval_of_the_multi_task_model_is_one_logit(
    twin: Callable[..., Path], regions: list[Regions], texts: list[str]
) -> None:
    scorer = load(twin("vilbert-tasks"))
    assert scorer.traits.match_index is None
    before = scorer.score(regions, texts)
    with torch.no_grad():
        scorer.model.cls.bi_seq_relationship.bias += torch.tensor([3.0, -3.0])
        assert torch.equal(scorer.score(regions, texts), before)
        scorer.model.vil_logit.bias += 2
    assert torch.allclose(scorer.score(regions, texts), before + 2, atol=1e-5)
    with pytest.raises(BadInput, match="one logit"):
        load(twin("vilbert-tasks"), match_index=0)


def test_both_directions_of_co_attention_are_tapped(
    scorer: TransformersCrossEncoder, regions: list[Regions], texts: list[str]
) -> None:
    """In one block of their own, as both read the state before it; blocks count up."""
    assert isinstance(scorer, CrossEncoder)
    inputs = scorer.inputs(regions, texts)
    tokens, positions = inputs.tokens.ids.shape[1], max(map(len, regions)) + 1
    with scorer.pair_attention() as maps:
        scorer.match(inputs)
    assert [(each.block, each.query[0] + each.key[0]) for each in maps] == [
        *[(0, "tt"), (1, "ti"), (1, "it"), (2, "ii"), (3, "tt")],
        *[(4, "ti"), (4, "it"), (5, "ii"), (6, "tt")],
    ]
    sizes, heads = {"text": tokens, "image": positions}, {"tt": 2, "ii": 3, "ti": 4, "it": 4}
    for each in maps:
        many = heads[each.query[0] + each.key[0]]
        assert each.probabilities.shape == (4, many, sizes[each.query], sizes[each.key])
        assert torch.allclose(each.probabilities.sum(dim=-1), torch.ones(()))
    assert all(not module._forward_pre_hooks for module in scorer.model.modules())


def test_heats_are_chefers_rules_along_the_route(
    scorer: TransformersCrossEncoder, regions: list[Regions], texts: list[str]
) -> None:
    """Each pair alone in float64, whole matrices, the route written out; read at the text's first row."""
    scorer.model.double()
    heats = cross_heats(scorer, scorer.inputs(regions, texts), methods=METHODS)
    assert heats.images is not None
    for row, (image, text) in enumerate(zip(regions, texts, strict=True)):
        inputs = scorer.inputs([image], [text])
        with scorer.pair_attention() as maps:
            score = scorer.match(inputs)[0]
        found = [each.probabilities for each in maps]
        passed = iter(
            (gradient[0] * attention[0]).clamp(min=0).mean(dim=0).detach()
            for gradient, attention in zip(torch.autograd.grad(score, found), found, strict=True)
        )
        tokens, positions = inputs.tokens.ids.shape[1], len(image) + 1
        tt, ii = torch.eye(tokens).double(), torch.eye(positions).double()
        ti, it = torch.zeros(tokens, positions).double(), torch.zeros(positions, tokens).double()
        for step in oracle.ORDER:
            e = next(passed)
            if step[0] == "t":
                tt, ti = tt + e @ tt, ti + e @ ti
            elif step[0] == "v":
                ii, it = ii + e @ ii, it + e @ it
            else:
                back, a, b = next(passed), spread(tt), spread(ii)
                tt, ti, ii, it = tt + e @ it, ti + a.T @ e @ b, ii + back @ ti, it + b.T @ back @ a
        spelled = torch.tensor([end > start for start, end in inputs.tokens.offsets[0]])
        assert torch.allclose(heats.tokens["gradcam"][row, :tokens], tt[0] * spelled, rtol=0, atol=1e-9)
        assert torch.allclose(heats.images[row, : len(image)], ti[0, 1:], rtol=0, atol=1e-9)
        assert heats.images[row].max() > 0
        assert heats.tokens["gradient"][row].sum() == pytest.approx(1)


def spread(matrix: Tensor) -> Tensor:
    heard = matrix - torch.eye(len(matrix)).double()
    total = heard.sum(dim=1, keepdim=True)
    return torch.where(total > 0, heard / total, 0.0) + torch.eye(len(matrix)).double()


def test_saved_and_loaded_it_is_the_same(
    scorer: TransformersCrossEncoder, regions: list[Regions], texts: list[str], tmp_path: Path
) -> None:
    scorer.model.save_pretrained(tmp_path)
    scorer.tokenizer.save_pretrained(tmp_path)
    again = load(tmp_path)
    assert again.model.state_dict().keys() == scorer.model.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(again.model.parameters(), scorer.model.parameters(), strict=True)
    )
    for tied, other in TIED.items():
        assert again.model.get_parameter(tied) is again.model.get_parameter(other)
    assert torch.equal(again.score(regions, texts), scorer.score(regions, texts))
    assert again.fingerprint == scorer.fingerprint
    assert type(again.model) is type(scorer.model)
    assert again.traits.feature_width == 6


def test_half_precision_scores_in_float32(scorer: TransformersCrossEncoder, regions: list[Regions]) -> None:
    wanted = scorer.score(regions[:1], ["a red dog"])
    scorer.model.to(torch.bfloat16)
    got = scorer.score(regions[:1], ["a red dog"])
    assert got.dtype == torch.float32
    assert torch.allclose(got, wanted, rtol=0.1, atol=0.3), (got, wanted)


@pytest.mark.parametrize("kind", ["vilbert", "vilbert-tasks"])
def test_no_score_depends_on_optional_heads(
    kind: str, twin: Callable[..., Path], regions: list[Regions], texts: list[str]
) -> None:
    """Nor on `q_dense`; on every other tensor it does."""
    scorer = load(twin(kind))
    score = scorer.match(scorer.inputs(regions, texts)).pow(2).sum()
    names, tensors = zip(*scorer.model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(score, tensors, allow_unused=True)
    idle = {name for name, each in zip(names, gradients, strict=True) if each is None}
    wanted = {name for name in names if name.startswith(OPTIONAL) or ".q_dense" in name}
    wanted |= {name for name in names if kind == "vilbert-tasks" and name.startswith("cls.")}
    assert idle == wanted
