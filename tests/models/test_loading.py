"""Checkpoints: every key accounted for, broken files named, fingerprints that notice."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from alignscope.errors import CheckpointError, CheckpointMismatch, Unsupported
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import load


@pytest.fixture
def copy_of_clip(tiny_clip_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_clip_dir, tmp_path / "copy"))


def change_weights(directory: Path, change: Any) -> None:
    state = load_file(directory / "model.safetensors")
    change(state)
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_missing_key_is_named(copy_of_clip: Path) -> None:
    change_weights(copy_of_clip, lambda state: state.pop("text_projection.weight"))
    with pytest.raises(CheckpointMismatch, match=r"1 missing \(text_projection.weight\); 0 left over"):
        load(copy_of_clip)


def test_a_left_over_key_is_named(copy_of_clip: Path) -> None:
    change_weights(copy_of_clip, lambda state: state.update(extra=torch.zeros(1)))
    with pytest.raises(CheckpointMismatch, match=r"0 missing; 1 left over \(extra\)"):
        load(copy_of_clip)


def test_a_wrong_shape_is_named(copy_of_clip: Path) -> None:
    change_weights(copy_of_clip, lambda state: state.update({"text_projection.weight": torch.zeros(16, 31)}))
    with pytest.raises(
        CheckpointMismatch, match=r"text_projection.weight: got \(16, 31\), wanted \(16, 32\)"
    ):
        load(copy_of_clip)


def test_a_checkpoint_without_the_text_tower_lists_eight_and_counts_the_rest(copy_of_clip: Path) -> None:
    def drop(state: dict[str, torch.Tensor]) -> None:
        for name in [n for n in state if n.startswith("text_model.")]:
            del state[name]

    change_weights(copy_of_clip, drop)
    with pytest.raises(CheckpointMismatch, match=r"5\d missing \(text_model\..*, and 4\d more\)"):
        load(copy_of_clip)


def test_a_directory_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config.json"):
        load(tmp_path)


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_truncated_weights(copy_of_clip: Path, keep: int) -> None:
    weights = copy_of_clip / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="its weights cannot be loaded"):
        load(copy_of_clip)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", "its weights cannot be loaded"),
        ("preprocessor_config.json", "its image processor cannot be loaded"),
        ("tokenizer.json", "no tokenizer.json"),
    ],
)
def test_an_absent_part_is_named(copy_of_clip: Path, name: str, message: str) -> None:
    (copy_of_clip / name).unlink()
    with pytest.raises(CheckpointError, match=message):
        load(copy_of_clip)


def test_a_plain_vocabulary_makes_the_same_tokens(tiny_chinese_clip_dir: Path, tmp_path: Path) -> None:
    """Published Chinese CLIP comes with vocab.txt."""
    plain = Path(shutil.copytree(tiny_chinese_clip_dir, tmp_path / "plain"))
    rows = load(plain).tokenizer.get_vocab()
    (plain / "vocab.txt").write_text("\n".join(sorted(rows, key=rows.__getitem__)))
    (plain / "tokenizer.json").unlink()
    (plain / "tokenizer_config.json").write_text('{"model_max_length": 24}')
    got, wanted = (load(d).tokens(["A red café"]) for d in (plain, tiny_chinese_clip_dir))
    assert got.ids.tolist() == wanted.ids.tolist()
    assert got.offsets == wanted.offsets


@pytest.mark.parametrize("place", ["text_model.roberta.embeddings", "vision_model.embeddings"])
def test_positions_that_older_versions_saved_are_no_weights(
    place: str, tiny_altclip_dir: Path, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(tiny_altclip_dir, tmp_path / "old"))
    change_weights(old, lambda state: state.update({f"{place}.position_ids": torch.arange(17)[None]}))
    assert load(old).fingerprint == load(tiny_altclip_dir).fingerprint


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_broken_json_is_an_error_of_the_checkpoint(copy_of_clip: Path, name: str) -> None:
    (copy_of_clip / name).write_text('{"model_type": "clip", ')
    with pytest.raises(CheckpointError):
        load(copy_of_clip)


def test_a_pickle_that_runs_code_is_refused(copy_of_clip: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (trace,))

    (copy_of_clip / "model.safetensors").unlink()
    torch.save({"x": Evil()}, copy_of_clip / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="none of its code was run") as refusal:
        load(copy_of_clip)
    assert "weights_only" not in str(refusal.value)  # torch's advice to run it all the same
    assert not trace.exists()


@pytest.mark.parametrize(("number", "dtype"), [(float("nan"), "float32"), (1e6, "float16")])
def test_weights_that_are_not_finite_are_named(copy_of_clip: Path, number: float, dtype: str) -> None:
    change_weights(copy_of_clip, lambda state: state["text_projection.weight"][0].fill_(number))
    with pytest.raises(
        CheckpointError, match=rf"1 weights with NaN .* in {dtype} \(text_projection.weight\)"
    ):
        load(copy_of_clip, dtype=dtype)


def test_images_of_a_size_the_tower_does_not_take(copy_of_clip: Path) -> None:
    square = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    change_json(copy_of_clip / "preprocessor_config.json", **square)
    with pytest.raises(CheckpointMismatch, match=r"gives 64 x 64 pixels .* wants 32 x 32"):
        load(copy_of_clip)


def test_other_families_are_told_where_to_look(copy_of_clip: Path) -> None:
    change_json(copy_of_clip / "config.json", architectures=["ViltModel"], model_type="vilt")
    with pytest.raises(CheckpointError, match=r"is a ViltModel, wanted a dual.*alignscope list models"):
        load(copy_of_clip)


def test_other_models_are_refused_by_kind(copy_of_clip: Path) -> None:
    change_json(copy_of_clip / "config.json", architectures=["CLIPVisionModel"])
    with pytest.raises(CheckpointError, match="is a CLIPVisionModel, wanted a dual encoder: CLIPModel"):
        load(copy_of_clip)
    change_json(copy_of_clip / "config.json", architectures=["BlipModel"], model_type="blip")
    with pytest.raises(CheckpointError, match="is a BlipModel"):
        load(copy_of_clip)
    change_json(copy_of_clip / "config.json", model_type="no-such-model")
    with pytest.raises(CheckpointError):
        load(copy_of_clip)


def text_config(directory: Path, **values: Any) -> None:
    path = directory / "config.json"
    change_json(path, text_config={**json.loads(path.read_text())["text_config"], **values})


def test_an_end_token_the_tokenizer_never_writes(copy_of_clip: Path) -> None:
    text_config(copy_of_clip, eos_token_id=300)
    with pytest.raises(CheckpointMismatch, match=r"read at token 300.*ends texts with 1"):
        load(copy_of_clip)
    text_config(copy_of_clip, eos_token_id=2)  # the legacy rule reads at the highest id
    with pytest.raises(CheckpointMismatch, match=r"own tokenizer, or set eos_token_id in config.json"):
        load(copy_of_clip)


def test_fingerprint_survives_saving_and_calls(tiny_clip_dir: Path, tmp_path: Path) -> None:
    model = load(tiny_clip_dir)
    model.tokens(["a cat", "dog " * 50])
    before = model.fingerprint
    assert len(before) == 64
    for part in (model.model, model.tokenizer, model.image_processor):
        part.save_pretrained(tmp_path)
    assert load(tmp_path).fingerprint == before


def test_one_changed_weight_changes_the_fingerprint_of_a_living_model(tiny_clip_dir: Path) -> None:
    model = load(tiny_clip_dir)
    before = model.fingerprint
    assert model.fingerprint == before
    with torch.no_grad():
        model.model.text_projection.weight[0, 0] += 1e-6
    assert model.fingerprint != before


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("preprocessor_config.json", {"image_mean": [0.5, 0.5, 0.5]}),
        ("config.json", {"activation": "gelu"}),
    ],
)
def test_preprocessing_and_activation_are_in_the_fingerprint(
    tiny_clip_dir: Path, copy_of_clip: Path, name: str, values: dict[str, Any]
) -> None:
    if name == "config.json":
        text_config(copy_of_clip, hidden_act=values["activation"])
    else:
        change_json(copy_of_clip / name, **values)
    assert load(copy_of_clip).fingerprint != load(tiny_clip_dir).fingerprint


@pytest.mark.parametrize("values", [{"model_max_length": 10}, {"pad_token": "<unk>"}])
def test_how_texts_are_cut_and_padded_is_in_the_fingerprint(
    tiny_siglip_dir: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    other = Path(shutil.copytree(tiny_siglip_dir, tmp_path / "copy"))
    change_json(other / "tokenizer_config.json", **values)
    changed, before = load(other), load(tiny_siglip_dir)
    assert not torch.allclose(changed.encode_texts(["a cat"]), before.encode_texts(["a cat"]), atol=0.01)
    assert changed.fingerprint != before.fingerprint


def test_pooling_of_convolutions_is_in_the_fingerprint(tiny_align_dir: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_align_dir, tmp_path / "copy"))
    vision = json.loads((other / "config.json").read_text())["vision_config"]
    change_json(other / "config.json", vision_config={**vision, "pooling_type": "max"})
    assert load(other).fingerprint != load(tiny_align_dir).fingerprint


def test_the_bias_of_siglip_is_exact_in_half_precision(tiny_siglip_dir: Path, tmp_path: Path) -> None:
    """Published SigLIP's is about -12.9, which bfloat16 moves by up to a thirtieth."""
    other = Path(shutil.copytree(tiny_siglip_dir, tmp_path / "copy"))
    change_weights(other, lambda state: state["logit_bias"].fill_(-12.932))
    half, full = load(other, dtype="bfloat16"), load(other)
    assert half.traits.bias == full.traits.bias == pytest.approx(-12.932, abs=1e-5)


def test_the_scale_of_align_is_exact_in_half_precision(tiny_align_dir: Path) -> None:
    half, full = load(tiny_align_dir, dtype="bfloat16"), load(tiny_align_dir)
    assert half.model.text_projection.weight.dtype == torch.bfloat16
    assert half.traits.scale == full.traits.scale == pytest.approx(10, rel=1e-6)


def test_a_family_nobody_wrote_down_is_refused(tiny_clip_dir: Path) -> None:
    saved = load(tiny_clip_dir)
    saved.model.config.model_type = "clipseg"
    with pytest.raises(Unsupported, match="no dual encoder of type 'clipseg' is known, only clip, siglip"):
        TransformersDualEncoder(saved.model, saved.tokenizer, saved.image_processor, name="odd")


def test_a_model_in_training_is_wrapped_as_it_is(tiny_clip_dir: Path) -> None:
    saved = load(tiny_clip_dir)
    living = TransformersDualEncoder(saved.model, saved.tokenizer, saved.image_processor, name="step 7")
    assert living.name == "step 7"
    assert living.fingerprint == saved.fingerprint
    assert torch.equal(living.encode_texts(["a cat"]), saved.encode_texts(["a cat"]))
