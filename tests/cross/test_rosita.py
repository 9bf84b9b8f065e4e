"""ROSITA against the sheet's table, a slow recomputation of one pair, and its authors' way with texts."""

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from alignscope.errors import BadData, CheckpointMismatch
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.cross.rosita import (
    OPTIONAL,
    TIED,
    RositaConfig,
    RositaForPretraining,
    config_from,
    five,
    flattened,
    without_punctuation,
)
from alignscope.records import Regions

spec = importlib.util.spec_from_file_location(
    "single_stream_oracle", Path(__file__).with_name("single_stream_oracle.py")
)
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)

TABLE = """
text_embeddings.word_embeddings.weight 30522x768
text_embeddings.position_embeddings.weight 512x768
text_embeddings.token_type_embeddings.weight 2x768
text_embeddings.layer_norm.weight 768
text_embeddings.layer_norm.bias 768
visual_embeddings.dense_imgfeat.weight 768x2048
visual_embeddings.dense_imgfeat.bias 768
visual_embeddings.dense_bboxfeat.weight 768x5
visual_embeddings.dense_bboxfeat.bias 768
visual_embeddings.layer_norm.weight 768
visual_embeddings.layer_norm.bias 768
backbone.layers.N.mhatt.dense_v.weight 768x768
backbone.layers.N.mhatt.dense_v.bias 768
backbone.layers.N.mhatt.dense_k.weight 768x768
backbone.layers.N.mhatt.dense_k.bias 768
backbone.layers.N.mhatt.dense_q.weight 768x768
backbone.layers.N.mhatt.dense_q.bias 768
backbone.layers.N.mhatt.dense_merge.weight 768x768
backbone.layers.N.mhatt.dense_merge.bias 768
backbone.layers.N.ffn.dense0.weight 3072x768
backbone.layers.N.ffn.dense0.bias 3072
backbone.layers.N.ffn.dense1.weight 768x3072
backbone.layers.N.ffn.dense1.bias 768
backbone.layers.N.layer_norm0.weight 768
backbone.layers.N.layer_norm0.bias 768
backbone.layers.N.layer_norm1.weight 768
backbone.layers.N.layer_norm1.bias 768
pooler.dense.weight 768x768
pooler.dense.bias 768
text_mlm_head.bias 30522
text_mlm_head.dense.weight 768x768
text_mlm_head.dense.bias 768
text_mlm_head.layer_norm.weight 768
text_mlm_head.layer_norm.bias 768
text_mlm_head.decode.weight 30522x768
imgfeat_head.dense.weight 768x768
imgfeat_head.dense.bias 768
imgfeat_head.layer_norm.weight 768
imgfeat_head.layer_norm.bias 768
imgfeat_head.dense_feat.weight 2048x768
imgfeat_head.dense_feat.bias 2048
imgfeat_head.dense_obj.weight 1600x768
imgfeat_head.dense_obj.bias 1600
imgfeat_head.dense_attr.weight 400x768
imgfeat_head.dense_attr.bias 400
mm_itm_head.dense.weight 2x768
mm_itm_head.dense.bias 2
mm_qa_head.dense0.weight 1536x768
mm_qa_head.dense0.bias 1536
mm_qa_head.dense1.weight 3129x1536
mm_qa_head.dense1.bias 3129
mm_qa_head.layer_norm.weight 1536
mm_qa_head.layer_norm.bias 1536
"""
"""Keys and shapes of a file tuned on questions, N for a layer (reference/papers.md, table 4.2)."""
PUBLISHED = oracle.shapes(TABLE)


@pytest.fixture
def scorer(shaken: Callable[[str], TransformersCrossEncoder]) -> TransformersCrossEncoder:
    return shaken("rosita")


def test_keys_shapes_and_parameters_are_those_of_the_published_file() -> None:
    with torch.device("meta"):
        tuned = RositaForPretraining(RositaConfig(num_answers=3129))
        model = RositaForPretraining(RositaConfig())
    assert len(PUBLISHED) == 229
    assert oracle.shapes_of(tuned) == PUBLISHED
    assert sum(parameter.numel() for parameter in tuned.parameters()) == 121_384_773
    without = {key: shape for key, shape in PUBLISHED.items() if not key.startswith("mm_qa_head.")}
    assert len(without) == 223
    assert oracle.shapes_of(model) == without
    for key, other in TIED.items():
        assert model.get_parameter(key) is model.get_parameter(other)


def plain_score(scorer: TransformersCrossEncoder, ids: list[int], regions: Regions) -> float:
    """One pair without padding, position by position and head by head, in float64."""
    plain = oracle.Plain(scorer.model)
    words, places, types = (
        plain.state[f"text_embeddings.{name}_embeddings.weight"]
        for name in ("word", "position", "token_type")
    )
    x = [
        plain.norm("text_embeddings.layer_norm", words[i] + places[at] + types[0]) for at, i in enumerate(ids)
    ]
    for box, feature in zip(regions.boxes.astype(float), regions.features.astype(float), strict=True):
        left, top, right, bottom = box
        area = (right - left) * (bottom - top) / (regions.width * regions.height)
        corners = [left / regions.width, top / regions.height, right / regions.width, bottom / regions.height]
        visual = plain.dense("visual_embeddings.dense_imgfeat", feature)
        visual = visual + plain.dense("visual_embeddings.dense_bboxfeat", np.array([*corners, area]))
        x.append(plain.norm("visual_embeddings.layer_norm", visual))
    for layer in range(scorer.model.config.num_hidden_layers):
        name = f"backbone.layers.{layer}."
        looked = plain.attended(x, *(f"{name}mhatt.dense_{part}" for part in "qkv"))
        x = plain.ended(f"{name}mhatt.dense_merge", f"{name}layer_norm0", looked, x)
        x = plain.ended(f"{name}ffn.dense1", f"{name}layer_norm1", plain.widened(f"{name}ffn.dense0", x), x)
    apart, together = plain.dense("mm_itm_head.dense", np.tanh(plain.dense("pooler.dense", x[0])))
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


def test_texts_are_read_without_punctuation_as_its_authors_do(twin: Callable[..., Path]) -> None:
    """Taken out before the tokenizer, nothing in their place: neighbours touch; offsets stay where they were."""
    scorer = load(twin("rosita"))
    texts = [
        "The kitchen, with two cats!",
        "a r-e_d dog's cat",
        "two: dogs... (near) the 'cat'",
        "un-knowable\u2014cat",
        "!?",
        "",
        "a\tre\u0301d dog",
        "a [MASK] dog",
    ]
    tokens = scorer.tokens(texts)
    differ = 0
    for row, text in enumerate(texts):
        cleaned = re.sub(r"([^\s\w]|_)+", "", text)
        wanted = scorer.tokenizer([cleaned])["input_ids"][0]
        assert tokens.ids[row, : int(tokens.mask[row].sum())].tolist() == wanted
        differ += wanted != scorer.tokenizer([text])["input_ids"][0]
        for start, end in tokens.offsets[row]:
            piece = re.sub(r"([^\s\w]|_)+", "", text[start:end])
            assert bool(piece) == (end > start)
    assert differ >= 5
    pieces = scorer.tokenizer.convert_ids_to_tokens(tokens.ids[1].tolist())
    spelled = {p: texts[1][a:b] for p, (a, b) in zip(pieces, tokens.offsets[1], strict=True) if b > a}
    assert spelled == {"a": "a", "red": "r-e_d", "dog": "dog", "##s": "s", "cat": "cat"}


def test_prepared_texts_keep_their_length(scorer: TransformersCrossEncoder) -> None:
    for text in ("", "don't!", "a\u0301_\U0001f415 b", "İ-\ufffd"):
        assert len(without_punctuation(text)) == len(text)
    with pytest.raises(BadData, match="got one string"):
        scorer.tokens("a cat")


def test_position_is_corners_and_area_as_shares() -> None:
    boxes = np.array([[10, 20, 60, 40], [0, 0, 100, 50]], np.float32)
    vectors = five(Regions("a", 100, 50, boxes, np.zeros((2, 6), np.float32)))
    assert torch.allclose(vectors, torch.tensor([[0.1, 0.4, 0.6, 0.8, 0.2], [0, 0, 1, 1, 1]]))


def nested(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """As the authors' training writes a file: a state dict per module, and the state of the run."""
    modules: dict[str, object] = {"epoch": 40, "net_optim": {"state": {}, "param_groups": [{}]}, "amp": {}}
    for key, tensor in state.items():
        module, rest = key.split(".", 1)
        part = modules.setdefault(module, {})
        assert isinstance(part, dict)
        part[rest] = tensor
    return modules


def test_an_official_file_is_flattened_to_the_names_of_the_table() -> None:
    with torch.device("meta"):
        state = RositaForPretraining(RositaConfig(num_answers=3129)).state_dict()
    found = flattened(nested(state))
    assert {key: tuple(each.shape) for key, each in found.items()} == PUBLISHED
    with pytest.raises(BadData, match="got int under 'answers', wanted a state dict"):
        flattened({"answers": 3})
    with pytest.raises(BadData, match="under 'extra'"):
        flattened({"extra": {"weight": [1.0]}})


@pytest.mark.parametrize("answers", [0, 7])
@pytest.mark.parametrize(("hidden", "layers", "heads"), [(1024, 24, 16), (128, 3, 2)])
def test_sizes_are_read_off_a_state_dict(hidden: int, layers: int, heads: int, answers: int) -> None:
    sizes = {
        "vocab_size": 11,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": 64,
        "type_vocab_size": 3,
        "visual_feat_dim": 10,
        "num_object_classes": 5,
        "num_attribute_classes": 4,
        "num_answers": answers,
    }
    with torch.device("meta"):
        state = RositaForPretraining(RositaConfig(**sizes)).state_dict()
        found = config_from(state)
        again = RositaForPretraining(found)
    assert {name: getattr(found, name) for name in sizes} == sizes
    assert found.architectures == ["RositaForPretraining"]
    assert {key: each.shape for key, each in state.items()} == {
        key: each.shape for key, each in again.state_dict().items()
    }


def test_what_may_be_missing_is_no_part_of_a_score(
    twin: Callable[..., Path], regions: Sequence[Regions], texts: list[str]
) -> None:
    """Without the optional keys the sizes are still found, and other numbers in them change no score."""
    scorer = load(twin("rosita"))
    state = scorer.model.state_dict()
    scores = scorer.score(regions, texts)
    optional = [key for key in state if key.startswith(OPTIONAL) and key not in TIED]
    assert len(optional) == 5 + 10 + 6
    assert config_from({key: state[key] for key in state.keys() - {*optional, *TIED}}).num_answers == 0
    for key in optional:
        state[key].add_(1)
    assert torch.equal(scorer.score(regions, texts), scores)


def test_half_a_state_dict_is_refused_by_name() -> None:
    with pytest.raises(CheckpointMismatch, match=r"got no tensor 'text_embeddings\.word_embeddings\.weight'"):
        config_from({"pooler.dense.bias": torch.zeros(768)})
