"""What an objective of CAE may be, and its weight beside the contrastive loss."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from alignscope.attribution.options import Options
from alignscope.errors import BadInput
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Word
from alignscope.training.cae import Losses, Objective, attribution_loss, matched_weight


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ()}, "wanted one or more"),
        ({"methods": ("gradcam", "gradcam")}, "each once"),
        ({"margin": math.nan}, "margin is nan"),
        ({"methods": ("perturbation",), "heats": Options(normalize="sum")}, "cannot divide by their sum"),
    ],
)
def test_objectives_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Objective(**options)


def test_the_matched_weight_of_quadratics() -> None:
    w, v = torch.tensor([3.0, 4.0], requires_grad=True), torch.zeros(2, requires_grad=True)
    # gradients: (6, 8) of norm 10 and (3, 0) of norm 3; second batch: norms 20 and 1; v is not reached
    batches = [Losses((w * w).sum(), 3 * w[0]), Losses(2 * (w * w).sum(), -w[1])]
    assert matched_weight(batches, [w, v], ratio=0.5) == pytest.approx(0.5 * (10 + 20) / (3 + 1))
    weight = matched_weight(batches[:1], [w], ratio=0.25)
    (scaled,) = torch.autograd.grad(weight * batches[0].attribution, [w])
    assert scaled.norm().item() == pytest.approx(0.25 * 10)
    assert w.grad is None


def test_batches_without_a_valid_caption_count_with_zero() -> None:
    w = torch.tensor([3.0, 4.0], requires_grad=True)
    empty = [Losses((w * w).sum(), torch.zeros(()))]
    full = [Losses((w * w).sum(), 5 * w[0])]
    assert matched_weight([*empty, *full], [w], ratio=1.0) == pytest.approx(20 / 5)
    with pytest.raises(BadInput, match="no gradient in any batch"):
        matched_weight(empty, [w])
    with pytest.raises(BadInput, match="no gradient in any batch"):
        matched_weight([], [w])
    with pytest.raises(BadInput, match="ratio is 0"):
        matched_weight(full, [w], ratio=0.0)
    with pytest.raises(BadInput, match="wanted finite ones"):
        matched_weight([Losses((w * w).sum() * math.inf, w[0])], [w])


def test_the_matched_weight_holds_on_a_text_tower(tiny_clip_dir: Path) -> None:
    clip = open_model(tiny_clip_dir)
    words = (Word("dog", 6, 9, "object"), Word("red", 2, 5, "attribute"))
    caption, parameters = Caption("a red dog", words), list(clip.model.text_model.parameters())
    texts = clip.embed_tokens(clip.tokens([caption.text]))
    images = nn.functional.normalize(torch.arange(1.0, 1.0 + texts.shape[1])[None], dim=-1)
    contrastive = -(texts * images).sum()
    objective = Objective(("gradcam",), margin=1.0)
    attribution = attribution_loss(clip, [caption], images, objective=objective).value
    weight = matched_weight([Losses(contrastive, attribution)], parameters, ratio=0.5)

    def norm(loss: Tensor) -> float:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return torch.cat([g.flatten() for g in found if g is not None]).norm().item()

    assert norm(weight * attribution) == pytest.approx(0.5 * norm(contrastive), rel=1e-4)
