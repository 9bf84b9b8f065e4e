"""What an objective of CAE may be, and its weight beside the contrastive loss."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from alignscope.attribution.options import Options
from alignscope.errors import AlignscopeError, BadInput
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Word
from alignscope.training.cae import Objective, attribution_losses, matched_weight


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ()}, "wanted one or more"),
        ({"methods": ("gradcam", "gradcam")}, "each once"),
        ({"margin": math.nan}, "margin is nan"),
        ({"units": -1}, "units is -1"),
        ({"methods": ("perturbation",), "heats": Options(normalize="sum")}, "cannot divide by their sum"),
    ],
)
def test_objectives_that_cannot_be(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Objective(**options)


def test_the_matched_weight_by_hand() -> None:
    assert matched_weight([10.0, 20.0], [3.0, 1.0], ratio=0.5) == pytest.approx(0.5 * (10 + 20) / (3 + 1))
    assert matched_weight([10.0], [4.0], ratio=0.25) * 4.0 == 0.25 * 10.0
    assert matched_weight([10.0, 10.0], [0.0, 5.0], ratio=1.0) == 20 / 5  # a batch without a valid caption


@pytest.mark.parametrize(
    ("contrastive", "attribution", "ratio", "message"),
    [
        ([10.0], [0.0], 0.5, "no gradient in any batch"),
        ([], [], 0.5, "no gradient in any batch"),
        ([10.0], [5.0], 0.0, "ratio is 0"),
        ([10.0], [5.0], math.nan, "ratio is nan"),
        ([math.inf], [5.0], 0.5, "wanted finite ones"),
        ([10.0], [math.nan], 0.5, "wanted finite ones"),
        ([10.0, 10.0], [5.0], 0.5, "2 contrastive and 1 attribution norms"),
    ],
)
def test_norms_that_match_no_weight(
    contrastive: list[float], attribution: list[float], ratio: float, message: str
) -> None:
    with pytest.raises(AlignscopeError, match=message):
        matched_weight(contrastive, attribution, ratio=ratio)


def test_the_matched_weight_holds_on_a_text_tower(tiny_clip_dir: Path) -> None:
    clip = open_model(tiny_clip_dir)
    words = (Word("dog", 6, 9, "object"), Word("red", 2, 5, "attribute"))
    caption, parameters = Caption("a red dog", words), list(clip.model.text_model.parameters())
    texts = clip.embed_tokens(clip.tokens([caption.text]))
    images = nn.functional.normalize(torch.arange(1.0, 1.0 + texts.shape[1])[None], dim=-1)
    contrastive = -(texts * images).sum()
    objective = Objective(("gradcam",), margin=1.0)
    attribution = attribution_losses(clip, [caption], images, objective=objective)["gradcam"].value

    def norm(loss: Tensor) -> float:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return torch.cat([g.flatten() for g in found if g is not None]).norm().item()

    weight = matched_weight([norm(contrastive)], [norm(attribution)], ratio=0.5)
    assert norm(weight * attribution) == pytest.approx(0.5 * norm(contrastive), rel=1e-4)


def test_a_saturated_attribution_is_not_matched() -> None:
    """Met on photographs: a softmax over tokens that is all one token has hardly a gradient."""
    assert matched_weight([64.0], [1e-3]) == pytest.approx(32000.0)
    with pytest.raises(BadInput, match=r"norm 2e-05 beside 64 .* raise attribution.temperature"):
        matched_weight([64.0], [2e-5])
