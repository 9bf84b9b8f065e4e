"""Sentence patterns found in any captions, in the form of the paper's five: a prefix, then one unit repeated.

A caption's own pattern is made of its classes of words in the relaxed reading (see `patterns`). The prefix is what
it begins with: its first noun phrases and the links after them, with "that", "is" and the "of" after an image
phrase as they are. The unit is a noun phrase and the links that further noun phrases have before them, such as
"(CONJ? REL? NP+)+": optional where one of them lacks it, and "(LINK* NP+)+" where they stand in another order than
CONJ that AUX OTHER REL. Links at the end, where a caption was cut off, are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from alignscope.errors import BadInput
from alignscope.probing.captions import worded
from alignscope.probing.patterns import Pattern, class_string
from alignscope.records import MinedPattern, Problem, TaggedCaption

_ORDER = ("CONJ", "that", "AUX", "OTHER", "REL")
_PHRASES = re.compile(r"[ADJNI]+")
_LINKS = re.compile(r"(?P<CONJ>C+)|(?P<that>T+)|(?P<AUX>[SW]+)|(?P<OTHER>X+)|(?P<REL>[RO]+)")
_IMAGE_OPENING = re.compile(r"A[AD]*J*N*I[NI]*")
_ANY_ORDER = "(LINK* NP+)+"
Links = list[tuple[str, str]]  # kind and letters of each run


def mined_patterns(
    captions: Iterable[TaggedCaption], *, top: int = 5
) -> tuple[list[MinedPattern], list[Problem]]:
    """The `top` patterns that most captions have as their own; captions without a word are unscored."""
    if top < 1:
        raise BadInput(f"got the first {top} patterns, wanted at least 1")
    kept, problems = worded(captions)
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for caption in kept:
        own = own_pattern(class_string(caption.words))
        counts[own] += 1
        examples.setdefault(own, caption.text)
    first = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:top]
    return [
        MinedPattern(rank, *own, count, count / len(kept), examples[own])
        for rank, (own, count) in enumerate(first, start=1)
    ], problems


def as_patterns(mined: Sequence[MinedPattern]) -> list[Pattern]:
    """Mined patterns for `pattern_fits` and `pattern_ratios`: what they cover beyond the captions closest to them."""
    return [Pattern(f"mined {one.rank}", (one.prefix,) if one.prefix else (), one.body) for one in mined]


def own_pattern(classes: str) -> tuple[str, str]:
    """Prefix and body of the closest pattern of a caption's classes of words.

    >>> own_pattern("ANNTDNRDNRDN"), own_pattern("AIIOANRANCANR")
    (('NP+ that', '(REL? NP+)+'), ('a IMG of', '(CONJ? REL? NP+)+'))
    """
    phrases = [match.span() for match in _PHRASES.finditer(classes)]
    starts = [start for start, _ in phrases]
    ends = [end for _, end in phrases]
    gaps = [
        _links(classes[end:start]) for end, start in zip([0, *ends], [*starts, len(classes)], strict=True)
    ]
    prefix = ""
    if gaps and not gaps[0] and phrases:
        opening, gaps = classes[: ends[0]], gaps[1:]
        is_image = bool(_IMAGE_OPENING.fullmatch(opening))
        after, gaps = gaps[0], gaps[1:]
        prefix = " ".join(["a IMG" if is_image else "NP+", *_named(after, is_image)])
        if not gaps:
            return prefix, ""
        gaps = [[], *gaps]  # the links of the first unit stand in the prefix
    *units, tail = gaps
    body = [_unit(units)] if units else []
    if any(kind == "OTHER" for kind, _ in tail) or not (units or prefix):
        body.append("LINK+")
    return prefix, " ".join(body)


def _links(classes: str) -> Links:
    return [(match.lastgroup or "", match.group()) for match in _LINKS.finditer(classes)]


def _named(links: Links, is_image: bool) -> list[str]:
    """Links of a prefix, words as they are where the paper keeps them."""
    names = []
    for kind, letters in links:
        if letters == "S" or (letters == "O" and is_image):
            names.append("is" if letters == "S" else "of")
        else:
            names.append(kind if kind == "REL" or len(letters) == 1 else f"{kind}+")
    return names


def _unit(units: Sequence[Links]) -> str:
    """One unit for noun phrases with these links before them."""
    for links in units:
        places = [_ORDER.index(kind) for kind, _ in links]
        is_single = all(kind == "REL" or len(letters) == 1 for kind, letters in links)
        if places != sorted(places) or not is_single:
            return _ANY_ORDER
    kinds = [{kind for kind, _ in links} for links in units]
    names = [
        name if all(name in own for own in kinds) else f"{name}?"
        for name in _ORDER
        if any(name in own for own in kinds)
    ]
    return f"({' '.join([*names, 'NP+'])})+" if names else "NP+"
