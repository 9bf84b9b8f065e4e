"""Heats of cross-encoders against one pair at a time in plain code, toys worked by hand and finite differences."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from alignscope.attribution.cross import cross_heats
from alignscope.attribution.options import Options
from alignscope.attribution.words import merged
from alignscope.errors import Unsupported
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.protocols import AttentionMap, PairInputs, Picture, Tokens, Traits
from alignscope.records import Caption, Word

METHODS = ("attention", "gradcam", "gradient")
ROUTES = {
    "lxmert": ["tt", "tt", "ii", "both", "tt", "ii", "both", "tt", "ii"],
    "blip": ["ii", "ii", "tt", "ti", "tt", "ti"],
    "vilt": ["jj", "jj"],
}


def slow_heats(model: TransformersCrossEncoder, picture: Picture, text: str) -> dict[str, Tensor]:
    """One pair without padding: one gradient per map, the whole matrices, the model's route written out."""
    inputs = model.inputs([picture], [text])
    with model.pair_attention() as maps:
        score = model.match(inputs)[0]
    kind = model.model.config.model_type
    found = [each.probabilities for each in maps]
    gradients = torch.autograd.grad(score, found, allow_unused=True, retain_graph=True)
    passed = iter(
        sum((g * a).clamp(min=0) for g, a in zip(gradient[0], attention[0], strict=True)) / attention.shape[1]
        if gradient is not None
        else torch.zeros_like(attention[0, 0])
        for gradient, attention in zip(gradients, found, strict=True)
    )
    tokens, positions = inputs.tokens.ids.shape[1], inputs.units.shape[1]
    size = {"t": tokens, "i": positions, "j": tokens + positions}
    r = {a + b: torch.eye(size[a], size[b]).double() * (a == b) for a in "tij" for b in "tij"}
    for step in ROUTES[kind]:
        other = {"t": "i", "i": "t", "j": "j"}
        if step in ("tt", "ii", "jj"):
            s, e = step[0], next(passed)
            new = {s + s: r[s + s] + e @ r[s + s]}
            if s != "j":
                new[s + other[s]] = r[s + other[s]] + e @ r[s + other[s]]
        else:
            new = {}
            for s in "t" if step == "ti" else "ti":
                q, e = other[s], next(passed)
                new[s + q] = r[s + q] + bar(r[s + s]).T @ e @ bar(r[q + q])
                new[s + s] = r[s + s] + e @ r[q + s]
        r |= new
    assert next(passed, None) is None
    word_row, image_row = (
        (r["jj"][0, :tokens], r["jj"][0, tokens:]) if kind == "vilt" else (r["tt"][0], r["ti"][0])
    )
    spelled = torch.tensor([end > start for start, end in inputs.tokens.offsets[0]])
    image = torch.zeros(inputs.counts[0]).double()
    for position, unit in enumerate(inputs.units[0].tolist()):
        if unit >= 0:
            image[unit] += image_row[position]
    own = [
        a[0, :, 0, :tokens].mean(dim=0)
        for a, m in zip(found, maps, strict=True)
        if m.query == m.key != "image"
    ]
    return {
        "gradcam": (word_row * spelled).detach(),
        "image": image.detach(),
        "attention": (torch.stack(own).mean(dim=0) * spelled).detach(),
        "gradient": by_embedding_rows(model, score, inputs.tokens, spelled),
    }


def bar(matrix: Tensor) -> Tensor:
    heard = matrix - torch.eye(len(matrix))
    for row in range(len(heard)):
        if heard[row].sum() > 0:
            heard[row] = heard[row] / heard[row].sum()
    return heard + torch.eye(len(matrix))


def by_embedding_rows(
    model: TransformersCrossEncoder, score: Tensor, tokens: Tokens, spelled: Tensor
) -> Tensor:
    """The gradient of the embedding table: a row's is its token's where no token comes twice."""
    ids = tokens.ids[0]
    if len(set(ids.tolist())) < len(ids):
        return torch.full(ids.shape, torch.nan)
    (gradient,) = torch.autograd.grad(score, model.model.get_input_embeddings().weight)
    norms = gradient[ids].abs().sum(dim=-1).double()
    heats = torch.zeros(len(ids)).double()
    heats[spelled] = norms[spelled].softmax(dim=0)
    return heats


def test_a_batch_is_what_plain_code_gives_one_pair_at_a_time(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    """In float64 to 1e-9; texts, images and sets of regions of four sizes, so padding changes nothing either."""
    model.model.double()
    heats = cross_heats(model, model.inputs(pictures, texts), methods=METHODS)
    compared = 0
    for row, pair in enumerate(zip(pictures, texts, strict=True)):
        wanted = slow_heats(model, *pair)
        count = len(wanted["attention"])
        for method in METHODS:
            if not wanted[method].isnan().any():
                assert torch.allclose(heats.tokens[method][row, :count], wanted[method], rtol=0, atol=1e-9)
                compared += 1
            assert not heats.tokens[method][row, count:].any()
        units = len(wanted["image"])
        assert heats.images is not None
        assert torch.allclose(heats.images[row, :units], wanted["image"], rtol=0, atol=1e-9)
        assert heats.seen[row, :units].all()
        assert not heats.seen[row, units:].any()
        assert not heats.images[row, units:].any()
        assert heats.images[row].max() > 0
        assert heats.tokens["gradcam"][row].max() > 0
    assert compared >= 10


def test_single_precision_agrees(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    single = cross_heats(model, model.inputs(pictures, texts), methods=METHODS)
    model.model.double()
    double = cross_heats(model, model.inputs(pictures, texts), methods=METHODS)
    for method in METHODS:
        assert torch.allclose(single.tokens[method].double(), double.tokens[method], rtol=1e-4, atol=1e-5)


def test_heats_without_a_graph_are_made_without_dropout(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    inputs = model.inputs(pictures, texts)
    wanted = cross_heats(model, inputs, methods=METHODS)
    for module in model.model.train().modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    found = cross_heats(model, inputs, methods=METHODS)
    assert all(torch.equal(found.tokens[method], wanted.tokens[method]) for method in METHODS)
    assert found.images is not None
    assert wanted.images is not None
    assert torch.equal(found.images, wanted.images)
    assert model.model.training


def test_heats_can_be_trained_through(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    """The derivative along a random direction of all weights against finite differences in float64."""
    model.model.double()
    inputs = model.inputs(pictures[:3], texts[:3])
    generator = torch.Generator().manual_seed(5)
    weights = list(model.model.parameters())
    along = [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in weights]
    for module in model.model.modules():  # LXMERT never trains the first position, nor the first token type
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
            next(d for w, d in zip(weights, along, strict=True) if w is module.weight)[module.padding_idx] = 0

    def value(*, create_graph: bool) -> Tensor:
        heats = cross_heats(model, inputs, methods=METHODS, create_graph=create_graph)
        assert heats.images is not None
        parts = [*heats.tokens.values(), heats.images]
        return sum((part * torch.linspace(0, 1, part.shape[1]).double()).sum() for part in parts)  # type: ignore[return-value]

    gradients = torch.autograd.grad(value(create_graph=True), weights, allow_unused=True)
    slope = sum((g * d).sum().item() for g, d in zip(gradients, along, strict=True) if g is not None)
    values, step = [], 1e-6
    for sign in (1, -2):
        with torch.no_grad():
            for weight, direction in zip(weights, along, strict=True):
                weight += sign * step * direction
        values.append(value(create_graph=False).item())
    assert abs(slope) > 1e-3
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


def test_graph_only_where_asked_for(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    inputs = model.inputs(pictures, texts)
    with torch.no_grad():  # a caller's no_grad is no obstacle
        plain = cross_heats(model, inputs, methods=METHODS)
    trained = cross_heats(model, inputs, methods=METHODS, create_graph=True)
    for method in METHODS:
        assert not plain.tokens[method].requires_grad
        assert trained.tokens[method].requires_grad
        assert torch.allclose(plain.tokens[method], trained.tokens[method])
    assert cross_heats(model, inputs, methods=["attention"]).images is None
    empty = cross_heats(model, model.inputs([], []), methods=METHODS)
    assert empty.tokens["gradcam"].shape == (0, 0)
    assert all(parameter.grad is None for parameter in model.model.parameters())


def test_methods_that_traits_do_not_name_are_refused() -> None:
    toy = Toy([])
    with pytest.raises(Unsupported, match="toy gives no gradient, only attention, gradcam"):
        cross_heats(toy, toy.inputs([], []), methods=["gradcam", "gradient"])


def test_layers(model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]) -> None:
    """ViLT's layers stand in one line, so the last alone is a choice; two streams have no such line."""
    inputs = model.inputs(pictures, texts)
    last = Options(layers="last")
    with model.pair_attention() as maps:
        model.match(inputs)
    own = [each.probabilities for each in maps if each.query == each.key != "image"][-1]
    got = cross_heats(model, inputs, methods=["attention"], options=last).tokens["attention"]
    spelled = torch.tensor([[end > start for start, end in row] for row in inputs.tokens.offsets])
    assert torch.allclose(got, own[:, :, 0, : spelled.shape[1]].mean(dim=1) * spelled)
    if maps[0].query == "joint":
        every = cross_heats(model, inputs)
        assert not torch.allclose(
            cross_heats(model, inputs, options=last).tokens["gradcam"], every.tokens["gradcam"]
        )
    else:
        with pytest.raises(Unsupported, match="use 'all'"):
            cross_heats(model, inputs, options=last)


def test_tokens_merge_into_words(
    model: TransformersCrossEncoder, picture_of: Callable[[str, int], Picture]
) -> None:
    """ "unknowable" is three pieces, "cats" two; a word beyond the context is not heard."""
    text = "The kitchen, with two unknowable cats!"
    spans = [("kitchen", "object"), ("unknowable", "attribute"), ("cats", "object")]
    words = tuple(Word(w, text.index(w), text.index(w) + len(w), of) for w, of in spans)
    long = "a " * 30 + "dog"
    captions = [Caption(text, words), Caption(long, (Word("dog", 60, 63, "object"),))]
    inputs = model.inputs([picture_of(model.traits.unit, i) for i in (0, 1)], [text, long])
    heat = cross_heats(model, inputs).tokens["gradcam"]
    pieces = model.tokenizer.convert_ids_to_tokens(inputs.tokens.ids[0].tolist())
    assert pieces[6:11] == ["un", "##know", "##able", "cat", "##s"]
    found = merged(model, inputs.tokens, heat, captions)
    wanted = [heat[0, 2], heat[0, 6:9].sum(), heat[0, 9:11].sum()]
    assert found.values[0].tolist() == pytest.approx([each.item() for each in wanted])
    assert [(one.caption, one.word) for one in found.unheard] == [(1, 0)]
    assert inputs.tokens.truncated(model.traits.context_length) == (False, True)


class Toy:
    """Maps and their weights in the score are given, so the gradient of a map is its weight."""

    name, fingerprint = "toy", "0"
    traits = Traits("cross", "patch", (1, 2), 9, "gelu", "first", False, True, ("attention", "gradcam"), 1.0)

    def __init__(self, maps: Sequence[tuple[str, str, int, Tensor, Tensor | None]]) -> None:
        self.maps = maps
        self.kept: list[AttentionMap] | None = None

    def unused(self, *given: object, **options: object) -> None:
        raise NotImplementedError

    score = tokens = scrambled = view = unused

    def inputs(self, images: Sequence[Picture], texts: Sequence[str]) -> PairInputs:
        """Two tokens, the readout and a word; a class token, then the second patch, then the first."""
        tokens = Tokens(
            torch.ones(1, 2).long(), torch.ones(1, 2).long(), torch.tensor([0]), (((0, 0), (0, 3)),), (2,)
        )
        return PairInputs(tokens, (), (), torch.tensor([[-1, 1, 0]]), (2,), ((1, 2),))

    def match(self, inputs: PairInputs) -> Tensor:
        score = torch.zeros(1, requires_grad=True)
        for query, key, block, values, weights in self.maps:
            held = values[None, None].clone().requires_grad_()
            if self.kept is not None:
                self.kept.append(AttentionMap(query, key, block, held))  # type: ignore[arg-type]
            if weights is not None:
                score = score + (held * weights).sum()
        return score

    def evaluating(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def pair_attention(self) -> Iterator[list[AttentionMap]]:
        self.kept = []
        yield self.kept
        self.kept = None

    @contextmanager
    def text_inputs(self) -> Iterator[list[Tensor]]:
        yield []


def test_one_stream_by_hand() -> None:
    """Row 0 of E: 0.5 * 1, 0.25 * 2, then for the image 0.125 * 4 (class token), 0 (negative), 0.125 * 8."""
    attention, weight = torch.zeros(5, 5), torch.zeros(5, 5)
    attention[0] = torch.tensor([0.5, 0.25, 0.125, 0.0625, 0.125])
    weight[0] = torch.tensor([1.0, 2.0, 4.0, -1.0, 8.0])
    toy = Toy([("joint", "joint", 0, attention, weight)])
    heats = cross_heats(toy, toy.inputs([], []))
    assert heats.tokens["gradcam"].tolist() == [[0.0, 0.5]]
    assert heats.images is not None
    assert heats.images.tolist() == [[1.0, 0.0]]  # the last position is the first patch
    assert heats.seen.tolist() == [[True, True]]


def test_two_streams_by_hand() -> None:
    """Image looks at text: E = [[0,0],[0,.5],[0,0]] so R_it is that. Then text looks at image with

    E = [[0, .25, .5], [0, 0, 0]]: R_ti = I^T E N(R_ii) = E, as R_ii = I; R_tt = I + E R_it = [[1, .125], [0, 1]].
    Patches: position 1 is the second (.25), position 2 the first (.5).
    """
    to_text = torch.tensor([[0.0, 0.0], [0.0, 0.5], [0.0, 0.0]])
    to_image = torch.tensor([[0.0, 0.25, 0.5], [0.0, 0.0, 0.0]])
    last = torch.full((3, 2), 0.4)
    toy = Toy(
        [
            ("image", "text", 0, to_text, torch.ones(3, 2)),
            ("text", "image", 1, to_image, torch.ones(2, 3)),
            ("image", "text", 1, last, None),  # nothing reads it, as in LXMERT's last block
        ]
    )
    heats = cross_heats(toy, toy.inputs([], []))
    assert heats.tokens["gradcam"].tolist() == [[0.0, 0.125]]
    assert heats.images is not None
    assert heats.images.tolist() == [[0.5, 0.25]]


def test_a_text_map_that_the_score_does_not_use_is_an_error_not_a_zero() -> None:
    toy = Toy(
        [
            ("text", "text", 0, torch.full((2, 2), 0.5), None),
            ("text", "image", 1, torch.full((2, 3), 0.3), torch.ones(2, 3)),
        ]
    )
    with pytest.raises(Unsupported, match="does not depend on the attention of text to text in block 0"):
        cross_heats(toy, toy.inputs([], []))


def test_vilt_patches_that_were_left_out_are_not_seen(
    twin: Callable[..., Path], picture_of: Callable[[str, int], Picture]
) -> None:
    model = load(twin("vilt", max_image_length=5))
    heats = cross_heats(
        model, model.inputs([picture_of("patch", 0), picture_of("patch", 3)], ["cat", "a dog"])
    )
    assert heats.images is not None
    assert heats.seen.sum(dim=-1).tolist() == [5, 4]
    assert not heats.images[~heats.seen].any()
