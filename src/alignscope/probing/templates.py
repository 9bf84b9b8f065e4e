"""Captions built from nouns alone: the paper's five templates (Tables 6 and 7) and more and more nouns (Fig. 3).

A template is written as the paper writes it: NOUN is a place for a noun, and the one part in brackets with a star is
repeated for each noun left over, not at all where none is. Undefined in the paper: without nouns a caption is
unscored; with fewer nouns than places the template ends with the last noun ("a man", no "of the" after it); of a
noun said twice the first place counts.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from alignscope.errors import BadInput
from alignscope.probing.captions import unscored
from alignscope.probing.counts import nouns_of
from alignscope.records import MadeCaption, Problem, TaggedCaption

NOUN_COUNTS = (3, 4, 5, 6, 7)
"""Numbers of nouns in Fig. 3."""
_PLACE = re.compile(r"\bNOUN\b")
_FORM = re.compile(r"([^()]*)(?:\(([^()]*)\)\*)?\s*")


@final
@dataclass(frozen=True)
class Template:
    """A sentence with places for nouns, such as "a NOUN (of a NOUN)*"."""

    name: str
    text: str

    def __post_init__(self) -> None:
        parts = _FORM.fullmatch(self.text)
        if parts is None or not _PLACE.search(parts[1]) or (parts[2] and len(_PLACE.findall(parts[2])) != 1):
            raise BadInput(
                f"got the template {self.text!r}, wanted at least one NOUN, then perhaps one part "
                "in brackets with one NOUN, such as 'a NOUN (of a NOUN)*'"
            )


TEMPLATES = (
    Template("UNITER", "a NOUN of the NOUN (NOUN)*"),
    Template("ROSITA", "a image image that is a a NOUN (but a a NOUN)*"),
    Template("ViLBERT", "a NOUN that the NOUN (at the NOUN)*"),
    Template("CLIP", "a image image of a NOUN (near a NOUN)*"),
    Template("LXMERT", "a NOUN (of a NOUN)*"),
)
"""Table 7, CLIP with the article of all its examples."""
VARIANTS = (
    Template("ROSITA, Table 6", "a image image that a a NOUN (but a a NOUN)*"),
    Template("ROSITA, Table 1", "a closeup image that is a a NOUN (but a a NOUN)*"),
    Template("ViLBERT, Table 1", "NOUN that the NOUN (at the NOUN)*"),
    Template("CLIP, Table 7", "a image image of NOUN (near a NOUN)*"),
    Template("LXMERT, Table 1", "a NOUN of NOUN (of a NOUN)*"),
)
"""Other wordings of the same in the paper's own tables."""


def filled(template: Template, nouns: Sequence[str]) -> str:
    """The template with these nouns in their order, each once.

    >>> filled(TEMPLATES[0], ["man", "horse", "man", "field"])
    'a man of the horse field'
    >>> filled(TEMPLATES[0], ["man"])
    'a man'
    """
    parts = _FORM.fullmatch(template.text)
    assert parts is not None  # Template checks its text
    *before, after = _PLACE.split(parts[1])
    once = list(dict.fromkeys(nouns))
    if not once:
        raise BadInput("got no noun to fill a template with, wanted at least one")
    if len(once) > len(before) and not parts[2]:
        raise BadInput(
            f"got {len(once)} nouns for {template.text!r}, wanted at most {len(before)}: it repeats nothing"
        )
    pieces = [f"{piece}{noun}" for piece, noun in zip(before, once, strict=False)]
    if len(once) >= len(before):
        pieces.append(f"{after} ")
    pieces += [f"{_PLACE.sub(lambda _, noun=noun: noun, parts[2])} " for noun in once[len(before) :]]
    return " ".join("".join(pieces).split())


def reconstructed(
    captions: Iterable[TaggedCaption], templates: Sequence[Template] = TEMPLATES, *, names: bool = False
) -> tuple[list[MadeCaption], list[Problem]]:
    """Each caption's nouns, as they come, in every template; captions without a noun are unscored."""
    made, problems = [], []
    for caption in captions:
        nouns = _distinct(caption, names=names)
        if not nouns:
            problems.append(unscored(caption, "no noun in the caption"))
        made += [
            _made("template", caption.image, template, nouns, original=caption.text)
            for template in templates
            if nouns
        ]
    return made, problems


def ranked_nouns(
    references: Sequence[TaggedCaption], *, names: bool = False, seed: int | None = None
) -> tuple[str, ...]:
    """The distinct nouns of an image's references, those of most references first, then as they first come.

    With a `seed` they are shuffled instead; the paper says neither.
    """
    counts: Counter[str] = Counter()
    for reference in references:
        counts.update(_distinct(reference, names=names))
    ranked = [noun for noun, _ in counts.most_common()]  # stable: equals in order of first appearance
    if seed is not None and references:
        random.Random(f"{seed}/{references[0].image}").shuffle(ranked)
    return tuple(ranked)


def with_nouns(
    nouns: Mapping[str, Sequence[str]],
    templates: Sequence[Template] = TEMPLATES,
    *,
    counts: Sequence[int] = NOUN_COUNTS,
    is_comparable: bool = True,
) -> tuple[list[MadeCaption], list[Problem]]:
    """Captions with the first k nouns of each image, for every k of `counts` and every template.

    `is_comparable` keeps the images with enough nouns for the largest k, so that every point of a curve rests
    on the same ones; otherwise each k takes those with at least k. The others are unscored.
    """
    if not counts or min(counts) < 1:
        raise BadInput(f"got {list(counts)} as numbers of nouns, wanted some, each at least 1")
    made, problems = [], []
    for image, own in nouns.items():
        once = list(dict.fromkeys(own))
        for count in sorted(set(counts)):
            wanted = max(counts) if is_comparable else count
            if len(once) < wanted:
                what = f"{len(once)} noun{'s' * (len(once) != 1)} in the references, wanted {wanted}"
                problems.append(Problem(image, f"{count} nouns", what, "unscored"))
                continue
            made += [_made("noun count", image, template, once[:count]) for template in templates]
    return made, problems


def _made(
    kind: str, image: str, template: Template, nouns: Sequence[str], *, original: str = ""
) -> MadeCaption:
    return MadeCaption(
        image=image,
        kind=kind,  # type: ignore[arg-type]
        name=template.name,
        draw=0,
        original=original,
        text=filled(template, nouns),
        nouns="|".join(nouns),
        noun_count=len(nouns),
        changed=0,
        recipe=template.text,
    )


def _distinct(caption: TaggedCaption, *, names: bool) -> list[str]:
    """The distinct nouns of a caption without case, in order."""
    return list(dict.fromkeys(noun.text.lower() for noun in nouns_of(caption.words, names=names)))
