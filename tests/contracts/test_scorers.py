"""What `PairScorer` and `CrossEncoder` promise, for every adapter: one row each, one test per promise.

The twin of a new cross-encoder in `tests/cross/conftest.py` is a row as soon as it stands there; a family
without one fails `test_every_family_has_a_row`. Other scorers get a line in `ADAPTERS`.
"""

import runpy
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image
from torch import nn

from alignscope.attribution.attribute import heats
from alignscope.attribution.cross import cross_heats
from alignscope.attribution.options import METHODS, Options
from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models.captioners import loading as captioners
from alignscope.models.cross import loading as cross
from alignscope.models.dual import loading as dual
from alignscope.models.protocols import CrossEncoder, DualEncoder, PairScorer, Picture
from alignscope.records import Caption, Regions, Word

TWINS = runpy.run_path(str(Path(__file__).parents[1] / "cross" / "conftest.py"))
TEXTS: list[str] = TWINS["TEXTS"]  # the third has words that no other one has, the last is too long
TOLERANCE = 5e-5
Finder = Callable[[str], Path]


@dataclass(frozen=True)
class Adapter:
    """How to load a scorer, and which fixture or twin is its directory."""

    load: Callable[[Path], PairScorer]
    directory: str
    opens: int = 64  # pictures that it may hold at a time

    def picture(self, scorer: PairScorer, number: int) -> Picture:
        return TWINS["picture"](scorer.traits.unit, number)


DUAL = {
    "clip": Adapter(dual.load, "tiny_clip_dir"),
    "siglip": Adapter(dual.load, "tiny_siglip_dir"),
}
CROSS = {kind: Adapter(cross.load, kind, opens=32) for kind in TWINS["CLASSES"]}
GENERATORS = runpy.run_path(str(Path(__file__).parents[1] / "models" / "captioner_twins.py"))
GENERATIVE = {f"{kind} captions": Adapter(captioners.load, kind) for kind in GENERATORS["CAPTIONERS"]}
ADAPTERS = {**DUAL, **CROSS, **GENERATIVE}


@pytest.fixture(scope="session")
def directory_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finder:
    """The directory of a row's twin, made once."""
    made: dict[str, Path] = {}

    def find(row: str) -> Path:
        if row not in {**CROSS, **GENERATIVE}:
            return request.getfixturevalue(ADAPTERS[row].directory)
        if row not in made:
            save_twin = TWINS["save_twin"] if row in CROSS else GENERATORS["save_twin"]
            kind = ADAPTERS[row].directory
            made[row] = save_twin(tmp_path_factory.mktemp("rows") / f"tiny-random-{kind}", kind)
        return made[row]

    return find


@pytest.fixture(scope="session")
def loaded(directory_of: Finder) -> dict[str, PairScorer]:
    return {row: adapter.load(directory_of(row)) for row, adapter in ADAPTERS.items()}


@pytest.fixture(params=ADAPTERS)
def row(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def scorer(row: str, loaded: dict[str, PairScorer]) -> Iterator[PairScorer]:
    """Shared by all tests of its row: each leaves it as it was, which is checked."""
    before = loaded[row].fingerprint
    yield loaded[row]
    assert loaded[row].fingerprint == before
    assert not hooked(loaded[row])


@pytest.fixture
def pictures(row: str, scorer: PairScorer) -> list[Picture]:
    return [ADAPTERS[row].picture(scorer, number) for number in range(len(TEXTS))]


@pytest.fixture
def encoder(scorer: PairScorer) -> CrossEncoder:
    if not isinstance(scorer, CrossEncoder):
        pytest.skip("not a cross-encoder")
    return scorer


def near(wanted: Sequence[float]) -> Any:
    return pytest.approx(list(wanted), abs=TOLERANCE)


def modules(scorer: PairScorer) -> list[nn.Module]:
    return list(scorer.model.modules())


def hooked(scorer: PairScorer) -> list[str]:
    return [
        type(module).__name__
        for module in modules(scorer)
        if module._forward_hooks or module._forward_pre_hooks
    ]


def attention_kinds(scorer: PairScorer) -> list[str]:
    return [
        module.config._attn_implementation
        for module in modules(scorer)
        if hasattr(getattr(module, "config", None), "_attn_implementation")
    ]


def random_states() -> list[int]:
    """Of torch and numpy; Python's own is what the run-time type checks draw from."""
    return [hash(torch.get_rng_state().numpy().tobytes()), hash(np.random.get_state()[1].tobytes())]


class Lazy(Sequence):
    """Pictures made when they are asked for, and how many of them lived at a time."""

    def __init__(self, made: Callable[[int], Picture], count: int) -> None:
        self.made, self.count = made, count
        self.opened, self.alive, self.most = 0, 0, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(self.count))]
        if not 0 <= place < self.count:
            raise IndexError(place)
        picture = self.made(place)
        self.opened, self.alive = self.opened + 1, self.alive + 1
        self.most = max(self.most, self.alive)
        weakref.finalize(picture, self._closed)
        return picture

    def _closed(self) -> None:
        self.alive -= 1


def test_every_family_has_a_row() -> None:
    assert set(TWINS["CLASSES"].values()) == set(cross.FAMILIES)


def test_it_is_what_its_traits_say(scorer: PairScorer) -> None:
    traits = scorer.traits
    assert isinstance(scorer, PairScorer)
    assert isinstance(scorer, DualEncoder) == (traits.family == "dual") == (traits.score == "cosine")
    assert isinstance(scorer, CrossEncoder) == (traits.family == "cross") == (traits.score == "match")
    assert (traits.feature_width is not None) == (traits.unit == "region")
    assert set(traits.attributions) <= set(METHODS)
    assert "perturbation" in traits.attributions  # needs nothing but scores


def test_neither_padding_nor_order_nor_batch_changes_a_score(
    scorer: PairScorer, pictures: list[Picture]
) -> None:
    alone = [scorer.score([one], [text]).item() for one, text in zip(pictures, TEXTS, strict=True)]
    assert max(alone) - min(alone) > 100 * TOLERANCE
    assert scorer.score(pictures, TEXTS).tolist() == near(alone)
    assert scorer.score(pictures[::-1], TEXTS[::-1]).tolist() == near(alone[::-1])
    assert scorer.score(pictures * 17, TEXTS * 17).tolist() == near(alone * 17)  # 68: over one batch


def test_a_score_is_a_plain_number(scorer: PairScorer, pictures: list[Picture]) -> None:
    scores = scorer.score(pictures, TEXTS)
    assert scores.shape == (len(TEXTS),)
    assert (scores.dtype, scores.device.type, scores.requires_grad) == (torch.float32, "cpu", False)
    assert scores.isfinite().all()
    assert scorer.score([], []).shape == (0,)


def test_text_and_picture_both_matter(scorer: PairScorer, pictures: list[Picture]) -> None:
    texts, shown = ["a red dog", "a small cat"] * 2, [pictures[0]] * 2 + [pictures[1]] * 2
    scores = scorer.score(shown, texts)
    assert min(abs(scores[a] - scores[b]) for a, b in ((0, 1), (2, 3), (0, 2), (1, 3))) > TOLERANCE


def test_what_is_cut_is_reported_and_not_read(scorer: PairScorer, pictures: list[Picture]) -> None:
    limit = scorer.traits.context_length
    if scorer.traits.family == "captioner":  # cuts nothing: half a text has another likelihood
        assert scorer.tokens(["cat " * limit]).truncated(limit) == (True,)
        with pytest.raises(BadInput, match="shorten it"):
            scorer.score(pictures[:1], ["cat " * limit])
        return
    tokens = scorer.tokens(TEXTS)
    assert tokens.truncated(limit)[1::2] == (False, True)
    assert tokens.mask.sum(dim=-1).tolist() == [min(length, limit) for length in tokens.lengths]
    scores = scorer.score([pictures[0]] * 2, [TEXTS[3], TEXTS[3] + " two kitchen two"])
    assert scores[0].item() == pytest.approx(scores[1].item(), abs=TOLERANCE)


def test_random_numbers_are_left_alone_and_change_nothing(
    scorer: PairScorer, pictures: list[Picture]
) -> None:
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = random_states()
        scores.append(scorer.score(pictures, TEXTS))
        scorer.tokens(TEXTS)
        scorer.scrambled(seed=3)
        if isinstance(scorer, CrossEncoder):
            scorer.match(scorer.inputs(pictures, TEXTS)).sum().backward()
            scorer.model.zero_grad()
        assert random_states() == before
    assert torch.equal(*scores)


def test_pictures_may_be_opened_as_asked(row: str, scorer: PairScorer) -> None:
    lazy = Lazy(lambda number: ADAPTERS[row].picture(scorer, number % 4), count=70)
    texts = [TEXTS[number % 3] for number in range(70)]
    scores = scorer.score(lazy, texts)
    assert 70 <= lazy.opened < 90  # once each, and what the run-time type checks look at
    assert lazy.most <= ADAPTERS[row].opens
    assert scores.tolist() == near(scorer.score([lazy[number] for number in range(70)], texts).tolist())


def test_what_does_not_fit_is_refused(scorer: PairScorer, pictures: list[Picture]) -> None:
    other = TWINS["picture"]("region" if scorer.traits.unit == "patch" else "patch", 0)
    assert isinstance(other, Image | Regions)
    with pytest.raises(LengthMismatch, match="4 texts for 3 images"):
        scorer.score(pictures[:3], TEXTS)
    with pytest.raises(BadInput, match=r"takes (PIL images|a PIL image|`Regions` of a detector)"):
        scorer.score([pictures[0], other], TEXTS[:2])


def test_evaluation_is_for_a_while(scorer: PairScorer, pictures: list[Picture]) -> None:
    """Scores have no dropout in training either; whatever mode each module is in, it stays there."""
    wanted = scorer.score(pictures, TEXTS)
    scorer.model.train()
    modules(scorer)[-1].eval()
    before = [module.training for module in modules(scorer)]
    try:
        assert torch.equal(scorer.score(pictures, TEXTS), wanted)
        with pytest.raises(RuntimeError, match="on purpose"), scorer.evaluating():  # noqa: PT012
            assert not any(module.training for module in modules(scorer))
            raise RuntimeError("on purpose")
        assert [module.training for module in modules(scorer)] == before
        assert any(before)
    finally:
        scorer.model.eval()


def test_a_scrambled_copy_has_learned_nothing(scorer: PairScorer, pictures: list[Picture]) -> None:
    before = scorer.score(pictures, TEXTS)
    copies = [scorer.scrambled(seed=seed) for seed in (0, 0, 1)]
    scores = [copy.score(pictures, TEXTS) for copy in copies]
    assert torch.equal(scorer.score(pictures, TEXTS), before)
    assert torch.equal(scores[0], scores[1])
    assert not torch.allclose(scores[0], before, atol=TOLERANCE)
    assert not torch.allclose(scores[0], scores[2], atol=TOLERANCE)
    assert copies[0].traits == scorer.traits
    assert len({scorer.fingerprint, copies[0].fingerprint, copies[2].fingerprint}) == 3


def test_a_fingerprint_is_of_what_is_computed(
    row: str, scorer: PairScorer, pictures: list[Picture], tmp_path: Path, directory_of: Finder
) -> None:
    """Equal after saving and loading, another after one number of one weight; scoring changes none."""
    directory = tmp_path / directory_of(row).name
    for part in (scorer.model, scorer.tokenizer, scorer.image_processor):
        if part is not None:
            part.save_pretrained(directory)
    again = ADAPTERS[row].load(directory)
    assert again.fingerprint == scorer.fingerprint
    assert again.traits == scorer.traits
    assert again.score(pictures, TEXTS).tolist() == near(scorer.score(pictures, TEXTS).tolist())
    assert again.fingerprint == scorer.fingerprint
    with torch.no_grad():
        next(again.model.parameters()).view(-1)[-1] += 0.5
    assert again.fingerprint != scorer.fingerprint


@pytest.mark.parametrize("tap", ["pair_attention", "text_attention", "text_inputs"])
def test_no_hook_outlives_an_error(tap: str, scorer: PairScorer, pictures: list[Picture]) -> None:
    if not hasattr(scorer, tap) or (tap == "pair_attention" and "gradcam" not in scorer.traits.attributions):
        pytest.skip("has no such tap")
    if isinstance(scorer, CrossEncoder):
        inputs = scorer.inputs(pictures, TEXTS)
        wrong = scorer.inputs(pictures, TEXTS)
        wrong.tokens.ids[0, 1] = 10_000  # no such token: the forward itself fails
        run, fail = lambda: scorer.match(inputs), lambda: scorer.match(wrong)
    else:
        tokens, wrong = scorer.tokens(TEXTS), scorer.tokens(TEXTS)
        wrong.ids[0, 1] = 10_000
        run, fail = lambda: scorer.embed_tokens(tokens), lambda: scorer.embed_tokens(wrong)
    before, kinds = run(), attention_kinds(scorer)
    with pytest.raises(IndexError), getattr(scorer, tap)() as kept:  # noqa: PT012
        assert torch.allclose(run(), before, atol=TOLERANCE)
        assert kept
        assert hooked(scorer)
        fail()
    count = len(kept)
    assert not hooked(scorer)
    assert attention_kinds(scorer) == kinds
    assert torch.equal(run(), before)
    assert len(kept) == count


def test_matches_carry_a_graph(encoder: CrossEncoder, pictures: list[Picture]) -> None:
    match = encoder.match(encoder.inputs(pictures, TEXTS))
    assert match.requires_grad
    assert match.tolist() == near(encoder.score(pictures, TEXTS).tolist())
    reached = torch.autograd.grad(match.sum(), list(encoder.model.parameters()), allow_unused=True)
    assert sum(each is not None and bool(each.any()) for each in reached) > len(reached) / 2


def test_token_embeddings_are_reached_by_the_score(encoder: CrossEncoder, pictures: list[Picture]) -> None:
    """Also where the weights are frozen; padding has no gradient, every real token has one."""
    inputs = encoder.inputs(pictures, TEXTS)
    found = []
    for frozen in (False, True):
        encoder.model.requires_grad_(not frozen)
        with encoder.text_inputs() as entered:
            match = encoder.match(inputs)
        assert len(entered) == 1
        assert entered[0].shape[:2] == inputs.tokens.ids.shape
        found.append(torch.autograd.grad(match.sum(), entered[0])[0])
    encoder.model.requires_grad_(True)
    assert torch.allclose(*found, atol=TOLERANCE)
    real = inputs.tokens.mask == 1
    assert not found[0][~real].any()
    assert found[0][real].any(dim=-1).all()


def test_heats_are_the_same_where_the_weights_are_frozen(
    encoder: CrossEncoder, pictures: list[Picture]
) -> None:
    """Also at attention over the image alone, which no token embedding leads to."""
    methods = tuple(method for method in encoder.traits.attributions if method != "perturbation")
    free = cross_heats(encoder, encoder.inputs(pictures, TEXTS), methods=methods)
    encoder.model.requires_grad_(False)
    try:
        frozen = cross_heats(encoder, encoder.inputs(pictures, TEXTS), methods=methods)
    finally:
        encoder.model.requires_grad_(True)
    for method in methods:
        assert torch.allclose(frozen.tokens[method], free.tokens[method], atol=TOLERANCE)
    assert (frozen.images is None) == (free.images is None)
    assert free.images is None or torch.allclose(frozen.images, free.images, atol=TOLERANCE)


def test_positions_stand_for_what_inputs_say(encoder: CrossEncoder, pictures: list[Picture]) -> None:
    """Every patch or region that is looked at has one place in the image stream; none is counted twice."""
    inputs = encoder.inputs(pictures, TEXTS)
    assert len(inputs.images) == len(inputs.counts) == len(inputs.grids) == len(inputs.units) == len(TEXTS)
    for places, count, grid, picture in zip(
        inputs.units.tolist(), inputs.counts, inputs.grids, pictures, strict=True
    ):
        units = [place for place in places if place >= 0]
        assert len(set(units)) == len(units) > 0
        assert max(units) < count
        if encoder.traits.unit == "region":
            assert grid is None
            assert units == list(range(len(picture)))
        else:
            assert grid[0] * grid[1] == count


def test_every_method_of_the_traits_runs_and_no_other(scorer: PairScorer, pictures: list[Picture]) -> None:
    """Through the one call for heats: finite, of the words, somewhere not zero."""
    words = tuple(Word(*each) for each in (("red", 2, 5, "attribute"), ("dog", 6, 9, "object")))
    captions = [Caption("a red dog near a small cat", words)] * 2
    methods = scorer.traits.attributions
    options = Options(variant="leave-one-out")
    found = heats(scorer, captions, pictures[:2], methods=methods, options=options)
    assert list(found) == list(methods)
    for heat in found.values():
        assert heat.values.shape == heat.heard.shape == (2, 2)
        assert heat.heard.all()
        assert heat.values.isfinite().all()
        assert heat.values.any()
    for absent in set(METHODS) - set(methods):
        with pytest.raises(Unsupported, match=f"gives no {absent}"):
            heats(scorer, captions, pictures[:2], methods=(absent,), options=options)
    if isinstance(scorer, CrossEncoder) and "gradcam" in methods:
        image = cross_heats(scorer, scorer.inputs(pictures, TEXTS)).images
        assert image is not None
        assert image.isfinite().all()
        assert image.any(dim=-1).all()
