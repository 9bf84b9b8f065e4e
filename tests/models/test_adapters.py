"""The table of contracts every dual encoder keeps; a new adapter is one row."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alignscope.errors import LengthMismatch
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import load
from alignscope.models.protocols import DualEncoder, Tokens

TEXTS = [
    "a red dog to the left of a small cat",
    "cat",
    "two spotted cats in the kitchen, above a striped box",
    "",
    "A café near the STRASSE",
    "a red dog to the left of a small cat " * 4,
    "a blue ball",
]


def picture(seed: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


IMAGES = [picture(seed) for seed in range(len(TEXTS))]


@pytest.fixture(scope="module", params=["clip", "siglip", "pair"])
def adapter(request: pytest.FixtureRequest) -> TransformersDualEncoder:
    return load(request.getfixturevalue(f"tiny_{request.param}_dir"))


def close(got: torch.Tensor, want: torch.Tensor, atol: float = 2e-6) -> None:
    assert got.shape == want.shape
    assert len(got) > 0
    torch.testing.assert_close(got, want, rtol=0, atol=atol)


def keeps_the_protocol(adapter: TransformersDualEncoder) -> None:
    assert isinstance(adapter, DualEncoder)
    for rows in (adapter.encode_images(IMAGES), adapter.encode_texts(TEXTS)):
        assert rows.dtype == torch.float32
        assert not rows.requires_grad
        close(rows.norm(dim=-1), torch.ones(len(rows)))


def equals_transformers_forward(adapter: TransformersDualEncoder) -> None:
    """Processor and tokenizer called as the model card does, one forward of the whole model."""
    pixels = adapter.image_processor(images=IMAGES, return_tensors="pt")["pixel_values"]
    length = adapter.traits.context_length
    inputs = adapter.tokenizer(
        TEXTS, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    with torch.no_grad():
        logits = adapter.model(pixel_values=pixels, **inputs).logits_per_image
    assert logits.std() > 0.1
    close(adapter.score_grid(IMAGES, TEXTS), logits, atol=2e-5)
    close(adapter.score(IMAGES, TEXTS), logits.diagonal(), atol=2e-5)


def padding_changes_nothing(adapter: TransformersDualEncoder) -> None:
    """Each text alone, trimmed as far as the adapter trims, against all of them padded to the context."""
    if not adapter.traits.trims_padding:
        assert adapter.tokens(["a cat"]).ids.shape[1] == adapter.traits.context_length
        return
    together = adapter.tokens(TEXTS)
    assert together.ids.shape[1] == adapter.traits.context_length, "one text fills the context"
    with torch.no_grad():
        padded = adapter.embed_tokens(together)
        alone = torch.cat([adapter.embed_tokens(adapter.tokens([text])) for text in TEXTS])
    assert adapter.tokens(["cat"]).ids.shape[1] < adapter.traits.context_length
    close(alone, padded, atol=1e-6)


def order_changes_nothing(adapter: TransformersDualEncoder) -> None:
    order = [4, 0, 6, 2, 5, 1, 3]
    close(adapter.encode_texts([TEXTS[i] for i in order]), adapter.encode_texts(TEXTS)[order])
    close(adapter.encode_images([IMAGES[i] for i in order]), adapter.encode_images(IMAGES)[order])


def batches_change_nothing(adapter: TransformersDualEncoder) -> None:
    close(adapter.encode_texts(TEXTS, batch_size=2), adapter.encode_texts(TEXTS))
    close(adapter.encode_images(IMAGES, batch_size=3), adapter.encode_images(IMAGES))


def duplicates_change_nothing(adapter: TransformersDualEncoder) -> None:
    texts, images = [*TEXTS, *TEXTS[:2], TEXTS[0]], [*IMAGES, *IMAGES[:2], IMAGES[0]]
    again = [*range(7), 0, 1, 0]
    told: list[tuple[int, int]] = []
    rows = adapter.encode_texts(texts, progress=lambda done, of: told.append((done, of)))
    distinct = len({tuple(ids) for ids in adapter.tokens(TEXTS).ids.tolist()})
    assert 5 < distinct <= 7
    assert told[-1] == (distinct, distinct), "each sequence of tokens once"
    close(rows, adapter.encode_texts(TEXTS)[again])
    rows = adapter.encode_images(images, batch_size=4, progress=lambda done, of: told.append((done, of)))
    assert told[1:] == [(4, 7), (7, 7)], "each image once"
    close(rows, adapter.encode_images(IMAGES)[again])
    assert torch.equal(rows[0], rows[-1])


def equal_tokens_tie_exactly(adapter: TransformersDualEncoder) -> None:
    """Texts that differ only beyond the context get the same score, not one that differs by rounding."""
    long = "a red dog to the left of a small cat " * 5
    rows = adapter.encode_texts([long + "cat", "cat", long + "two blue dogs"])
    assert torch.equal(rows[0], rows[2])
    assert not torch.equal(rows[0], rows[1])


def hooks_are_gone_after_an_error(adapter: TransformersDualEncoder) -> None:
    tower = adapter.model.text_model
    hooks = sum(len(module._forward_hooks) for module in adapter.model.modules())
    before = adapter.encode_texts(TEXTS)
    broken = Tokens(torch.tensor([[10**6]]), torch.tensor([[1]]), torch.tensor([0]), (((0, 0),),), (1,))
    with pytest.raises(IndexError), adapter.text_attention():
        adapter.embed_tokens(broken)
    kept: list[list[torch.Tensor]] = []

    def fail_afterwards() -> None:
        with adapter.text_attention() as maps:
            kept.append(maps)
            adapter.embed_tokens(adapter.tokens(TEXTS))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_afterwards()
    (maps,) = kept
    assert len(maps) == tower.config.num_hidden_layers
    adapter.encode_texts(TEXTS)
    assert len(maps) == tower.config.num_hidden_layers, "the tap is closed"
    assert sum(len(module._forward_hooks) for module in adapter.model.modules()) == hooks
    assert tower.config._attn_implementation == "sdpa"
    assert torch.equal(adapter.encode_texts(TEXTS), before)


def attention_is_on_the_graph_and_adds_up(adapter: TransformersDualEncoder) -> None:
    tokens = adapter.tokens(TEXTS)
    with adapter.text_attention() as maps:
        embedded = adapter.embed_tokens(tokens)
        assert adapter.model.vision_model.config._attn_implementation == "sdpa"
        adapter.embed_tokens(tokens)
    layers = adapter.model.text_model.config.num_hidden_layers
    assert len(maps) == 2 * layers, "every call is kept"
    close(embedded.detach(), adapter.encode_texts(TEXTS))
    for attention in maps[:layers]:
        assert attention.shape == (len(TEXTS), 4, *2 * tokens.ids.shape[1:])
        close(attention.sum(dim=-1), torch.ones(attention.shape[:3]))
    gradients = torch.autograd.grad(embedded[:, 0].sum(), maps[:layers])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def reads_where_it_says(adapter: TransformersDualEncoder) -> None:
    """A change of the hidden state at the readout position, and at no other, changes the embedding."""
    tokens = adapter.tokens(TEXTS[:3])
    tower = adapter.model.text_model
    norm = getattr(tower, "final_layer_norm", None) or tower.encoder.layer[-1]
    with torch.no_grad():
        plain = adapter.embed_tokens(tokens)
        for position in range(tokens.ids.shape[1]):

            def push(
                module: object, inputs: object, output: torch.Tensor, at: int = position
            ) -> torch.Tensor:
                output = output.clone()
                output[:, at, 0] += 5
                return output

            handle = norm.register_forward_hook(push)
            moved = (adapter.embed_tokens(tokens) - plain).abs().amax(dim=-1) > 1e-4
            handle.remove()
            assert moved.tolist() == (tokens.readout == position).tolist()


def long_texts_are_counted_not_hidden(adapter: TransformersDualEncoder) -> None:
    tokens = adapter.tokens(TEXTS)
    length = adapter.traits.context_length
    plain = adapter.tokenizer(TEXTS, truncation=False)["input_ids"]
    assert tokens.lengths == tuple(len(ids) for ids in plain)
    assert tokens.truncated(length)[5]
    assert not tokens.truncated(length)[1]
    assert tokens.mask.sum(dim=-1).tolist() == [min(n, length) for n in tokens.lengths]


def odd_images_are_taken(adapter: TransformersDualEncoder) -> None:
    rgb = Image.new("RGB", (30, 30), (200, 200, 200))
    modes = [rgb.convert(mode) for mode in ("L", "RGBA", "CMYK", "P", "LA", "1")]
    sizes = [Image.new("RGB", size, (200, 200, 200)) for size in ((1, 1), (3, 3), (7, 3), (3, 7), (1, 400))]
    assert adapter.pixels([*modes, *sizes]).shape == (11, 3, 32, 32)
    wanted = adapter.pixels([rgb])
    close(adapter.pixels([*modes[:2], *sizes]), wanted.expand(7, -1, -1, -1), atol=1e-5)


def one_to_one_or_an_error(adapter: TransformersDualEncoder) -> None:
    with pytest.raises(LengthMismatch, match=r"2 texts for 7 images.*score_grid"):
        adapter.score(IMAGES, TEXTS[:2])
    assert adapter.score_grid(IMAGES, TEXTS[:2]).shape == (7, 2)
    assert adapter.score([], []).shape == (0,)


def training_mode_is_given_back(adapter: TransformersDualEncoder) -> None:
    adapter.model.train()
    adapter.encode_texts(TEXTS[:1])
    assert adapter.model.training
    assert adapter.model.text_model.training
    adapter.model.eval()


CONTRACTS: list[Callable[[TransformersDualEncoder], None]] = [
    keeps_the_protocol,
    equals_transformers_forward,
    padding_changes_nothing,
    order_changes_nothing,
    batches_change_nothing,
    duplicates_change_nothing,
    equal_tokens_tie_exactly,
    hooks_are_gone_after_an_error,
    attention_is_on_the_graph_and_adds_up,
    reads_where_it_says,
    long_texts_are_counted_not_hidden,
    odd_images_are_taken,
    one_to_one_or_an_error,
    training_mode_is_given_back,
]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_every_adapter_keeps(
    contract: Callable[[TransformersDualEncoder], None], adapter: TransformersDualEncoder
) -> None:
    contract(adapter)


def test_traits_say_how_the_text_is_read(
    tiny_clip_dir: Path, tiny_siglip_dir: Path, tiny_pair_dir: Path
) -> None:
    clip, siglip, pair = (load(d).traits for d in (tiny_clip_dir, tiny_siglip_dir, tiny_pair_dir))
    assert (clip.readout, clip.is_causal, clip.activation, clip.grid) == ("end", True, "quick_gelu", (4, 4))
    assert (siglip.readout, siglip.trims_padding, siglip.activation) == ("last", False, "gelu_pytorch_tanh")
    assert (siglip.bias, clip.bias) == (-1.5, 0)
    assert (pair.readout, pair.is_causal, pair.activation) == ("first", False, "gelu")
    assert clip.scale == pytest.approx(np.exp(2.3), rel=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_scores_are_float32_and_near(tiny_clip_dir: Path, dtype: str) -> None:
    half, full = load(tiny_clip_dir, dtype=dtype), load(tiny_clip_dir)
    assert half.model.text_projection.weight.dtype == getattr(torch, dtype)
    scores = half.score(IMAGES, TEXTS)
    assert scores.dtype == torch.float32
    assert half.traits.scale == full.traits.scale, "the scale is not rounded"
    close(scores, full.score(IMAGES, TEXTS), atol=0.4)
    assert not torch.equal(scores, full.score(IMAGES, TEXTS))
