"""SugarCrepe (Hsieh et al. 2023): one caption, one fluent foil, seven kinds; COCO val2017 images.

Reads the official files, `<subset>.json`, each an object of records by number. Numbers are kept in the
ids ("swap_obj/107"), as they are not contiguous: the authors removed records after publication.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from PIL.Image import Image

from alignscope.data.images import ImageFolder
from alignscope.data.items import FolderItems, WordClasses, fault_of_text, is_same_text, kind_of, read_json
from alignscope.data.pairs import write_pairs
from alignscope.errors import BadData, UnknownName
from alignscope.records import Caption, Foil, FoilKind, Item, Problem
from alignscope.registry import did_you_mean

KINDS: dict[str, FoilKind] = {
    "add_att": "add_attribute",
    "add_obj": "add_object",
    "replace_att": "replace_attribute",
    "replace_obj": "replace_object",
    "replace_rel": "replace_relation",
    "swap_att": "swap_attribute",
    "swap_obj": "swap_object",
}
"""The kind of foil of each subset, in the order of the official table."""
_FIELDS = ("filename", "caption", "negative_caption")
_WANTED = 'SugarCrepe records ({"0": {"filename", "caption", "negative_caption"}, ...})'


@final
@dataclass(frozen=True)
class SubsetCount:
    """How many records a subset has, and how many of them can be scored with the images at hand."""

    subset: str
    records: int
    usable: int
    images: int  # distinct images of the usable records


@final
@dataclass(frozen=True)
class SugarCrepeRecords:
    """What the files hold, whether or not the images are there."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...]


@final
class SugarCrepe:
    """An `ItemSource` of SugarCrepe: a folder of the official files, or one of them, and COCO images.

    Records whose image is absent are unscored problems; `counts` has them by subset.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        *,
        word_classes: WordClasses | None = None,
        subsets: Sequence[str] | None = None,
    ) -> None:
        read = read_sugarcrepe(annotations, subsets=subsets)
        self._held = FolderItems(
            read.items, ImageFolder(images), problems=read.problems, word_classes=word_classes
        )
        self.counts = _counts(read, self._held.items)
        self.sha = self._held.sha
        read_subsets = [count.subset for count in self.counts]
        self.name = "sugarcrepe" if read_subsets == list(KINDS) else f"sugarcrepe-{'+'.join(read_subsets)}"

    @property
    def items(self) -> Sequence[Item]:
        return self._held.items

    @property
    def problems(self) -> Sequence[Problem]:
        return self._held.problems

    def image(self, key: str) -> Image:
        return self._held.image(key)


def read_sugarcrepe(annotations: Path, *, subsets: Sequence[str] | None = None) -> SugarCrepeRecords:
    """Items of the official files, captions as they stand; `subsets=None` means all that are there."""
    items: list[Item] = []
    problems: list[Problem] = []
    files = _files(annotations, subsets)
    for subset, path in files.items():
        _read_subset(subset, path, items, problems)
    if annotations.is_dir() and subsets is None:
        problems += [
            Problem(subset, str(annotations), f"no file {subset}.json", "unscored")
            for subset in KINDS
            if subset not in files
        ]
    if not items:
        raise BadData(f"{annotations}: got no usable record, wanted {_WANTED}; check the files")
    return SugarCrepeRecords(tuple(items), tuple(problems))


def to_pairs(annotations: Path, pairs: Path, *, subsets: Sequence[str] | None = None) -> int:
    """Write SugarCrepe as a JSONL file of pairs, images at hand or not; returns how many lines."""
    return write_pairs(pairs, read_sugarcrepe(annotations, subsets=subsets).items)


def _files(annotations: Path, subsets: Sequence[str] | None) -> dict[str, Path]:
    """The files to read by subset, in the order of the official table."""
    for subset in subsets or ():
        if subset not in KINDS:
            raise UnknownName(f"no SugarCrepe subset named '{subset}': {did_you_mean(subset, list(KINDS))}")
    if annotations.is_file():
        if annotations.stem not in KINDS:
            raise BadData(
                f"{annotations}: the file name tells the kind of its foils; got '{annotations.stem}', "
                f"wanted one of {', '.join(KINDS)}; rename the file"
            )
        files = {annotations.stem: annotations}
    else:
        files = {subset: annotations / f"{subset}.json" for subset in KINDS}
        files = {subset: path for subset, path in files.items() if path.is_file()}
    absent = [subset for subset in subsets or () if subset not in files]
    if absent or not files:
        raise BadData(
            f"{annotations}: got no {', '.join(f'{name}.json' for name in absent or KINDS)}, wanted the files "
            "of SugarCrepe's `data` folder; check the path"
        )
    return {subset: path for subset, path in files.items() if subsets is None or subset in subsets}


def _read_subset(subset: str, path: Path, items: list[Item], problems: list[Problem]) -> None:
    content = read_json(path, wanted=_WANTED)
    if not isinstance(content, dict):
        raise BadData(f"{path}: got {kind_of(content)}, wanted {_WANTED}; check the file")
    for key, record in content.items():
        name = f"{subset}/{key}"
        fault = _fault(record)
        if fault:
            problems.append(Problem(name, f"{path.name}: {key}", fault, "unscored"))
            continue
        foil = Foil(record["negative_caption"], KINDS[subset])
        items.append(Item(name, record["filename"], Caption(record["caption"]), (foil,)))


def _fault(record: Any) -> str | None:
    if not isinstance(record, dict):
        return f"the record is {kind_of(record)}, not an object"
    for field in _FIELDS:
        fault = fault_of_text(record[field]) if field in record else "is missing"
        if fault:
            return f"`{field}` {fault}"
    if is_same_text(record["caption"], record["negative_caption"]):
        return "`negative_caption` is the caption itself"
    return None


def _counts(read: SugarCrepeRecords, usable: Sequence[Item]) -> tuple[SubsetCount, ...]:
    """Counts of the subsets that were read, records that contradict themselves included."""
    records = Counter(_subset(name) for name in _names(read))
    kept = Counter(_subset(item.id) for item in usable)
    images = Counter(subset for subset, _ in {(_subset(item.id), item.image) for item in usable})
    return tuple(
        SubsetCount(subset, records[subset], kept[subset], images[subset])
        for subset in KINDS
        if records[subset]
    )


def _names(read: SugarCrepeRecords) -> list[str]:
    return [item.id for item in read.items] + [one.item for one in read.problems if "/" in one.item]


def _subset(name: str) -> str:
    return name.partition("/")[0]
