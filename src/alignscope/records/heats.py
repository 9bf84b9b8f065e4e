"""Where a score comes from: heats of words and patches, and how right they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alignscope.records.captions import Box, WordClass


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
