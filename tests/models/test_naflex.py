"""SigLIP 2 of variable resolution: images keep their proportions, so there is no one tensor of pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alignscope.errors import Unsupported
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import load

TEXTS = ["a red dog to the left of a small cat", "cat", "", "a blue ball " * 9]
SIZES = [(40, 32), (16, 64), (90, 30), (8, 8)]
NOISE = np.random.default_rng(0)
IMAGES = [Image.fromarray(NOISE.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in SIZES]


@pytest.fixture(scope="module")
def naflex(tiny_siglip2_dir: Path) -> TransformersDualEncoder:
    return load(tiny_siglip2_dir)


def test_scores_are_those_of_transformers(naflex: TransformersDualEncoder) -> None:
    pictures = naflex.image_processor(images=IMAGES, return_tensors="pt")
    assert len(set(map(tuple, pictures["spatial_shapes"].tolist()))) > 2, "shapes differ"
    texts = naflex.tokenizer(TEXTS, padding="max_length", truncation=True, max_length=16, return_tensors="pt")
    with torch.no_grad():
        logits = naflex.model(**pictures, **texts).logits_per_image
    assert logits.std() > 0.1
    torch.testing.assert_close(naflex.score_grid(IMAGES, TEXTS), logits, rtol=0, atol=2e-5)


def test_order_batches_and_repeats_change_nothing(naflex: TransformersDualEncoder) -> None:
    rows = naflex.encode_images(IMAGES)
    order = [2, 0, 3, 1, 0]
    got = naflex.encode_images([IMAGES[i] for i in order], batch_size=2)
    torch.testing.assert_close(got, rows[order], rtol=0, atol=2e-6)


def test_the_text_side_is_siglips(naflex: TransformersDualEncoder) -> None:
    traits = naflex.traits
    assert (traits.readout, traits.trims_padding, traits.context_length) == ("last", False, 16)
    assert (traits.grid, traits.image_readout, traits.bias) == (None, None, -1.5)
    with naflex.text_attention() as maps, naflex.text_inputs() as inputs:
        score = naflex.embed_tokens(naflex.tokens(TEXTS))[:, 0].sum()
    assert len(maps) == 3
    torch.testing.assert_close(maps[0].sum(dim=-1), torch.ones(4, 4, 16))
    assert all(g.abs().max() > 0 for g in torch.autograd.grad(score, [*maps, *inputs]))


def test_what_needs_one_tensor_of_pixels_is_refused(naflex: TransformersDualEncoder) -> None:
    with pytest.raises(Unsupported, match="pixel_values, pixel_attention_mask, spatial_shapes and not one"):
        naflex.pixels(IMAGES)
    with pytest.raises(Unsupported, match="no image tower of type 'siglip2_vision_model'"):
        naflex.image_attention().__enter__()


def test_half_precision_and_scrambling(naflex: TransformersDualEncoder, tiny_siglip2_dir: Path) -> None:
    half = load(tiny_siglip2_dir, dtype="bfloat16")
    assert (half.encode_images(IMAGES) - naflex.encode_images(IMAGES)).abs().max() < 0.05
    other = naflex.scrambled(seed=0)
    assert (other.encode_images(IMAGES) - naflex.encode_images(IMAGES)).abs().max() > 0.1
    assert other.traits.scale == naflex.traits.scale
