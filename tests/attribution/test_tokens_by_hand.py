"""Heats of a one-layer model that a person can work out."""

from types import SimpleNamespace

import pytest
import torch
from toy_text import Toy

from alignscope.attribution.options import Options
from alignscope.attribution.tokens import token_heats
from alignscope.errors import Unsupported


def toy_heat(method: str, *, second: float = 0.5, **options: object) -> list[float]:
    toy = Toy()
    image = torch.tensor([[2.0, second]])
    tokens = toy.tokens(["x y z"])
    return token_heats(toy, tokens, image, methods=[method], options=Options(**options))[method][0].tolist()


def test_attention_of_one_layer_by_hand() -> None:
    # mean of the two heads' end rows: (0.375, 0.25, 0.1875, 0.125, 0.0625); start and end have no heat
    assert toy_heat("attention") == [0.0, 0.25, 0.1875, 0.125, 0.0]


def test_gradcam_of_one_layer_by_hand() -> None:
    # score = 2 * image . mean over heads of sum_j A[j] x_j, so its slope in A[j] is image . x_j: (0, 2, 1, -2, 2.5)
    # token 1: (0.5 * 2 + 0 * 2) / 2 = 0.5; token 2: (0.125 + 0.25) / 2 = 0.1875; token 3 is negative
    assert toy_heat("gradcam") == [0.0, 0.5, 0.1875, 0.0, 0.0]


def test_gradient_of_one_layer_by_hand() -> None:
    # the slope in x_j is (A_1[j] + A_2[j]) * (2, -0.5), its absolute sum 2.5 * (0.75, 0.5, 0.375, 0.25, 0.125)
    norms = torch.tensor([1.875, 1.25, 0.9375, 0.625, 0.3125])
    middle = (norms[1:4].exp() / norms[1:4].exp().sum()).tolist()
    assert toy_heat("gradient", second=-0.5) == pytest.approx([0.0, *middle, 0.0])
    assert middle == pytest.approx([0.4411, 0.3227, 0.2361], abs=1e-4)  # exp of (0.625, 0.3125, 0)
    whole = norms.exp() / norms.exp().sum()  # `real`: start and end share the mass, and still have no heat
    assert toy_heat("gradient", second=-0.5, tokens="real") == pytest.approx([0.0, *whole[1:4].tolist(), 0.0])
    cool = (norms[1:4] / 4).exp() / (norms[1:4] / 4).exp().sum()
    assert toy_heat("gradient", second=-0.5, temperature=4.0) == pytest.approx([0.0, *cool.tolist(), 0.0])


def test_a_method_the_model_has_not() -> None:
    toy = Toy()
    toy.traits = SimpleNamespace(attributions=("attention", "gradcam", "gradient"))
    with pytest.raises(Unsupported, match=r"toy gives no perturbation, only attention, gradcam, gradient"):
        token_heats(toy, toy.tokens(["x y z"]), torch.zeros(1, 2), methods=["perturbation"])
