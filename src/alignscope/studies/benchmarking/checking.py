"""What is there of a benchmark before anything is scored: items, images, and what is wrong with each."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final

from alignscope.data.benchmarks.facts import Benchmark, unread_by_subset
from alignscope.data.images import ImageFolder
from alignscope.errors import BadImage, OutputExists
from alignscope.files import as_row, write_jsonl
from alignscope.records import Problem, Question

State = Literal["present", "missing", "broken"]


@final
@dataclass(frozen=True)
class SubsetCheck:
    """One subset, or all ("all"), in numbers: items, and the distinct images they show."""

    subset: str
    records: int  # items read and items that could not be read
    usable: int  # read, with all their images
    official: int | None  # what the authors count, where it is known
    images: int
    present: int
    missing: int
    broken: int


@final
@dataclass(frozen=True)
class Checked:
    """A benchmark's files in numbers; `annotations` is the hash that an evaluation of them writes."""

    benchmark: Benchmark
    annotations: str
    subsets: tuple[SubsetCheck, ...]  # the last one is "all"
    unscored: int  # problems that take an item out
    handled: int
    are_images_checked: bool
    first: tuple[Problem, ...]  # a few of the unscored problems

    @property
    def is_complete(self) -> bool:
        """Nothing is missing, broken, or other than the authors count."""
        return not self.unscored and not self.differences

    @property
    def differences(self) -> tuple[SubsetCheck, ...]:
        """The subsets that are not of the authors' size."""
        return tuple(one for one in self.subsets if one.official is not None and one.official != one.records)


def check_benchmark(
    benchmark: Benchmark,
    annotations: Path,
    images: Path | None = None,
    *,
    decode: bool = False,
    out: Path | None = None,
    overwrite: bool = False,
) -> Checked:
    """Read all items and look for all their images, which are only decoded with `decode`.

    Without `images` none are looked for. All problems go to the JSONL file `out`, one per item and fault.
    """
    if out is not None and out.exists() and not overwrite:
        raise OutputExists(f"{out} exists: give --overwrite or another --out")
    seen = _Seen(ImageFolder(images) if images is not None and benchmark.images else None, decode)
    problems = _problems(benchmark.read(annotations), seen)
    if out is None:
        for _ in problems:
            pass
    else:
        write_jsonl(out, problems)
    return Checked(
        benchmark,
        seen.sha.hexdigest(),
        _counts(benchmark, seen),
        seen.actions["unscored"],
        seen.actions["handled"],
        seen.folder is not None,
        tuple(seen.first),
    )


@final
@dataclass
class _Seen:
    """What was seen so far; of items only their numbers."""

    folder: ImageFolder | None
    decode: bool
    sha: Any = field(default_factory=hashlib.sha256)
    read: Counter[str] = field(default_factory=Counter)
    usable: Counter[str] = field(default_factory=Counter)
    unread: dict[str, None] = field(default_factory=dict)  # items with an unscored problem of the reader
    actions: Counter[str] = field(default_factory=Counter)
    faults: dict[str, tuple[State, str]] = field(default_factory=dict)  # by image
    images: dict[str, set[str]] = field(default_factory=dict)  # by subset
    first: list[Problem] = field(default_factory=list)


def _problems(lines: Iterable[Question | Problem], seen: _Seen) -> Iterator[Problem]:
    """All problems of the reader and of the images, while `seen` takes note of everything."""
    for line in lines:
        seen.sha.update(json.dumps(as_row(line), sort_keys=True).encode())
        if isinstance(line, Problem):
            if line.action == "unscored":
                seen.unread[line.item] = None
            yield _noted(line, seen)
            continue
        seen.unread.pop(line.id, None)  # a fault in a part of it
        seen.read[line.subset] += 1
        keys = dict.fromkeys(shown.key for shown in line.images)
        seen.images.setdefault(line.subset, set()).update(keys)
        faults = [(key, *_state(key, seen)) for key in keys]
        for key, state, what in faults:
            if state != "present":
                yield _noted(Problem(line.id, key, what, "unscored"), seen)
        seen.usable[line.subset] += all(state == "present" for _, state, _ in faults)


def _noted(problem: Problem, seen: _Seen) -> Problem:
    seen.actions[problem.action] += 1
    if problem.action == "unscored" and len(seen.first) < 5:
        seen.first.append(problem)
    return problem


def _state(key: str, seen: _Seen) -> tuple[State, str]:
    """Whether an image is there and whole; each is looked at once. Not looked for counts as present."""
    if seen.folder is None:
        return "present", ""
    if key not in seen.faults:
        state: State = "missing"
        try:
            seen.folder.path(key)
            state = "broken"
            if seen.decode:
                seen.folder.image(key)
            else:
                seen.folder.digest(key)
            seen.faults[key] = ("present", "")
        except BadImage as error:
            seen.faults[key] = (state, str(error))
    return seen.faults[key]


def _counts(benchmark: Benchmark, seen: _Seen) -> tuple[SubsetCheck, ...]:
    """A row per subset read or known to the authors, and one for all.

    Problems that name no subset of those (a whole file that is absent) count in no row.
    """
    official = {subset: size for subset, size in benchmark.sizes.items() if subset}
    unread = unread_by_subset((item for item in seen.unread if "/" in item), {*official, *seen.read})
    subsets = list(dict.fromkeys([*official, *seen.read, *unread]))
    whole = benchmark.sizes.get("", sum(official.values()) if official else None)

    def row(name: str, mine: list[str], size: int | None) -> SubsetCheck:
        shown = set().union(*(seen.images.get(subset, ()) for subset in mine))
        states = Counter(seen.faults[key][0] for key in shown if key in seen.faults)
        return SubsetCheck(
            name,
            sum(seen.read[subset] + unread[subset] for subset in mine),
            sum(seen.usable[subset] for subset in mine),
            size,
            len(shown),
            *(states[state] for state in ("present", "missing", "broken")),
        )

    return (*(row(name, [name], official.get(name)) for name in subsets), row("all", subsets, whole))
