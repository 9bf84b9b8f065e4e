"""Captions of a captioner from a file, and their words with parts of speech.

A file is JSONL, one `{"image": ..., "caption": ...}` per line, or COCO's results, a JSON list of
`{"image_id": ..., "caption": ...}`. What cannot be used is unscored with its place, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alignscope.data.items import fault_of_text, kind_of, parse_json, read_bytes
from alignscope.errors import BadData, LengthMismatch
from alignscope.files import sha_of
from alignscope.language import tags
from alignscope.records import ImageCaption, Problem, TaggedCaption, TaggedWord

_WANTED = (
    'lines like {"image": "1.jpg", "caption": "..."} or COCO results ([{"image_id": 1, "caption": "..."}])'
)
Tags = Callable[[Sequence[str]], Iterable[tuple[TaggedWord, ...]]]
"""Tagged words for texts, one to one: `language.tags.tagged`, or a lexicon's."""


@final
@dataclass(frozen=True)
class CaptionFile:
    """The usable captions of a file in its order, and what was wrong with the rest."""

    name: str
    sha: str  # of the usable captions
    captions: tuple[ImageCaption, ...]
    problems: tuple[Problem, ...]


class _Broken(Exception):
    """Why a line is no JSON."""


def read_caption_file(path: Path, *, several: bool = False) -> CaptionFile:
    """Captions by image, one per image unless `several`; without one usable caption an error."""
    captions: list[ImageCaption] = []
    problems: list[Problem] = []
    first: dict[str, str] = {}  # image -> where its first caption stands
    for subject, row in _rows(path):
        fault = _fault(row)
        image = "" if fault and not isinstance(row, dict) else _image(row)
        if not fault and image in first and not several:
            fault = f"the image has a caption already ({first[image]})"
        if fault:
            problems.append(Problem(image, subject, fault, "unscored"))
            continue
        first.setdefault(image, subject)
        captions.append(ImageCaption(image, row["caption"]))
    if not captions:
        why = f"{problems[0].subject}: {problems[0].what}" if problems else "the file is empty"
        raise BadData(f"{path}: got no usable caption ({why}), wanted {_WANTED}; correct the file")
    return CaptionFile(path.stem, sha_of(captions), tuple(captions), tuple(problems))


def tagged_captions(captions: Sequence[ImageCaption], *, tag: Tags = tags.tagged) -> list[TaggedCaption]:
    """Captions with their words tagged, every distinct text once."""
    texts = list(dict.fromkeys(caption.text for caption in captions))
    found = list(tag(texts))
    if len(found) != len(texts):
        raise LengthMismatch(f"got tags of {len(found)} texts for {len(texts)}, wanted one each: check `tag`")
    words = dict(zip(texts, found, strict=True))
    return [TaggedCaption(caption.image, caption.text, words[caption.text]) for caption in captions]


def by_image(captions: Iterable[TaggedCaption]) -> dict[str, list[TaggedCaption]]:
    """Captions by their image, as references are asked for."""
    grouped: dict[str, list[TaggedCaption]] = {}
    for caption in captions:
        grouped.setdefault(caption.image, []).append(caption)
    return grouped


def by_lexicon(lexicon: Mapping[str, str]) -> Tags:
    """A way to tag that looks words up, for `tagged_captions`."""
    return lambda texts: [tags.looked_up(text, lexicon) for text in texts]


def worded(captions: Iterable[TaggedCaption]) -> tuple[list[TaggedCaption], list[Problem]]:
    """Captions that hold a word, and those that do not as unscored."""
    kept, problems = [], []
    for caption in captions:
        if caption.words:
            kept.append(caption)
        else:
            problems.append(unscored(caption, "no word in the caption"))
    return kept, problems


def unscored(caption: TaggedCaption, what: str) -> Problem:
    """Why a caption could not be analysed."""
    return Problem(caption.image, caption.text, what, "unscored")


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Each entry of the file with its place."""
    try:
        text = read_bytes(path, wanted=_WANTED).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: got no UTF-8 ({error}), wanted {_WANTED}; save the file as UTF-8") from None
    if text.lstrip().startswith("["):
        try:
            rows = parse_json(text)
        except ValueError as error:
            raise BadData(f"{path}: got no valid JSON ({error}), wanted {_WANTED}; correct it") from None
        yield from ((f"{path.name}: [{number}]", row) for number, row in enumerate(rows))
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = parse_json(line)
            except ValueError as error:
                row = _Broken(error)
            yield f"{path.name}:{number}", row


def _image(row: Mapping[str, Any]) -> str:
    """The image's id as text; COCO's are numbers."""
    value = row.get("image", row.get("image_id"))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _fault(row: Any) -> str:
    if isinstance(row, _Broken):
        return f"no valid JSON ({row})"
    if not isinstance(row, dict):
        return f"is {kind_of(row)}, not an object with `image` and `caption`"
    if not _image(row).strip():
        got = (
            f"`image` is {kind_of(row['image'])}" if "image" in row else f"fields {', '.join(row) or 'none'}"
        )
        return f"no image id ({got})"
    if "caption" not in row:
        return f"no `caption` among the fields {', '.join(row)}"
    fault = fault_of_text(row["caption"])
    return f"caption {fault}" if fault else ""
