"""Similarity of sentences: STS-Benchmark (Cer et al. 2017) and SICK-R (Marelli et al. 2014).

STS-B comes as the original tab-separated files, which quote nothing, or as the comma-separated ones of
stsb-multi-mt with three columns; SICK as tab-separated files with a header. Lines are counted from 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import Record, at_least_one, usable
from alignscope.data.items import cannot_read
from alignscope.data.regular import regular
from alignscope.errors import BadData
from alignscope.records import Problem, Question

STS_FILES = {"test": ("sts-test.csv", "stsb-en-test.csv")}
SICK_FILES = {
    "train": ("SICK_train.txt",),
    "trial": ("SICK_trial.txt",),
    "test": ("SICK_test_annotated.txt",),
}
_SENTENCES = ("sentence_A", "sentence_B")
_STS_COLUMNS = {7: ("genre", "file", "year", "id", "score", *_SENTENCES), 3: (*_SENTENCES, "score")}
_SICK_COLUMNS = ("pair_ID", *_SENTENCES, "relatedness_score")
_OTHERS = (*_STS_COLUMNS[7], "pair_ID", "entailment_judgment")
_STS = "STS-B (genre, file, year, id, score, two sentences with tabs between; or three columns of CSV)"
_SICK = f"SICK's tab-separated files with a header ({', '.join(_SICK_COLUMNS)})"


def read_sts_b(annotations: Path) -> Iterator[Question | Problem]:
    """Pairs called SUBSET/LINE, the same in both forms; of a folder the test file.

    The genre is a tag ("main-news"), where the file tells it. Some rows of the original go on after the
    sentences with where those are from.
    """
    for subset, path in _files(annotations, STS_FILES, wanted=_STS).items():
        rows = enumerate(_rows(path, wanted=_STS), start=1)
        records = (_sts_record(f"{subset}/{line}", f"{path.name}:{line}", row) for line, row in rows)
        yield from at_least_one(_questions(records, subset, "score"), path, wanted=_STS)


def read_sick(annotations: Path) -> Iterator[Question | Problem]:
    """Pairs called SUBSET/PAIR_ID from train, trial and test, or from one file."""
    files = _files(annotations, SICK_FILES, wanted=_SICK)
    for subset, path in files.items():
        records = _sick_records(subset, path)
        yield from at_least_one(_questions(records, subset, "relatedness_score"), path, wanted=_SICK)
    if annotations.is_dir():
        for subset in (name for name in SICK_FILES if name not in files):
            yield Problem(subset, str(annotations), f"no file {SICK_FILES[subset][0]}", "unscored")


def _files(annotations: Path, names: Mapping[str, tuple[str, ...]], *, wanted: str) -> dict[str, Path]:
    """The files of a folder by subset; one file by the subset of its name, or by the end of its name."""
    if not annotations.is_dir():
        told = (subset for subset, known in names.items() if annotations.name in known)
        return {next(told, annotations.stem.rpartition("-")[2]): annotations}
    found = {
        subset: annotations / name
        for subset, known in names.items()
        for name in reversed(known)
        if (annotations / name).is_file()
    }
    if not found:
        some = ", ".join(name for known in names.values() for name in known)
        raise BadData(f"{annotations}: got none of {some}, wanted {wanted}; check the path")
    return found


def _rows(path: Path, *, wanted: str) -> Iterator[list[str]]:
    """Fields of each line: split at tabs and nothing quoted, or CSV where the first line has no tab."""
    try:
        with regular(path).open(encoding="utf-8-sig", newline="\n") as file:
            is_plain = "\t" in file.readline()
            file.seek(0)
            if is_plain:
                yield from (line.rstrip("\r\n").split("\t") for line in file)
            else:
                yield from csv.reader(file, strict=True)
    except OSError as error:
        raise cannot_read(path, error, wanted=wanted) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(
            f"{path}: got a file that does not read ({error}), wanted {wanted}; copy it anew"
        ) from None


def _sts_record(name: str, subject: str, row: list[str]) -> Record:
    columns = _STS_COLUMNS.get(min(len(row), 7))
    return Record(name, subject, dict(zip(columns, row, strict=False)) if columns else row)


def _sick_records(subset: str, path: Path) -> Iterator[Record]:
    rows = _rows(path, wanted=_SICK)
    header = next(rows, [])
    absent = [name for name in _SICK_COLUMNS if name not in header]
    if absent:
        raise BadData(f"{path}: got no column {', '.join(absent)}, wanted {_SICK}; check the file")
    for line, row in enumerate(rows, start=2):
        is_whole = len(row) == len(header)
        key = row[header.index("pair_ID")] if is_whole else f"line-{line}"
        value = dict(zip(header, row, strict=True)) if is_whole else row
        yield Record(f"{subset}/{key}", f"{path.name}:{line}", value)


def _questions(records: Iterator[Record], subset: str, score: str) -> Iterator[Question | Problem]:
    for record in usable(records, texts=(*_SENTENCES, score), others=_OTHERS):
        if isinstance(record, Problem):
            yield record
            continue
        gold = _score(record.value[score])
        if gold is None:
            yield record.problem(f"the score is {record.value[score][:40]!r}, not a number from 0 to 5")
            continue
        tags = (record.value["genre"],) if "genre" in record.value else ()
        texts = tuple(record.value[name] for name in _SENTENCES)
        yield Question(record.id, subset, subset, (), texts, tags, gold)


def _score(text: str) -> float | None:
    """A judgement from 0 to 5.

    >>> _score("3.600"), _score("nan"), _score("51"), _score("")
    (3.6, None, None, None)
    """
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and 0 <= value <= 5 else None


_MEASURE = "Spearman's correlation of cosine and gold, mteb's `cosine_spearman`"
STS_B = Benchmark(
    name="sts-b",
    title="STS-Benchmark (test)",
    asks="similarity",
    read=read_sts_b,
    official=Official(average="items", source=_MEASURE),
    citation="Cer et al. 2017, SemEval-2017 task 1",
    url="https://ixa2.si.ehu.eus/stswiki/index.php/STSbenchmark",
    licence="scores CC BY-SA 4.0; sentences under the terms of their sources",
    files="sts-test.csv (the original) or stsb-en-test.csv (stsb-multi-mt), or such a file itself",
    images="",
    hub="mteb/stsbenchmark-sts",
    sizes={"test": 1379},
)
SICK_R = Benchmark(
    name="sick-r",
    title="SICK relatedness",
    asks="similarity",
    read=read_sick,
    official=Official(average="items", source=f"{_MEASURE}, over train, trial and test together"),
    citation="Marelli et al. 2014, A SICK cure for the evaluation of compositional models",
    url="https://marcobaroni.org/composes/sick.html",
    licence="CC BY-NC-SA 3.0",
    files="SICK_train.txt, SICK_trial.txt and SICK_test_annotated.txt, or one of them",
    images="",
    hub="mteb/sickr-sts",
    sizes={"train": 4500, "trial": 500, "test": 4927},
)
