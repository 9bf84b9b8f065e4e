"""Captions cut into pieces: words shaded by heat with their class, and the words two captions differ in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from alignscope.records import WordHeat
from alignscope.reporting.wording import method_order


@dataclass(frozen=True)
class Piece:
    """A stretch of caption; `word_class` is empty between words, `shade` runs from 0 to 1."""

    text: str
    word_class: str = ""
    shade: float = 0.0
    heat: float = 0.0


@dataclass(frozen=True)
class ShadedCaption:
    """A caption whose hottest word has shade 1."""

    item: str
    text: str
    pieces: tuple[Piece, ...]
    hottest: str


Rows = tuple[tuple[str, ShadedCaption], ...]
"""One caption under several methods."""


@dataclass(frozen=True)
class WordNumbers:
    """A word with its class and its heat under each method, None where a method leaves the word out."""

    word: str
    word_class: str
    heats: tuple[float | None, ...]


@dataclass(frozen=True)
class Part:
    """A stretch of one of two captions; whether the other caption says something else here."""

    text: str
    differs: bool


def shaded_caption(words: Sequence[WordHeat], text: str | None) -> ShadedCaption:
    """One caption's pieces in reading order.

    Without a text that fits the words' offsets, the words are set at their offsets between spaces.
    """
    words = sorted(words, key=lambda word: (word.start, word.position))
    if text is None or any(text[word.start : word.end] != word.word for word in words):
        text = rebuilt(words)
    top = max([word.heat for word in words], default=0.0)
    pieces, at = [], 0
    for word in words:
        if word.start > at:
            pieces.append(Piece(text[at : word.start]))
        shade = max(word.heat, 0.0) / top if top > 0 else 0.0
        pieces.append(Piece(word.word, word.word_class, round(shade, 3), word.heat))
        at = max(at, word.end)
    if text[at:]:
        pieces.append(Piece(text[at:]))
    hottest = max(words, key=lambda word: word.heat).word if top > 0 else ""
    return ShadedCaption(words[0].item, text, tuple(pieces), hottest)


def rebuilt(words: Sequence[WordHeat]) -> str:
    """Words set at their offsets between spaces; one given twice stands once."""
    text = ""
    for word in sorted(words, key=lambda word: word.start):
        text = text[: word.start].ljust(word.start) + word.word
    return text


def telling(heats: Sequence[WordHeat], first: Sequence[str], *, limit: int) -> list[str]:
    """At most `limit` items: those in `first`, then ones with objects and relations, spread evenly."""
    classes: dict[str, set[str]] = {}
    for heat in heats:
        classes.setdefault(heat.item, set()).add(heat.word_class)
    chosen = [item for item in dict.fromkeys(first) if item in classes][:limit]
    rest = [item for item in classes if item not in chosen]
    pool = [item for item in rest if {"object", "relation"} <= classes[item]] or rest
    step = max(1, len(pool) // max(1, limit - len(chosen)))
    return chosen + pool[::step][: limit - len(chosen)]


def under_methods(
    heats: Sequence[WordHeat], texts: Mapping[str, str], items: Collection[str]
) -> dict[str, Rows]:
    """Each item's caption shaded under each method, methods in their order."""
    words: dict[str, dict[str, list[WordHeat]]] = {item: {} for item in items}
    for heat in heats:
        if heat.item in words:
            words[heat.item].setdefault(heat.method, []).append(heat)
    shaded = {}
    for item, found in words.items():
        # a method may leave words out: where no record holds the text, the words of all methods make it
        text = texts.get(item) or rebuilt([word for some in found.values() for word in some])
        shaded[item] = tuple(
            (method, shaded_caption(found[method], text)) for method in sorted(found, key=method_order)
        )
    return shaded


def in_numbers(rows: Rows) -> tuple[WordNumbers, ...]:
    """The words of one caption in reading order with what each method gives them: the shades, to be read."""
    found: dict[tuple[int, str, str], dict[str, float]] = {}
    for method, caption in rows:
        at = 0
        for piece in caption.pieces:
            if piece.word_class:
                found.setdefault((at, piece.text, piece.word_class), {})[method] = piece.heat
            at += len(piece.text)
    methods = [method for method, _ in rows]
    return tuple(
        WordNumbers(word, word_class, tuple(heats.get(method) for method in methods))
        for (_, word, word_class), heats in sorted(found.items(), key=lambda one: one[0][0])
    )


def differences(caption: str, foil: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Both captions in parts, those marked that the other one does not have in this place.

    >>> right, wrong = differences("a red ball", "a blue ball")
    >>> [part.text for part in right if part.differs], [part.text for part in wrong if part.differs]
    (['red'], ['blue'])
    >>> [part.text for part in differences("ball on cup", "cup on ball")[0] if part.differs]
    ['ball', 'cup']
    """
    ours, theirs = (re.findall(r"\w+(?:['’-]\w+)*|\s+|[^\w\s]", text) for text in (caption, foil))
    ours_words, theirs_words = ([t for t in tokens if not t.isspace()] for tokens in (ours, theirs))
    same_ours, same_theirs = _same([w.lower() for w in ours_words], [w.lower() for w in theirs_words])
    return _parts(ours, same_ours), _parts(theirs, same_theirs)


def _same(ours: Sequence[str], theirs: Sequence[str]) -> tuple[set[int], set[int]]:
    """Positions that agree, word by word where that leaves no more over than the best alignment."""
    blocks = difflib.SequenceMatcher(a=ours, b=theirs, autojunk=False).get_matching_blocks()
    aligned = {(block.a + i, block.b + i) for block in blocks for i in range(block.size)}
    in_place = {(i, i) for i, (our, their) in enumerate(zip(ours, theirs, strict=False)) if our == their}
    if len(ours) == len(theirs) and len(in_place) >= len(aligned):
        aligned = in_place
    return {our for our, _ in aligned}, {their for _, their in aligned}


def _parts(tokens: Sequence[str], same: set[int]) -> tuple[Part, ...]:
    flags: list[bool | None] = []
    position = 0
    for token in tokens:
        if token.isspace():
            flags.append(None)
        else:
            flags.append(position not in same)
            position += 1
    for i, flag in enumerate(flags):  # a space belongs to a mark only inside it
        if flag is None:
            flags[i] = bool(0 < i < len(flags) - 1 and flags[i - 1] and flags[i + 1])
    pairs = zip(tokens, flags, strict=True)
    return tuple(
        Part("".join(token for token, _ in run), bool(differs))
        for differs, run in groupby(pairs, lambda p: p[1])
    )
