"""Captions as analyses take them, what is counted in them, and captions made to be scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ImageCaption:
    """What a captioner said of an image."""

    image: str
    text: str


@dataclass(frozen=True)
class TaggedWord:
    """One word of a caption with its universal part of speech; `lemma` is "" where nobody asked for it."""

    text: str
    start: int
    end: int
    tag: str  # NOUN, PROPN, VERB, ADP, ...
    lemma: str = ""


@dataclass(frozen=True)
class TaggedCaption:
    """A caption of an image and its words, punctuation left out."""

    image: str
    text: str
    words: tuple[TaggedWord, ...]


@dataclass(frozen=True)
class CaptionCounts:
    """How long a caption is and how many nouns it has (paper A, Table 4)."""

    image: str
    caption: str
    words: int
    nouns: int
    unique_nouns: int


@dataclass(frozen=True)
class GramCount:
    """How often a run of words or of tags comes in captions.

    `share` is of all runs of this length at this place, `captions` counts those that hold it. `tags` are
    those most often given to a run of words.
    """

    of: Literal["words", "tags"]
    place: Literal["anywhere", "start"]
    length: int
    gram: str
    tags: str
    count: int
    captions: int
    share: float


@dataclass(frozen=True)
class PatternFit:
    """How a caption fits a sentence pattern.

    `prefix` is the first of the pattern's prefixes that the caption begins with, "" where it begins with
    none; `fit` the narrowest reading under which it follows the whole pattern, "" where it follows none.
    """

    image: str
    caption: str
    pattern: str
    prefix: str
    fit: str  # "strict", "truncated", "relaxed", "opening", ""


@dataclass(frozen=True)
class MinedPattern:
    """A pattern found in captions: `captions` and `share` say for how many it is the closest one."""

    rank: int
    prefix: str
    body: str
    captions: int
    share: float
    example: str


@dataclass(frozen=True)
class MadeCaption:
    """A caption made to be scored against an image, and what it was made of.

    `recipe` is how: the text of a template, or the vocabularies that words were drawn from. `nouns` are
    those filled in or put in, separated by "|"; `changed` counts the words replaced.
    """

    image: str
    kind: Literal["template", "noun count", "wrong nouns", "random other words"]
    name: str  # of the template, "" where there is none
    draw: int
    original: str
    text: str
    nouns: str
    noun_count: int
    changed: int
    recipe: str


@dataclass(frozen=True)
class ForcedChoice:
    """Captions of one image by several sources, of which a model has to choose (paper A, Table 1)."""

    image: str
    sources: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class TextScore:
    """A text scored by a model against an image.

    `raw` is as the model gives it; `score` in paper A's units, 100 times a cosine or a probability of a match.
    Both are None where `reason` says why. `original` is the caption that a made text was made of.
    """

    model: str
    source: str  # the file of captions, by its name
    image: str
    kind: str  # "caption", or that of a `MadeCaption`
    name: str  # of the template, "" where there is none
    draw: int
    noun_count: int
    original: str
    text: str
    raw: float | None
    score: float | None
    reason: str = ""


@dataclass(frozen=True)
class CaptionSurprise:
    """What a caption adds to a perplexity, by a language model; `logprob10` is None where it has no word."""

    image: str
    caption: str
    words: int
    oovs: int
    foretold: int
    logprob10: float | None
    reason: str = ""
