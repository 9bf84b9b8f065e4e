"""The page of the speed book, docs/speed.md, from its entries."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from figures import Figure, shortly, spread, verdict

PACKAGES = ("torch", "transformers", "numpy", "scipy", "nltk", "pycocoevalcap", "spacy", "SceneGraphParser")


@dataclass(frozen=True)
class Entry:
    """One benchmark as it was run; `not_run` says why there are no figures, and is empty where there are."""

    name: str
    command: str
    is_quick: bool
    date: str
    seconds: float
    load_before: float
    load_after: float
    around: dict[str, str]
    figures: list[Figure]
    not_run: str = ""


@dataclass(frozen=True)
class Section:
    """A benchmark of the book, run or not."""

    title: str
    script: str
    is_on_gpu: bool
    entry: Entry | None


@cache
def surroundings() -> dict[str, str]:
    """Machine and versions, as they are told on the page."""
    versions = [f"Python {platform.python_version()}", *map(_version, PACKAGES)]
    return {"machine": _machine(), "versions": ", ".join(versions), "commit": _commit()}


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    rows = info.read_text().splitlines() if info.is_file() else []
    models = [row.split(":", 1)[1].strip() for row in rows if row.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _version(name: str) -> str:
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"no {name}"


def _commit() -> str:
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def page(sections: Sequence[Section]) -> Iterator[str]:
    """The lines of the page."""
    yield from _head(sections)
    on_gpu = [each for each in sections if each.is_on_gpu]
    for each in sections:
        if not each.is_on_gpu:
            yield from _section(each)
    yield from ("", "## On a GPU")
    for each in on_gpu:
        yield from _section(each)


def _head(sections: Sequence[Section]) -> Iterator[str]:
    """What the page is and how many bounds are met; those that are not, by name."""
    entries = [each.entry for each in sections if each.entry is not None]
    bounded = [(one, entry) for entry in entries for one in entry.figures if one.is_met is not None]
    missed = [(one, entry) for one, entry in bounded if not one.is_met]
    absent = [each.title for each in sections if each.entry is None or each.entry.not_run]
    yield from (
        "# Speed book",
        "",
        "Written by `make bench` (`benchmarks/bench.py`); all numbers of a run are also in `runs/bench/bench.json`.",
        "A ratio is taken within a round, both sides on the same load in the same process or one after the other;",
        "told are the median and the quartiles over rounds, as *spread*. *Wanted* is there where an issue names a",
        "bound. Every benchmark runs in a fresh process, of one thread unless a note says two. Models have published sizes and random",
        "weights unless a line says otherwise: speed does not depend on what they have learnt. Where a note says so, a ratio",
        "is of processor time, with the wall clock's beside it. A load above the number of cores says that other jobs ran",
        "beside a benchmark: ratios of the wall clock are then less sure than they look.",
        "",
        f"Bounds met: {len(bounded) - len(missed)} of {len(bounded)} measured.",
    )
    for one, entry in missed:
        how = " (quick)" if entry.is_quick else ""
        yield f"- not met{how}: {one.name}, {shortly(one.ratio)} ({spread(one)}), wanted {one.wanted}"
    for title in absent:
        yield f"- not run: {title}"
    quick = sum(entry.is_quick for entry in entries)
    if quick:
        yield from (
            "",
            f"{quick} of {len(entries)} benchmarks were run with `--quick`: few rounds, smaller loads, fewer models, of which the",
            "issues' bounds do not speak; they say how it goes, and `make bench` settles it.",
        )


def _section(given: Section) -> Iterator[str]:
    entry = given.entry
    yield from ("", f"### {given.title}", "")
    if entry is None:
        why = (
            "torch found no GPU, or nobody asked for it yet" if given.is_on_gpu else "nobody asked for it yet"
        )
        yield f"not run: {why} (`{given.script}`)"
        return
    if entry.not_run:
        yield f"not run: {_cell(entry.not_run)}"
    else:
        yield "| compared | ratio | spread | wanted | met | note |"
        yield "| --- | ---: | --- | --- | --- | --- |"
        for one in entry.figures:
            met = f"{verdict(one)} (quick)" if entry.is_quick and one.wanted else verdict(one)
            cells = (one.name, shortly(one.ratio), spread(one), one.wanted, met, one.note)
            yield f"| {' | '.join(map(_cell, cells))} |"
    how = "quick, " if entry.is_quick else ""
    yield from (
        "",
        f"`python benchmarks/{entry.command}`: {how}{entry.seconds:.0f} s, {entry.date}, load "
        f"{entry.load_before:.1f} before and {entry.load_after:.1f} after.",
        f"{entry.around['machine']}; {entry.around['versions']}; commit {entry.around['commit']}.",
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
