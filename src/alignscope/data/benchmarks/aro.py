"""ARO's VG-Relation and VG-Attribution: a caption against the same with its two things, or their attributes,
exchanged (Yuksekgonul et al. 2023, ICLR).

The image is the box of the two things cut out of a Visual Genome photograph. A group is a relation, or the
ordered pair of attributes. The authors put the false caption first and take the first maximum: ties are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from alignscope.data.benchmarks.aro_symmetric import SYMMETRIC
from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import Record, at_least_one, list_records, usable
from alignscope.data.items import fault_of_text, kind_of
from alignscope.records import Box, Problem, Question, Shown

_BOX = ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
_MOST_PIXELS = 2**31
_TEXTS = ("image_path", "true_caption", "false_caption")
_OTHERS = (*_BOX, "relation_name", "attributes")


def read_aro(
    annotations: Path, *, subset: str, file: str, group: Callable[[Record], str | Problem]
) -> Iterator[Question | Problem]:
    """Questions of one of the two official lists: the file, or the folder that holds it under `file`.

    A question goes by the place of its record in the list; fields that the authors do not read are passed over.
    """
    path = annotations / file if annotations.is_dir() else annotations
    wanted = f"the list {file} of ARO: image_path, {', '.join(_BOX)}, true_caption, false_caption, ..."

    def found() -> Iterator[Question | Problem]:
        records = list_records(path, wanted=wanted, subset=subset)
        for record in usable(records, texts=_TEXTS, others=_OTHERS):
            yield record if isinstance(record, Problem) else _question(record, subset, group)

    yield from at_least_one(found(), annotations, wanted=wanted)


def _question(record: Record, subset: str, group: Callable[[Record], str | Problem]) -> Question | Problem:
    value, name = record.value, group(record)
    crop = _crop(value)
    if isinstance(name, Problem):
        return name
    if not isinstance(crop, Box):
        return record.problem(crop)
    image = Shown(value["image_path"], crop)
    return Question(record.id, subset, name, (image,), (value["true_caption"], value["false_caption"]))


def _crop(value: dict[str, Any]) -> Box | str:
    """The box that the record shows, or why it has none."""
    for name in _BOX:
        number = value.get(name)
        if not isinstance(number, int | float) or isinstance(number, bool) or not abs(number) < _MOST_PIXELS:
            return f"`{name}` is {kind_of(number) if name in value else 'missing'}, not a number of pixels"
    x, y, width, height = (value[name] for name in _BOX)
    if width <= 0 or height <= 0:
        return f"the box is {width} by {height} pixels: nothing to see"
    return Box(x, y, x + width, y + height)


def _relation(record: Record) -> str | Problem:
    name = record.value.get("relation_name")
    fault = fault_of_text(name)
    return record.problem(f"`relation_name` {fault}") if fault else str(name)


def _attributes(record: Record) -> str | Problem:
    names = record.value.get("attributes")
    if not isinstance(names, list) or len(names) != 2 or any(fault_of_text(name) for name in names):
        return record.problem(f"`attributes` is {kind_of(names)}, not a list of two texts")
    return "_".join(names)


_CITATION = (
    "Yuksekgonul et al. 2023, When and why vision-language models behave like bags-of-words, "
    "and what to do about it?, ICLR"
)
_URL = "https://github.com/mertyg/vision-language-models-are-bows"
_LICENCE = "MIT; images and boxes of Visual Genome CC BY 4.0"
_IMAGES = (
    "the folder `images` of the authors' vgr_vga_images.zip (about 1 GB, Google Drive, see the repository); "
    "`--images` holds its *.jpg"
)

RELATION = Benchmark(
    name="aro-relation",
    title="ARO VG-Relation",
    asks="caption",
    read=partial(read_aro, subset="vg-relation", file="visual_genome_relation.json", group=_relation),
    official=Official(
        ties="wrong",
        average="groups",
        left_out=SYMMETRIC,
        source="dataset_zoo/aro_datasets.py, lines 65 and 87-105, and cell 5 of the notebook: mean over relations, "
        "157 symmetric ones left out",
    ),
    citation=_CITATION,
    url=_URL,
    licence=_LICENCE,
    files="visual_genome_relation.json, 23,937 records (Google Drive, see the repository)",
    images=_IMAGES,
    hub="mteb/ARO-Visual-Relation",
    sizes={"vg-relation": 23_937},
)
ATTRIBUTE = Benchmark(
    name="aro-attribute",
    title="ARO VG-Attribution",
    asks="caption",
    read=partial(read_aro, subset="vg-attribution", file="visual_genome_attribution.json", group=_attributes),
    official=Official(
        ties="wrong",
        average="groups",
        least=25,
        source="dataset_zoo/aro_datasets.py, lines 156 and 177-191: mean over ordered pairs of attributes with at "
        "least 25 records",
    ),
    citation=_CITATION,
    url=_URL,
    licence=_LICENCE,
    files="visual_genome_attribution.json, 28,748 records (Google Drive, see the repository)",
    images=_IMAGES,
    hub="mteb/ARO-Visual-Attribution",
    sizes={"vg-attribution": 28_748},
)
