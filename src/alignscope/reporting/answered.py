"""Items of a benchmark as a model answered them, from columns of the scores: a large file is never all records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from alignscope.errors import BadData
from alignscope.records import OptionScore
from alignscope.reporting.captions import Part, differences
from alignscope.reporting.wording import result_of

RESULTS = ("right", "wrong", "tie", "unscored")
BATCH = 8192  # rows read at a time
EACH = 3  # items shown of every result
COLUMNS = ("item", "image", "first", "second", "score", "gold")


@dataclass(frozen=True)
class Option:
    """One option of an item: its text in parts, those marked that the right text has not."""

    is_right: bool
    image: str
    parts: tuple[Part, ...]
    score: float | None
    is_chosen: bool


@dataclass(frozen=True)
class Answer:
    """One item with all its options; `margin` is the lowest right score less the highest wrong one."""

    item: str
    subset: str
    result: str  # "right", "wrong", "tie", "unscored"
    margin: float
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Answered:
    """What was asked ("caption", "image", "pairs", "captions"), how many were answered how, and a few of each."""

    asked: str
    counts: Mapping[str, int]
    shown: tuple[Answer, ...]


def answered(path: Path) -> Answered:
    """Count right, wrong and tied items of a scores file in float32, and read a few of each.

    Where no option is right (similarity) and where there are no scores nothing is counted or shown.
    """
    if not path.exists():
        return Answered("", {}, ())
    import pyarrow as pa

    try:
        options = _options(path)
        if options is None:
            return Answered("", {}, ())
        margins = _margins(options)
        is_result = dict(
            zip(RESULTS, (margins > 0, margins < 0, margins == 0, np.isnan(margins)), strict=True)
        )
        chosen: dict[str, float] = {}
        for mask in is_result.values():
            places = np.flatnonzero(mask)
            few = places[:: max(1, len(places) // EACH)][:EACH]
            chosen |= {options.names[place]: float(margins[place]) for place in few}
        rows = _rows(path, chosen)
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise BadData(f"{path}: not a Parquet file of OptionScore records ({error}); run it again") from None
    counts = {result: int(mask.sum()) for result, mask in is_result.items()}
    shown = tuple(_answer(rows[item], margin, options.asked) for item, margin in chosen.items())
    return Answered(options.asked, {result: count for result, count in counts.items() if count}, shown)


@dataclass(frozen=True)
class _Options:
    """Columns of the options that decide an item."""

    asked: str
    names: Sequence[str]  # of the items
    item: Int[np.ndarray, " option"]
    is_right: Bool[np.ndarray, " option"]
    score: Float[np.ndarray, " option"]


def _options(path: Path) -> _Options | None:
    """The image decides where texts are scored with each other too; texts alone decide where there is none.

    None where no option is right: there is a judgement of similarity, or no option at all.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    places: dict[str, int] = {}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("item", "text", "first", "second", "score")}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=list(COLUMNS), use_threads=False):
            if batch["gold"].null_count < len(batch):
                return None
            items = batch["item"].dictionary_encode()
            known = [places.setdefault(name, len(places)) for name in items.dictionary.to_pylist()]
            parts["item"].append(np.array(known, dtype=np.int32)[items.indices.to_numpy()])
            parts["text"].append(pc.equal(batch["image"], "").to_numpy(zero_copy_only=False))
            for name in ("first", "second"):
                parts[name].append(batch[name].to_numpy().astype(np.int32))
            with np.errstate(over="ignore"):
                score = batch["score"].to_numpy(zero_copy_only=False).astype(np.float32)
            parts["score"].append(score)
    if not places:
        return None
    item, is_text, first, second, score = (np.concatenate(part) for part in parts.values())
    kept = np.ones(len(item), dtype=bool)
    if is_text.any():
        asked, is_right = "captions", np.where(is_text, second == 1, second < 2)
        kept = is_text if is_text.all() else ~is_text
    else:
        several = bool((first > 0).any()), bool((second > 0).any())
        asked = "pairs" if all(several) else "image" if several[0] else "caption"
        is_right = first == second
    return _Options(asked, list(places), item[kept], is_right[kept], score[kept])


def _margins(options: _Options) -> Float[np.ndarray, " item"]:
    """By item; not a number where a score is missing or nothing competes."""
    count = len(options.names)
    lowest, highest = np.full(count, np.inf), np.full(count, -np.inf)
    scores = np.where(np.isfinite(options.score), options.score, np.nan)
    np.minimum.at(lowest, options.item[options.is_right], scores[options.is_right])
    np.maximum.at(highest, options.item[~options.is_right], scores[~options.is_right])
    margins = lowest - highest
    return np.where(np.isfinite(margins), margins, np.nan)


def _rows(path: Path, items: Collection[str]) -> dict[str, list[OptionScore]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: dict[str, list[OptionScore]] = {item: [] for item in items}
    wanted = pa.array(list(items), pa.string())
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, use_threads=False):
            for row in batch.filter(pc.is_in(batch["item"], wanted)).to_pylist():
                found[row["item"]].append(OptionScore(**row))
    return found


def _answer(rows: Sequence[OptionScore], margin: float, asked: str) -> Answer:
    rows = [row for row in rows if row.image] or rows
    rows = sorted(rows, key=lambda row: (not _is_right(row, asked), row.first, row.second))
    right, wrong = ([row for row in rows if _is_right(row, asked) == side] for side in (True, False))
    is_named = len({row.first for row in rows}) > 1
    options = []
    for row in rows:
        is_right = _is_right(row, asked)
        others = wrong if is_right else right
        parts: tuple[Part, ...] = (Part(row.text, False),)
        if len(others) == 1:
            parts = differences(row.text, others[0].text)[0]
        options.append(Option(is_right, row.image if is_named else "", parts, row.score, row.chosen))
    return Answer(rows[0].item, rows[0].subset, result_of(margin), margin, tuple(options))


def _is_right(row: OptionScore, asked: str) -> bool:
    if asked == "captions":
        return row.second < 2 if row.image else row.second == 1
    return row.first == row.second
