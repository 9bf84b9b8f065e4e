"""The table of contracts every dual encoder keeps; a new adapter is one row."""

import copy
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from alignscope.errors import LengthMismatch
from alignscope.models import fingerprint
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


FAMILIES = ["clip", "siglip", "pair", "roberta_pair", "align", "altclip", "chinese_clip", "metaclip"]
IMAGES = [picture(seed) for seed in range(len(TEXTS))]


@pytest.fixture(scope="module", params=FAMILIES)
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
    """In each `with` the tower fails, then the caller; afterwards nothing listens and nothing is changed."""
    towers = [adapter.model.text_model, adapter.model.vision_model]
    attention = [tower.config._attn_implementation for tower in towers]
    hooks = hooks_of(adapter)
    before = adapter.encode_texts(TEXTS), adapter.encode_images(IMAGES)
    broken = Tokens(torch.tensor([[10**6]]), torch.tensor([[1]]), torch.tensor([0]), (((0, 0),),), (1,))
    pixels = adapter.pixels(IMAGES)
    for tap in (adapter.text_attention, adapter.text_inputs, adapter.image_attention):
        with pytest.raises(IndexError), tap():
            adapter.embed_tokens(broken)
        kept: list[list[torch.Tensor]] = []

        def fail_afterwards(tap: Callable[[], Any] = tap, kept: list[Any] = kept) -> None:
            with tap() as found:
                kept.append(found)
                adapter.embed_tokens(adapter.tokens(TEXTS))
                adapter.embed_pixels(pixels)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail_afterwards()
        (found,) = kept
        calls = len(found)
        assert calls > 0
        after = adapter.encode_texts(TEXTS), adapter.encode_images(IMAGES)
        assert len(found) == calls, "the tap is closed"
        assert hooks_of(adapter) == hooks
        assert [tower.config._attn_implementation for tower in towers] == attention
        assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def hooks_of(adapter: TransformersDualEncoder) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in adapter.model.modules())


def attention_is_on_the_graph_and_adds_up(adapter: TransformersDualEncoder) -> None:
    tokens = adapter.tokens(TEXTS)
    images = adapter.model.vision_model.config._attn_implementation
    with adapter.text_attention() as maps:
        embedded = adapter.embed_tokens(tokens)
        assert adapter.model.vision_model.config._attn_implementation == images
        adapter.embed_tokens(tokens)
    layers = adapter.model.text_model.config.num_hidden_layers
    assert len(maps) == 2 * layers, "every call is kept"
    for attention in maps[:layers]:
        assert attention.shape == (len(TEXTS), 4, *2 * tokens.ids.shape[1:])
        close(attention.sum(dim=-1), torch.ones(attention.shape[:3]))
    gradients = torch.autograd.grad(embedded[:, 0].sum(), maps[:layers])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def masks_hold_inside_the_tap(adapter: TransformersDualEncoder) -> None:
    """What a tower may not see has attention 0 exactly, and embeddings are those of the fused path."""
    tokens = adapter.tokens(TEXTS)
    assert (tokens.mask == 0).any()
    with torch.no_grad():
        outside = adapter.embed_tokens(tokens)
        with adapter.text_attention() as maps:
            inside = adapter.embed_tokens(tokens)
    close(inside, outside, atol=5e-6)  # a dropped mask moves them by more than 0.01
    causal, reads_padding = adapter.traits.is_causal, not adapter.traits.trims_padding
    for attention in maps:
        future = attention.triu(diagonal=1)
        real = tokens.mask[:, None, :, None].bool()  # what padding itself looks at concerns nobody
        padding = attention.masked_select(real & (tokens.mask == 0)[:, None, None, :])
        assert (future.count_nonzero() == 0) == causal
        assert (padding.count_nonzero() == 0) == (not reads_padding)


def text_inputs_carry_gradients(adapter: TransformersDualEncoder) -> None:
    """Added up per token id they are the table's own gradient; frozen weights and eager change nothing."""
    tokens = adapter.tokens(TEXTS)
    with adapter.text_inputs() as found:
        score = adapter.embed_tokens(tokens)[:, 0].sum()
    (entered,) = found
    table = adapter.model.text_model.get_input_embeddings()
    assert entered.shape == (*tokens.ids.shape, table.embedding_dim)
    at_tokens, at_table = torch.autograd.grad(score, [entered, table.weight])
    summed = torch.zeros_like(at_table).index_add(0, tokens.ids.flatten(), at_tokens.flatten(0, 1))
    if table.padding_idx is not None:
        summed[table.padding_idx] = 0  # torch trains no padding row
    assert at_table.abs().max() > 1e-3
    close(summed, at_table, atol=1e-5)
    frozen = replica(adapter)
    frozen.model.requires_grad_(False)
    for eager in (nullcontext(), frozen.text_attention()):
        with eager, frozen.text_inputs() as found:
            embedded = frozen.embed_tokens(tokens)
        (again,) = torch.autograd.grad(embedded[:, 0].sum(), found)
        close(again, at_tokens, atol=1e-5)
    with torch.no_grad(), frozen.text_inputs() as found:
        frozen.embed_tokens(tokens)
    assert not found[0].requires_grad


def second_derivatives_are_right(adapter: TransformersDualEncoder) -> None:
    """Of a function of the gradients at attention and inputs, against central differences in float64."""
    exact = replica(adapter)
    exact.model.double()
    tokens = exact.tokens(TEXTS[:3])
    weights = [p for n, p in exact.model.text_model.named_parameters() if ".1." in n and p.ndim == 2]
    generator = torch.Generator().manual_seed(0)
    steps = [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in weights]

    def roughness() -> torch.Tensor:
        with exact.text_attention() as maps, exact.text_inputs() as found:
            score = exact.embed_tokens(tokens)[:, 0].sum()
        gradients = torch.autograd.grad(score, [*maps, *found], create_graph=True)
        return sum((g.square().sum() for g in gradients), torch.zeros(()))

    slopes = torch.autograd.grad(roughness(), weights)
    slope = sum((s * step).sum().item() for s, step in zip(slopes, steps, strict=True))
    values = []
    for width in (1e-5, -2e-5):
        with torch.no_grad():
            for weight, step in zip(weights, steps, strict=True):
                weight += width * step
        values.append(roughness().item())
    assert abs(slope) > 1e-6
    assert slope == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-4)


def float64_stays_float64(adapter: TransformersDualEncoder) -> None:
    exact = replica(adapter)
    exact.model.double()
    texts, images = exact.encode_texts(TEXTS), exact.encode_images(IMAGES)
    assert texts.dtype == images.dtype == torch.float32
    close(texts, adapter.encode_texts(TEXTS), atol=1e-5)
    with torch.no_grad(), exact.text_attention() as maps:
        together = exact.embed_tokens(exact.tokens(TEXTS))
        alone = torch.cat([exact.embed_tokens(exact.tokens([text])) for text in TEXTS])
        pixels = exact.embed_pixels(exact.pixels(IMAGES))
    assert together.dtype == pixels.dtype == maps[0].dtype == torch.float64
    close(together, alone, atol=1e-12)  # one rounding to float32 on the way would show at 1e-8
    close(maps[0].sum(dim=-1), torch.ones(maps[0].shape[:3], dtype=torch.float64), atol=1e-12)


def scrambled_has_learned_nothing_and_changes_nothing(adapter: TransformersDualEncoder) -> None:
    before, texts = adapter.fingerprint, adapter.encode_texts(TEXTS)
    first, again, other = (adapter.scrambled(seed=seed) for seed in (1, 1, 2))
    assert first.name == f"{adapter.name}-scrambled"
    assert first.fingerprint == again.fingerprint
    assert len({before, first.fingerprint, other.fingerprint}) == 3
    assert (first.traits.scale, first.traits.bias) == (adapter.traits.scale, adapter.traits.bias)
    assert first.tokenizer is adapter.tokenizer
    moved = []
    for (name, mine), theirs in zip(
        adapter.model.state_dict().items(), first.model.state_dict().values(), strict=True
    ):
        assert torch.equal(mine.flatten().sort().values, theirs.flatten().sort().values), name
        moved.append(not torch.equal(mine, theirs))
        assert mine.data_ptr() != theirs.data_ptr() or mine.numel() == 0
    assert sum(moved) > 30
    assert (first.encode_texts(TEXTS) - texts).abs().max() > 0.1
    fingerprint._READ.pop(adapter.model)  # computed anew, not remembered
    assert adapter.fingerprint == before
    assert torch.equal(adapter.encode_texts(TEXTS), texts)


def saving_changes_nothing(adapter: TransformersDualEncoder) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for part in (adapter.model, adapter.tokenizer, adapter.image_processor):
            part.save_pretrained(directory)
        again = load(directory)
    assert again.fingerprint == adapter.fingerprint
    assert again.traits == adapter.traits
    assert torch.equal(again.encode_texts(TEXTS), adapter.encode_texts(TEXTS))


def replica(adapter: TransformersDualEncoder) -> TransformersDualEncoder:
    model = copy.deepcopy(adapter.model)
    return TransformersDualEncoder(model, adapter.tokenizer, adapter.image_processor, name="replica")


def reads_where_it_says(adapter: TransformersDualEncoder) -> None:
    """A change of the last layer's output at the readout position, and at no other, changes the embedding."""
    tokens = adapter.tokens(TEXTS[:3])
    tower = adapter.model.text_model
    layers = next(m for m in tower.modules() if isinstance(m, nn.ModuleList))
    with torch.no_grad():
        plain = adapter.embed_tokens(tokens)
        for position in range(tokens.ids.shape[1]):

            def push(
                module: object, inputs: object, output: torch.Tensor, at: int = position
            ) -> torch.Tensor:
                output = output.clone()
                output[:, at, 0] += 5
                return output

            handle = layers[-1].register_forward_hook(push)
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
    masks_hold_inside_the_tap,
    text_inputs_carry_gradients,
    second_derivatives_are_right,
    float64_stays_float64,
    scrambled_has_learned_nothing_and_changes_nothing,
    saving_changes_nothing,
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


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_scores_are_float32_and_near(tiny_clip_dir: Path, dtype: str) -> None:
    half, full = load(tiny_clip_dir, dtype=dtype), load(tiny_clip_dir)
    assert half.model.text_projection.weight.dtype == getattr(torch, dtype)
    scores = half.score(IMAGES, TEXTS)
    assert scores.dtype == torch.float32
    assert half.traits.scale == full.traits.scale, "the scale is not rounded"
    close(scores, full.score(IMAGES, TEXTS), atol=0.4)
    assert not torch.equal(scores, full.score(IMAGES, TEXTS))
