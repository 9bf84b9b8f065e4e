"""Sentence patterns of captions: the paper's five, and any others written in the same small language.

Paper A (section 4.1, Fig. 1, Table 5) gives an outline and the patterns; the exact rules are ours. Every word
gets a class, and a pattern is a regular expression over classes:

  NP     DET* ADJ* N+, as long as it can be: DET articles, possessives and the like, ADJ adjectives and
         numerals, N nouns and names
  IMG    a noun phrase with a word of `IMAGE_WORDS`
  REL    a preposition or a full verb
  CONJ, AUX, OTHER, LINK (any of these, REL and "that"), and the words `a`, `that`, `is`, `of` as they are

`+` is one or more (which the paper writes as a star), `?` zero or one, `*` any number, brackets group. Each part
takes all it can and gives nothing back, so that matching takes linear time.

Readings, from narrow to wide (captions of at most 20 words end anywhere; Table 3's own need the wider ones):
  strict     the whole caption follows the pattern
  truncated  so does all but a last phrase without its noun
  relaxed    also, a run of prepositions and verbs ("parked near") is one REL, and determiners or adjectives
             without their noun are one NP
  opening    the caption begins like this (relaxed), whatever follows
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import final

from alignscope.errors import BadInput
from alignscope.evaluation.intervals import clustered_means, measured, sample_of
from alignscope.language.lexicon import LEADS, NEAR
from alignscope.probing.captions import worded
from alignscope.records import DRAWS, Measurement, PatternFit, Problem, Signature, TaggedCaption, TaggedWord

READINGS = ("strict", "truncated", "relaxed", "opening")
IMAGE_WORDS = frozenset({"image", "images"})
ARTICLES = frozenset({"a", "an", "the"})
POSSESSIVES = frozenset({"my", "your", "his", "her", "its", "our", "their"})
PREPOSITIONS = LEADS | NEAR | {"of", "for", "with", "without", "as", "behind", "through", "than"}
"""Words that are REL also where the tagger takes them for conjunctions or particles."""

_NOUN, _DETERMINER, _RELATION = "[NI]", "[AD]", "[RO]"
_LITERALS = {"a": "A", "that": "T", "is": "S", "of": "O"}
_CLASSES = {"CONJ": "C", "AUX": "[SW]", "OTHER": "X", "LINK": "[CTSWXRO]"}
_CLASSES |= {"DET": _DETERMINER, "ADJ": "J", "N": _NOUN}
_WHOLE = f"(?:{_DETERMINER}*+J*+{_NOUN}++)"
_IMAGE = f"(?:{_DETERMINER}*+J*+N*+I{_NOUN}*+)"
_UNFINISHED = f"(?:{_DETERMINER}|J)++"
_STRICT = {**_CLASSES, "NP": _WHOLE, "IMG": _IMAGE, "REL": _RELATION}
_RELAXED = {**_STRICT, "NP": f"(?:{_WHOLE}|{_UNFINISHED})", "REL": f"(?:{_RELATION}++)"}
_TAIL = "[CSWROTADJ]*+"
_SYMBOL = re.compile(r"\s*(?:([A-Za-z]+)|([()|])|([+?*])|(\S))")


@final
@dataclass(frozen=True)
class Pattern:
    """A pattern: any of the prefixes, then the body."""

    name: str
    prefixes: tuple[str, ...]
    body: str

    @property
    def text(self) -> str:
        """The whole pattern in the language of this file."""
        head = self.prefixes[0] if len(self.prefixes) == 1 else f"({' | '.join(self.prefixes)})"
        return f"{head} {self.body}".strip() if self.prefixes else self.body


PAPER_PATTERNS = (
    Pattern("UNITER", ("NP+ REL",), "NP+"),
    Pattern("ROSITA", ("a IMG that is", "NP+ that is"), "(CONJ? NP+)+"),
    Pattern("ViLBERT", ("NP+ that",), "(AUX? REL? NP)+"),
    Pattern("CLIP", ("a IMG of",), "(CONJ? REL? NP+)+"),
    Pattern("LXMERT", ("NP+ REL",), "(REL? NP)+"),
)
"""Table 5 of paper A; its ratios are in reporting/papers/a.json."""


def class_string(words: Iterable[TaggedWord]) -> str:
    """One letter per word: A a, D other determiners, J ADJ, N noun, I image, R REL, O of, C CONJ, S is, W AUX, T that.

    >>> class_string([TaggedWord("a", 0, 1, "DET"), TaggedWord("image", 2, 7, "NOUN"), TaggedWord("of", 8, 10, "ADP")])
    'AIO'
    """
    return "".join(_class(word.text.casefold(), word.tag) for word in words)


def pattern_fits(
    captions: Iterable[TaggedCaption], patterns: Sequence[Pattern] = PAPER_PATTERNS
) -> tuple[list[PatternFit], list[Problem]]:
    """How each caption fits each pattern; captions without a word are unscored."""
    kept, problems = worded(captions)
    fits = []
    for caption in kept:
        classes = class_string(caption.words)
        fits += [
            PatternFit(
                caption.image,
                caption.text,
                pattern.name,
                next((p for p in pattern.prefixes if _compiled(p, "start").match(classes)), ""),
                fit_of(classes, pattern.text),
            )
            for pattern in patterns
        ]
    return fits, problems


def fit_of(classes: str, pattern: str) -> str:
    """The narrowest reading under which classes of words follow a pattern, "" where none.

    >>> fit_of("ANRANRA", "NP (REL NP)+"), fit_of("ANRRAN", "NP (REL NP)+"), fit_of("RAN", "NP (REL NP)+")
    ('truncated', 'relaxed', '')
    """
    return next((reading for reading in READINGS if _compiled(pattern, reading).match(classes)), "")


def pattern_ratios(
    fits: Sequence[PatternFit],
    patterns: Sequence[Pattern] = PAPER_PATTERNS,
    *,
    signature: Signature,
    missing: int = 0,
    draws: int = DRAWS,
) -> list[Measurement]:
    """Shares of captions that begin with each prefix, and that follow each pattern in each reading or a narrower."""
    columns = []
    for pattern in patterns:
        own = [fit for fit in fits if fit.pattern == pattern.name]
        columns += [
            (f"{pattern.name}: {prefix}", "prefix ratio", [(fit.prefix == prefix, fit.image) for fit in own])
            for prefix in pattern.prefixes
        ]
        columns += [
            (
                f"{pattern.name}: {pattern.text}",
                f"pattern ratio, {reading}",
                [(fit.fit in READINGS[: width + 1], fit.image) for fit in own],
            )
            for width, reading in enumerate(READINGS)
        ]
    samples = [sample_of([(float(is_so), image) for is_so, image in column]) for *_, column in columns]
    intervals = clustered_means(samples, draws=draws, seed=signature.seed)
    return [
        measured(interval, [sample], measure=measure, group=group, signature=signature, missing=missing)
        for (group, measure, _), sample, interval in zip(columns, samples, intervals, strict=True)
    ]


def _class(word: str, tag: str) -> str:
    if word in ("a", "that"):
        return _LITERALS[word]
    if tag in ("NOUN", "PROPN"):
        return "I" if word in IMAGE_WORDS else "N"
    if tag == "AUX" or word in ("is", "was"):
        return "S" if word == "is" else "W"
    if tag in ("ADP", "VERB") or (tag in ("SCONJ", "PART") and word in PREPOSITIONS):
        return "O" if word == "of" else "R"
    if tag == "DET" or word in ARTICLES or (tag == "PRON" and word in POSSESSIVES):
        return "D"
    return {"ADJ": "J", "NUM": "J", "CCONJ": "C"}.get(tag, "X")


@cache
def _compiled(pattern: str, reading: str) -> re.Pattern[str]:
    """A pattern under a reading; "start" is the strict one of what a caption begins with."""
    parts = _RELAXED if reading in ("relaxed", "opening") else _STRICT
    body = f"(?:{_translated(pattern, parts)})"
    end = {"strict": r"\Z", "truncated": _TAIL + r"\Z", "relaxed": _TAIL + r"\Z"}.get(reading, "")
    try:
        return re.compile(body + end)
    except re.error as error:
        raise BadInput(
            f"got the pattern {pattern!r} ({error}), wanted one like 'NP+ that (REL? NP)+'"
        ) from None


def _translated(pattern: str, parts: dict[str, str]) -> str:
    """A pattern as a regular expression over letters of classes, whose parts give nothing back."""
    found = []
    for name, bracket, quantifier, strange in _SYMBOL.findall(pattern):
        if strange or (name and name not in parts and name not in _LITERALS):
            known = ", ".join([*parts, *_LITERALS])
            raise BadInput(
                f"got {name or strange!r} in the pattern {pattern!r}, wanted {known} or ( ) | + ? *"
            )
        if name:
            found.append(parts.get(name) or _LITERALS[name])
        elif bracket:
            found.append("(?:" if bracket == "(" else bracket)
        else:
            found.append(f"{quantifier}+")
    return "".join(found)
