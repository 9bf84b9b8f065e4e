"""A scorer of pairs of your own: here a network that compares a caption's words with the image's mean colour."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from zlib import crc32

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from alignscope.models.protocols import Tokens, Traits

WORDS = 512  # words are told apart by their hash
CONTEXT = 32

TRAITS = Traits(
    family="cross",  # image and text are read together: no embedding of its own for either
    unit="patch",  # it takes pixels, not regions of a detector
    grid=None,
    context_length=CONTEXT,
    activation="",
    readout="pooled",
    is_causal=False,
    trims_padding=True,
    attributions=("perturbation",),  # needs nothing but scores; the other three look inside
    scale=1.0,
    score="match",  # a log-odds; "cosine" is a dual encoder's
)


class ColourMatch:
    """A `PairScorer`: a name, a hash of the weights, what it can do, and scores."""

    def __init__(self, network: nn.ModuleDict, device: str) -> None:
        self.name = "colour-match"
        self.traits = TRAITS
        self.network = network.to(device)
        self.device = device

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, weights in sorted(self.network.state_dict().items()):
            digest.update(name.encode() + weights.cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def score(self, images: Sequence[Image], texts: Sequence[str]) -> Tensor:
        tokens = self.tokens(texts)
        words = self.network["words"](tokens.ids.to(self.device))
        mask = tokens.mask.to(self.device).unsqueeze(-1)
        texts_seen = (words.double() * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        colours = [np.asarray(image.convert("RGB"), dtype=np.float32).mean(axis=(0, 1)) for image in images]
        images_seen = self.network["colour"](torch.tensor(np.array(colours)).to(self.device) / 255)
        return (texts_seen * images_seen).sum(dim=-1).float().cpu()  # float32, as scores are compared

    def tokens(self, texts: Sequence[str]) -> Tokens:
        found = [list(re.finditer(r"\w+", text)) for text in texts]
        kept = [words[:CONTEXT] for words in found]
        width = max([1, *map(len, kept)])
        ids = [[crc32(word[0].lower().encode()) % WORDS for word in words] for words in kept]
        return Tokens(
            ids=torch.tensor([row + [0] * (width - len(row)) for row in ids]),
            mask=torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
            readout=torch.tensor([max(len(row) - 1, 0) for row in ids]),
            offsets=tuple(
                tuple(word.span() for word in words) + ((0, 0),) * (width - len(words)) for words in kept
            ),
            lengths=tuple(map(len, found)),  # before cutting: captions that lost words are reported
        )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        was = self.network.training
        self.network.eval()
        try:
            yield
        finally:
            self.network.train(was)

    def scrambled(self, *, seed: int) -> ColourMatch:
        random = torch.Generator().manual_seed(seed)
        twin = copy.deepcopy(self.network)
        with torch.no_grad():
            for weights in twin.parameters():
                shuffled = weights.flatten()[torch.randperm(weights.numel(), generator=random)]
                weights.copy_(shuffled.reshape(weights.shape))
        return ColourMatch(twin, self.device)


def load(*, device: str = "cpu", dtype: str = "float32") -> ColourMatch:
    """What the entry point names: `alignscope audit colour-match` calls it. Yours would read a file of weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.ModuleDict({"words": nn.Embedding(WORDS, 16), "colour": nn.Linear(3, 16)})
    return ColourMatch(network.to(getattr(torch, dtype)), device)
