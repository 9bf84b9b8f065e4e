"""Option scores for tests: by hand, and of the published score files, read with a few plain lines."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignscope.data.benchmarks.facts import Asks, Benchmark, Official
from alignscope.records import Measurement, OptionScore, Signature

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SIGNATURE = Signature("", "data", "sha", 0, 0, "model", "weights")


def needed(path: str) -> Path:
    """A real file below the shared data, or the test is skipped."""
    if not (DATA / path).exists():
        pytest.skip(f"no {DATA / path}: real files are not in the repository")
    return DATA / path


def benchmark(asks: Asks, name: str = "ours", official: Official | None = None, **sizes: int) -> Benchmark:
    return Benchmark(
        name, name, asks, lambda path: iter(()), official or Official(), "", "", "", "", "", sizes=sizes
    )


def options(
    item: str,
    scores: dict[tuple[int, int], float | None],
    *,
    name: str = "ours",
    subset: str = "s",
    group: str = "g",
    tags: str = "",
    image: str = "",
    texts: bool = False,
    gold: float | None = None,
) -> list[OptionScore]:
    """The options of one item by place of image and text, or of two texts."""
    return [
        OptionScore(
            name,
            item,
            subset,
            group,
            tags,
            "" if texts else f"{image or item}-{first}",
            f"text {second}",
            first,
            second,
            score,
            chosen=False,
            is_tie=False,
            gold=gold,
        )
        for (first, second), score in scores.items()
    ]


def winoground(model: str) -> Iterator[OptionScore]:
    """Published scores of Winoground; ids and numbers alone are in them."""
    for line in needed(f"winoground_tags/reference_scores/{model}.jsonl").read_text().splitlines():
        row = json.loads(line)
        item, caption, image = row["label"].split("_")
        places = {(int(image[1]), int(caption[1])): row["score"]}
        clean = "clean" if int(item) in clean_ids() else "tagged"
        yield from options(item, places, name="winoground", tags=clean, subset="all of it")


@functools.cache
def clean_ids() -> set[int]:
    return set(json.loads(needed("winoground_tags/clean_no_tag_171_ids.json").read_text()))


def valse(model: str) -> Iterator[OptionScore]:
    """Published scores of VALSE's valid items."""
    for line in needed(f"valse/reference_scores/{model}.jsonl").read_text().splitlines():
        row = json.loads(line)
        key, which = row["label"].split("_")
        places = {(0, "cf".index(which)): row["score"]}
        name = row["instrument"]
        yield from options(f"{name}/{key}", places, name="valse", subset=name, group=name)


def values(numbers: list[Measurement]) -> dict[tuple[str, str], float | None]:
    found = {(number.measure, number.group): number.value for number in numbers}
    assert len(found) == len(numbers), "a number is there twice"
    return found


def only(numbers: list[Measurement], measure: str, group: str) -> Measurement:
    (number,) = [each for each in numbers if (each.measure, each.group) == (measure, group)]
    return number
