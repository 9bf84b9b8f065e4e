"""A benchmark of your own: a CSV with the columns image, caption, foil and kind."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.records import Problem, Question, Shown


def read(annotations: Path) -> Iterator[Question | Problem]:
    """A question per row, the right caption first; a row that cannot be asked is a problem, never dropped."""
    with annotations.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=1):
            item = f"{row['kind']}/{number}"
            if not row["caption"] or not row["foil"]:
                yield Problem(item, row["image"], "a caption is empty", "unscored")
                continue
            yield Question(
                id=item,
                subset=row["kind"],
                group=row["kind"],
                images=(Shown(row["image"]),),
                texts=(row["caption"], row["foil"]),
            )


NEAR_MISSES = Benchmark(
    name="near-misses",
    title="Near misses",
    asks="caption",  # which text fits the image; see alignscope.records.Question for the other five
    read=read,
    official=Official(ties="wrong", average="subsets", source="ours"),
    citation="You, this year",
    url="https://example.org",
    licence="CC0",
    files="a CSV with the columns image, caption, foil, kind",
    images="a folder of the images that the CSV names",
)
