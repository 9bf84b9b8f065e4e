"""The numbers of a benchmark from the scores of its options: as its authors count, and as we do.

"official accuracy" keeps the authors' averaging, ties and exclusions and compares scores as they were
given; "accuracy" compares them in float32, a tie being wrong, over all items and per subset. Intervals
resample images: the right one of an item that shows several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.errors import Unsupported
from alignscope.evaluation.aggregates import AGGREGATES, Aggregate, leaves, weights
from alignscope.evaluation.choices import CREDIT
from alignscope.evaluation.columns import Columns, in_columns, signs
from alignscope.evaluation.joint import Part, joint_intervals
from alignscope.evaluation.probabilities import matched
from alignscope.evaluation.similarity import correlations
from alignscope.records import DRAWS, Measurement, OptionScore, Signature

Values = Float[np.ndarray, " item"]
Places = Int[np.ndarray, "..."]  # sets of them differ in size


@dataclass(frozen=True)
class Row:
    """A number to be measured: the weighted mean of its parts' means, and the items it is about."""

    measure: str
    group: str
    parts: Sequence[Part]
    places: Places
    ties: int
    lost: int  # items without any option
    rule: str = "wrong"  # of ties, for the signature
    reason: str = ""


@dataclass(frozen=True)
class Counted:
    """The items of a benchmark under one rule for ties, by the question asked of each."""

    columns: Columns
    missing: Mapping[str, int]  # items without any option, by subset
    signs: dict[str, Values]
    ties: str
    credit: dict[str, Values] = field(default_factory=dict)

    def row(
        self,
        measure: str,
        group: str,
        facet: str,
        places: Sequence[Places],
        *,
        weights: Sequence[float] = (),
        lost: int,
        reason: str = "",
    ) -> Row:
        """The mean over several sets of items of one question, each set averaged by itself first."""
        own = weights or [1.0] * len(places)
        parts = [Part(self.credit[facet], each, weight) for each, weight in zip(places, own, strict=True)]
        every = np.concatenate([*places, np.zeros(0, dtype=np.int64)])
        ties = int((self.signs[facet][every] == 0).sum())
        return Row(measure, group, parts, every, ties, lost, self.ties, reason)


def measure(
    benchmark: Benchmark,
    scores: Iterable[OptionScore],
    *,
    signature: Signature,
    missing: Mapping[str, int],
    probabilities: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Everything that is counted on `benchmark`, the authors' numbers first.

    `missing` says by subset how many items have no option at all; an item with an option whose score is
    missing or not finite is counted beside them. `probabilities` says that scores are probabilities of a
    match, so that captions and foils can be told one by one (p_c, p_f, acc). A group is named "QUESTION | PART"
    where several questions are asked of each item (text, image, group; ITT, TOT).
    """
    columns = in_columns(scores, benchmark=benchmark.name)
    if benchmark.asks == "similarity":
        how = {"draws": draws, "seed": seed, "level": level}
        return correlations(columns, signature=signature, missing=missing, **how)  # type: ignore[arg-type]
    if benchmark.asks == "retrieval":
        raise Unsupported(
            f"{benchmark.name} ranks candidates: use `ranks` and `recall` of evaluation.retrieval"
        )
    exact = signs(columns, benchmark.asks, dtype=np.float64)
    single = signs(columns, benchmark.asks, dtype=np.float32)
    rows = [
        *_official_rows(benchmark, _counted(columns, missing, exact, benchmark.official.ties)),
        *_our_rows(benchmark, columns, missing, single),
        *_aggregate_rows(benchmark, _counted(columns, missing, exact, "wrong")),
    ]
    if probabilities and benchmark.asks == "caption":
        rows += _probability_rows(benchmark, columns, missing)
    return _measured(rows, columns, replace(signature, seed=seed), draws=draws, seed=seed, level=level)


def _measured(
    rows: Sequence[Row], columns: Columns, signature: Signature, *, draws: int, seed: int, level: float
) -> list[Measurement]:
    _, clusters = np.unique(np.array(columns.images, dtype=str), return_inverse=True)
    rows = _shared(rows)
    intervals = joint_intervals([row.parts for row in rows], clusters, draws=draws, seed=seed, level=level)
    numbers = []
    for row, interval in zip(rows, intervals, strict=True):
        scored = np.unique(
            np.concatenate([np.zeros(0, dtype=np.int64), *(part.scored for part in row.parts)])
        )
        items, images = len(scored), len(np.unique(clusters[scored]))
        unscored = len(np.unique(row.places)) - items
        said = replace(signature, measure=row.measure, items=items, images=images, ties=row.rule)
        number = Measurement(
            row.measure,
            row.group,
            interval.value,
            interval.low,
            interval.high,
            items,
            images,
            ties=row.ties,
            missing=unscored + row.lost,
            level=level,
            reason="; ".join(filter(None, (row.reason, interval.reason))),
            signature=str(said),
        )
        numbers.append(number)
    return numbers


def _shared(rows: Sequence[Row]) -> list[Row]:
    """The rows with equal arrays made one, so that what several rows say is resampled once."""
    known: dict[bytes, np.ndarray] = {}

    def one(values: np.ndarray) -> np.ndarray:
        return known.setdefault(values.dtype.char.encode() + values.tobytes(), values)

    return [
        replace(row, parts=[Part(one(part.values), one(part.places), part.weight) for part in row.parts])
        for row in rows
    ]


def _counted(columns: Columns, missing: Mapping[str, int], signs: dict[str, Values], ties: str) -> Counted:
    worth = np.array([0.0, CREDIT[ties], 1.0])

    def credit(sign: Values) -> Values:
        value = worth[np.nan_to_num(sign).astype(np.int64) + 1]
        value[np.isnan(sign)] = np.nan
        return value

    return Counted(columns, missing, signs, ties, {facet: credit(sign) for facet, sign in signs.items()})


def _official_rows(benchmark: Benchmark, counted: Counted) -> Iterator[Row]:
    """The authors' average, then each subset, group and tag by itself."""
    official, columns = benchmark.official, counted.columns
    subsets, groups = _subsets(benchmark, counted), _places(columns.groups)
    lost = sum(counted.missing.values())
    everything = [np.arange(len(columns.items))]
    for facet in counted.signs:
        said = f"official: {_rule(official, groups)}"
        name = facet or "all"
        if official.average != "none":
            averaged = {
                "items": everything,
                "groups": list(_kept(official, groups).values()),
                "subsets": list(subsets.values()) or everything,
            }[official.average]
            yield counted.row("official accuracy", name, facet, averaged, lost=lost, reason=said)
        parts = dict(subsets)
        if official.average == "groups":
            parts |= {group: places for group, places in groups.items() if group not in subsets}
        if benchmark.asks == "pairing":
            parts |= _tagged(columns)
        for part, places in parts.items():
            gone = counted.missing.get(part, 0) if part in subsets else 0
            yield counted.row("official accuracy", _named(facet, part), facet, [places], lost=gone)


def _our_rows(
    benchmark: Benchmark, columns: Columns, missing: Mapping[str, int], single: dict[str, Values]
) -> Iterator[Row]:
    """Strict accuracy in float32 over all items and per subset, both averages, and what ties are worth."""
    strict = _counted(columns, missing, single, "wrong")
    subsets, groups = _subsets(benchmark, strict), _places(columns.groups)
    everything, lost = [np.arange(len(columns.items))], sum(missing.values())
    for facet in single:
        for subset, places in subsets.items():
            name = _named(facet, subset)
            yield strict.row("accuracy", name, facet, [places], lost=missing.get(subset, 0))
        yield strict.row("accuracy", facet or "all", facet, everything, lost=lost)
        for word, parts in (("subsets", subsets), ("groups", groups)):
            if len(parts) > 1 and (word == "subsets" or benchmark.official.average == "groups"):
                name = _named(facet, f"all {word} (macro)")
                reason = _lacking(single[facet], parts, word)
                yield strict.row("accuracy", name, facet, list(parts.values()), lost=lost, reason=reason)
        for ties in ("half", "right"):
            other = _counted(columns, missing, {facet: single[facet]}, ties)
            yield other.row(f"accuracy (ties {ties})", facet or "all", facet, everything, lost=lost)


def _aggregate_rows(benchmark: Benchmark, counted: Counted) -> Iterator[Row]:
    """Means of means over subsets, and the items with a tag."""
    by = {"subset": _places(counted.columns.subsets), "tag": _tagged(counted.columns)}
    for aggregate in AGGREGATES.get(benchmark.name, ()):
        named, parts = leaves(aggregate.tree), by[aggregate.by]
        values = counted.credit[aggregate.facet]
        present = {name for name, places in parts.items() if not np.isnan(values[places]).all()}
        found = weights(aggregate.tree, present)
        absent = [name for name in named if name not in found]
        yield counted.row(
            aggregate.measure,
            aggregate.group,
            aggregate.facet,
            [parts[name] for name in found],
            weights=list(found.values()),
            lost=sum(counted.missing.get(name, 0) for name in named),
            reason=_composed(aggregate, len(named), absent),
        )


def _composed(aggregate: Aggregate, parts: int, absent: Sequence[str]) -> str:
    said = (
        f"mean over {parts} {aggregate.by}s" if parts > 1 else f"{aggregate.by} {leaves(aggregate.tree)[0]}"
    )
    return f"{said}; {len(absent)} absent: {', '.join(absent)}" if absent else said


def _probability_rows(benchmark: Benchmark, columns: Columns, missing: Mapping[str, int]) -> Iterator[Row]:
    """Captions taken for right, foils taken for wrong, and the mean of the two shares."""
    captions, foils = matched(columns)
    everything = {"all": np.arange(len(columns.items))}
    counted = _counted(columns, missing, {"": captions}, "wrong")
    for group, places in {**everything, **_subsets(benchmark, counted)}.items():
        lost = sum(missing.values()) if group == "all" else missing.get(group, 0)
        one, other = Part(captions, places), Part(foils, places)
        for name, parts in (("p_c", [one]), ("p_f", [other]), ("acc", [one, other])):
            yield Row(name, group, parts, places, 0, lost, reason="a match above 0.5")


def _rule(official: Official, groups: Mapping[str, Places]) -> str:
    ties = "ties wrong" if official.ties == "wrong" else "ties right"
    if official.average != "groups":
        share = {
            "items": "share of items",
            "subsets": "mean over subsets",
            "none": "share of a subset's items",
        }
        return f"{share[official.average]}; {ties}"
    kept = _kept(official, groups)
    left_out = len(set(groups) & official.left_out)
    small = len(groups) - len(kept) - left_out
    parts = [f"mean over {len(kept)} groups"]
    parts += [f"{left_out} left out by name"] if left_out else []
    parts += [f"{small} of fewer than {official.least} items"] if small else []
    return "; ".join([*parts, ties])


def _kept(official: Official, groups: Mapping[str, Places]) -> dict[str, Places]:
    """The groups the authors average over."""
    return {
        name: places
        for name, places in groups.items()
        if name not in official.left_out and len(places) >= official.least
    }


def _subsets(benchmark: Benchmark, counted: Counted) -> dict[str, Places]:
    """The items of each subset in the authors' order; nothing where there is only one."""
    found = _places(counted.columns.subsets)
    known = [name for name in benchmark.sizes if name]
    names = [*(name for name in known if name in found or name in counted.missing)]
    names += sorted({*found, *counted.missing} - {*names, ""})  # "": of no subset that is known
    if len(names) < 2 and (len(known) < 2 or not set(names) & set(known)):
        return {}
    return {name: found.get(name, np.zeros(0, dtype=np.int64)) for name in names}


def _places(names: Sequence[str]) -> dict[str, Places]:
    """The places of each name, names sorted."""
    known, codes = np.unique(np.array(names, dtype=str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes, minlength=len(known)))[:-1]) if len(known) else []
    return {str(name): places for name, places in zip(known, parts, strict=True)}


def _tagged(columns: Columns) -> dict[str, Places]:
    """The places of the items with each tag."""
    found: dict[str, list[int]] = {}
    for place, tags in enumerate(columns.tags):
        for tag in filter(None, tags.split("|")):
            found.setdefault(tag, []).append(place)
    return {tag: np.array(places, dtype=np.int64) for tag, places in sorted(found.items())}


def _lacking(sign: Values, parts: Mapping[str, Places], word: str) -> str:
    scored = sum(not np.isnan(sign[places]).all() for places in parts.values())
    return f"average of {scored} of {len(parts)} {word}" if 0 < scored < len(parts) else ""


def _named(facet: str, part: str) -> str:
    return f"{facet} | {part}" if facet else part
