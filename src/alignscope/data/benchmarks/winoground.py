"""Winoground (Thrush et al. 2022): two images, two captions of the same words, all four scores.

Reads examples.jsonl of facebook/winoground, which its licence forbids to pass on: nothing of it is here. Where
Diwan et al. 2022's new_tag_assignments.json lies beside it, items carry its tags, and those without any the tag
"clean": 171, for id 313 counts as tagged in the authors' code (winoground_replication_subsets.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import at_least_one, line_records, usable
from alignscope.data.items import fault_of_text, kind_of, read_json
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Shown

CLEAN = "clean"
TAGGED_IN_CODE_ALONE = "313"
_TEXTS = ("caption_0", "caption_1", "image_0", "image_1", "collapsed_tag")
_OTHERS = ("id", "tag", "secondary_tag", "num_main_preds")
_WANTED = "Winoground's examples.jsonl (lines with id, " + ", ".join(_TEXTS) + ")"
_TAGS = "new_tag_assignments.json"
_TAGS_WANTED = 'the tags of Diwan et al. ({"0": ["Unusual Text", ...], ...})'


def read(annotations: Path) -> Iterator[Question | Problem]:
    """Questions of examples.jsonl or of the folder that holds it; images and captions in the order 0, 1."""
    return at_least_one(_read(annotations), annotations, wanted=_WANTED)


def _read(annotations: Path) -> Iterator[Question | Problem]:
    path = _file(annotations)
    tags_path = path.with_name(_TAGS)
    diwan = diwan_tags(tags_path) if tags_path.is_file() else None
    if diwan is None:
        what = f"no {_TAGS} beside it: items go without the tags of Diwan et al. 2022"
        yield Problem("", str(path), what, "handled")
    for record in usable(line_records(path, wanted=_WANTED, key="id"), texts=_TEXTS, others=_OTHERS):
        if isinstance(record, Problem):
            yield record
            continue
        row = record.value
        second = row.get("secondary_tag", "")
        if not isinstance(second, str):
            yield record.problem(f"`secondary_tag` is {kind_of(second)}, not a text")
            continue
        if diwan is not None and record.id not in diwan:
            yield record.problem(f"no line in {_TAGS}: kept without its tags", "handled")
        tags = (*_own_tags(row), *(diwan or {}).get(record.id, ()))
        subset = row["collapsed_tag"]
        images = tuple(Shown(_file_of(row[name])) for name in ("image_0", "image_1"))
        texts = (row["caption_0"], row["caption_1"])
        yield Question(f"{subset}/{record.id}", subset, subset, images, texts, tags)


def diwan_tags(path: Path) -> dict[str, tuple[str, ...]]:
    """The tags of each id in Diwan et al.'s file, "clean" where there are none."""
    whole = read_json(path, wanted=_TAGS_WANTED)
    if not isinstance(whole, dict):
        raise BadData(f"{path}: got {kind_of(whole)}, wanted {_TAGS_WANTED}; check the file")
    for key, tags in whole.items():
        if not isinstance(tags, list) or any(fault_of_text(tag) for tag in tags):
            raise BadData(f"{path}: got {kind_of(tags)} for {key}, wanted {_TAGS_WANTED}; check the file")
    return {
        key: tuple(tags) or (() if key == TAGGED_IN_CODE_ALONE else (CLEAN,)) for key, tags in whole.items()
    }


def _file(annotations: Path) -> Path:
    if not annotations.is_dir():
        return annotations
    inside = (annotations / "examples.jsonl", annotations / "data" / "examples.jsonl")
    return next((path for path in inside if path.is_file()), inside[0])


def _file_of(image: str) -> str:
    """The file of an image, which examples.jsonl names without its ending.

    >>> _file_of("ex_0_img_1"), _file_of("ex_0_img_1.png")
    ('ex_0_img_1.png', 'ex_0_img_1.png')
    """
    return f"{image.removesuffix('.png')}.png"


def _own_tags(row: dict[str, Any]) -> list[str]:
    """The authors' tags: the secondary one as a whole, for they count by equality, and main predicates."""
    predicates = row.get("num_main_preds")
    said = f"{predicates} main predicate{'s' if predicates != 1 else ''}"
    return [tag for tag in (row.get("secondary_tag"), said if predicates is not None else None) if tag]


WINOGROUND = Benchmark(
    name="winoground",
    title="Winoground",
    asks="pairing",
    read=read,
    official=Official(
        ties="wrong",
        average="items",
        source="facebook/winoground statistics/compute_statistics.py lines 16-23: each caption above the other "
        "for its image (text), each image for its caption (image), both (group), all strictly",
    ),
    citation="Thrush et al. 2022, Winoground: Probing Vision and Language Models for Visio-Linguistic "
    "Compositionality, CVPR; tags of Diwan et al. 2022, Why is Winoground Hard?, EMNLP",
    url="https://huggingface.co/datasets/facebook/winoground",
    licence="Winoground Dataset License: no copying, hosting or derivatives; tags MIT",
    files="data/examples.jsonl; beside it, if at hand, new_tag_assignments.json of ajd12342/why-winoground-hard",
    images="data/images.zip of the same place, after its licence is accepted: the folder of files like "
    "ex_0_img_0.png",
    hub="facebook/winoground",
    sizes={"Relation": 233, "Object": 141, "Both": 26, "": 400},
)
