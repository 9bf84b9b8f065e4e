"""ComVG (Jiang et al. 2024): one sentence, the right image and one that differs in subject, verb or object.

Reads the official table, ComVG.csv. Its 78 repeated rows stay, as the authors count them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import Record, at_least_one, table_records, usable
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Shown

SIZES = {"subject": 1536, "verb": 1280, "object": 2584}
TWO_SLOTS = "two slots differ"
_TEXTS = ("id", "sentence", "pos_triplet", "neg_triplet", "pos_image_id", "neg_image_id", "neg_value")
_WANTED = f"a CSV file with the columns {', '.join(_TEXTS)}"


def read(annotations: Path) -> Iterator[Question | Problem]:
    """Questions of ComVG.csv or of the folder that holds it; the right image is the first."""
    return at_least_one(_read(annotations), annotations, wanted=_WANTED)


def _read(annotations: Path) -> Iterator[Question | Problem]:
    path = annotations / "ComVG.csv" if annotations.is_dir() else annotations
    records = table_records(path, _TEXTS, wanted=_WANTED, key="id")
    for record in usable(records, texts=_TEXTS, others=("sentence_id",)):
        if isinstance(record, Problem):
            yield record
            continue
        row = record.value
        subset = row["neg_value"]
        if subset not in SIZES:
            yield record.problem(f"`neg_value` is {subset!r}, not one of {', '.join(SIZES)}")
            continue
        tags: tuple[str, ...] = ()
        try:
            tags = (TWO_SLOTS,) if _slots_that_differ(record) > 1 else ()
        except BadData as error:
            yield record.problem(f"{error}; kept without knowing how many slots differ", "handled")
        images = tuple(Shown(f"{row[name]}.jpg") for name in ("pos_image_id", "neg_image_id"))
        yield Question(f"{subset}/{record.id}", subset, subset, images, (row["sentence"],), tags)


def _slots_that_differ(record: Record) -> int:
    right = tuple(record.value["pos_triplet"].split(","))
    try:
        wrong = ast.literal_eval(record.value["neg_triplet"])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        wrong = None
    if not (isinstance(wrong, tuple) and len(right) == len(wrong) == 3):
        raise BadData(
            "the triplets are not three words, as in \"man,sit,table\" and \"('dog', 'sit', 'table')\""
        )
    return sum(one != other for one, other in zip(right, wrong, strict=True))


COMVG = Benchmark(
    name="comvg",
    title="ComVG",
    asks="image",
    read=read,
    official=Official(
        ties="wrong",
        average="items",
        source="ComCLIP ComVG/clip_baseline.py lines 36-41: the right image strictly above the wrong one, "
        "share of rows; by kind of change is ours",
    ),
    citation="Jiang et al. 2024, ComCLIP: Training-Free Compositional Image and Text Matching, NAACL",
    url="https://github.com/eric-ai-lab/ComCLIP",
    licence="MIT, over Visual Genome (CC BY 4.0)",
    files="ComVG.csv of the repository's `datasets` folder",
    images="Visual Genome (homes.cs.washington.edu/~ranjay/visualgenome), a folder of files like 2358258.jpg",
    sizes={**SIZES, "": 5400},
)
