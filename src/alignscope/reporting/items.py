"""Every choice of an audit as data inside its page, which a small script there sorts, filters and searches."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from alignscope.records import Choice, Example, Picture, Problem
from alignscope.reporting.page import ROOM
from alignscope.reporting.run import thumbnail_name
from alignscope.reporting.wording import is_number, kind_in_words, kind_order, result_of

DATA_BYTES = 12_000_000  # of choices: with the rest of the page under about 15 MB
PICTURE_BYTES = 2_000_000  # of pictures, a part of the former
OUTCOMES = ("wrong", "tie", "unscored", "right")
NOTES = 3  # problems told of one choice


class Line(NamedTuple):
    """One choice as the list shows it; of an item that only has a problem the note alone."""

    item: str
    image: str
    kind: str
    caption: str
    foil: str
    caption_score: float | None
    foil_score: float | None
    outcome: str  # "right", "wrong", "tie", "unscored"
    note: str


@dataclass(frozen=True)
class Browser:
    """What the page embeds: the choices as escaped JSON, the script, and how many there are of what."""

    data: Markup
    script: Markup
    policy: str  # the only script that may run, by its hash
    kinds: tuple[tuple[str, str, int], ...]  # kind, in words, choices
    outcomes: tuple[tuple[str, int], ...]
    shown: int
    total: int
    pictured: int  # images with a picture in the data
    beside: int  # further images with a thumbnail in the folder beside the page
    images: int


def browser(
    choices: Sequence[Choice],
    problems: Iterable[Problem] = (),
    examples: Sequence[Example] = (),
    pictures: Sequence[Picture] = (),
    thumbnails: Collection[str] = (),
    *,
    limit: int = DATA_BYTES,
) -> Browser:
    """The choices, least preferred captions first; past `limit` bytes the clearest right ones are left out, counted."""
    lines = _lines(choices, problems)
    pngs = {e.image: e.png for e in examples} | {p.image: p.png for p in pictures}
    kept, pngs = _fitting(lines, pngs, limit)
    images = {line.image for line in kept if line.image}
    beside = {image: name for image in images - set(pngs) if (name := thumbnail_name(image)) in thumbnails}
    script = (ROOM / "items.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    kinds, outcomes = Counter(line.kind for line in kept), Counter(line.outcome for line in kept)
    return Browser(
        data=Markup(escaped_json(_packed(kept, pngs, beside))),
        script=Markup(script),
        policy=f"'sha256-{digest}'",
        kinds=tuple((kind, kind_in_words(kind), kinds[kind]) for kind in sorted(kinds, key=kind_order)),
        outcomes=tuple((name, outcomes[name]) for name in OUTCOMES if outcomes[name]),
        shown=len(kept),
        total=len(lines),
        pictured=len(pngs),
        beside=len(beside),
        images=len(images),
    )


def escaped_json(value: object) -> str:
    """JSON that cannot end the script element it stands in.

    >>> print(escaped_json({"caption": "</script><b>"}))
    {"caption":"\\u003c/script\\u003e\\u003cb\\u003e"}
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _lines(choices: Sequence[Choice], problems: Iterable[Problem]) -> list[Line]:
    """A line per choice by its margin, those without one first, and one per item that has only a problem."""
    told: dict[str, dict[str, dict[str, None]]] = {}
    for problem in problems:
        if problem.item:
            told.setdefault(problem.item, {}).setdefault(problem.subject, {})[problem.what] = None
    lines = [_line(choice, told.get(choice.item, {})) for choice in choices]
    known = {choice.item for choice in choices}
    for item, subjects in told.items():
        if item not in known:
            whats = [f"{what}: {subject}" for subject, found in subjects.items() for what in found]
            lines.append(Line(item, "", "", "", "", None, None, "unscored", _listed(whats)))
    return sorted(lines, key=_margin)


def _line(choice: Choice, told: Mapping[str, Mapping[str, None]]) -> Line:
    scores = (choice.caption_score, choice.foil_score)
    margin = scores[0] - scores[1] if all(map(is_number, scores)) else math.nan
    subjects = (choice.caption, choice.foil, choice.image)
    whats = list(dict.fromkeys(what for subject in subjects for what in told.get(subject, ())))
    if not is_number(margin) and not whats:
        whats = ["a score is not a finite number"]
    return Line(
        item=choice.item,
        image=choice.image,
        kind=choice.kind,
        caption=choice.caption,
        foil=choice.foil,
        caption_score=_exact(choice.caption_score),
        foil_score=_exact(choice.foil_score),
        outcome=result_of(margin),
        note=_listed(whats),
    )


def _exact(score: float) -> float | None:
    """A float32 in as few digits as tell it from every other."""
    return float(f"{score:.9g}") if is_number(score) else None


def _listed(whats: Sequence[str]) -> str:
    more = [f"and {len(whats) - NOTES} more in problems.jsonl"] if len(whats) > NOTES else []
    return "; ".join([*whats[:NOTES], *more])


def _margin(line: Line) -> float:
    if line.caption_score is None or line.foil_score is None:
        return -math.inf
    return line.caption_score - line.foil_score


def _fitting(lines: Sequence[Line], pngs: Mapping[str, str], limit: int) -> tuple[list[Line], dict[str, str]]:
    """As many lines from the first as fit, and pictures of their images while those fit."""
    left, kept = limit - PICTURE_BYTES, []
    seen: set[str] = set()
    for line in lines:
        left -= 60 + _size(line.item) + _size(line.foil) + _size(line.note)
        named = {line.image, line.kind, line.caption}
        left -= sum(_size(text) for text in named - seen)
        seen |= named
        if left < 0:
            break
        kept.append(line)
    room, shown = PICTURE_BYTES, {}
    for image in dict.fromkeys(line.image for line in kept):
        if image in pngs and len(pngs[image]) <= room:
            room -= len(pngs[image])
            shown[image] = pngs[image]
    return kept, shown


def _size(text: str) -> int:
    return len(escaped_json(text).encode(errors="replace"))


def _packed(lines: Sequence[Line], pngs: Mapping[str, str], beside: Mapping[str, str]) -> dict[str, object]:
    """Images, kinds and captions once each, lines naming them by place."""
    images, kinds, captions = (
        {text: place for place, text in enumerate(dict.fromkeys(texts))}
        for texts in ([e.image for e in lines], [e.kind for e in lines], [e.caption for e in lines])
    )
    return {
        "images": list(images),
        "kinds": [[kind, kind_in_words(kind)] for kind in kinds],
        "captions": list(captions),
        "pictures": {str(images[image]): png for image, png in pngs.items()},
        "thumbnails": {str(images[image]): beside[image] for image in images if image in beside},
        "lines": [(e.item, images[e.image], kinds[e.kind], captions[e.caption], *e[4:]) for e in lines],
    }
