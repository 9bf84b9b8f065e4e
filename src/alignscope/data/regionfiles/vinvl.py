"""VinVL's TSV: key and JSON of base64 features whose last six numbers say where the region lies.

The six are left, top, right, bottom, width and height as shares of the image; they become boxes, and features
keep the rest (2048 of 2054). The other layouts of the family are read too: key, count and features in three
columns (retrieval), and the detector's own list of objects with class, conf, rect and feature.

Image sizes are in no feature file: they come from `image_w`/`image_h` of the row, a NAME.hw.tsv beside
NAME.feature.tsv, or `sizes`. Labels (NAME.label.tsv or predictions.tsv beside) become tags where there is one
per region at the region's place; Oscar's are of another detector and then stay out, which `notes` says.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from alignscope.data.regionfiles.cells import floats, whole
from alignscope.data.regionfiles.companions import Companions, Size
from alignscope.data.regionfiles.lines import Lines
from alignscope.errors import BadData
from alignscope.records import Regions

POSITION_NUMBERS = 6
MADE_BY = "VinVL"  # not the detector that UNITER, ViLBERT, LXMERT and ROSITA were trained on
_TOLERANCE = 1e-3  # of shares, and of boxes as shares, that are to agree


@final
class VinvlFile:
    """Features by line, labels and sizes from the files beside."""

    def __init__(self, path: Path, companions: Companions) -> None:
        self._lines, self._companions = Lines(path), companions
        self._labels = _beside(path, "label.tsv", "predictions.tsv") if companions.tags else None
        self._sizes = _beside(path, "hw.tsv")
        self.notes: tuple[str, ...] = ()
        if self._labels is not None:
            self.notes = (f"labels of {self._labels.path.name} are tags only where they are one per region",)

    @property
    def images(self) -> Collection[str]:
        """Names of the images, in the order of the file."""
        return self._lines

    def place(self, image: str) -> str:
        """Where an image's record lies, for errors."""
        return f"{self._lines.path}:{self._lines[image].number}"

    def read(self, image: str) -> Regions:
        """The record of an image."""
        cells = self._lines.cells(image)
        if len(cells) == 3:
            row: Mapping[str, Any] = {"num_boxes": cells[1], "features": cells[2]}
        elif len(cells) == 2:
            row = _object(cells[1])
        else:
            raise BadData(f"got {len(cells)} columns, wanted key and JSON, or key, num_boxes and features")
        if "objects" in row:
            return self._detected(image, row)
        return self._featured(image, row)

    def _featured(self, image: str, row: Mapping[str, Any]) -> Regions:
        """Features with positions at their end."""
        if "features" not in row or "num_boxes" not in row:
            raise BadData(f"got {sorted(row)[:8]}, wanted `num_boxes` and `features`, or `objects`")
        many = whole(row["num_boxes"], "num_boxes")
        flat = floats(row["features"], "features")
        if flat.ndim != 1 or flat.size % max(many, 1) or (many == 0) != (flat.size == 0):
            raise BadData(f"`features`: got {flat.size} numbers, wanted as many for each of {many} boxes")
        wide = flat.reshape(many, -1) if many else flat.reshape(0, POSITION_NUMBERS)
        if wide.shape[1] < POSITION_NUMBERS:
            raise BadData(f"`features`: got width {wide.shape[1]}, wanted features and 6 numbers of position")
        shares, features = wide[:, -POSITION_NUMBERS:], wide[:, :-POSITION_NUMBERS]
        _check_positions(shares)
        size = self._size(image, row)
        corners = shares[:, :4] * np.array([size.width, size.height] * 2, np.float32)
        tags, confidences = self._tags(image, shares[:, :4], size)
        return Regions(
            image=image,
            width=size.width,
            height=size.height,
            boxes=corners,
            features=np.ascontiguousarray(features),
            tags=tags,
            confidences=confidences,
            made_by=MADE_BY,
        )

    def _detected(self, image: str, row: Mapping[str, Any]) -> Regions:
        """The detector's own objects, each with its box in pixels and its feature."""
        objects = row["objects"]
        if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
            raise BadData("`objects`: got no list of objects, wanted class, conf, rect and feature of each")
        for name in ("rect", "feature"):
            if any(name not in each for each in objects):
                raise BadData(f"`objects`: got one without `{name}`, wanted rect and feature of each")
        size = self._size(image, row, are_shares=False)
        rows = [floats(each["feature"], "feature") for each in objects]
        if len({row.shape for row in rows}) > 1:
            raise BadData(f"`feature`: got widths {sorted({row.size for row in rows})}, wanted one")
        tags, confidences = _named(objects) if self._companions.tags else ((), np.zeros(0, np.float32))
        return Regions(
            image=image,
            width=size.width,
            height=size.height,
            boxes=_rects(objects),
            features=np.stack(rows) if rows else np.zeros((0, 0), np.float32),
            tags=tags,
            confidences=confidences,
            made_by=MADE_BY,
        )

    def _size(self, image: str, row: Mapping[str, Any], *, are_shares: bool = True) -> Size:
        if "image_w" in row and "image_h" in row:
            return Size(whole(row["image_w"], "image_w"), whole(row["image_h"], "image_h"))
        if self._sizes is not None and self._companions.sizes is None and image in self._sizes:
            cells = self._sizes.cells(image)
            found = _sides(cells[-1])
            if found is not None:
                return found
            raise BadData(f"{self._sizes.path}: got {cells[-1][:60]!r}, wanted JSON of height and width")
        return self._companions.size(image, are_shares=are_shares)

    def _tags(self, image: str, shares: np.ndarray, size: Size) -> tuple[tuple[str, ...], np.ndarray]:
        """Labels as tags where each lies on the region of its number; else none."""
        nothing: tuple[tuple[str, ...], np.ndarray] = ((), np.zeros(0, np.float32))
        if self._labels is None or image not in self._labels or self._companions.is_unit:
            return nothing
        objects = _labels(self._labels, image)
        if not isinstance(objects, list) or len(objects) != len(shares):
            return nothing
        if not all(isinstance(each, dict) and "rect" in each for each in objects):
            return nothing
        rects = _rects(objects) / np.array([size.width, size.height] * 2, np.float32)
        if not np.allclose(rects, shares, atol=2 / min(size)):
            return nothing
        return _named(objects)


def _beside(path: Path, *endings: str) -> Lines | None:
    """A companion such as train.label.tsv of train.feature.tsv, or label.tsv of feature.tsv."""
    before = path.name.removesuffix(".tsv").rpartition(".")[0]
    for ending in endings:
        for name in ((f"{before}.{ending}",) if before else ()) + (ending,):
            if (path.with_name(name)).is_file() and name != path.name:
                return Lines(path.with_name(name))
    return None


def _labels(labels: Lines, image: str) -> Any:
    """The list of an image's labels, which may lie under `objects`."""
    try:
        label = json.loads(labels.cells(image)[-1])
    except (ValueError, RecursionError, BadData) as error:
        raise BadData(f"its label in {labels.path}:{labels[image].number}: got no JSON ({error})") from None
    return label.get("objects") if isinstance(label, dict) else label


def _object(text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadData(f"got no JSON ({error}): {text[:60]!r}") from None
    if not isinstance(row, dict):
        raise BadData(f"got {text[:60]!r}, wanted a JSON object")
    return row


def _sides(text: str) -> Size | None:
    """Height and width from JSON like [{"height": 480, "width": 640}], or from "480 640"."""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        sides = text.split()
        row = dict(zip(("height", "width"), sides, strict=True)) if len(sides) == 2 else None
    row = row[0] if isinstance(row, list) and row else row
    if not isinstance(row, dict) or not {"height", "width"} <= row.keys():
        return None
    return Size(whole(row["width"], "width"), whole(row["height"], "height"))


def _check_positions(shares: np.ndarray) -> None:
    """Refuse the six numbers of position where width and height contradict the corners."""
    sides = shares[:, 2:4] - shares[:, :2]
    wrong = ~(np.abs(sides - shares[:, 4:]) <= _TOLERANCE).all(axis=1)
    if wrong.any():
        region = int(wrong.argmax())
        raise BadData(
            f"region {region + 1} ends in {shares[region].tolist()}, wanted left, top, right, bottom, width, "
            "height as shares of the image (michelecafagna26/vinvl-visualbackbone writes others: features anew)"
        )


def _rects(objects: list[dict[str, Any]]) -> np.ndarray:
    rects = [each["rect"] for each in objects]
    for rect in rects:
        if not isinstance(rect, list) or len(rect) != 4 or not all(isinstance(x, int | float) for x in rect):
            raise BadData(f"`rect`: got {str(rect)[:60]}, wanted four numbers")
    return floats(rects, "rect").reshape(-1, 4)


def _named(objects: list[dict[str, Any]]) -> tuple[tuple[str, ...], np.ndarray]:
    if not all(isinstance(each.get("class"), str) for each in objects):
        return (), np.zeros(0, np.float32)
    given = [each.get("conf") for each in objects]
    has_all = all(isinstance(each, int | float) for each in given)
    return tuple(each["class"] for each in objects), floats(given if has_all else [], "conf")
