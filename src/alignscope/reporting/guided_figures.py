"""The figures of paper A as inline SVG: bars of patterns, replacements and words, curves over nouns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alignscope.records import GramCount, MinedPattern, Point
from alignscope.reporting.bars import Bar, bar_chart
from alignscope.reporting.curves import Curve, line_chart
from alignscope.reporting.guided_numbers import PEOPLE, START, Study, template_of
from alignscope.reporting.run import read_rows
from alignscope.reporting.wording import counted, is_number

NOUNS, VERBS = ("NOUN", "PROPN"), ("VERB",)
TOP_WORDS, TOP_PATTERNS = 10, 3


@dataclass(frozen=True)
class Mined:
    """A pattern mined in a captioner's captions, with its bar."""

    captioner: str
    pattern: str
    share: str
    bar: Markup
    example: str


def replaced_figure(study: Study, replaced: Sequence[str]) -> list[tuple[str, Markup]]:
    """Figure 2: a panel per scorer."""
    panels = []
    for by, says in study.scorers.items():
        found = [("CE captions", study.effect(START, "score", by))]
        found += [(kind, study.effect(START, "score", f"{by} | {kind}")) for kind in replaced]
        bars = [
            Bar(name, e.value, e.low, e.high, is_marked=name == "CE captions")  # type: ignore[arg-type]
            for name, e in found
            if e is not None and is_number(e.value)
        ]
        if len(bars) > 1:
            title = f"{says} ({study.unit(by)})"
            panels.append((title, bar_chart(bars, title=title)))
    return panels


def noun_points(study: Study, by: str) -> list[Point]:
    """Scores of a scorer's own template by how many nouns it holds, fewest first."""
    points = read_rows(study.directory / "nouns" / by / "points.parquet", Point)
    series = {point.series.rpartition(" | ")[2]: point.series for point in points}
    own = template_of(study, by, tuple(series))
    return sorted((p for p in points if own and p.series == series[own]), key=lambda p: p.x)


def noun_figure(study: Study) -> list[tuple[str, Markup]]:
    """Figure 3: a panel per scorer, so that each has its own scale."""
    panels = []
    for by, says in study.scorers.items():
        points = noun_points(study, by)
        if points:
            title = f"{says} ({study.unit(by)})"
            chart = line_chart(
                [Curve(says, tuple(points))], title=f"Score by nouns, {title}", x_title="nouns in the caption"
            )
            panels.append((title, chart))
    return panels


def frequent_words(study: Study, name: str) -> list[tuple[str, str, float]]:
    """A captioner's most frequent words with their tags and their mean share of all words over seeds."""
    shares: defaultdict[str, float] = defaultdict(float)
    tags: dict[str, str] = {}
    read = 0
    for seed in study.seeds:
        verb = "people" if name == PEOPLE else "texts"
        path = study.directory / f"seed-{seed}" / verb / "captions" / name / "grams.parquet"
        words = [
            one
            for one in read_rows(path, GramCount)
            if (one.of, one.place, one.length) == ("words", "anywhere", 1)
        ]
        read += bool(words)
        for one in words:
            shares[one.gram] += one.share
            tags.setdefault(one.gram, one.tags)
    top = sorted(shares.items(), key=lambda one: (-one[1], one[0]))[:TOP_WORDS]
    return [(word, tags[word], share / read) for word, share in top]


def word_figure(study: Study) -> list[tuple[str, Markup]]:
    """Figure 4: a panel per captioner; nouns and verbs are marked."""
    panels = []
    for name, says in study.says.items():
        words = frequent_words(study, name)
        bars = [Bar(word, 100 * share, is_marked=tag in (*NOUNS, *VERBS)) for word, tag, share in words]
        if bars:
            printed = printed_counts(study, name)
            title = f"{says}: {content_words(words)}{f' (paper {printed})' if printed else ''}"
            panels.append((title, bar_chart(bars, title=title, unit=" %")))
    return panels


def printed_counts(study: Study, name: str) -> str:
    """How many nouns or verbs the paper counts among a captioner's ten words, "" where it does not say."""
    found = {what: study.printed("figure-4", what, name) for what in ("nouns", "verbs")}
    return ", ".join(f"{count} {what}" for what, count in found.items() if count)


def content_words(words: Sequence[tuple[str, str, float]]) -> str:
    """How many of some words are nouns, and how many verbs.

    >>> content_words([("a", "DET", 0.5), ("dog", "NOUN", 0.1), ("runs", "VERB", 0.1)])
    '1 noun, 1 verb'
    """
    classes = ((NOUNS, "noun"), (VERBS, "verb"))
    return ", ".join(counted(sum(tag in tags for _, tag, _ in words), name) for tags, name in classes)


def mined_figure(study: Study) -> list[Mined]:
    """Figure 1: the patterns most captions of a captioner are closest to, of the first seed."""
    rows = []
    for name, says in study.says.items():
        verb = "people" if name == PEOPLE else "texts"
        path = study.directory / f"seed-{study.seeds[0]}" / verb / "captions" / name / "mined.jsonl"
        for one in sorted(read_rows(path, MinedPattern), key=lambda one: one.rank)[:TOP_PATTERNS]:
            share = f"{100 * one.share:.1f} %"
            rows.append(
                Mined(says, f"{one.prefix} {one.body}".strip(), share, _bar(one.share, share), one.example)
            )
    return rows


def _bar(share: float, said: str) -> Markup:
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" width="100%" height="16">'
        '<rect class="bar" x="0" y="2" width="{}%" height="12"/></svg>'
    ).format(said, round(100 * share, 2))
