"""What every dual encoder's traits say, and that what they leave out is refused."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import transformers
from PIL import Image

from alignscope.attribution.patches import patch_heats
from alignscope.attribution.tokens import require
from alignscope.errors import Unsupported
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import load

TRAITS = {
    "clip": ("end", True, True, "quick_gelu", (4, 4), np.exp(2.3), 0),
    "siglip": ("last", False, False, "gelu_pytorch_tanh", (4, 4), np.exp(2.3), -1.5),
    "pair": ("first", False, True, "gelu", (4, 4), np.exp(2.3), 0),
    "roberta_pair": ("first", False, True, "gelu", (4, 4), np.exp(2.3), 0),
    "align": ("first", False, True, "gelu", None, 1 / 0.1, 0),
    "altclip": ("first", False, True, "gelu", (4, 4), np.exp(2.3), 0),
    "chinese_clip": ("first", False, True, "gelu", (4, 4), np.exp(2.3), 0),
    "metaclip": ("end", True, True, "quick_gelu", (4, 4), np.exp(2.3), 0),
}


@pytest.mark.parametrize("name", TRAITS)
def test_traits_say_how_the_text_is_read(name: str, request: pytest.FixtureRequest) -> None:
    traits = load(request.getfixturevalue(f"tiny_{name}_dir")).traits
    facts = (traits.readout, traits.is_causal, traits.trims_padding, traits.activation, traits.grid)
    assert (*facts, pytest.approx(traits.scale, rel=1e-6), traits.bias) == TRAITS[name]
    assert traits.context_length == (16 if name == "siglip" else 24)
    assert traits.attributions == ("attention", "gradcam", "gradient", "perturbation")


def test_images_that_are_not_square_have_rows_and_columns(tiny_pair_dir: Path) -> None:
    saved = load(tiny_pair_dir)
    config = copy.deepcopy(saved.model.config)
    config.vision_config.image_size = [32, 48]  # height, width
    processor = transformers.CLIPImageProcessorPil(size={"height": 32, "width": 48}, do_center_crop=False)
    model = transformers.VisionTextDualEncoderModel(config).eval()
    oblong = TransformersDualEncoder(model, saved.tokenizer, processor, name="oblong")
    assert oblong.traits.grid == (4, 6)
    image = Image.effect_noise((90, 60), 50).convert("RGB")
    heats = patch_heats(oblong, oblong.pixels([image]), oblong.encode_texts(["a cat"]))
    assert heats.shape == (1, 4, 6)


def test_what_the_traits_leave_out_is_refused(tiny_pair_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = load(tiny_pair_dir)
    config = copy.deepcopy(saved.model.config)
    vision = transformers.DeiTConfig(**{k: getattr(config.vision_config, k) for k in ("hidden_size",)})
    vision.num_hidden_layers, vision.num_attention_heads, vision.intermediate_size = 1, 4, 8
    both = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(vision, config.text_config)
    model = transformers.VisionTextDualEncoderModel(both).eval()
    deit = TransformersDualEncoder(model, saved.tokenizer, saved.image_processor, name="deit")
    assert deit.traits.image_readout is None
    with pytest.raises(Unsupported, match="no image tower of type 'deit' is known"), deit.image_attention():
        pass
    few = replace(deit.traits, attributions=("perturbation",))
    monkeypatch.setattr(TransformersDualEncoder, "traits", property(lambda self: few))
    require(deit, ["perturbation"])
    with pytest.raises(Unsupported, match="deit gives no gradcam, attention, only perturbation"):
        require(deit, ["gradcam", "perturbation", "attention"])
