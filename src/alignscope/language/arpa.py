"""N-gram models as ARPA files, which SRILM and KenLM read and write (SRILM's manual page ngram-format).

Numbers are written with the digits that read back as the same number. A start mark, which is never foretold,
has the customary -99; an n-gram without a weight has none after it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from alignscope.errors import BadData
from alignscope.files import write_lines
from alignscope.language.ngrams import END, START, Gram, Model

_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_NEVER = -99.0
Lines = Iterator[tuple[int, str]]


def write(path: Path, model: Model) -> None:
    """One file, whole or not at all, n-grams sorted by their words."""
    write_lines(path, _written(model))


def read(path: Path) -> Model:
    """A model with exactly the n-grams that the file announces; what is wrong is told by its line."""
    lines = _lines(path)
    if not any(text == "\\data\\" for _, text in lines):
        raise BadData(f"{path}: got no line \\data\\, wanted an ARPA file of n-grams; check the path")
    counts: list[int] = []
    number, text = _next(path, lines)
    while announced := _COUNT.fullmatch(text):
        if int(announced[1]) != len(counts) + 1:
            raise BadData(f"{path}:{number}: got '{text}', wanted the number of {len(counts) + 1}-grams")
        counts.append(int(announced[2]))
        number, text = _next(path, lines)
    if not counts:
        raise BadData(f"{path}:{number}: got '{text}', wanted 'ngram 1=' and a number after \\data\\")
    logprobs: dict[Gram, float] = {}
    backoffs: dict[Gram, float] = {}
    for length, wanted in enumerate(counts, start=1):
        if text != f"\\{length}-grams:":
            raise BadData(f"{path}:{number}: got '{text}', wanted the section \\{length}-grams:")
        before = len(logprobs)
        number, text = _next(path, lines)
        while not text.startswith("\\"):
            try:
                _take(text, length, logprobs, backoffs, is_last=length == len(counts))
            except ValueError as fault:
                raise BadData(f"{path}:{number}: {fault}") from None
            number, text = _next(path, lines)
        if len(logprobs) - before != wanted:
            raise BadData(
                f"{path}:{number}: got {len(logprobs) - before} {length}-grams, wanted the {wanted} announced; "
                "the file is cut or was edited: take a whole one"
            )
    if text != "\\end\\":
        raise BadData(f"{path}:{number}: got '{text}', wanted \\end\\ after {len(counts)} announced sections")
    if (END,) not in logprobs:
        raise BadData(
            f"{path}: got no {END} among the 1-grams, wanted a model that knows the end of a sentence"
        )
    logprobs.pop((START,), None)
    return Model(len(counts), logprobs, backoffs)


def _take(
    text: str, length: int, logprobs: dict[Gram, float], backoffs: dict[Gram, float], *, is_last: bool
) -> None:
    """Add the n-gram of one line; a ValueError says what is wrong with it."""
    logprob, *rest = text.split()
    gram, weight = tuple(rest[:length]), rest[length:]
    if len(gram) < length or len(weight) > (0 if is_last else 1):
        raise ValueError(
            f"got {text!r}, wanted a logarithm, {length} words and {'no' if is_last else 'at most one'} weight"
        )
    if gram in logprobs:
        raise ValueError(f"got {' '.join(gram)!r} a second time, wanted every n-gram once")
    if length > 1 and (missing := [word for word in gram if (word,) not in logprobs]):
        raise ValueError(f"got {missing[0]!r}, wanted words of the 1-grams alone")
    logprobs[gram] = _number(logprob)
    if logprobs[gram] > 0:
        raise ValueError(f"got the logarithm {logprob}, wanted one of a probability: 0 or less")
    if weight:
        backoffs[gram] = _number(weight[0])


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"got {text!r}, wanted a finite number")
    return found


def _written(model: Model) -> Iterator[str]:
    listed = {**model.logprobs, (START,): _NEVER}
    sections = [sorted(gram for gram in listed if len(gram) == n) for n in range(1, model.order + 1)]
    yield "\\data\\"
    yield from (f"ngram {length}={len(grams)}" for length, grams in enumerate(sections, start=1))
    for length, grams in enumerate(sections, start=1):
        yield ""
        yield f"\\{length}-grams:"
        for gram in grams:
            weight = f"\t{model.backoffs[gram]!r}" if gram in model.backoffs else ""
            yield f"{listed[gram]!r}\t{' '.join(gram)}{weight}"
    yield ""
    yield "\\end\\"


def _lines(path: Path) -> Lines:
    """Lines that are not blank, by their numbers from 1."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if text := line.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: got bytes that are not UTF-8 ({error.reason}), wanted an ARPA file") from None
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _next(path: Path, lines: Lines) -> tuple[int, str]:
    found = next(lines, None)
    if found is None:
        raise BadData(
            f"{path}: got the end of the file, wanted \\end\\ before it; the file is cut: take a whole one"
        )
    return found
