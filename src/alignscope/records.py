"""Frozen records that rooms hand to each other.

Flat ones are written as Parquet, those that people read as JSONL (`alignscope.files`). No torch here:
a report is rebuilt from these on any laptop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from PIL.Image import Image

WordClass = Literal["object", "attribute", "relation", "scene", "other"]
WORD_CLASSES: tuple[WordClass, ...] = ("object", "attribute", "relation", "scene", "other")

FoilKind = Literal[
    "replace_object",
    "replace_attribute",
    "replace_relation",
    "swap_object",
    "swap_attribute",
    "swap_relation",
    "add_object",
    "add_attribute",
]
"""Known kinds of foil in the order tables show them; users' files may name others."""
FOIL_KINDS: tuple[str, ...] = FoilKind.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Word:
    """One word of a caption: `text == caption[start:end]`, with its class."""

    text: str
    start: int
    end: int
    word_class: WordClass


@dataclass(frozen=True)
class Caption:
    """A text whose words carry classes; `words` is empty where nobody tagged it."""

    text: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Foil:
    """A wrong caption of an image and the way in which it is wrong."""

    text: str
    kind: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Item:
    """One image, one right caption, any number of foils: the unit of an audit.

    `image` is a key that the data set's `image(key)` opens (a file name, or a scene id).
    `present_nouns` are nouns true of the image beyond those its caption names, and `objects` the things
    in it with their boxes, where that is known.
    """

    id: str
    image: str
    caption: Caption
    foils: tuple[Foil, ...] = ()
    present_nouns: tuple[str, ...] = ()
    objects: tuple[SceneObject, ...] = ()


@dataclass(frozen=True)
class Box:
    """Pixel corners, x to the right and y down, half-open: width is x2 - x1."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class SceneObject:
    """A thing in a scene graph: its noun, its attributes, and where it is."""

    noun: str
    attributes: tuple[str, ...] = ()
    box: Box | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Relation:
    """`subject` and `target` are positions in the scene graph's `objects`."""

    subject: int
    name: str
    target: int
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class SceneGraph:
    """Objects with attributes, and relations between them."""

    objects: tuple[SceneObject, ...]
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something wrong with one item: what it was and what was done about it."""

    item: str
    subject: str  # the file, line or text concerned
    what: str  # "missing image", "caption truncated at 77 tokens", ...
    action: Literal["unscored", "handled"]


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
class WordHeat:
    """The attribution of one word under one method; `heat` is the sum over its sub-word pieces."""

    item: str
    image: str
    position: int
    word: str
    start: int
    end: int
    word_class: WordClass
    heat: float
    method: str = "gradcam"


@dataclass(frozen=True)
class Attribution:
    """A caption's words with their heats under one method."""

    item: str
    image: str
    text: str
    method: str
    words: tuple[WordHeat, ...]


@dataclass(frozen=True)
class PatchMap:
    """Heat of every patch of an image for its score with a text, row by row from the top left.

    `view` is the part of the image that the model saw (it may have cropped), in the image's pixels.
    """

    item: str
    image: str
    text: str
    method: str
    rows: int
    columns: int
    heats: tuple[float, ...]
    view: Box


@dataclass(frozen=True)
class Picture:
    """An image as a report shows it: `png` is base64 of a PNG, `width` and `height` those of the original."""

    image: str
    width: int
    height: int
    png: str


@dataclass(frozen=True)
class Faithfulness:
    """How well one order of a caption's words tells which of them carry the score.

    `method` is the attribution that made the order, or "random". `words` counts the ranked words; `full`
    and `empty` are the scores of the caption with all and with none of them. Areas are under curves of
    the score between `empty` (0) and `full` (1) while words leave (deletion, lower is better) or come
    (insertion, higher is better) hottest first; comprehensiveness and sufficiency are score differences
    in the score's own unit (ERASER).
    """

    item: str
    image: str
    method: str
    words: int
    full: float
    empty: float
    deletion: float
    insertion: float
    comprehensiveness: float
    sufficiency: float


@dataclass(frozen=True)
class ScoreCurve:
    """Scores along one order of a caption's words, between none (0) and all (1) of the ranked ones.

    `values[k]` is after k words, hottest first, left ("deletion") or came ("insertion").
    """

    item: str
    image: str
    method: str
    kind: Literal["deletion", "insertion"]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Agreement:
    """Spearman correlation of two attributions of one caption over the words both give.

    None where it is not defined (fewer than three words, or all heats equal).
    """

    item: str
    image: str
    first: str
    second: str
    words: int
    correlation: float | None


@dataclass(frozen=True)
class Pointing:
    """Whether the hottest patch for a phrase lies on the thing it names (the pointing game).

    `x`, `y` is the middle of the hottest patch in the image's pixels; `chance` is the share of patches
    whose middle lies on the thing, which is what a random patch would hit.
    """

    item: str
    image: str
    method: str
    phrase: str
    x: float
    y: float
    is_hit: bool
    chance: float


@dataclass(frozen=True)
class PhraseSimilarity:
    """Cosine of a caption's embedding with one of its phrases encoded alone (paper B, fig. 3)."""

    item: str
    image: str
    phrase: str
    word_class: WordClass
    similarity: float


@dataclass(frozen=True)
class Point:
    """One point of a curve in a figure, with the interval of `y` where it has one."""

    figure: str
    series: str
    x: float
    y: float
    low: float | None
    high: float | None
    items: int


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
class Signature:
    """Where a number comes from; `str()` is its one-line form.

    >>> print(Signature("accuracy", "pairs", "9f31c2", 5, 4, "tiny-clip", "ab12", version="0.1.0"))
    accuracy|data:pairs|sha:9f31c2|items:5|images:4|model:tiny-clip|weights:ab12|dtype:float32|ties:wrong|seed:0|v:0.1.0
    """

    measure: str
    data: str
    sha: str
    items: int
    images: int
    model: str
    weights: str
    dtype: str = "float32"
    ties: str = "wrong"
    seed: int = 0
    version: str = ""
    method: str = ""  # of attribution, with its options, where there is one

    def __str__(self) -> str:
        own = {
            name: value for name, value in vars(self).items() if name not in ("measure", "method", "version")
        }
        parts = {**({"method": self.method} if self.method else {}), **own, "v": self.version}
        return "|".join([self.measure, *(f"{name}:{value}" for name, value in parts.items())])


@dataclass(frozen=True)
class Measurement:
    """A number as it is reported: value, interval, how many, ties, missing, signature.

    `value` is None where nothing could be measured; `reason` then says why.
    """

    measure: str  # "accuracy", "heat gap", "recall@5", ...
    group: str  # foil kind, word class, direction, ... ; "all" for the whole
    value: float | None
    low: float | None
    high: float | None
    items: int
    images: int
    ties: int = 0
    missing: int = 0
    unit: str = "share"
    level: float = 0.95
    reason: str = ""
    signature: str = ""
    method: str = ""  # of attribution, where there is one


@runtime_checkable
class ItemSource(Protocol):
    """What an audit reads: items, a way to open their images, and what was wrong on the way in."""

    @property
    def name(self) -> str: ...
    @property
    def sha(self) -> str: ...  # hash of everything that decides a score
    @property
    def items(self) -> Sequence[Item]: ...
    @property
    def problems(self) -> Sequence[Problem]: ...
    def image(self, key: str) -> Image: ...
