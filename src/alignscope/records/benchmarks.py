"""What a benchmark asks, and what a model answered, option by option."""

from __future__ import annotations

from dataclasses import dataclass

from alignscope.records.captions import Box


@dataclass(frozen=True)
class Shown:
    """An image as an item shows it: `key` is its file below the image folder, `crop` in its pixels."""

    key: str
    crop: Box | None = None


@dataclass(frozen=True)
class Question:
    """An item of a benchmark: images and texts whose scores with each other decide it.

    Which are right is a matter of what the benchmark asks: the first text of one image ("caption"), the
    first image of one text ("image"), texts and images of equal place ("pairing"), the first two texts
    of three ("two captions"); `gold` is the human judgement of two texts ("similarity").
    """

    id: str  # unique in the benchmark
    subset: str  # file, instrument, split: what tables have a row for
    group: str  # what the authors average over, often the subset
    images: tuple[Shown, ...]
    texts: tuple[str, ...]
    tags: tuple[str, ...] = ()  # further groups it belongs to
    gold: float | None = None


@dataclass(frozen=True)
class OptionScore:
    """One option of an item: the score of an image with a text, or of two texts where `image` is "".

    `first` is the place of the image (of the first text), `second` that of the (second) text. `chosen`
    says that no option it competes with scores higher, `is_tie` that one scores the same, in float32.
    None is a score that could not be had.
    """

    benchmark: str
    item: str
    subset: str
    group: str
    tags: str  # separated by "|"
    image: str
    text: str
    first: int
    second: int
    score: float | None
    chosen: bool
    is_tie: bool
    gold: float | None = None


@dataclass(frozen=True)
class Published:
    """A number somebody published for a model on a benchmark, in percent."""

    benchmark: str
    measure: str
    group: str
    model: str
    value: float
    source: str
    remark: str = ""
