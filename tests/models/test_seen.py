"""Opening captioners whose inside is read."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from captioner_twins import CAPTIONERS, VISION, captioner, picture
from oscar_twins import oscar, sight
from trainable_captioners import captioner as own
from trainable_captioners import sights

from alignscope.errors import CheckpointError, UnknownName, Unsupported
from alignscope.models.captioners.captioner_loading import open_captioner, save_captioner
from alignscope.models.captioners.inside import SeenInside
from alignscope.models.captioners.seen import named_captioners, open_seen

Twin = Callable[[str], Path]


@pytest.mark.parametrize("kind", CAPTIONERS)
def test_captioners_of_transformers_open(kind, twin):
    opened = open_seen(twin(kind))
    assert isinstance(opened, SeenInside)
    assert opened.name == f"tiny-random-{kind}"
    assert opened.fingerprint == open_captioner(twin(kind)).fingerprint
    assert opened.inside([picture(0)])[0].kinds.count("patch") == 16


def test_vinvl_and_our_transformer_open(tmp_path):
    for made, image in (
        (oscar(dtype=torch.float32), sight()),
        (own("transformer"), sights("transformer")[0]),
    ):
        directory = tmp_path / made.name
        save_captioner(made, directory)
        opened = open_seen(directory)
        assert opened.fingerprint == made.fingerprint
        (found,) = opened.inside([image])
        assert "region" in found.kinds
        assert 0 < opened.write([image])[0].confidence <= 1


@pytest.mark.parametrize("kind", ["fc", "attention-lstm"])
def test_what_is_seen_must_attend_to_something(kind, tmp_path):
    save_captioner(own(kind), tmp_path)
    with pytest.raises(Unsupported, match=rf"{tmp_path} is a \w+Captioner, in which what is seen attends to"):
        open_seen(tmp_path)


def test_an_encoder_in_windows_is_refused_by_name(tmp_path):
    _, parts = captioner("vit-gpt2")
    sizes = {
        "embed_dim": 8,
        "depths": [1],
        "num_heads": [2],
        "window_size": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    tower = transformers.SwinConfig(**sizes)
    text = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=48, vocab_size=len(parts[0]))
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(tower, text)
    config.decoder_start_token_id = config.pad_token_id = parts[0].eos_token_id
    transformers.VisionEncoderDecoderModel(config).save_pretrained(tmp_path)
    for part in parts:
        part.save_pretrained(tmp_path)
    with pytest.raises(Unsupported, match="of swin and gpt2 is not read: take BLIP, GIT, or a Vision"):
        open_seen(tmp_path)


def test_a_name_opens_what_comes_with_the_package():
    assert named_captioners() == ["tiny-vinvl", "tiny-vinvl-scenes"]
    assert [open_seen(name).name for name in named_captioners()] == named_captioners()
    with pytest.raises(UnknownName, match=r"no captioner named 'tiny-vinlv', .* did you mean 'tiny-vinvl'"):
        open_seen("tiny-vinlv")


def test_models_that_write_no_captions_are_refused(twin, tmp_path):
    with pytest.raises(CheckpointError, match="LlavaForConditionalGeneration, wanted a captioner"):
        open_seen(twin("llava"))
    transformers.ViTConfig(**VISION).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="is a vit, wanted a captioner"):
        open_seen(tmp_path)


def test_a_named_model_that_writes_nothing_is_told():
    with pytest.raises(UnknownName, match=r"tiny-clip writes no captions, wanted .* one of .*tiny-vinvl"):
        open_seen("tiny-clip")
