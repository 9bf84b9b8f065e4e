"""COCO's captions as JSON, and the list form of the Karpathy split.

The structure of a file is checked and a wrong one refused; single annotations that cannot be used are `Problem`s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alignscope.data.items import fault_of_text, kind_of, read_json
from alignscope.errors import BadData
from alignscope.records import Problem

_WANTED = (
    'COCO captions ({"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}) '
    'or a list ([{"image", "caption"}])'
)


@final
@dataclass(frozen=True)
class CaptionedImage:
    """An image by its key and its captions, in the order of the file."""

    image: str
    captions: tuple[str, ...]


@final
@dataclass(frozen=True)
class CaptionSet:
    """What a file of captions holds, and what of it cannot be used."""

    images: tuple[CaptionedImage, ...]
    problems: tuple[Problem, ...]


def read_captions(path: Path) -> CaptionSet:
    """Captions by image, of COCO's own form or the list form; without one usable caption an error."""
    content = read_json(path, wanted=_WANTED)
    problems: list[Problem] = []
    captions: dict[str, list[str]] = {}
    rows = (
        _listed(path, content, problems) if isinstance(content, list) else _annotated(path, content, problems)
    )
    for subject, image, caption in rows:
        fault = fault_of_text(caption)
        if fault:
            problems.append(Problem(image, subject, f"caption {fault}", "unscored"))
        else:
            captions.setdefault(image, []).append(caption)
    return gathered(captions, problems, path, wanted=_WANTED)


def gathered(
    captions: Mapping[str, Sequence[str]], problems: Sequence[Problem], path: Path, *, wanted: str
) -> CaptionSet:
    """The captions of a file by image; without one an error that names the first problem."""
    if not captions:
        first = f" ({problems[0].subject}: {problems[0].what})" if problems else ""
        raise BadData(f"{path}: got no usable caption{first}, wanted {wanted}; check the file")
    images = tuple(CaptionedImage(image, tuple(texts)) for image, texts in captions.items())
    return CaptionSet(images, tuple(problems))


def _annotated(path: Path, content: Any, problems: list[Problem]) -> Iterator[tuple[str, str, Any]]:
    """Subject, image key and caption of each annotation of COCO's own form."""
    files = _file_names(path, content)
    for number, row in enumerate(_rows(path, content, "annotations")):
        subject = f"{path.name}: annotations[{number}]"
        if "caption" not in row:
            raise BadData(
                f"{subject}: got no `caption` among {', '.join(row) or 'nothing'}, wanted {_WANTED}; "
                "is this the instances file? use `captions_*.json`"
            )
        image = row.get("image_id")
        if _is_id(image) and image in files:
            yield subject, files[image], row["caption"]
        else:
            what = f"`image_id` is {kind_of(image)}, which the file does not list"
            problems.append(Problem(f"annotations[{number}]", subject, what, "unscored"))


def _listed(path: Path, content: list[Any], problems: list[Problem]) -> Iterator[tuple[str, str, Any]]:
    """Subject, image key and caption of each row of the list form, whose `caption` may be one or many."""
    for number, row in enumerate(content):
        subject = f"{path.name}: [{number}]"
        if not isinstance(row, dict) or "image" not in row or "caption" not in row:
            got = ", ".join(row) if isinstance(row, dict) else kind_of(row)
            raise BadData(f"{subject}: got {got or 'an empty object'}, wanted {_WANTED}; check the file")
        fault = fault_of_text(row["image"])
        if fault:
            problems.append(Problem(f"[{number}]", subject, f"`image` {fault}", "unscored"))
            continue
        captions = row["caption"] if isinstance(row["caption"], list) else [row["caption"]]
        if not captions:
            problems.append(Problem(row["image"], subject, "no caption", "unscored"))
        for caption in captions:
            yield subject, row["image"], caption


def _rows(path: Path, content: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(content, dict):
        raise BadData(f"{path}: got {kind_of(content)}, wanted {_WANTED}; check the file")
    if name not in content:
        raise BadData(
            f"{path}: got {', '.join(content) or 'nothing'} but no `{name}`, wanted {_WANTED}; check the file"
        )
    rows = content[name]
    if not isinstance(rows, list):
        raise BadData(f"{path}: got {kind_of(rows)} as `{name}`, wanted {_WANTED}; check the file")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadData(f"{path}: {name}[{number}]: got {kind_of(row)}, wanted {_WANTED}; check the file")
    return rows


def _file_names(path: Path, content: Any) -> dict[int, str]:
    """The names of images by id, in the order of the file; both must be there and distinct."""
    rows = _rows(path, content, "images")
    for number, row in enumerate(rows):
        fault = fault_of_text(row.get("file_name"))
        if fault or not _is_id(row.get("id")):
            what = f"`file_name` {fault}" if fault else "`id` is no whole number"
            raise BadData(f"{path}: images[{number}]: {what}, wanted {_WANTED}; correct the entry")
    for field in ("id", "file_name"):
        value, count = Counter(row[field] for row in rows).most_common(1)[0] if rows else (None, 0)
        if count > 1:
            raise BadData(
                f"{path}: got {count} images with the {field} {value!r}, wanted one; correct the entries"
            )
    return {row["id"]: row["file_name"] for row in rows}


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
