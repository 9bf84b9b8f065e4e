"""VALSE: captions against foils of one linguistic phenomenon each (Parcalabescu et al. 2022, ACL).

Counted are the records for which at least two of three annotators said that the caption, and not the
foil, describes the image; ids repeat between the files, so a question goes by file and id.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import (
    Record,
    absent_files,
    at_least_one,
    object_records,
    subset_files,
    usable,
)
from alignscope.data.items import kind_of
from alignscope.records import Problem, Question, Shown

SIZES = {
    "existence": 505,
    "plurals": 851,
    "counting-hard": 868,
    "counting-small-quant": 900,
    "counting-adversarial": 691,
    "relations": 535,
    "action-replacement": 648,
    "actant-swap": 949,
    "coreference-standard": 708,
    "coreference-hard": 104,
    "foil-it": 943,
}
"""Valid records by instrument, in the order of the paper's tables."""
PIECES = {
    "existence": "existence",
    "plurals": "plurality",
    "counting-hard": "counting",
    "counting-small-quant": "counting",
    "counting-adversarial": "counting",
    "relations": "relations",
    "action-replacement": "actions",
    "actant-swap": "actions",
    "coreference-standard": "coreference",
    "coreference-hard": "coreference",
    "foil-it": "foil-it",
}
"""The piece of language that each instrument tests: the tag of its questions."""
VOTES = 2
"""Annotators' votes for the caption alone that make a record valid."""

_WANTED = (
    "the JSON files of VALSE's `data` folder, objects of records with caption, foil, image_file and mturk"
)
_TEXTS = ("image_file", "caption", "foil")
_OTHERS = (
    "mturk",
    "linguistic_phenomena",
    "dataset",
    "dataset_idx",
    "original_split",
    "split",
    "key",
    "classes",
    "classes_foil",
    "answer",
    "foil_method",
    "foiling_method",
    "only_caption",
    "orig_caption",
    "nli_scores",
    "grammaticality_scores",
    "declarative_statement",
    "declarative_statement_foils",
    "provenance_of_foils",
)


def read_valse(annotations: Path) -> Iterator[Question | Problem]:
    """Questions of the official folder, or of one of its files; records that are not valid are counted."""
    files = subset_files(annotations, SIZES, wanted=_WANTED)
    yield from absent_files(annotations, SIZES, files)
    found = (one for instrument, path in files.items() for one in _instrument(instrument, path))
    yield from at_least_one(found, annotations, wanted=_WANTED)


def _instrument(instrument: str, path: Path) -> Iterator[Question | Problem]:
    left_out = 0
    for record in usable(
        object_records(path, wanted=_WANTED, subset=instrument), texts=_TEXTS, others=_OTHERS
    ):
        if isinstance(record, Problem):
            yield record
            continue
        votes = _votes(record.value)
        if votes is None:
            what = f"`mturk` is {kind_of(record.value.get('mturk'))}, not the votes of annotators"
            yield record.problem(what)
        elif votes < VOTES:
            left_out += 1
        else:
            yield _question(instrument, record)
    if left_out:
        what = f"{left_out} records without two annotators' votes left out, as the authors do"
        yield Problem(instrument, path.name, what, "handled")


def _votes(value: dict[str, Any]) -> int | None:
    """Annotators for whom the caption alone describes the image; None where nobody was asked."""
    mturk = value.get("mturk")
    votes = mturk.get("caption") if isinstance(mturk, dict) else None
    return votes if isinstance(votes, int) and not isinstance(votes, bool) else None


def _question(instrument: str, record: Record) -> Question:
    value = record.value
    return Question(
        record.id,
        instrument,
        instrument,
        (Shown(value["image_file"]),),
        (value["caption"], value["foil"]),
        tags=(PIECES[instrument],),
    )


VALSE = Benchmark(
    name="valse",
    title="VALSE",
    asks="caption",
    read=read_valse,
    official=Official(
        ties="wrong",
        average="items",
        source="lxmert_valse_eval.py, lines 86-105: score of the caption strictly above that of the foil (acc_r) "
        "per instrument, over records with mturk.caption >= 2; the mean over all records is of "
        "e-bug/fine-grained-evals, notebooks/VALSE.ipynb",
    ),
    citation="Parcalabescu et al. 2022, VALSE: A task-independent benchmark for vision and language models "
    "centered on linguistic phenomena, ACL",
    url="https://github.com/Heidelberg-NLP/VALSE",
    licence="MIT; texts derive from COCO, Visual7W, SWiG, VisDial and FOIL",
    files="the 11 JSON files of the repository's folder `data`",
    images="one folder with the images of all sources by their file names: Visual7W (v7w_*.jpg), COCO val2017 and "
    "val2014, SWiG (images_512), VisDial (COCO train2014 and VisualDialog_val2018)",
    sizes=SIZES,
)
