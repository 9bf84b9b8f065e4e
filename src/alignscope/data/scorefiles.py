"""Scores made elsewhere: files that take the place of a model, each of their faults told by item.

Read are our own lines, {"item": "swap_obj/12", "image": 0, "text": 1, "score": 3.2} with "texts": [0, 1]
in place of both for two texts, and the labels of e-bug/fine-grained-evals (Bugliarello et al. 2023) for
Winoground ("7_c0_i1") and VALSE ("7_c", "7_f" with an instrument).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from alignscope.data.benchmarks.facts import Benchmark, subset_of
from alignscope.data.benchmarks.reading import Record, line_records, object_records
from alignscope.data.items import kind_of
from alignscope.data.options import Place, options, places
from alignscope.errors import BadData, Unsupported
from alignscope.records import OptionScore, Problem, Question, Shown

WANTED = (
    'scores, one per line: {"item": "swap_obj/12", "image": 0, "text": 1, "score": 3.2}, '
    '{"item": ..., "texts": [0, 1], "score": ...} or {"label": "7_c0_i1", "score": ...}'
)
_LARGEST = 3.4028234e38  # that float32, in which scores are compared, can hold
_MOST = 1000  # places of one item: more is a mistake
_PAIRING = re.compile(r"(\d+)_c(\d)_i(\d)")  # item, text, image
_CAPTION_OR_FOIL = re.compile(r"(\d+)_([cf])")


@final
@dataclass(frozen=True)
class Entry:
    """A line of a score file: `item` by the name it has there; None is a score that is no finite number."""

    item: str
    place: Place
    score: float | None
    subject: str
    fault: str = ""


@final
@dataclass
class _Found:
    """What a file says of one item."""

    scores: dict[tuple[str, int, int], float | None] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_scores(
    path: Path, benchmark: Benchmark, questions: Iterable[Question], *, annotations: Path | None = None
) -> Iterator[OptionScore | Problem]:
    """The options of all questions, in their order, with the scores of a file, and what is wrong with it.

    What is missing, not finite, or there twice with two values, is an option without a score and an
    unscored problem; what the benchmark does not ask for is passed over, a handled problem. The labels of
    VALSE count the records of all its files, so they need the folder of `annotations`, unless the
    questions are `bare_questions`.
    """
    if benchmark.asks == "retrieval":
        raise Unsupported(f"{benchmark.name}: scores of options do not rank; give the arrays of ranks")
    asked = {question.id: question for question in questions}
    names = _names(asked)
    if benchmark.name == "valse" and annotations is not None:
        names |= valse_places(annotations, benchmark)
    wanted = {name: places(question, benchmark.asks) for name, question in asked.items()}
    found = {name: _Found() for name in asked}
    for entry in read_entries(path):
        if isinstance(entry, Problem):
            yield entry
            continue
        item = names.get(entry.item, entry.item)
        if item not in asked:
            what = f"a score of {_words(entry.place)}, but {benchmark.name} as read has no such item: passed over"
            yield Problem(item, entry.subject, what, "handled")
        elif entry.place not in wanted[item]:
            what = f"a score of {_words(entry.place)}, which the item does not ask for: passed over"
            yield Problem(item, entry.subject, what, "handled")
        else:
            _keep(entry, item, found[item])
    yield from _other_size(path, benchmark, asked.values())
    for name, question in asked.items():
        held = found.pop(name)
        yield from held.problems
        yield from _missing(name, path, wanted[name], held.scores)
        yield from options(question, benchmark, held.scores)


def read_entries(path: Path) -> Iterator[Entry | Problem]:
    """The lines of a score file of either form, streaming; a line that is of none is a problem."""
    is_any, first = False, "no line at all"
    for record in line_records(path, wanted=WANTED):
        entry = record if isinstance(record, Problem) else _entry(record)
        if isinstance(entry, Entry):
            is_any = True
        elif first == "no line at all":
            first = f"{entry.subject}: {entry.what}"
        yield entry
    if not is_any:
        raise BadData(f"{path}: got no usable line ({first}), wanted {WANTED}; check the file")


def bare_questions(
    path: Path, benchmark: Benchmark, *, tags: Mapping[str, tuple[str, ...]] | None = None
) -> list[Question]:
    """The items that a score file names, without their texts, with `tags` by name: enough to count.

    Where items go by number alone, as in Winoground, they are those that the authors count, from 0.
    """
    most: dict[str, int] = {}
    for entry in read_entries(path):
        if isinstance(entry, Entry):
            last = entry.place.first if benchmark.asks == "image" else entry.place.second
            most[entry.item] = max(most.get(entry.item, 1), last)
    size = benchmark.sizes.get("", 0)
    if size and all(name.isdecimal() for name in most):
        most = {str(number): most.get(str(number), 1) for number in range(size)}
    found = [_bare(name, benchmark, 1 + last, (tags or {}).get(name, ())) for name, last in most.items()]
    subsets = [name for name in benchmark.sizes if name]
    if (
        subsets
        and found
        and all("/" in name for name in most)
        and not any(q.subset in subsets for q in found)
    ):
        raise BadData(
            f"{path}: got items such as {next(iter(most))!r}, none of {benchmark.name}, whose items are "
            f"SUBSET/KEY with a SUBSET of {', '.join(subsets)}; check the file, or give the annotations"
        )
    return found


def valse_places(annotations: Path, benchmark: Benchmark) -> dict[str, str]:
    """Items by instrument and number: records counted from 0 through all files in the order of their names.

    Records that the authors leave out count too (e-bug/fine-grained-evals, outputs/VALSE).
    """
    files = [annotations / f"{instrument}.json" for instrument in sorted(benchmark.sizes)]
    absent = [path.name for path in files if not path.is_file()]
    if absent:
        raise BadData(
            f"{annotations}: got no {', '.join(absent)}, wanted all {len(files)} files of VALSE: the labels "
            "count the records of them all; give the whole folder"
        )
    names: dict[str, str] = {}
    for path in files:
        for record in object_records(path, wanted="VALSE's JSON files", subset=path.stem):
            names[f"{path.stem}/{len(names)}"] = record.id
    return names


def _names(asked: Iterable[str]) -> dict[str, str]:
    """Items by what a file may call them: the whole id, or the authors' key where no other item has it."""
    whole = list(asked)
    keys = Counter(name.partition("/")[2] for name in whole)
    short = {name.partition("/")[2]: name for name in whole if keys[name.partition("/")[2]] == 1}
    return short | {name: name for name in whole}


def _bare(name: str, benchmark: Benchmark, count: int, tags: tuple[str, ...]) -> Question:
    whole = name if "/" in name else f"{benchmark.name}/{name}"
    subset = subset_of(whole, benchmark.sizes)
    shapes = {"pairing": (2, 2), "two captions": (1, 3), "similarity": (0, 2), "image": (count, 1)}
    images, texts = shapes.get(benchmark.asks, (1, count))
    shown = tuple(Shown(f"{whole}#{number}") for number in range(images))
    return Question(whole, subset, subset, shown, ("",) * texts, tags)


def _entry(record: Record) -> Entry | Problem:
    row = record.value
    if not isinstance(row, dict):
        return Problem("", record.subject, f"the line is {kind_of(row)}, not an object", "unscored")
    named = _labelled(row) if "label" in row else _own(row)
    if named is None:
        what = f"{kind_of(row.get('label', row))} names no score; wanted {WANTED}"
        return Problem(str(row.get("item", "")), record.subject, what, "unscored")
    item, place = named
    value: Any = row.get("score")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and abs(value) <= _LARGEST:
        return Entry(item, place, float(value), record.subject)
    got = f"{kind_of(value)}, not a finite number in float32" if "score" in row else "missing"
    fault = f"the score of {_words(place)} is {got}"
    return Entry(item, place, None, record.subject, fault)


def _own(row: dict[str, Any]) -> tuple[str, Place] | None:
    item, pair = row.get("item"), row.get("texts", [row.get("image"), row.get("text")])
    is_pair = isinstance(pair, list) and len(pair) == 2
    is_pair = is_pair and all(type(each) is int and 0 <= each < _MOST for each in pair)
    if not isinstance(item, str) or not is_pair:
        return None
    return item, Place("text", *sorted(pair)) if "texts" in row else Place("image", *pair)


def _labelled(row: dict[str, Any]) -> tuple[str, Place] | None:
    """Item and place of a published label.

    >>> _labelled({"label": "7_c0_i1"}), _labelled({"label": "7_f", "instrument": "existence"})[0]
    (('7', Place(kind='image', first=1, second=0)), 'existence/7')
    """
    label, instrument = str(row["label"]), row.get("instrument")
    if found := _PAIRING.fullmatch(label):
        return found[1], Place("image", int(found[3]), int(found[2]))
    if (found := _CAPTION_OR_FOIL.fullmatch(label)) and isinstance(instrument, str):
        return f"{instrument}/{found[1]}", Place("image", 0, int(found[2] == "f"))
    return None


def _keep(entry: Entry, item: str, found: _Found) -> None:
    """A score into what is known of its item; the second of two different ones takes the first away."""
    if entry.place in found.scores:
        before = found.scores[entry.place]
        if entry.score == before:
            what = f"the score of {_words(entry.place)} a second time: counted once"
            found.problems.append(Problem(item, entry.subject, what, "handled"))
            return
        what = f"a second score of {_words(entry.place)}, {entry.score} after {before}: neither is used"
        found.problems.append(Problem(item, entry.subject, what, "unscored"))
        found.scores[entry.place] = None
        return
    found.scores[entry.place] = entry.score
    if entry.fault:
        found.problems.append(Problem(item, entry.subject, entry.fault, "unscored"))


def _other_size(path: Path, benchmark: Benchmark, asked: Iterable[Question]) -> Iterator[Problem]:
    """Says where fewer or more items are asked than the authors count, by subset and in all."""
    counts = Counter(question.subset for question in asked)
    sizes = {subset: size for subset, size in benchmark.sizes.items() if subset}
    told = [(name, got, sizes[name]) for name, got in counts.items() if name in sizes]
    if benchmark.sizes:
        told.insert(0, ("", counts.total(), benchmark.sizes.get("", sum(sizes.values()))))
    for subset, got, wanted in told:
        if got != wanted:
            yield Problem(subset, path.name, f"{got} items, the authors count {wanted}", "handled")


def _missing(
    item: str, path: Path, wanted: list[Place], scores: Mapping[tuple[str, int, int], float | None]
) -> Iterator[Problem]:
    absent = [place for place in wanted if place not in scores]
    if absent:
        what = "all" if len(absent) == len(wanted) else "; ".join(map(_words, absent))
        yield Problem(item, path.name, f"missing scores: {what}", "unscored")


def _words(place: Place) -> str:
    """A place as a person says it.

    >>> _words(Place("image", 0, 1)), _words(Place("text", 0, 2))
    ('image 0 with text 1', 'text 0 with text 2')
    """
    return f"{place.kind} {place.first} with text {place.second}"
