"""ViLBERT against the published tables, a forward written out position by position, and hand-worked cases."""

import itertools
from collections.abc import Callable
from math import erf, exp, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alignscope.attribution.cross import cross_heats
from alignscope.attribution.words import merged
from alignscope.errors import BadInput, CheckpointMismatch
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.cross.vilbert import (
    OPTIONAL,
    TIED,
    VilbertForPretraining,
    VilbertForTasks,
    config_from,
    locations,
    sites,
)
from alignscope.models.cross.vilbert_layers import Real, Streams, VilbertConfig, route
from alignscope.models.protocols import CrossEncoder, Tokens
from alignscope.records import Caption, Regions, Word

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "reference" / "papers.md"
ORDER = ["t0", "c0", "v0", "t1", "c1", "v1", "t2"]
"""Of the twins, whose co-attentions come before text layers 1 and 2."""
KINDS = ("vilbert", "vilbert-tasks", "vilbert-with-task")
METHODS = ("attention", "gradcam", "gradient")


@pytest.fixture(params=KINDS)
def scorer(request: pytest.FixtureRequest, twin: Callable[..., Path]) -> TransformersCrossEncoder:
    return load(directory(twin, request.param))


def directory(twin: Callable[..., Path], kind: str) -> Path:
    return twin("vilbert-tasks", task_specific_tokens=True) if kind == "vilbert-with-task" else twin(kind)


@pytest.fixture
def regions(picture_of: Callable[[str, int], Regions]) -> list[Regions]:
    return [picture_of("region", number) for number in range(4)]


def on_meta(model_class: type, config: VilbertConfig | None = None) -> Any:
    with torch.device("meta"):
        return model_class(config or VilbertConfig())


def shapes(model: Any) -> dict[str, list[int]]:
    return {key: list(tensor.shape) for key, tensor in model.state_dict().items()}


def rows_of_the_sheet(heading: str) -> dict[str, list[int]]:
    """Keys and shapes of one table, its N counted out."""
    found: dict[str, list[int]] = {}
    for line in PUBLISHED.read_text().split(heading)[1].split("\n## ")[0].splitlines():
        if line.startswith("| `"):
            key, shape, times = (part.strip(" `") for part in line.strip("|").split("|"))
            size = [int(side) for side in shape.strip("[]").split(",")]
            found |= {key.replace(".N.", f".{layer}."): size for layer in range(int(times))}
    return found


@pytest.mark.parametrize(
    ("model_class", "keys", "parameters", "tables"),
    [
        (VilbertForPretraining, 533, 250_044_029, ["## 4.3"]),
        (VilbertForTasks, 559, 268_013_499, ["## 4.3", "## 4.4"]),
    ],
)
def test_published_sizes(model_class: type, keys: int, parameters: int, tables: list[str]) -> None:
    """Counts, keys and shapes of sheet section 4; what is tied counts once."""
    model = on_meta(model_class)
    assert len(model.state_dict()) == keys
    assert sum(each.numel() for each in model.parameters()) == parameters
    if not PUBLISHED.is_file():
        pytest.skip("the sheet with the tables of keys is not here")
    wanted = {key: size for heading in tables for key, size in rows_of_the_sheet(heading).items()}
    assert shapes(model) == wanted


def test_task_tokens_are_one_more_table() -> None:
    plain, with_task = (
        on_meta(VilbertForTasks),
        on_meta(VilbertForTasks, VilbertConfig(task_specific_tokens=True)),
    )
    more = set(shapes(with_task)) - set(shapes(plain))
    assert more == {"bert.embeddings.task_embeddings.weight"}
    assert shapes(with_task)["bert.embeddings.task_embeddings.weight"] == [20, 768]


# The whole forward again, one position at a time, in float64 and without the package or torch.


class Plain:
    """One pair through the layers in the order of `ORDER`, by loops; keeps every attention map it makes."""

    def __init__(self, state: dict[str, Tensor], config: VilbertConfig) -> None:
        self.weights = {key: tensor.double().numpy() for key, tensor in state.items()}
        self.config = config
        self.maps: list[np.ndarray] = []

    def linear(self, name: str, rows: list[np.ndarray]) -> list[np.ndarray]:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return [np.array([sum(w * row) for w in weight]) + bias for row in rows]

    def norm(self, name: str, rows: list[np.ndarray]) -> list[np.ndarray]:
        found = []
        for row in rows:
            mean = sum(row) / len(row)
            variance = sum((row - mean) ** 2) / len(row)
            unit = (row - mean) / sqrt(variance + 1e-12)
            found.append(unit * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])
        return found

    def attended(
        self, q: list[np.ndarray], k: list[np.ndarray], v: list[np.ndarray], heads: int
    ) -> list[np.ndarray]:
        width = len(q[0]) // heads
        context = [np.zeros(len(v[0])) for _ in q]
        seen = np.zeros((heads, len(q), len(k)))
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for i, query in enumerate(q):
                powers = [exp(sum(query[part] * key[part]) / sqrt(width)) for key in k]
                for j, power in enumerate(powers):
                    seen[head, i, j] = power / sum(powers)
                    context[i][part] += seen[head, i, j] * v[j][part]
        self.maps.append(seen)
        return context

    def layer(self, name: str, rows: list[np.ndarray], heads: int) -> list[np.ndarray]:
        q, k, v = (self.linear(f"{name}.attention.self.{each}", rows) for each in ("query", "key", "value"))
        context = self.linear(f"{name}.attention.output.dense", self.attended(q, k, v, heads))
        rows = self.norm(f"{name}.attention.output.LayerNorm", added(context, rows))
        return self.feed(f"{name}.intermediate", f"{name}.output", rows)

    def feed(self, wide: str, narrow: str, rows: list[np.ndarray]) -> list[np.ndarray]:
        hidden = [gelu(row) for row in self.linear(f"{wide}.dense", rows)]
        return self.norm(f"{narrow}.LayerNorm", added(self.linear(f"{narrow}.dense", hidden), rows))

    def both(
        self, name: str, text: list[np.ndarray], image: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """1 is the image, 2 the text; each asks the other, both before either has changed."""
        heads, at = self.config.bi_num_attention_heads, f"{name}.biattention"
        q1, k1, v1 = (self.linear(f"{at}.{each}1", image) for each in ("query", "key", "value"))
        q2, k2, v2 = (self.linear(f"{at}.{each}2", text) for each in ("query", "key", "value"))
        context1, context2 = self.attended(q2, k1, v1, heads), self.attended(q1, k2, v2, heads)
        out = f"{name}.biOutput"
        image = self.norm(f"{out}.LayerNorm1", added(self.linear(f"{out}.dense1", context2), image))
        text = self.norm(f"{out}.LayerNorm2", added(self.linear(f"{out}.dense2", context1), text))
        image = self.feed(f"{name}.v_intermediate", f"{name}.v_output", image)
        text = self.feed(f"{name}.t_intermediate", f"{name}.t_output", text)
        return text, image

    def fused(self, ids: list[int], regions: Regions) -> np.ndarray:
        words, places, types = (
            self.weights[f"bert.embeddings.{name}_embeddings.weight"]
            for name in ("word", "position", "token_type")
        )
        text = [words[each] + places[at] + types[0] for at, each in enumerate(ids)]
        if self.config.task_specific_tokens:
            text.insert(1, self.weights["bert.embeddings.task_embeddings.weight"][7])
        text = self.norm("bert.embeddings.LayerNorm", text)
        features = regions.features.astype(float)
        rows = [sum(features) / len(features), *features]
        boxes = [np.array([0, 0, 1, 1, 1])]
        for x1, y1, x2, y2 in regions.boxes.astype(float):
            w, h = regions.width, regions.height
            boxes.append(np.array([x1 / w, y1 / h, x2 / w, y2 / h, (x2 - x1) * (y2 - y1) / (w * h)]))
        image = added(
            self.linear("bert.v_embeddings.image_embeddings", rows),
            self.linear("bert.v_embeddings.image_location_embeddings", boxes),
        )
        image = self.norm("bert.v_embeddings.LayerNorm", image)
        for step in ORDER:
            number = step[1]
            if step[0] == "t":
                text = self.layer(f"bert.encoder.layer.{number}", text, self.config.num_attention_heads)
            elif step[0] == "v":
                image = self.layer(f"bert.encoder.v_layer.{number}", image, self.config.v_num_attention_heads)
            else:
                text, image = self.both(f"bert.encoder.c_layer.{number}", text, image)
        t, v = (
            self.linear("bert.t_pooler.dense", text[:1])[0],
            self.linear("bert.v_pooler.dense", image[:1])[0],
        )
        return np.maximum(t, 0) * np.maximum(v, 0)

    def score(self, ids: list[int], regions: Regions) -> float:
        fused = self.fused(ids, regions)
        if "vil_logit.weight" in self.weights:
            return self.linear("vil_logit", [fused])[0].item()
        fits, fits_not = self.linear("cls.bi_seq_relationship", [fused])[0].tolist()
        return fits - fits_not


def added(a: list[np.ndarray], b: list[np.ndarray]) -> list[np.ndarray]:
    return [x + y for x, y in zip(a, b, strict=True)]


def gelu(row: np.ndarray) -> np.ndarray:
    return np.array([x * (1 + erf(x / sqrt(2))) / 2 for x in row])


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
        plain = Plain(scorer.model.state_dict(), scorer.model.config)
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


def test_order_of_the_published_layers() -> None:
    """By a trace of what runs (sheet section 7, point 6), and `sites` say the same."""
    small = {"hidden_size": 4, "num_attention_heads": 1, "intermediate_size": 4, "vocab_size": 5}
    small |= {"v_hidden_size": 4, "v_num_attention_heads": 1, "v_intermediate_size": 4, "visual_feat_dim": 3}
    small |= {"bi_hidden_size": 4, "bi_num_attention_heads": 1, "v_target_size": 2}
    model = VilbertForPretraining(VilbertConfig(**small)).eval()
    trace: list[str] = []
    letters = {"layer": "t", "v_layer": "v", "c_layer": "c"}
    entered: list[str] = []
    for name, module in model.named_modules():
        part, _, number = name.removeprefix("bert.encoder.").partition(".")
        if part in letters and number.isdigit():
            step = letters[part] + number
            module.register_forward_hook(lambda module, inputs, output, step=step: trace.append(step))
        if name.endswith(("attention.self.dropout", "biattention.dropout")):
            module.register_forward_pre_hook(lambda module, inputs, name=name: entered.append(name))
    real = Real(torch.ones(1, 2).bool(), torch.ones(1, 3).bool())
    model(torch.tensor([[1, 2]]), torch.rand(1, 3, 3), torch.rand(1, 3, 5), real)
    wanted = "t0 t1 t2 t3 t4 t5 c0 v0 t6 c1 v1 t7 c2 v2 t8 c3 v3 t9 c4 v4 t10 c5 v5 t11"
    assert trace == wanted.split()
    assert [name for name, _ in itertools.groupby(entered)] == [site.path for site in sites(model.config)]
    assert len(entered) == 12 + 6 + 2 * 6


def test_connections_that_do_not_fit_are_refused() -> None:
    for wrong in ({"v_biattention_id": [0]}, {"t_biattention_id": [6, 7, 8, 9, 10, 13]}):
        with pytest.raises(BadInput, match="biattention_id"):
            route(VilbertConfig(**wrong))
    with pytest.raises(BadInput, match="in order"):
        route(VilbertConfig(v_biattention_id=[1, 0, 2, 3, 4, 5]))
    with pytest.raises(BadInput, match="fusion 'max'"):
        on_meta(VilbertForPretraining, VilbertConfig(fusion="max"))


def test_fusion_by_hand() -> None:
    pooled = torch.tensor([[2.0, 3, 0, 1]]), torch.tensor([[4.0, 1, 5, 0]])
    streams = Streams(torch.zeros(1, 2, 4), torch.zeros(1, 3, 4), *pooled)
    for fusion, wanted in (("mul", [8, 3, 0, 0]), ("sum", [6, 4, 5, 1])):
        model = on_meta(VilbertForPretraining, VilbertConfig(fusion=fusion)).eval()
        assert model.fused(streams)[0].tolist() == wanted


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
        for step in ORDER:
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


OTHER = VilbertConfig(
    vocab_size=50,
    hidden_size=128,
    num_hidden_layers=5,
    num_attention_heads=2,
    intermediate_size=48,
    max_position_embeddings=40,
    type_vocab_size=3,
    v_hidden_size=256,
    v_num_hidden_layers=4,
    v_num_attention_heads=2,
    v_intermediate_size=24,
    bi_hidden_size=384,
    bi_num_attention_heads=3,
    v_biattention_id=[0, 1],
    t_biattention_id=[3, 4],
    visual_feat_dim=7,
    v_target_size=11,
    num_vqa_answers=13,
    num_gqa_answers=17,
)


@pytest.mark.parametrize("model_class", [VilbertForPretraining, VilbertForTasks])
@pytest.mark.parametrize("has_task", [False, True])
def test_sizes_are_told_by_the_shapes(model_class: type, has_task: bool) -> None:
    config = VilbertConfig(**{**OTHER.to_dict(), "task_specific_tokens": has_task})
    state = on_meta(model_class, config).state_dict()
    found = config_from(state)
    assert found.architectures == [model_class.__name__]
    assert shapes(on_meta(model_class, found)) == {key: list(value.shape) for key, value in state.items()}
    skipped = {"architectures", "transformers_version"}
    if model_class is VilbertForPretraining:
        skipped |= {"num_vqa_answers", "num_gqa_answers"}
    wanted, got = ({k: v for k, v in each.to_dict().items() if k not in skipped} for each in (config, found))
    assert got == wanted


def test_a_file_without_optional_heads_tells_its_sizes_and_one_without_others_does_not() -> None:
    state = on_meta(VilbertForTasks, OTHER).state_dict()
    assert all(any(key.startswith(head) for key in state) for head in OPTIONAL)
    needed = {key: value for key, value in state.items() if not key.startswith(OPTIONAL)}
    assert {key.partition(".")[0] for key in needed} == {"bert", "cls", "vil_logit"}
    assert config_from(needed).hidden_size == 128
    assert config_from(needed).v_target_size == 1601
    del needed["bert.t_pooler.dense.weight"]
    with pytest.raises(CheckpointMismatch, match=r"bert\.t_pooler\.dense\.weight"):
        config_from(needed)


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
