"""UNITER against the sheet's table, a slow recomputation of one pair, and the authors' packing."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from alignscope.errors import BadData, CheckpointMismatch
from alignscope.models.cross.bert import attend
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.cross.uniter import (
    OPTIONAL,
    TIED,
    UniterConfig,
    UniterForImageTextRetrieval,
    UniterForPretraining,
    config_from,
    seven,
)
from alignscope.records import Regions

spec = importlib.util.spec_from_file_location(
    "single_stream_oracle", Path(__file__).with_name("single_stream_oracle.py")
)
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)

TABLE = """
uniter.embeddings.word_embeddings.weight 28996x768
uniter.embeddings.position_embeddings.weight 512x768
uniter.embeddings.token_type_embeddings.weight 2x768
uniter.embeddings.LayerNorm.weight 768
uniter.embeddings.LayerNorm.bias 768
uniter.img_embeddings.img_linear.weight 768x2048
uniter.img_embeddings.img_linear.bias 768
uniter.img_embeddings.img_layer_norm.weight 768
uniter.img_embeddings.img_layer_norm.bias 768
uniter.img_embeddings.pos_layer_norm.weight 768
uniter.img_embeddings.pos_layer_norm.bias 768
uniter.img_embeddings.pos_linear.weight 768x7
uniter.img_embeddings.pos_linear.bias 768
uniter.img_embeddings.mask_embedding.weight 2x2048
uniter.img_embeddings.LayerNorm.weight 768
uniter.img_embeddings.LayerNorm.bias 768
uniter.encoder.layer.N.attention.self.query.weight 768x768
uniter.encoder.layer.N.attention.self.query.bias 768
uniter.encoder.layer.N.attention.self.key.weight 768x768
uniter.encoder.layer.N.attention.self.key.bias 768
uniter.encoder.layer.N.attention.self.value.weight 768x768
uniter.encoder.layer.N.attention.self.value.bias 768
uniter.encoder.layer.N.attention.output.dense.weight 768x768
uniter.encoder.layer.N.attention.output.dense.bias 768
uniter.encoder.layer.N.attention.output.LayerNorm.weight 768
uniter.encoder.layer.N.attention.output.LayerNorm.bias 768
uniter.encoder.layer.N.intermediate.dense.weight 3072x768
uniter.encoder.layer.N.intermediate.dense.bias 3072
uniter.encoder.layer.N.output.dense.weight 768x3072
uniter.encoder.layer.N.output.dense.bias 768
uniter.encoder.layer.N.output.LayerNorm.weight 768
uniter.encoder.layer.N.output.LayerNorm.bias 768
uniter.pooler.dense.weight 768x768
uniter.pooler.dense.bias 768
cls.predictions.bias 28996
cls.predictions.transform.dense.weight 768x768
cls.predictions.transform.dense.bias 768
cls.predictions.transform.LayerNorm.weight 768
cls.predictions.transform.LayerNorm.bias 768
cls.predictions.decoder.weight 28996x768
feat_regress.weight 768x2048
feat_regress.bias 2048
feat_regress.net.0.weight 768x768
feat_regress.net.0.bias 768
feat_regress.net.2.weight 768
feat_regress.net.2.bias 768
region_classifier.net.0.weight 768x768
region_classifier.net.0.bias 768
region_classifier.net.2.weight 768
region_classifier.net.2.bias 768
region_classifier.net.3.weight 1601x768
region_classifier.net.3.bias 1601
itm_output.weight 2x768
itm_output.bias 2
"""
"""Keys and shapes of the authors' uniter-base.pt, N for a layer (reference/papers.md, table 4.1)."""
PUBLISHED = oracle.shapes(TABLE)
RETRIEVAL = ("uniter.", "itm_output.")


@pytest.fixture(params=["uniter", "uniter-retrieval"])
def scorer(
    request: pytest.FixtureRequest, shaken: Callable[[str], TransformersCrossEncoder]
) -> TransformersCrossEncoder:
    return shaken(request.param)


def test_keys_shapes_and_parameters_are_those_of_the_published_file() -> None:
    with torch.device("meta"):
        model = UniterForPretraining(UniterConfig())
    assert len(PUBLISHED) == 230
    assert oracle.shapes_of(model) == PUBLISHED
    assert sum(parameter.numel() for parameter in model.parameters()) == 112_938_887
    for key, other in TIED.items():
        assert model.get_parameter(key) is model.get_parameter(other)


def test_the_ranker_has_the_encoder_and_two_heads() -> None:
    with torch.device("meta"):
        model = UniterForImageTextRetrieval(UniterConfig())
    wanted = {key: shape for key, shape in PUBLISHED.items() if key.startswith(RETRIEVAL)}
    assert oracle.shapes_of(model) == wanted | {"rank_output.weight": (1, 768), "rank_output.bias": (1,)}


def plain_score(scorer: TransformersCrossEncoder, ids: list[int], regions: Regions) -> float:
    """One pair without padding, position by position and head by head, in float64."""
    plain = oracle.Plain(scorer.model)
    words, places, types = (
        plain.state[f"uniter.embeddings.{name}_embeddings.weight"]
        for name in ("word", "position", "token_type")
    )
    x = [
        plain.norm("uniter.embeddings.LayerNorm", words[i] + places[at] + types[0])
        for at, i in enumerate(ids)
    ]
    image = "uniter.img_embeddings."
    for box, feature in zip(regions.boxes.astype(float), regions.features.astype(float), strict=True):
        left, top, right, bottom = box / ([regions.width, regions.height] * 2)
        width, height = right - left, bottom - top
        vector = np.array([left, top, right, bottom, width, height, width * height])
        seen = plain.norm(image + "img_layer_norm", plain.dense(image + "img_linear", feature))
        placed = plain.norm(image + "pos_layer_norm", plain.dense(image + "pos_linear", vector))
        x.append(plain.norm(image + "LayerNorm", seen + placed + types[1]))
    for layer in range(scorer.model.config.num_hidden_layers):
        name = f"uniter.encoder.layer.{layer}."
        looked = plain.attended(x, *(f"{name}attention.self.{part}" for part in ("query", "key", "value")))
        x = plain.ended(f"{name}attention.output.dense", f"{name}attention.output.LayerNorm", looked, x)
        wide = plain.widened(f"{name}intermediate.dense", x)
        x = plain.ended(f"{name}output.dense", f"{name}output.LayerNorm", wide, x)
    pooled = np.tanh(plain.dense("uniter.pooler.dense", x[0]))
    if "rank_output.weight" in plain.state:
        return float(plain.dense("rank_output", pooled)[0])
    apart, together = plain.dense("itm_output", pooled)
    return float(together - apart)


def test_scores_are_those_of_a_slow_recomputation(
    scorer: TransformersCrossEncoder, regions: Sequence[Regions], texts: list[str]
) -> None:
    tokens = scorer.tokens(texts)
    ids = [row[: int(mask.sum())].tolist() for row, mask in zip(tokens.ids, tokens.mask, strict=True)]
    wanted = [plain_score(scorer, *pair) for pair in zip(ids, regions, strict=True)]
    scores = scorer.score(regions, texts)
    assert scores.tolist() == pytest.approx(wanted, abs=1e-4)
    assert scores.std() > 0.05


def test_packed_as_its_authors_do_it_scores_the_same(
    scorer: TransformersCrossEncoder, regions: Sequence[Regions], texts: list[str]
) -> None:
    """Each pair's regions directly after its own last token; what is left at the end is padding."""
    batch = scorer.inputs(regions[::-1], texts)
    model = scorer.model
    lengths = batch.tokens.mask.sum(dim=-1).tolist()
    longest = max(n + count for n, count in zip(lengths, batch.counts, strict=True))
    assert longest < batch.tokens.ids.shape[1] + max(batch.counts)
    states, seen = torch.zeros(4, longest, 16), torch.zeros(4, longest, dtype=torch.bool)
    with torch.no_grad():
        type_row = model.uniter.embeddings.token_type_embeddings.weight[1]
        for row, (n, count) in enumerate(zip(lengths, batch.counts, strict=True)):
            states[row, :n] = model.uniter.embeddings(batch.tokens.ids[[row], :n])[0]
            image = batch.images[row][None], batch.positions[row][None]
            states[row, n : n + count] = model.uniter.img_embeddings(*image, type_row)[0]
            seen[row, : n + count] = True
        for layer in model.uniter.encoder.layer:
            states = layer(states, seen)
        pooled = model.uniter.pooled(states)
        if hasattr(model, "rank_output"):
            wanted = model.rank_output(pooled)[:, 0]
        else:
            wanted = model.itm_output(pooled) @ torch.tensor([-1.0, 1.0])
        assert torch.allclose(scorer.match(batch), wanted, atol=1e-5)


def test_nothing_is_looked_at_where_nothing_is() -> None:
    """Exactly no weight, also in half precision and where the hidden key would win by far."""
    for kind in (torch.float32, torch.float16, torch.bfloat16):
        query = torch.ones(1, 2, 4, dtype=kind)
        key = torch.tensor([[[-1e4] * 4, [-1e4] * 4, [30.0] * 4]], dtype=kind)
        value = torch.tensor([[[1.0] * 4, [3.0] * 4, [1e4] * 4]], dtype=kind)
        seen = torch.tensor([[True, True, False]])
        looked = attend(query, key, value, seen, heads=2, dropout=torch.nn.Identity())
        assert torch.equal(looked, torch.full((1, 2, 4), 2.0, dtype=kind))


def test_position_is_corners_sides_and_area_as_shares() -> None:
    boxes = np.array([[10, 20, 60, 40], [0, 0, 100, 50]], np.float32)
    vectors = seven(Regions("a", 100, 50, boxes, np.zeros((2, 6), np.float32)))
    wanted = [[0.1, 0.4, 0.6, 0.8, 0.5, 0.4, 0.2], [0, 0, 1, 1, 1, 1, 1]]
    assert torch.allclose(vectors, torch.tensor(wanted))


def test_features_of_another_width_are_refused(twin: Callable[..., Path]) -> None:
    scorer = load(twin("uniter"))
    wide = Regions("a", 9, 9, np.array([[0, 0, 9, 9]], np.float32), np.zeros((1, 2048), np.float32))
    with pytest.raises(BadData, match="got features of width 2048, the model takes width 6"):
        scorer.score([wide], ["cat"])


def test_the_match_index_turns_the_score_around(
    twin: Callable[..., Path], regions: Sequence[Regions], texts: list[str]
) -> None:
    scorer, flipped = load(twin("uniter")), load(twin("uniter"), match_index=0)
    assert (scorer.traits.match_index, flipped.traits.match_index) == (1, 0)
    assert torch.equal(flipped.score(regions, texts), -scorer.score(regions, texts))
    assert load(twin("uniter-retrieval")).traits.match_index is None


@pytest.mark.parametrize("model_class", [UniterForPretraining, UniterForImageTextRetrieval])
@pytest.mark.parametrize(("hidden", "layers", "heads"), [(1024, 24, 16), (128, 3, 2)])
def test_sizes_are_read_off_a_state_dict(model_class: type, hidden: int, layers: int, heads: int) -> None:
    sizes = {
        "vocab_size": 11,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": 64,
        "type_vocab_size": 3,
        "visual_feat_dim": 10,
        "num_region_classes": 5 if model_class is UniterForPretraining else 1601,
    }
    with torch.device("meta"):
        state = model_class(UniterConfig(**sizes)).state_dict()
        found = config_from(state)
        again = model_class(found)
    assert {name: getattr(found, name) for name in sizes} == sizes
    assert found.architectures == [model_class.__name__]
    assert {key: each.shape for key, each in state.items()} == {
        key: each.shape for key, each in again.state_dict().items()
    }


def test_what_may_be_missing_is_no_part_of_a_score(
    twin: Callable[..., Path], regions: Sequence[Regions], texts: list[str]
) -> None:
    """Without the optional keys the sizes are still found, and other numbers in them change no score."""
    scorer = load(twin("uniter"))
    state = scorer.model.state_dict()
    scores = scorer.score(regions, texts)
    optional = [key for key in state if key.startswith(OPTIONAL) and key not in TIED]
    assert len(optional) == 5 + 5 + 6 + 1
    assert config_from({key: state[key] for key in state.keys() - {*optional, *TIED}}).hidden_size == 16
    for key in optional:
        state[key].add_(1)
    assert torch.equal(scorer.score(regions, texts), scores)


def test_half_a_state_dict_is_refused_by_name() -> None:
    with pytest.raises(
        CheckpointMismatch, match=r"got no tensor 'uniter\.embeddings\.word_embeddings\.weight'"
    ):
        config_from({"uniter.pooler.dense.bias": torch.zeros(768)})


def test_the_feature_head_uses_the_weight_the_other_way_round(twin: Callable[..., Path]) -> None:
    head = load(twin("uniter")).model.feat_regress
    states: Tensor = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    wanted = head.net(states) @ head.weight + head.bias
    assert head.bias.shape == (6,)
    assert torch.allclose(head(states), wanted, atol=1e-6)
