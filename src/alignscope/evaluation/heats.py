"""How much of a caption's attribution each class of word gets, and the gap between objects and the rest.

Paper B, figures 1 and 6, per method. The work is done on flat columns, not on records, so that the words
of 100,000 captions under four methods take some hundred megabytes and not ten gigabytes.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from alignscope.errors import BadData
from alignscope.evaluation.intervals import (
    Interval,
    Sample,
    clustered_bootstrap,
    clustered_difference,
    clustered_median,
    measured,
)
from alignscope.records import DRAWS, WORD_CLASSES, Measurement, Signature, WordHeat

REST: tuple[str, ...] = ("attribute", "relation")  # what paper B calls composition
GAPS: dict[str, tuple[str, ...]] = {
    "object-attribute": ("attribute",),
    "object-relation": ("relation",),
    "object-rest": REST,
}
ABOVE: dict[str, tuple[str, ...]] = {
    "object above rest": REST,
    "object above relation": ("relation",),
    "object above attribute": ("attribute",),
}
CLASS_CODES: dict[str, int] = {name: code for code, name in enumerate(WORD_CLASSES)}


@dataclass(frozen=True)
class HeatColumns:
    """Word heats under one method as columns; a heat that is not finite counts as missing.

    `classes` are places in `WORD_CLASSES`, `items` places in `captions`, which holds (image, item) and
    may be shared by methods, `images` any number that is the same for words of the same image.
    """

    heats: Float[np.ndarray, " word"]
    classes: Int[np.ndarray, " word"]
    images: Int[np.ndarray, " word"]
    items: Int[np.ndarray, " word"]
    captions: Sequence[tuple[str, str]]

    def of(self, *classes: str) -> Bool[np.ndarray, " word"]:
        """Which words belong to one of the classes."""
        return np.isin(self.classes, [CLASS_CODES[name] for name in classes])


def heat_columns(heats: Iterable[WordHeat]) -> dict[str, HeatColumns]:
    """Columns by method from records, in the order in which methods come first."""
    values: dict[str, array[float]] = defaultdict(lambda: array("d"))
    codes: dict[str, array[int]] = defaultdict(lambda: array("q"))  # class, image, item, class, ...
    images: dict[str, int] = {}
    captions: dict[tuple[str, str], int] = {}
    for word in heats:
        values[word.method].append(word.heat)
        image = images.setdefault(word.image, len(images))
        item = captions.setdefault((word.image, word.item), len(captions))
        codes[word.method].extend((CLASS_CODES[word.word_class], image, item))
    image_ranks, caption_ranks, names = _ranks(images), _ranks(captions), tuple(sorted(captions))
    found = {}
    for method, column in values.items():
        rows = np.frombuffer(codes[method], dtype=np.int64)
        heat = np.frombuffer(column, dtype=np.float64)
        classes = rows[0::3].astype(np.int8)
        found[method] = HeatColumns(heat, classes, image_ranks[rows[1::3]], caption_ranks[rows[2::3]], names)
    return found


def read_heat_columns(
    paths: Sequence[Path], *, methods: Sequence[str] | None = None
) -> dict[str, HeatColumns]:
    """Columns by method straight from Parquet files of `WordHeat` records, without making the records.

    With `methods` the rows of others are passed over while reading, which keeps large files small in memory.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    text = ["item", "image", "word_class", "method"]
    how: dict[str, Any] = {"columns": [*text, "heat"], "read_dictionary": text}
    if methods is not None:
        how["filters"] = pc.field("method").isin(list(methods))
    try:
        tables = [pq.read_table(path, **how) for path in paths]
        table = pa.concat_tables(tables).unify_dictionaries()
    except (pa.ArrowInvalid, KeyError) as error:
        raise BadData(f"{[str(path) for path in paths]}: not Parquet files of word heats: {error}") from None
    places, method_names = _dictionary(table["method"])
    classes, class_names = _dictionary(table["word_class"])
    images, image_names = _dictionary(table["image"])
    items, item_names = _dictionary(table["item"])
    if unknown := sorted({*class_names} - {*WORD_CLASSES}):
        raise BadData(f"word classes {unknown}: wanted some of {', '.join(WORD_CLASSES)}")
    classes = np.array([CLASS_CODES[name] for name in class_names], dtype=np.int8)[classes]
    pairs, own = np.unique(images * max(len(item_names), 1) + items, return_inverse=True)
    captions = tuple(
        (image_names[pair // len(item_names)], item_names[pair % len(item_names)]) for pair in pairs
    )
    heats = table["heat"].to_numpy().astype(np.float64)  # null becomes NaN, which is missing
    found = {}
    for place in dict.fromkeys(places.tolist()):
        here = places == place
        found[method_names[place]] = HeatColumns(
            heats[here], classes[here], images[here], own[here], captions
        )
    return found


def _dictionary(column: Any) -> tuple[Int[np.ndarray, " row"], list[str]]:
    """The place of each row's text among all texts, sorted, and those."""
    whole = column.combine_chunks()
    names = {name: place for place, name in enumerate(whole.dictionary.to_pylist())}
    return _ranks(names)[whole.indices.to_numpy()], sorted(names)


def _ranks(places: Mapping[Any, int]) -> Int[np.ndarray, " place"]:
    """The rank in sorted order of the name at each place: the order of the input leaves no trace."""
    ranks = np.zeros(len(places), dtype=np.int64)
    for rank, name in enumerate(sorted(places)):
        ranks[places[name]] = rank
    return ranks


def caption_means(columns: HeatColumns, *classes: str) -> Float[np.ndarray, " caption"]:
    """Mean heat of the words of some classes in each of `columns.captions`.

    NaN where a caption has no such word, or one whose heat is not finite.
    """
    chosen = columns.of(*classes)
    items, heats, count = columns.items[chosen], columns.heats[chosen], len(columns.captions)
    heats = np.where(np.isfinite(heats), heats, np.nan)
    sums = np.bincount(items, heats, minlength=count)
    words = np.bincount(items, minlength=count)
    return np.divide(sums, words, out=np.full(count, np.nan), where=words > 0)


def measure_heats(
    methods: Mapping[str, HeatColumns],
    *,
    signature: Signature,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Per method: mean and median heat per word by class, the gaps, and how often objects are above others.

    Items are words, for "object above ..." captions. Heats that are not finite count as missing. A
    signature that names options of attribution in `method` keeps them after the method.
    """
    how: dict[str, Any] = {"draws": draws, "seed": seed, "level": level}
    signature = replace(signature, ties="wrong", seed=seed)
    numbers: list[Measurement] = []
    for method, columns in methods.items():
        signed = replace(signature, method=f"{method} {signature.method}".strip())
        numbers += [
            *_by_class("heat", columns, method, signed, how),
            *_by_class("heat median", columns, method, signed, how),
            *_gaps(columns, method, signed, how),
            *(_above(measure, columns, method, signed, how) for measure in ABOVE),
        ]
    return numbers


def _by_class(
    measure: str, columns: HeatColumns, method: str, signature: Signature, how: dict[str, Any]
) -> Iterable[Measurement]:
    statistic = clustered_median if measure == "heat median" else _mean
    for group in WORD_CLASSES:
        sample, missing = _sample(columns, group)
        yield measured(
            statistic(sample, **how),
            [sample],
            measure=measure,
            group=group,
            signature=signature,
            unit="heat",
            missing=missing,
            level=how["level"],
            method=method,
        )


def _gaps(
    columns: HeatColumns, method: str, signature: Signature, how: dict[str, Any]
) -> Iterable[Measurement]:
    objects, lost = _sample(columns, "object")
    for gap, classes in GAPS.items():
        others, missing = _sample(columns, *classes)
        yield measured(
            clustered_difference(objects, others, **how),
            [objects, others],
            measure="heat gap",
            group=gap,
            signature=signature,
            unit="heat",
            missing=lost + missing,
            level=how["level"],
            method=method,
        )


def _above(
    measure: str, columns: HeatColumns, method: str, signature: Signature, how: dict[str, Any]
) -> Measurement:
    """Share of captions whose mean object heat exceeds the mean heat of their other words of some classes.

    Paper B averages the same way within a caption (section 3). Equal means are ties and count as not
    above; a caption without both sides, or with a heat among them that is not finite, is missing.
    """
    places, first = np.unique(columns.items, return_index=True)
    gaps = (caption_means(columns, "object") - caption_means(columns, *ABOVE[measure]))[places]
    known = ~np.isnan(gaps)
    sample = Sample((gaps[known] > 0).astype(np.float64), columns.images[first][known])
    return measured(
        _mean(sample, **how),
        [sample],
        measure=measure,
        group="all",
        signature=signature,
        ties=int((gaps[known] == 0).sum()),
        missing=int((~known).sum()),
        level=how["level"],
        method=method,
    )


def _mean(sample: Sample, **how: Any) -> Interval:
    return clustered_bootstrap(sample.values, sample.clusters, **how)


def _sample(columns: HeatColumns, *classes: str) -> tuple[Sample, int]:
    """The finite heats of words of some classes with their images, and how many are not finite."""
    chosen = columns.of(*classes)
    known = chosen & np.isfinite(columns.heats)
    return Sample(columns.heats[known], columns.images[known]), int(chosen.sum() - known.sum())
