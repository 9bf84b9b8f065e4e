"""Relevance propagation against plain slow code, a hand-worked case and a per-caption loop."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from alignscope.attribution.gradcam import counted, gradcam, layer_relevance, readout_row, token_heats
from alignscope.errors import LengthMismatch
from alignscope.models.protocols import DualEncoder
from alignscope.models.zoo import open_model

TEXTS = [
    "a red dog to the left of a small cat",
    "two spotted cats in the kitchen",
    "The café's BLUE ball, inside a bowl",
    "cat",
    "a red dog to the left of a small cat " * 5,
]


@pytest.fixture(scope="module", params=["clip", "siglip", "pair"])
def model(request: pytest.FixtureRequest) -> DualEncoder:
    return open_model(request.getfixturevalue(f"tiny_{request.param}_dir"))


def image_rows(model: DualEncoder, count: int) -> Tensor:
    """Any unit vectors will do for image embeddings."""
    width = model.encode_texts(["a"]).shape[1]
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.normalize(rows, dim=-1)


def slow_reference(model: DualEncoder, text: str, image: Tensor, layers: str) -> Tensor:
    """One caption, transformers' own `output_attentions`, one gradient per layer, the whole matrix R."""
    clip = model.model
    clip.text_model.set_attn_implementation("eager")
    try:
        tokens = model.tokens([text])
        mask = None if model.traits.readout == "last" else tokens.mask
        output = clip.get_text_features(input_ids=tokens.ids, attention_mask=mask, output_attentions=True)
        embedding = output.pooler_output[0] / output.pooler_output[0].norm()
        score = clip.logit_scale.exp() * (embedding * image).sum()
        length = tokens.ids.shape[1]
        relevance = torch.eye(length)
        for attention in output.attentions if layers == "all" else output.attentions[-1:]:
            (gradient,) = torch.autograd.grad(score, attention, retain_graph=True)
            per_head = [(g * a).clamp(min=0) for g, a in zip(gradient[0], attention[0], strict=True)]
            mean = sum(per_head) / len(per_head)
            relevance = relevance + mean @ relevance
    finally:
        clip.text_model.set_attn_implementation("sdpa")
    position = int(tokens.readout[0])
    row = relevance[position].detach().clone()
    row[position] = 0
    for token, (start, end) in enumerate(tokens.offsets[0]):
        if start == end:
            row[token] = 0
    return row


@pytest.mark.parametrize("layers", ["all", "last"])
def test_equals_the_slow_reference(model: DualEncoder, layers: str) -> None:
    images = image_rows(model, len(TEXTS))
    heats, compared = gradcam(model, TEXTS, images, layers=layers), 0
    for text, image, heat in zip(TEXTS, images, heats, strict=True):
        wanted = slow_reference(model, text, image, layers)
        compared += int(wanted.max() > 1e-3)
        torch.testing.assert_close(heat[: len(wanted)], wanted, rtol=1e-4, atol=1e-6 * wanted.max().item())
        assert heat[len(wanted) :].abs().sum() == 0
    assert compared >= len(TEXTS) - 1, "too little to compare"


def test_one_backward_for_the_batch_equals_a_loop_over_captions(model: DualEncoder) -> None:
    images = image_rows(model, len(TEXTS))
    together = gradcam(model, TEXTS, images)
    alone = [gradcam(model, [t], images[i : i + 1])[0] for i, t in enumerate(TEXTS)]
    for batched, single in zip(together, alone, strict=True):
        difference = (batched[: len(single)] - single).abs().max()
        assert difference <= 1e-5 * single.max()
        assert single.max() > 0


def test_a_worked_case_of_two_tokens_and_two_heads() -> None:
    attention = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.25, 0.75]]]])
    gradient = torch.tensor([[[[0.0, 0.0], [2.0, -4.0]], [[0.0, 0.0], [-1.0, 2.0]]]])
    # head 0: (1, -2) -> (1, 0); head 1: (-0.25, 1.5) -> (0, 1.5); mean: (0.5, 0.75)
    layer = layer_relevance(attention, gradient)
    assert layer.tolist() == [[[0.0, 0.0], [0.5, 0.75]]]
    # two such layers: (I + E)(I + E), row 1: (0.5 + 0.5 * 1.75, 1.75 * 1.75) less the identity
    assert readout_row([layer, layer], torch.tensor([1])).tolist() == [[1.375, 2.0625]]


def test_the_order_of_the_layers_matters_and_is_first_to_last() -> None:
    first = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])  # token 1 hears token 0
    last = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])  # then token 2 hears token 1
    assert readout_row([first, last], torch.tensor([2])).tolist() == [[1.0, 1.0, 0.0]]
    assert readout_row([last, first], torch.tensor([2])).tolist() == [[0.0, 1.0, 0.0]]


def test_specials_padding_and_readout_have_no_heat(model: DualEncoder) -> None:
    tokens = model.tokens(TEXTS)
    heats = token_heats(model, tokens, image_rows(model, len(TEXTS)))
    assert (heats >= 0).all()
    assert (heats[~counted(tokens)] == 0).all()
    assert (heats[counted(tokens)] > 0).float().mean() > 0.5
    assert not counted(tokens)[torch.arange(len(TEXTS)), tokens.readout].any()


def test_the_seed_of_the_gradient_includes_the_scale(tiny_clip_dir: Path) -> None:
    model = open_model(tiny_clip_dir)
    images = image_rows(model, 1)
    before = gradcam(model, TEXTS[:1], images, layers="last")
    with torch.no_grad():
        model.model.logit_scale += torch.log(torch.tensor(3.0))
    torch.testing.assert_close(gradcam(model, TEXTS[:1], images, layers="last"), 3 * before)


def test_heats_can_be_trained_through(tiny_clip_dir: Path) -> None:
    model = open_model(tiny_clip_dir)
    heats = gradcam(model, TEXTS, image_rows(model, len(TEXTS)), create_graph=True)
    heats[:, 2].sum().backward()
    gradient = model.model.text_model.encoder.layers[0].self_attn.q_proj.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_needs_no_gradients_switched_on_and_leaves_none_behind(model: DualEncoder) -> None:
    with torch.no_grad():
        heats = gradcam(model, TEXTS, image_rows(model, len(TEXTS)))
    assert heats.max() > 0
    assert not heats.requires_grad
    assert all(parameter.grad is None for parameter in model.model.parameters())


def test_one_image_row_per_text(model: DualEncoder) -> None:
    with pytest.raises(LengthMismatch, match="2 image embeddings for 5 texts"):
        gradcam(model, TEXTS, image_rows(model, 2))


def test_no_texts_no_heats(model: DualEncoder) -> None:
    assert len(gradcam(model, [], image_rows(model, 1)[:0])) == 0
