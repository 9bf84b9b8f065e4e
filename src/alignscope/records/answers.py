"""What a model answered: choices, edits, ranks, and the questions of benchmarks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """A caption and one foil scored against the same image, in float32."""

    item: str
    image: str
    kind: str
    caption: str
    foil: str
    caption_score: float
    foil_score: float

    @property
    def is_tie(self) -> bool:
        return self.caption_score == self.foil_score

    @property
    def is_right(self) -> bool:
        return self.caption_score > self.foil_score


@dataclass(frozen=True)
class EditedScore:
    """A caption with some words replaced, scored against its own image beside the original."""

    item: str
    image: str
    edit: str  # "wrong nouns" or "random other words"
    draw: int
    caption: str
    edited: str
    words_replaced: int
    caption_score: float
    edited_score: float


@dataclass(frozen=True)
class Rank:
    """Where a query's best right answer came among all candidates; 1 is first.

    `rank` counts ties against the model, `ties` says how many wrong candidates tied with it.
    """

    query: str
    image: str
    direction: str  # "image to text" or "text to image"
    rank: int
    ties: int
    candidates: int


@dataclass(frozen=True)
class Example:
    """A choice with its picture, for a report: `png` is base64 of a small PNG."""

    item: str
    image: str
    kind: str
    caption: str
    foil: str
    caption_score: float
    foil_score: float
    png: str


@dataclass(frozen=True)
class Picture:
    """An image as a report shows it: `png` is base64 of a PNG, `width` and `height` those of the original."""

    image: str
    width: int
    height: int
    png: str
