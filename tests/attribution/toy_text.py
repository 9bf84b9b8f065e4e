"""A text tower of one layer whose heats a person can work out."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace

import torch
from torch import Tensor

from alignscope.attribution.options import METHODS
from alignscope.models.protocols import Tokens


class Toy:
    """One layer of two heads with fixed attention: the embedding is the mean over heads of A x, at the end.

    Tokens: 0 starts, 4 ends; 1, 2 and 3 spell the words of "x y z". A toy has one caption.
    """

    name, fingerprint = "toy", ""
    traits = SimpleNamespace(
        family="dual",
        attributions=METHODS,
        scale=2.0,
        context_length=5,
        is_causal=True,
        trims_padding=True,
    )

    def __init__(self) -> None:
        self.table = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [1.0, 1.0]])
        end = torch.tensor([[0.25, 0.50, 0.125, 0.125, 0.0], [0.5, 0.0, 0.25, 0.125, 0.125]])
        self.attention = torch.zeros(1, 2, 5, 5)
        self.attention[0, :, 4] = end
        self.taps: dict[str, list[Tensor]] = {"maps": [], "inputs": []}

    def tokens(self, texts: Sequence[str]) -> Tokens:
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
