"""COCO's JSON files: captions and instances, and the list form of the Karpathy split.

The structure of a file is checked and a wrong one refused; single annotations that cannot be used are
`Problem`s (COCO itself has boxes without width).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, final

from PIL.Image import Image

from alignscope.data.images import ImageFolder
from alignscope.data.items import FolderItems, WordClasses, fault_of_text, kind_of, read_json
from alignscope.errors import BadData
from alignscope.records import Box, Caption, Item, Problem

_WANTED_CAPTIONS = (
    'COCO captions ({"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}) '
    'or a list ([{"image", "caption"}])'
)
_WANTED_INSTANCES = (
    'COCO instances ({"images": [{"id", "file_name"}], "categories": [{"id", "name"}], '
    '"annotations": [{"image_id", "category_id", "bbox"}]})'
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


@final
@dataclass(frozen=True)
class Instance:
    """One annotated thing: its image's key, its category and its box in pixel corners."""

    id: str
    image: str
    category: str
    box: Box
    is_crowd: bool


@final
@dataclass(frozen=True)
class InstanceSet:
    """What a file of instances holds, and what of it cannot be used."""

    images: tuple[str, ...]  # every image of the file, those without instances too
    categories: tuple[str, ...]
    instances: tuple[Instance, ...]
    problems: tuple[Problem, ...]


@final
class CaptionedImages:
    """An `ItemSource` of captions without foils, one item per caption, for retrieval and attribution.

    Items are called `image#number`, captions of one image counted from 0.
    """

    def __init__(self, annotations: Path, images: Path, *, word_classes: WordClasses | None = None) -> None:
        read = read_captions(annotations)
        self._held = FolderItems(
            [
                Item(f"{one.image}#{number}", one.image, Caption(caption))
                for one in read.images
                for number, caption in enumerate(one.captions)
            ],
            ImageFolder(images),
            problems=read.problems,
            word_classes=word_classes,
        )
        self.name = annotations.stem
        self.sha = self._held.sha

    @property
    def items(self) -> Sequence[Item]:
        return self._held.items

    @property
    def problems(self) -> Sequence[Problem]:
        return self._held.problems

    def image(self, key: str) -> Image:
        return self._held.image(key)


def read_captions(path: Path) -> CaptionSet:
    """Captions by image, of COCO's own form or the list form; without one usable caption an error."""
    content = read_json(path, wanted=_WANTED_CAPTIONS)
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
    if not captions:
        first = f" ({problems[0].subject}: {problems[0].what})" if problems else ""
        raise BadData(f"{path}: got no usable caption{first}, wanted {_WANTED_CAPTIONS}; check the file")
    images = tuple(CaptionedImage(image, tuple(texts)) for image, texts in captions.items())
    return CaptionSet(images, tuple(problems))


def read_instances(path: Path) -> InstanceSet:
    """Boxes with categories; COCO's (x, y, width, height) become corners."""
    content = read_json(path, wanted=_WANTED_INSTANCES)
    files = _names(path, content, "images", "file_name", _WANTED_INSTANCES)
    categories = _names(path, content, "categories", "name", _WANTED_INSTANCES)
    instances, problems = [], []
    for number, row in enumerate(_rows(path, content, "annotations", _WANTED_INSTANCES)):
        subject = f"{path.name}: annotations[{number}]"
        try:
            image = _looked_up(row, "image_id", files)
            category = _looked_up(row, "category_id", categories)
            box = _box(row.get("bbox"))
        except ValueError as fault:
            problems.append(Problem(f"annotations[{number}]", subject, str(fault), "unscored"))
            continue
        name = str(row.get("id", number))
        instances.append(Instance(name, image, category, box, bool(row.get("iscrowd", 0))))
    return InstanceSet(tuple(files.values()), tuple(categories.values()), tuple(instances), tuple(problems))


def _annotated(path: Path, content: Any, problems: list[Problem]) -> Iterator[tuple[str, str, Any]]:
    """Subject, image key and caption of each annotation of COCO's own form."""
    files = _names(path, content, "images", "file_name", _WANTED_CAPTIONS)
    for number, row in enumerate(_rows(path, content, "annotations", _WANTED_CAPTIONS)):
        subject = f"{path.name}: annotations[{number}]"
        if "caption" not in row:
            raise BadData(
                f"{subject}: got no `caption` among {', '.join(row) or 'nothing'}, wanted {_WANTED_CAPTIONS}; "
                "is this the instances file? use `captions_*.json`"
            )
        try:
            yield subject, _looked_up(row, "image_id", files), row["caption"]
        except ValueError as fault:
            problems.append(Problem(f"annotations[{number}]", subject, str(fault), "unscored"))


def _listed(path: Path, content: list[Any], problems: list[Problem]) -> Iterator[tuple[str, str, Any]]:
    """Subject, image key and caption of each row of the list form, whose `caption` may be one or many."""
    for number, row in enumerate(content):
        subject = f"{path.name}: [{number}]"
        if not isinstance(row, dict) or "image" not in row or "caption" not in row:
            got = ", ".join(row) if isinstance(row, dict) else kind_of(row)
            raise BadData(
                f"{subject}: got {got or 'an empty object'}, wanted {_WANTED_CAPTIONS}; check the file"
            )
        fault = fault_of_text(row["image"])
        if fault:
            problems.append(Problem(f"[{number}]", subject, f"`image` {fault}", "unscored"))
            continue
        captions = row["caption"] if isinstance(row["caption"], list) else [row["caption"]]
        if not captions:
            problems.append(Problem(row["image"], subject, "no caption", "unscored"))
        for caption in captions:
            yield subject, row["image"], caption


def _rows(path: Path, content: Any, name: str, wanted: str) -> list[dict[str, Any]]:
    if not isinstance(content, dict):
        raise BadData(f"{path}: got {kind_of(content)}, wanted {wanted}; check the file")
    if name not in content:
        raise BadData(
            f"{path}: got {', '.join(content) or 'nothing'} but no `{name}`, wanted {wanted}; check the file"
        )
    rows = content[name]
    if not isinstance(rows, list):
        raise BadData(f"{path}: got {kind_of(rows)} as `{name}`, wanted {wanted}; check the file")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadData(f"{path}: {name}[{number}]: got {kind_of(row)}, wanted {wanted}; check the file")
    return rows


def _names(path: Path, content: Any, table: str, field: str, wanted: str) -> dict[int, str]:
    """The names of a table by id, in the order of the file; both must be there and the ids distinct."""
    rows = _rows(path, content, table, wanted)
    for number, row in enumerate(rows):
        fault = fault_of_text(row.get(field)) or ("" if _is_id(row.get("id")) else "`id` is no whole number")
        if fault:
            what = f"`{field}` {fault}" if not fault.startswith("`") else fault
            raise BadData(f"{path}: {table}[{number}]: {what}, wanted {wanted}; correct the entry")
    for field_name in ("id", field):
        value, count = Counter(row[field_name] for row in rows).most_common(1)[0] if rows else (None, 0)
        if count > 1:
            raise BadData(
                f"{path}: got {count} {table} with the {field_name} {value!r}, wanted one; correct the entries"
            )
    return {row["id"]: row[field] for row in rows}


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _looked_up(row: dict[str, Any], field: str, names: dict[int, str]) -> str:
    value = row.get(field)
    if not _is_id(value) or value not in names:
        raise ValueError(f"`{field}` is {kind_of(value)}, which the file does not list")
    return names[value]


def _box(bbox: Any) -> Box:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(side) for side in bbox):
        raise ValueError(f"`bbox` is {kind_of(bbox)}, not four numbers (x, y, width, height)")
    left, top, width, height = bbox
    if width <= 0 or height <= 0:
        raise ValueError(f"`bbox` {bbox} has no area")
    return Box(float(left), float(top), float(left + width), float(top + height))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
