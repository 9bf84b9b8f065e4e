"""The four methods and every choice that changes their numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from alignscope.errors import BadInput

Method = Literal["attention", "gradcam", "gradient", "perturbation"]
METHODS: tuple[Method, ...] = get_args(Method)
Layers = Literal["all", "last"] | tuple[int, int]


@dataclass(frozen=True)
class Options:
    """How heats are computed; the defaults are the paper's formulas as sheet B.3 resolves them.

    layers: of `attention` and `gradcam`: all (the paper), the last (Chefer's CLIP notebook), or a range
        (first, stop) counted from 0, stop not included. Of the text tower: image maps of a run take all.
    tokens: over which `gradient` takes its softmax (the paper does not say): `spelled` are the tokens
        that stand for characters of the text, `real` adds start and end tokens; never padding.
    temperature: divides the gradient's norms before the softmax; the paper has none, which is 1. With a
        score scale of 100 the softmax may saturate.
    variant: of `perturbation`: `replace` a word by another of its class (paper B, eq. 9), or
        `leave-one-out`, which takes it away.
    draws: replacements per word, K in the paper, which does not give it; leave-one-out has one.
    normalize: `sum` makes a caption's word heats add up to 1, `none` leaves them as they are, `method`
        is `sum` for gradcam (the paper's means of figure 1 can only be that) and `none` for the others.
    seed: of the replacements.
    """

    layers: Layers = "all"
    tokens: Literal["spelled", "real"] = "spelled"
    temperature: float = 1.0
    variant: Literal["replace", "leave-one-out"] = "replace"
    draws: int = 3
    normalize: Literal["method", "sum", "none"] = "method"
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise BadInput(f"temperature is {self.temperature}, wanted a number above 0")
        if self.draws < 1:
            raise BadInput(f"draws is {self.draws}, wanted 1 or more replacements per word")
        if not isinstance(self.layers, str) and not 0 <= self.layers[0] < self.layers[1]:
            raise BadInput(f"layers {self.layers}: wanted (first, stop) with 0 <= first < stop")

    def sums_to_one(self, method: Method) -> bool:
        """Whether the word heats of a caption are divided by their sum."""
        return self.normalize == "sum" or (self.normalize == "method" and method == "gradcam")


DEFAULTS = Options()


def layers_of(text: str) -> Layers:
    """Layers as the command line names them.

    >>> layers_of("last"), layers_of("0:6")
    ('last', (0, 6))
    """
    if text in ("all", "last"):
        return text  # type: ignore[return-value]
    first, colon, stop = text.partition(":")
    if not (colon and first.isdecimal() and stop.isdecimal()):
        raise BadInput(f"layers {text!r}: wanted all, last or FIRST:STOP such as 0:6")
    return int(first), int(stop)


def chosen_layers(layers: Layers, count: int, *, tower: str = "the tower") -> range:
    """Positions of the layers that take part, of `count`.

    >>> chosen_layers("last", 12), chosen_layers((0, 3), 12)
    (range(11, 12), range(0, 3))
    >>> chosen_layers((0, 13), 12)
    Traceback (most recent call last):
    ...
    alignscope.errors.BadInput: layers (0, 13): the tower has 12 layers, so wanted a stop of 12 at most
    """
    if isinstance(layers, str):
        return range(count) if layers == "all" else range(count - 1, count)
    if layers[1] > count:
        raise BadInput(f"layers {layers}: {tower} has {count} layers, so wanted a stop of {count} at most")
    return range(*layers)
