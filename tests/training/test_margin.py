"""The hinge of the attribution loss: which captions it is a mean over, and objects that keep their heat."""

from dataclasses import replace
from pathlib import Path

import pytest
import step_cases as cases
import torch

from alignscope.attribution.options import METHODS, Method, Options
from alignscope.models.zoo import open_model
from alignscope.training.cae import Objective, attribution_losses, margin_loss, text_forward

VALUES = torch.tensor([[2.0, 1.0, 7.0], [9.0, 9.0, 9.0], [1.0, 5.0, 9.0], [4.0, 2.0, 1.0]])
SIDES = torch.tensor([[1, 2, 0], [1, 1, 0], [1, 2, 0], [1, 2, 2]])


def test_the_mean_runs_over_valid_captions_only() -> None:
    found = margin_loss(VALUES, SIDES)
    assert found.value.item() == pytest.approx((1.0 + 0.0 + 2.5) / 3)
    assert (found.valid, found.captions, found.above) == (0.75, 3, pytest.approx(2 / 3))
    assert found.object_mean == pytest.approx(7 / 3)
    assert found.composition_mean == pytest.approx(7.5 / 3)


def test_anchored_objects_keep_their_heat_by_hand() -> None:
    slopes = {}
    for anchored in (False, True):
        heats = VALUES.clone().requires_grad_()
        found = margin_loss(heats, SIDES, margin=5.0, anchored=anchored)
        assert found.value.item() == pytest.approx((6.0 + 1.0 + 7.5) / 3)  # the same number either way
        [slopes[anchored]] = torch.autograd.grad(found.value, heats)
    third = torch.tensor(1 / 3)
    composition = third * torch.tensor([[0, -1, 0], [0, 0, 0], [0, -1, 0], [0, -0.5, -0.5]])
    assert torch.equal(slopes[True], composition)
    objects = third * torch.tensor([[1.0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]])
    assert torch.equal(slopes[False], composition + objects)


@pytest.mark.parametrize("method", METHODS)
def test_an_anchored_loss_has_the_gradient_of_the_composition_side_alone(
    tiny_clip_dir: Path, method: Method
) -> None:
    model = open_model(tiny_clip_dir)
    model.model.requires_grad_(True)
    heats = Options(normalize="none", temperature=20.0)
    plain = Objective((method,), margin=50.0, heats=heats)  # on the slope of the hinge everywhere
    images = model.embed_pixels(cases.batch().pixels).detach()
    weight = model.model.text_model.encoder.layers[0].mlp.fc1.weight

    def slope(objective: Objective) -> tuple[float, torch.Tensor]:
        forward = text_forward(model, cases.CAPTIONS, objective)
        found = attribution_losses(
            model, cases.CAPTIONS, images, objective=objective, candidates=cases.AVAILABLE, forward=forward
        )[method]
        return found.value.item(), torch.autograd.grad(found.value, weight)[0]

    value, both = slope(plain)
    anchored, composition = slope(replace(plain, anchored=True))
    assert anchored == value
    assert composition.norm() > 1e-6
    assert (both - composition).norm() > 1e-2 * composition.norm()  # the objects' side pulls where it may
