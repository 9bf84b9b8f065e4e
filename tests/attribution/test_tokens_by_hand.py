"""Heats of a one-layer model that a person can work out."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from alignscope.attribution.options import Options
from alignscope.attribution.tokens import token_heats
from alignscope.errors import Unsupported
from alignscope.models.protocols import Tokens


class Toy:
    """One layer of two heads with fixed attention: the embedding is the mean over heads of A x, at the end.

    Tokens: 0 starts, 4 ends; 1, 2 and 3 spell.
    """

    name, fingerprint = "toy", ""
    traits = SimpleNamespace(attributions=("attention", "gradcam", "gradient"), scale=2.0)

    def __init__(self) -> None:
        self.table = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0]])
        end = torch.tensor([[0.25, 0.50, 0.125, 0.125, 0.0], [0.5, 0.0, 0.25, 0.125, 0.125]])
        self.attention = torch.zeros(1, 2, 5, 5)
        self.attention[0, :, 4] = end
        self.taps: dict[str, list[Tensor]] = {"maps": [], "inputs": []}

    def tokens(self) -> Tokens:
        ids = torch.arange(5)[None]
        spans = ((0, 0), (0, 1), (2, 3), (4, 5), (0, 0))
        return Tokens(ids, torch.ones_like(ids), torch.tensor([4]), (spans,), (5,))

    def embed_tokens(self, tokens: Tokens) -> Tensor:
        inputs = self.table[tokens.ids].requires_grad_()
        maps = self.attention.clone().requires_grad_()
        self.taps["inputs"].append(inputs)
        self.taps["maps"].append(maps)
        return (maps @ inputs[:, None]).mean(dim=1)[:, -1]

    def unused(self, *given: object, **options: object) -> None:
        raise NotImplementedError

    score = score_grid = encode_images = encode_texts = pixels = embed_pixels = unused
    image_attention = view = scrambled = unused

    def evaluating(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def text_attention(self) -> Iterator[list[Tensor]]:
        yield self.taps["maps"]

    @contextmanager
    def text_inputs(self) -> Iterator[list[Tensor]]:
        yield self.taps["inputs"]


def toy_heat(method: str, *, second: float = 0.5, **options: object) -> list[float]:
    toy = Toy()
    image = torch.tensor([[2.0, second]])
    return token_heats(toy, toy.tokens(), image, methods=[method], options=Options(**options))[method][
        0
    ].tolist()


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
    with pytest.raises(Unsupported, match=r"toy gives no perturbation, only attention, gradcam, gradient"):
        token_heats(Toy(), Toy().tokens(), torch.zeros(1, 2), methods=["perturbation"])
