"""Images and what is said of them: words with classes, foils, items, what is known to be in a scene."""

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
class Problem:
    """Something wrong with one item: what it was and what was done about it."""

    item: str
    subject: str  # the file, line or text concerned
    what: str  # "missing image", "caption truncated at 77 tokens", ...
    action: Literal["unscored", "handled"]


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
