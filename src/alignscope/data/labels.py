"""What Oscar and VinVL keep beside region features: files of labels, of captions, and the yaml that names them.

A label file is a TSV: key, and JSON of what a detector of labels found, [{"class", "rect", "conf"}] or
{"image_h", "image_w", "objects": […]} (predictions.tsv). `rect` and `conf` may be missing; without `rect` no
region can be given a label. Labels may be another detector's than the regions, and need not be as many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final

from alignscope.data.coco import CaptionSet, gathered
from alignscope.data.items import fault_of_text, kind_of, parse_json, read_bytes, read_json
from alignscope.data.names import Names, fault_of_name
from alignscope.data.regionfiles.companions import Size
from alignscope.data.regionfiles.lines import Lines
from alignscope.errors import BadData, UnknownName
from alignscope.records import Box, Label, Labelled, Problem, Regions

if TYPE_CHECKING:
    _LabelsByImage = Mapping[str, tuple[Label, ...]]
    _LabelledByImage = Mapping[str, Labelled]
else:
    _LabelsByImage = _LabelledByImage = (
        Mapping  # a check at run time would read a record of what is subscripted
    )

USUAL_SIZE = Size(width=800, height=600)
"""What the official code takes for the size of an image of which nobody tells it."""
_WANTED_LABELS = (
    'a list of {"class"} with "rect" and "conf" where known, or {"image_h", "image_w", "objects"}'
)
_WANTED_YAML = "Oscar's yaml (`feature`, `label`, `caption`, `img`: each a file beside the yaml)"
_WANTED_CAPTIONS = 'Oscar\'s captions ([{"image_id", "caption"}])'
_LARGEST = 1e9  # of coordinates and confidences; NaN and infinity are not below it
_ENTRIES = ("feature", "label", "caption", "img", "hw")


class _Row(NamedTuple):
    labels: tuple[Label, ...]
    size: Size | None


@final
class LabelFile(_LabelsByImage):
    """Labels by image, each read from the file when it is asked for; FILE.lineidx beside is used.

    Names may be spelt as data sets spell them. A line that cannot be read is a `BadData` with its number.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self._lines = Lines(path)
        self._names = Names(self._lines)

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, image: object) -> bool:
        return image in self._names

    def __getitem__(self, image: str) -> tuple[Label, ...]:
        return self._row(image).labels

    def size(self, image: str) -> Size | None:
        """The size of the image that boxes are of, where its line tells it."""
        return self._row(image).size

    def _row(self, image: str) -> _Row:
        found = self._names.find(image)
        if found is None:
            raise UnknownName(f"{self.path}: no labels of {image!r}: {self._names.nearest(image)}")
        try:
            cells = self._lines.cells(found)
            fault = fault_of_name(found)
            if fault or len(cells) != 2:
                raise BadData(fault or f"got {len(cells)} columns, wanted key and JSON")
            return _parsed(cells[1])
        except ValueError as error:  # of the JSON
            what = f"got no JSON ({error})"
        except BadData as error:
            what = str(error)
        raise BadData(f"{self.path}:{self._lines[found].number}: {what}")


@final
class LabelledRegions(_LabelledByImage):
    """Regions with labels by image, for images that have both; the others are `problems`.

    `notes` tell of sizes that were assumed for images read so far.
    """

    def __init__(
        self, regions: Mapping[str, Regions], labels: Mapping[str, tuple[Label, ...]] | None
    ) -> None:
        self._regions, self._labels = regions, labels
        self._seen, self._named = Names(regions), Names(labels if labels is not None else ())
        self._assumed: set[str] = set()
        self._images = [image for image in regions if labels is None or image in self._named]

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Images with regions and no labels, and with labels and no regions."""
        if self._labels is None:
            return ()
        unlabelled = (image for image in self._regions if image not in self._named)
        unseen = (image for image in self._labels if image not in self._seen)
        return (
            *(Problem(image, image, "regions without a line of labels", "unscored") for image in unlabelled),
            *(Problem(image, image, "labels without regions", "unscored") for image in unseen),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be assumed."""
        if not self._assumed:
            return ()
        some = f"{len(self._assumed)} image{'s' if len(self._assumed) > 1 else ''}"
        return (
            f"{some} of a size that no file tells: boxes of labels are taken to be of "
            f"{USUAL_SIZE.width}x{USUAL_SIZE.height} pixels, as the official code does",
        )

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __contains__(self, image: object) -> bool:
        return image in self._seen and (self._labels is None or image in self._named)

    def __getitem__(self, image: str) -> Labelled:
        seen, named = self._seen.find(image), self._named.find(image)
        if seen is None or (self._labels is not None and named is None):
            what, names = ("regions", self._seen) if seen is None else ("labels", self._named)
            raise UnknownName(f"no {what} of {image!r}: {names.nearest(image)}")
        regions = self._regions[seen]
        if self._labels is None or named is None:
            return Labelled(regions, labels_of(regions))
        labels = self._labels[named]
        told = self._labels.size(named) if isinstance(self._labels, LabelFile) else None
        if any(label.box is not None for label in labels):
            labels = self._fitted(labels, regions, told)
        return Labelled(regions, labels)

    def _fitted(self, labels: tuple[Label, ...], regions: Regions, told: Size | None) -> tuple[Label, ...]:
        """Labels with their boxes in the pixels that the boxes of regions are in."""
        own = Size(width=regions.width, height=regions.height)
        if told is None and own == Size(1, 1) and isinstance(self._labels, LabelFile):
            self._assumed.add(regions.image)  # regions are shares of an image whose size nobody told
            told = USUAL_SIZE
        across, down = (own.width / told.width, own.height / told.height) if told else (1.0, 1.0)
        return tuple(
            replace(
                label,
                box=Box(
                    label.box.x1 * across, label.box.y1 * down, label.box.x2 * across, label.box.y2 * down
                ),
            )
            if label.box
            else label
            for label in labels
        )


def labelled(
    regions: Mapping[str, Regions], labels: Mapping[str, tuple[Label, ...]] | None = None
) -> LabelledRegions:
    """Regions with the labels of a file, read when asked for; without one the regions' own tags are labels."""
    return LabelledRegions(regions, labels)


def labels_of(regions: Regions) -> tuple[Label, ...]:
    """The tags of regions as labels, each with its region's box; regions without a tag give none."""
    sure = regions.confidences.tolist() or [None] * len(regions.tags)
    return tuple(
        Label(tag, Box(*map(float, box)), confidence)
        for tag, box, confidence in zip(regions.tags, regions.boxes, sure, strict=False)
        if tag
    )


@final
@dataclass(frozen=True)
class OscarFiles:
    """The files that Oscar's yaml names; None where it names none."""

    feature: Path | None = None
    label: Path | None = None
    caption: Path | None = None
    img: Path | None = None
    hw: Path | None = None
    problems: tuple[Problem, ...] = ()


def read_oscar_yaml(path: Path) -> OscarFiles:
    """The files of a yaml, looked for from its folder on; a file that is not there is an error.

    Entries that are not known, such as Oscar's `linelist`, are problems.
    """
    import yaml

    text = read_bytes(path, wanted=_WANTED_YAML).decode("utf-8-sig", "replace")
    try:
        content = yaml.safe_load(text)  # plain values only: nothing in the file is run
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split())[:200]
        raise BadData(f"{path}: got no yaml ({what}), wanted {_WANTED_YAML}; correct the file") from None
    if not isinstance(content, dict) or not set(_ENTRIES) & set(content):
        got = ", ".join(map(str, content)) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise BadData(f"{path}: got {got[:80]}, wanted {_WANTED_YAML}; check the path")
    files: dict[str, Path] = {}
    for entry in _ENTRIES:
        if content.get(entry) is None:
            continue
        name = content[entry]
        if not isinstance(name, str) or not name.strip():  # its repr may be endless: yaml has aliases
            raise BadData(
                f"{path}: `{entry}`: got a {type(name).__name__}, wanted the name of one file; correct the entry"
            )
        files[entry] = path.parent / name
        if not files[entry].is_file():
            raise BadData(
                f"{path}: `{entry}`: got no file {files[entry]}, wanted one beside the yaml; "
                "put it there, or remove the entry"
            )
    unknown = tuple(
        Problem(str(entry), str(path), f"the entry {str(entry)!r} passed over", "handled")
        for entry in content
        if entry not in _ENTRIES
    )
    return OscarFiles(**files, problems=unknown)


def read_oscar_captions(path: Path) -> CaptionSet:
    """Captions by image of a list with one caption in each row; without one usable caption an error."""
    content = read_json(path, wanted=_WANTED_CAPTIONS)
    if not isinstance(content, list):
        raise BadData(f"{path}: got {kind_of(content)}, wanted {_WANTED_CAPTIONS}; check the file")
    captions: dict[str, list[str]] = {}
    problems: list[Problem] = []
    for number, row in enumerate(content):
        subject = f"{path.name}: [{number}]"
        if not isinstance(row, dict) or not {"image_id", "caption"} <= row.keys():
            got = ", ".join(row) if isinstance(row, dict) else kind_of(row)
            raise BadData(
                f"{subject}: got {got or 'an empty object'}, wanted {_WANTED_CAPTIONS}; check the file"
            )
        name = row["image_id"]
        image = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
        for field, value in (("image_id", image), ("caption", row["caption"])):
            fault = fault_of_text(value)
            if fault:
                problems.append(Problem(str(image), subject, f"`{field}` {fault}", "unscored"))
                break
        else:
            captions.setdefault(image, []).append(row["caption"])
    return gathered(captions, problems, path, wanted=_WANTED_CAPTIONS)


def _parsed(text: str) -> _Row:
    row = parse_json(text)
    objects, size = row, None
    if isinstance(row, dict):
        objects, size = row.get("objects"), _size(row)
    if not isinstance(objects, list):
        raise BadData(f"got {kind_of(row)}, wanted {_WANTED_LABELS}")
    return _Row(tuple(_label(number, each) for number, each in enumerate(objects, start=1)), size)


def _size(row: Mapping[str, Any]) -> Size | None:
    width, height = row.get("image_w"), row.get("image_h")
    if width is None and height is None:
        return None
    if not (_is_whole(width) and _is_whole(height)):
        raise BadData(
            f"got image_w {width!r} and image_h {height!r}, wanted whole numbers from 1, or neither"
        )
    return Size(width=int(width), height=int(height))  # type: ignore[arg-type]


def _label(number: int, each: Any) -> Label:
    name = each.get("class", "") if isinstance(each, dict) else ""
    if fault_of_text(name):
        raise BadData(f"label {number}: got {kind_of(each)}, wanted {_WANTED_LABELS}")
    sure = each.get("conf")
    if sure is not None and not _is_number(sure):
        raise BadData(f"label {number}: `conf` is {kind_of(sure)}, wanted a number")
    return Label(name, _box(number, each.get("rect")), None if sure is None else float(sure))


def _box(number: int, rect: Any) -> Box | None:
    """The box of a label; a side without length is left as it is, for whoever measures overlap."""
    if rect is None:
        return None
    if not isinstance(rect, list) or len(rect) != 4 or not all(map(_is_number, rect)):
        raise BadData(f"label {number}: `rect` is {kind_of(rect)}, wanted four numbers (x1, y1, x2, y2)")
    if rect[2] < rect[0] or rect[3] < rect[1]:
        raise BadData(f"label {number}: got `rect` {rect}, wanted corners as x1 <= x2, y1 <= y2")
    return Box(*map(float, rect))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
