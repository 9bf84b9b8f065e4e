"""Oscar's directories: its authors', ours, and the broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from oscar_twins import SIZES, WORDS, mixed, oscar

from alignscope.errors import CheckpointError, CheckpointMismatch
from alignscope.models.captioners.captioner_loading import open_captioner, save_captioner
from alignscope.models.captioners.oscar_loading import fresh_oscar

FACTS: dict[str, Any] = {
    **{"num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "img_layer_norm_eps": 1e-12},
    **{
        "img_feature_dim": 11,
        "img_feature_type": "frcnn",
        "hidden_dropout_prob": 0.1,
        "finetuning_task": "x",
    },
}


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A directory as the authors publish it: no class in config.json, a vocab.txt, a pickle of training."""
    made = oscar(dtype=torch.float32, caption_length=40, text_length=70, max_position_embeddings=80)
    directory = tmp_path / "checkpoint-60-66360"
    directory.mkdir()
    torch.save(
        {key: tensor.clone() for key, tensor in made.model.state_dict().items()},
        directory / "pytorch_model.bin",
    )
    (directory / "config.json").write_text(json.dumps(FACTS))
    pieces = sorted(made.speller.tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    (directory / "vocab.txt").write_text("\n".join(piece for piece, _ in pieces))
    (directory / "training_args.bin").write_bytes(b"never read")
    (directory / "special_tokens_map.json").write_text('{"mask_token": "[MASK]"}')
    (directory / "added_tokens.json").write_text("{}")
    return directory


def change(directory: Path, edit: Any) -> None:
    file = directory / "pytorch_model.bin"
    state = torch.load(file, weights_only=True)
    edit(state)
    torch.save(state, file)


def test_a_directory_of_the_authors_writes_the_same(official: Path):
    made = oscar(dtype=torch.float32, caption_length=40, text_length=70, max_position_embeddings=80)
    found = open_captioner(official)
    assert found.name == "checkpoint-60-66360"
    assert found.write(mixed(), beams=5) == made.write(mixed(), beams=5)
    for key, tensor in made.model.state_dict().items():
        assert torch.equal(tensor, found.model.state_dict()[key]), key
    assert not found.model.training


def test_capitals_are_lowered(official: Path):
    words = open_captioner(official).vocabulary
    assert torch.equal(words.ids(["A Red DOG"]), words.ids(["a red dog"]))
    assert words.texts(words.ids(["A Red toad!"])) == (
        "a red toad",
    )  # "!" is none of the twin's pieces: [UNK]


def test_the_image_norm_is_told_by_the_keys_whatever_config_says(official: Path):
    assert open_captioner(official).model.bert.LayerNorm is not None
    change(official, lambda state: [state.pop(f"bert.LayerNorm.{part}") for part in ("weight", "bias")])
    facts = json.loads((official / "config.json").read_text()) | {"use_img_layernorm": 1}
    (official / "config.json").write_text(json.dumps(facts))
    found = open_captioner(official)
    assert found.model.bert.LayerNorm is None
    assert found.model.config.has_image_norm is False


def test_a_checkpoint_of_pre_training_writes_too(official: Path):
    wanted = open_captioner(official).write(mixed())
    change(
        official,
        lambda state: state.update(
            {"cls.seq_relationship.weight": torch.zeros(3, 16), "cls.seq_relationship.bias": torch.zeros(3)}
        ),
    )
    assert open_captioner(official).write(mixed()) == wanted


def test_the_tied_decoder_may_lack_and_may_not_differ(official: Path):
    wanted = open_captioner(official).fingerprint
    change(official, lambda state: state.pop("cls.predictions.decoder.weight"))
    assert open_captioner(official).fingerprint == wanted
    change(
        official,
        lambda state: state.update(
            {"cls.predictions.decoder.weight": torch.ones(len(state["cls.predictions.bias"]), 16)}
        ),
    )
    with pytest.raises(CheckpointMismatch, match="differ, and are one tensor"):
        open_captioner(official)


def test_a_file_that_does_not_fit_is_named(official: Path, tmp_path: Path):
    change(official, lambda state: state.update({"bert.more": torch.zeros(1)}))
    with pytest.raises(CheckpointMismatch, match=r"0 missing; 1 left over \(bert.more\)"):
        open_captioner(official)
    change(official, lambda state: [state.pop("bert.more"), state.pop("bert.pooler.dense.bias")])
    with pytest.raises(CheckpointMismatch, match=r"1 missing \(bert.pooler.dense.bias\)"):
        open_captioner(official)


def test_a_checkpoint_of_retrieval_writes_nothing(official: Path):
    change(official, lambda state: [state.pop(key) for key in [*state] if key.startswith("cls.")])
    with pytest.raises(CheckpointMismatch, match=r"head that predicts words.*retrieval writes nothing"):
        open_captioner(official)


def test_a_directory_without_words_or_with_others_is_refused(official: Path):
    text = (official / "vocab.txt").read_text()
    (official / "vocab.txt").write_text(text + "\nmore")
    with pytest.raises(CheckpointMismatch, match=r"\d+ words in the weights and \d+ in the tokenizer"):
        open_captioner(official)
    (official / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match=r"no vocab.txt.*put the vocab.txt of bert-base-uncased there"):
        open_captioner(official)
    with pytest.raises(CheckpointError, match="tokenizer of its own"):
        open_captioner(official, vocabulary=official / "x.json")


def test_a_pickle_with_code_is_refused(official: Path):
    torch.save({"a": Path("x")}, official / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_captioner(official)


def test_a_saved_captioner_is_the_same_when_opened(official: Path, tmp_path: Path):
    for number, made in enumerate((oscar(dtype=torch.float32), open_captioner(official))):
        save_captioner(made, tmp_path / f"saved-{number}")
        found = open_captioner(tmp_path / f"saved-{number}")
        assert (tmp_path / f"saved-{number}" / "model.safetensors").is_file()
        assert found.fingerprint == made.fingerprint
        assert found.write(mixed(), beams=3) == made.write(mixed(), beams=3)
    with pytest.raises(CheckpointError, match="tokenizer of its own"):
        open_captioner(tmp_path / "saved-0", vocabulary=tmp_path / "x.json")


def test_a_seed_tells_all_weights_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    prints = [fresh_oscar(SIZES, WORDS, seed=seed, name="x").fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    assert torch.equal(before, torch.get_rng_state())


def test_it_computes_in_the_dtype_that_is_asked_for(official: Path):
    found, whole = open_captioner(official, dtype="bfloat16"), open_captioner(official)
    (one,), (other,) = found.inside(mixed()[:1]), whole.inside(mixed()[:1])
    assert found.model.dtype == torch.bfloat16
    assert one.attention.dtype == one.states.dtype == torch.float32
    torch.testing.assert_close(one.attention[0], other.attention[0], rtol=0, atol=0.05)
    assert found.write(mixed()[:1], beams=2)[0].confidence > 0
