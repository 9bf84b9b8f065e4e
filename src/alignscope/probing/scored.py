"""What scores of captions and of texts made of them say: means, changes, choices (paper A, Tables 1, 2, 7, Figs. 2, 3).

A group reads "source | part". Every caption counts once: draws of one caption are averaged first. What a file of
captions holds and a number does not rest on is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import NamedTuple, final

from alignscope.errors import BadInput
from alignscope.evaluation.intervals import Interval, clustered_means, measured, sample_of
from alignscope.records import DRAWS, ForcedChoice, Measurement, Point, Signature, TextScore

Caption = tuple[str, str, str]  # source, image, text


@final
@dataclass(frozen=True)
class Numbered:
    """How numbers are made of scores: their signature, their unit, and how many captions each source has."""

    signature: Signature
    unit: str
    totals: Mapping[str, int]  # usable or not
    draws: int = DRAWS


class _Column(NamedTuple):
    measure: str
    source: str
    part: str
    values: list[tuple[float, str]]  # with the image
    ties: int
    unit: str


def means(scores: Iterable[TextScore], how: Numbered) -> list[Measurement]:
    """The mean score of the captions of each source, and how far it is above the first source's (Table 2).

    The difference is of images that both caption; ties are those with equal scores.
    """
    captions = {source: _captions(own) for source, own in _by_source(scores).items()}
    columns = [_mean(source, "captions", own, how.unit) for source, own in captions.items()]
    first = next(iter(captions), "")
    before = {image: score for (_, image, _), score in captions.get(first, {}).items()}
    for source, own in captions.items():
        if source != first:
            pairs = [(score, before[image], image) for (_, image, _), score in own.items() if image in before]
            columns.append(_change(f"score above {first}", source, "captions", pairs, how.unit))
    return _numbers(columns, how)


def changes(scores: Sequence[TextScore], how: Numbered) -> list[Measurement]:
    """Means of captions and of what was made of them, and how far the latter is above (Fig. 2, Table 7).

    Of several draws also the standard deviation of their means; the share of made texts that score higher takes
    ties as half.
    """
    columns, spreads = [], []
    for source, own in _by_source(scores).items():
        captions = _captions(own)
        columns.append(_mean(source, "captions", captions, how.unit))
        for part, made in _by_part(own).items():
            of: defaultdict[Caption, list[float]] = defaultdict(list)
            draws: defaultdict[int, list[float]] = defaultdict(list)
            for one in made:
                key = (source, one.image, one.original)
                if one.score is not None and key in captions:
                    of[key].append(one.score)
                    draws[one.draw].append(one.score)
            columns += _against(source, part, of, captions, how.unit)
            if len(draws) > 1:
                spread = stdev([fmean(values) for values in draws.values()])
                interval = Interval(spread, None, None, f"of the means of {len(draws)} draws: no interval")
                sample = sample_of([(fmean(values), image) for (_, image, _), values in of.items()])
                spreads.append(
                    measured(
                        interval,
                        [sample],
                        measure="sd over draws",
                        group=f"{source} | {part}",
                        signature=how.signature,
                        unit=how.unit,
                        missing=how.totals[source] - len(of),
                    )
                )
    return [*_numbers(columns, how), *spreads]


def by_nouns(scores: Sequence[TextScore], how: Numbered) -> list[Measurement]:
    """The mean score of each template with each number of nouns (Fig. 3)."""
    columns = []
    for source, own in _by_source(scores).items():
        grouped: defaultdict[tuple[str, int], list[tuple[float, str]]] = defaultdict(list)
        for one in own:
            grouped[one.name, one.noun_count]  # a row also where nothing is scored
            if one.score is not None:
                grouped[one.name, one.noun_count].append((one.score, one.image))
        columns += [
            _Column("score", source, f"{template} | k={count}", values, 0, how.unit)
            for (template, count), values in grouped.items()
        ]
    return _numbers(columns, how)


def curves(measurements: Iterable[Measurement], *, series: str) -> list[Point]:
    """Numbers of `by_nouns` as points over k, one curve per template; unscored ones have none."""
    points = []
    for one in measurements:
        source, template, count = one.group.split(" | ")
        if one.value is not None:
            name = f"{series} | {source} | {template}"
            points.append(
                Point(
                    "number of nouns",
                    name,
                    float(count.removeprefix("k=")),
                    one.value,
                    one.low,
                    one.high,
                    one.items,
                )
            )
    return points


def chosen(choices: Sequence[ForcedChoice], scores: Iterable[TextScore], how: Numbered) -> list[Measurement]:
    """The share of images of which each source's caption scores highest, in float32 (Table 1).

    Sources whose captions tie for it share the image; images with an unscored caption are missing.
    """
    raw = {(one.source, one.image): one.raw for one in scores if one.kind == "caption"}
    values: dict[str, list[tuple[float, str]]] = {source: [] for one in choices for source in one.sources}
    tied = dict.fromkeys(values, 0)
    for one in choices:
        offered = [raw.get((source, one.image)) for source in one.sources]
        known = [value for value in offered if value is not None]
        if len(known) < len(offered):
            continue
        best = [source for source, value in zip(one.sources, offered, strict=True) if value == max(known)]
        for source in one.sources:
            is_best = source in best
            values[source].append((is_best / len(best), one.image))
            tied[source] += is_best and len(best) > 1
    columns = [
        _Column("chosen", source, "captions", own, tied[source], "share") for source, own in values.items()
    ]
    return _numbers(columns, how)


def _numbers(columns: Sequence[_Column], how: Numbered) -> list[Measurement]:
    samples = [sample_of(column.values) for column in columns]
    intervals = clustered_means(samples, draws=how.draws, seed=how.signature.seed)
    return [
        measured(
            interval,
            [sample],
            measure=column.measure,
            group=f"{column.source} | {column.part}",
            signature=how.signature,
            unit=column.unit,
            ties=column.ties,
            missing=how.totals[column.source] - len(column.values),
        )
        for column, sample, interval in zip(columns, samples, intervals, strict=True)
    ]


def _mean(source: str, part: str, captions: Mapping[Caption, float], unit: str) -> _Column:
    return _Column("score", source, part, [(score, key[1]) for key, score in captions.items()], 0, unit)


def _against(
    source: str,
    part: str,
    made: Mapping[Caption, Sequence[float]],
    captions: Mapping[Caption, float],
    unit: str,
) -> list[_Column]:
    """Made texts, their change, and how often they score higher than their captions."""
    pairs = [(fmean(values), captions[key], key[1]) for key, values in made.items()]
    wins = [
        (fmean((value > captions[key]) + (value == captions[key]) / 2 for value in values), key[1])
        for key, values in made.items()
    ]
    ties = sum(value == captions[key] for key, values in made.items() for value in values)
    return [
        _Column("score", source, part, [(value, image) for value, _, image in pairs], 0, unit),
        _change("score above captions", source, part, pairs, unit),
        _Column("higher than the caption", source, part, wins, ties, "share"),
    ]


def _change(
    measure: str, source: str, part: str, pairs: Sequence[tuple[float, float, str]], unit: str
) -> _Column:
    ties = sum(value == before for value, before, _ in pairs)
    return _Column(
        measure, source, part, [(value - before, image) for value, before, image in pairs], ties, unit
    )


def _by_source(scores: Iterable[TextScore]) -> dict[str, list[TextScore]]:
    grouped: dict[str, list[TextScore]] = {}
    for one in scores:
        grouped.setdefault(one.source, []).append(one)
    return grouped


def _by_part(scores: Iterable[TextScore]) -> dict[str, list[TextScore]]:
    """Made texts by template, or by kind where there is none."""
    grouped: dict[str, list[TextScore]] = {}
    for one in scores:
        if one.kind != "caption":
            grouped.setdefault(one.name or one.kind, []).append(one)
    return grouped


def _captions(scores: Iterable[TextScore]) -> dict[Caption, float]:
    """The scores of captions themselves."""
    found: dict[Caption, float] = {}
    for one in scores:
        if one.kind == "caption" and one.score is not None:
            key = (one.source, one.image, one.text)
            if key in found:
                raise BadInput(f"got two scores of {one.text!r} for {one.image!r}, wanted one")
            found[key] = one.score
    return found
