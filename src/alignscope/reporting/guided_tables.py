"""The tables of paper A with a study's numbers: choices, scores, statistics, patterns, templates, replacements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alignscope.records import Effect, MadeCaption, Measurement, TextScore
from alignscope.reporting.entries import SIGNS, Entry, Table, gap
from alignscope.reporting.guided_figures import noun_points
from alignscope.reporting.guided_numbers import (
    ABOVE_CAPTIONS,
    PEOPLE,
    START,
    Study,
    entry_of,
    side_of,
    template_of,
)
from alignscope.reporting.run import read_rows
from alignscope.reporting.wording import is_number

METRICS = ("BLEU-1", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "SPICE")
STATISTICS = {
    "perplexity": "perplexity",
    "caption length": "words",
    "nouns per caption": "nouns",
    "unique nouns per caption": "unique nouns",
    "captions with a repeated noun": "captions with a repeated noun",
}
READINGS = {"strict": "whole caption", "relaxed": "relaxed, last phrase may be cut"}
REPLACED = ("random other words", "wrong nouns")
KINDS = {"captions": "CE captions", **{kind: kind for kind in REPLACED}}


def tables_of(study: Study) -> dict[str, Table]:
    """Every table of numbers by the name of its files, those nobody measured left out."""
    made = [
        choice_table(study),
        score_table(study),
        metric_table(study),
        statistics_table(study),
        prefix_table(study),
        *(pattern_table(study, reading) for reading in READINGS),
        template_table(study),
        all_templates_table(study),
        replacement_table(study),
        noun_count_table(study),
    ]
    return {
        table.stem: table for table in made if any(e.value is not None for _, row in table.rows for e in row)
    }


def choice_table(study: Study) -> Table:
    """Table 1: how often each scorer takes each captioner's caption among those of an image."""
    sources = [
        name for name in study.says if any((name, "chosen", by) in study.effects for by in study.scorers)
    ]
    rows = []
    for name in sources:
        printed = "takes this one" if name in study.paper["table-1"]["choice"] else ""
        cells = [
            entry_of(study.effect(name, "chosen", by), printed if by == name else "") for by in study.scorers
        ]
        rows.append((study.says[name], tuple(cells)))
    title = f"Share of images whose caption by each of {len(sources)} sources a scorer takes"
    title += f" (chance {100 / len(sources):.1f} %)" if sources else ""
    return Table("table-1", title, "caption of", tuple(study.scorers.values()), tuple(rows))


def score_table(study: Study) -> Table:
    """Table 2, left: every captioner's captions by every scorer."""
    columns = tuple(f"{says} ({study.unit(by) or 'no unit'})" for by, says in study.scorers.items())

    def cell(name: str, by: str) -> Entry:
        return entry_of(study.effect(name, "score", by), study.printed("table-2", "scores", name, by))

    rows = _rows(study, [*study.says], list(study.scorers), cell)
    return Table("table-2", "Scores of every captioner's captions, by who scores", "captioner", columns, rows)


def metric_table(study: Study) -> Table:
    """Table 2, right: metrics against references; what could not run says why."""

    def cell(name: str, metric: str) -> Entry:
        reason = study.reasons.get((name, metric)) or study.reasons.get(("", metric), "")
        if name == PEOPLE:
            reason = "is itself a reference"
        printed = study.printed("table-2", "metrics", name, metric)
        return entry_of(study.effect(name, metric), printed, _short(reason))

    rows = _rows(study, [*study.says], METRICS, cell)
    return Table("table-2-metrics", "Metrics against the references, times 100", "captioner", METRICS, rows)


def _short(reason: str) -> str:
    """A reason as a cell holds it; the whole one stands below the table."""
    return "unscored, see below" if ":" in reason else reason


def statistics_table(study: Study) -> Table:
    """Table 4: how captions read."""

    def cell(name: str, measure: str) -> Entry:
        return entry_of(study.effect(name, measure), study.printed("table-4", "statistics", name, measure))

    rows = _rows(study, [*study.says], list(STATISTICS), cell)
    return Table("table-4", "Perplexity, length and nouns", "captioner", tuple(STATISTICS.values()), rows)


def prefix_table(study: Study) -> Table:
    """Table 5, left: how many captions begin in each of the paper's ways."""
    groups = _groups(study, "prefix ratio")

    def cell(name: str, group: str) -> Entry:
        return entry_of(
            study.effect(name, "prefix ratio", group), study.printed("table-5", "prefixes", name, group)
        )

    rows = _rows(study, [*study.says], groups, cell)
    return Table(
        "table-5-prefixes", "Captions that begin with a prefix of the paper", "captioner", groups, rows
    )


def pattern_table(study: Study, reading: str) -> Table:
    """Table 5, right: how many captions follow each of the paper's patterns, under one reading."""
    measure = f"pattern ratio, {reading}"
    groups = _groups(study, measure)
    stem = f"table-5-{reading}"

    def cell(name: str, group: str) -> Entry:
        own = group.partition(":")[0].casefold() == study.says[name].casefold() and reading == "relaxed"
        return entry_of(
            study.effect(name, measure, group), study.printed("table-5", "patterns", name) if own else ""
        )

    rows = _rows(study, [*study.says], groups, cell)
    return Table(
        stem, f"Captions that follow a pattern of the paper ({READINGS[reading]})", "captioner", groups, rows
    )


def templates_in(study: Study) -> tuple[str, ...]:
    """Templates that captions were made by, in their order."""
    parts = [group.partition(" | ")[2] for (_, measure, group) in study.effects if measure == ABOVE_CAPTIONS]
    return tuple(dict.fromkeys(part for part in parts if part and part not in REPLACED))


def template_table(study: Study) -> Table:
    """Table 7: CE captions, and their nouns in the template of who scores."""
    rows = []
    for by, says in study.scorers.items():
        own = template_of(study, by, templates_in(study))
        made = study.effect(START, "score", f"{by} | {own}")
        change = study.effect(START, ABOVE_CAPTIONS, f"{by} | {own}")
        prints = [study.printed("table-7", "scores", by, part) for part in ("captions", "made", "gap")]
        cells = (_before(made, change, prints[0]), entry_of(made, prints[1]), _change(change, prints[2]))
        rows.append((f"{says} ({study.unit(by) or 'no unit'})", cells))
    columns = ("CE captions", "in its template", "difference")
    return Table(
        "table-7", "CE captions and the same nouns in each scorer's template", "scorer", columns, tuple(rows)
    )


def _before(made: Effect | None, change: Effect | None, printed: str) -> Entry:
    """The captions' own score, on those that could fill the template."""
    if made is None or change is None or not (is_number(made.value) and is_number(change.value)):
        return Entry(paper=printed, reason="not measured")
    return Entry(
        value=made.value - change.value,  # type: ignore[operator]
        seeds=made.seeds, unit=made.unit, paper=printed, signature=change.signature,
    )  # fmt: skip


def _change(effect: Effect | None, printed: str = "") -> Entry:
    """A number that is a difference itself, with its sign."""
    entry = entry_of(effect, printed)
    if entry.value is None:
        return entry
    return Entry(
        text=gap(entry.value, None, None), value=entry.value, low=entry.low, high=entry.high,
        seeds=entry.seeds, unit=entry.unit, reading=SIGNS[side_of(effect)], paper=printed,
        signature=entry.signature,
    )  # fmt: skip


def all_templates_table(study: Study) -> Table:
    """What every template gains with every scorer."""
    templates = templates_in(study)
    rows = tuple(
        (
            f"{says} ({study.unit(by) or 'no unit'})",
            tuple(_change(study.effect(START, ABOVE_CAPTIONS, f"{by} | {name}")) for name in templates),
        )
        for by, says in study.scorers.items()
    )
    return Table(
        "table-7-all", "What each template changes in the score of CE captions", "scorer", templates, rows
    )


def replacement_table(study: Study) -> Table:
    """Figure 2 in numbers: CE captions, their other words replaced, their nouns replaced."""
    rows = []
    for by, says in study.scorers.items():
        cells = [entry_of(study.effect(START, "score", by))]
        for kind in REPLACED:
            cells += [
                entry_of(study.effect(START, "score", f"{by} | {kind}")),
                _change(study.effect(START, ABOVE_CAPTIONS, f"{by} | {kind}")),
            ]
        rows.append((f"{says} ({study.unit(by) or 'no unit'})", tuple(cells)))
    columns = ("CE captions", *(text for kind in REPLACED for text in (kind, f"{kind}: difference")))
    return Table(
        "figure-2", "Scores of CE captions and of what was made of them", "scorer", columns, tuple(rows)
    )


def noun_count_table(study: Study) -> Table:
    """Figure 3 in numbers: the template of who scores, by how many nouns it holds; intervals over images."""
    found = {by: noun_points(study, by) for by in study.scorers}
    counts = sorted({point.x for points in found.values() for point in points})
    rows = []
    for by, says in study.scorers.items():
        own = {point.x: point for point in found[by]}
        path = study.directory / "nouns" / by / "measurements.parquet"
        signed = {one.group: one.signature for one in read_rows(path, Measurement) if one.measure == "score"}
        cells = [
            Entry(
                value=point.y, low=point.low, high=point.high, seeds=1, unit=study.unit(by),
                signature=signed.get(f"{point.series} | k={k:g}", ""),
            )
            if (point := own.get(k))
            else Entry(reason="not measured")
            for k in counts
        ]  # fmt: skip
        rows.append((f"{says} ({study.unit(by) or 'no unit'})", tuple(cells)))
    title = "Scores of captions that name k nouns of the references, 95 % intervals over images"
    return Table("figure-3", title, "scorer", tuple(f"k = {k:g}" for k in counts), tuple(rows))


def said_table(study: Study, images: Sequence[str], said: Mapping[str, Mapping[str, str]]) -> Table:
    """Table 3: what each captioner says of some images."""
    columns = (*images, "printed in the paper")
    rows = tuple(
        (
            says,
            (
                *(Entry(text=said.get(name, {}).get(image, ""), reason="no caption") for image in images),
                Entry(text=study.printed("table-3", "examples", name), reason="none"),
            ),
        )
        for name, says in study.says.items()
    )
    return Table("table-3", f"Captions of seed {study.seeds[0]}", "captioner", columns, rows)


def made_table(study: Study) -> Table | None:
    """Table 6: one image's nouns in every template, of the CE caption and of the references."""
    rows, kinds = [], (("templates", START, "CE caption"), ("nouns", PEOPLE, "references"))
    for verb, source, called in kinds:
        for by in study.scorers:
            under = (
                study.directory / "nouns"
                if verb == "nouns"
                else study.directory / f"seed-{study.seeds[0]}" / verb
            )
            made = read_rows(under / by / "captions" / source / "made.parquet", MadeCaption)
            own = template_of(study, by, tuple(dict.fromkeys(one.name for one in made)))
            best = max((one for one in made if one.name == own), key=lambda one: one.noun_count, default=None)
            if best is None:
                continue
            scores = read_rows(under / by / "scores.parquet", TextScore)
            name = f"{study.scorers[by]} ({study.unit(by) or 'no unit'})"
            rows.append((name, _made_row(study, by, best, called, scores)))
    columns = ("nouns of", "made of", "nouns", "constructed caption", "its score")
    return Table("table-6", "Constructed captions, the one with most nouns of each scorer's template", "scorer", columns, tuple(rows)) if rows else None  # fmt: skip


def _made_row(
    study: Study, by: str, best: MadeCaption, called: str, scores: Sequence[TextScore]
) -> tuple[Entry, ...]:
    score = next((one.score for one in scores if (one.image, one.text) == (best.image, best.text)), None)
    printed = study.printed("table-6", "examples", by) if called == "CE caption" else ""
    return (
        Entry(text=f"{called} of {best.image}"),
        Entry(text=best.original or "—"),
        Entry(text=", ".join(best.nouns.split("|"))),
        Entry(text=best.text, paper=printed),
        Entry(value=score, unit=study.unit(by), reason="unscored"),
    )


def _groups(study: Study, measure: str) -> tuple[str, ...]:
    """Parts of a measure of patterns, those mined left out."""
    found = [group for (_, m, group) in study.effects if m == measure and not group.startswith("mined ")]
    return tuple(dict.fromkeys(found))


def _rows(
    study: Study, names: Sequence[str], columns: Sequence[str], cell: Callable[[str, str], Entry]
) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    return tuple((study.says[name], tuple(cell(name, column) for column in columns)) for name in names)
