"""The page of a study of guided captioners: paper A's tables and figures, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from alignscope.files import read_jsonl
from alignscope.records import Picture
from alignscope.reporting.entries import Entry, Table, grid_of, signatures_in
from alignscope.reporting.grids import Grid
from alignscope.reporting.guided_figures import (
    Mined,
    content_words,
    frequent_words,
    mined_figure,
    noun_figure,
    printed_counts,
    replaced_figure,
    word_figure,
)
from alignscope.reporting.guided_findings import Finding, findings, headline
from alignscope.reporting.guided_numbers import PEOPLE, START, Study, read_study
from alignscope.reporting.guided_tables import METRICS, REPLACED, made_table, said_table, tables_of
from alignscope.reporting.page import Embedded, embedded, render, write_page
from alignscope.reporting.table_files import write_tables

SHOWN_IMAGES = 3
PARTS = {
    "table-1": ("Which caption matches the image better?", ("table-1",)),
    "table-2": ("Scores of all models, and metrics", ("table-2", "table-2-metrics")),
    "table-3": ("Examples", ("table-3",)),
    "table-4": ("Fluency, length and nouns", ("table-4",)),
    "table-5": ("Prefixes and patterns", ("table-5-prefixes", "table-5-strict", "table-5-relaxed")),
    "figure-1": ("Patterns mined in the captions", ()),
    "table-6": ("Constructed captions", ("table-6",)),
    "table-7": ("Nouns in templates", ("table-7", "table-7-all")),
    "figure-2": ("Nouns or the other words replaced", ("figure-2",)),
    "figure-3": ("More nouns", ("figure-3",)),
    "figure-4": ("Most frequent words", ("figure-4",)),
}
TEXTS = ("table-3", "table-6")  # shown in another way than numbers


@dataclass(frozen=True)
class Shown:
    """An image with what is said of it."""

    image: str
    picture: Embedded | None
    captions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Part:
    """A table or figure of the paper."""

    stem: str
    heading: str
    place: str  # in the paper
    says: str  # in the paper, where it prints no number
    printed: tuple[tuple[str, str], ...]  # texts that the paper prints, by who says or takes them
    grids: tuple[Grid, ...]
    notes: tuple[str, ...]
    panels: tuple[tuple[str, Markup], ...]
    signatures: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    study: Study
    headline: str
    findings: tuple[Finding, ...]
    parts: tuple[Part, ...]
    shown: tuple[Shown, ...]
    made: Table | None
    mined: tuple[Mined, ...]
    reasons: tuple[str, ...]


def guided_page(directory: Path) -> Path:
    """Write directory/report.html and tables/ from the records of a finished study; returns the page's path."""
    study = read_study(directory)
    tables = all_tables(study)
    write_tables(tables.values(), directory, against="CE")
    return write_page(directory / "report.html", render("guided.html", page_of(study, tables)))


def findings_of(directory: Path) -> tuple[str, ...]:
    """What a finished study found, as sentences with numbers."""
    study = read_study(directory)
    return (f"{headline(study)}.", *(f"{one.about}: {one.says}" for one in findings(study)))


def all_tables(study: Study) -> dict[str, Table]:
    """Every table by the name of its files."""
    images = tuple(_images(study))
    texts = [said_table(study, images, _captions(study)), made_table(study), word_table(study)]
    return {**tables_of(study), **{table.stem: table for table in texts if table is not None and table.rows}}


def page_of(study: Study, tables: Mapping[str, Table]) -> Page:
    """Sort tables and figures into the parts of the page; a part without anything is left out."""
    panels = {
        "figure-2": replaced_figure(study, REPLACED),
        "figure-3": noun_figure(study),
        "figure-4": word_figure(study),
    }
    mined = tuple(mined_figure(study))
    parts = []
    for stem, (heading, names) in PARTS.items():
        own = [tables[name] for name in names if name in tables]
        if own or panels.get(stem) or (stem == "figure-1" and mined):
            parts.append(_part(study, stem, heading, own, panels.get(stem, ())))
    return Page(
        study,
        headline(study),
        findings(study),
        tuple(parts),
        tuple(_shown(study)),
        tables.get("table-6"),
        mined,
        tuple(sorted({reason for (_, metric), reason in study.reasons.items() if metric in METRICS})),
    )


def _part(
    study: Study, stem: str, heading: str, own: Sequence[Table], panels: Sequence[tuple[str, Markup]]
) -> Part:
    return Part(
        stem,
        f"{stem.replace('-', ' ').capitalize()}. {heading}",
        study.printed(stem, "place"),
        study.printed(stem, "says"),
        _printed_texts(study, stem),
        tuple(grid_of(table) for table in own if table.stem not in TEXTS),
        study.notes(stem),
        tuple(panels),
        tuple(one for table in own for one in signatures_in(table)),
        tuple(table.stem for table in own),
    )


def _printed_texts(study: Study, stem: str) -> tuple[tuple[str, str], ...]:
    """Captions that the paper prints, of captioners that this study has too."""
    texts = {"table-1": "captions", "table-3": "examples"}
    found = []
    for name, says in study.says.items():
        text = study.printed(stem, texts.get(stem, ""), name)
        taken = study.printed(stem, "choice", name if name != START else PEOPLE)
        by = "people" if name == START else says
        found += [(says, f"{taken} {text}, which {by} take{'' if name == START else 's'}" if taken else text)] if text else []  # fmt: skip
    return tuple(found)


def word_table(study: Study) -> Table:
    """Figure 4 in words: how many of each captioner's most frequent words are nouns and verbs."""
    rows = []
    for name, says in study.says.items():
        words = frequent_words(study, name)
        said = ", ".join(f"{word} {100 * share:.1f} %" for word, _, share in words)
        if words:
            rows.append(
                (
                    says,
                    (Entry(text=content_words(words), paper=printed_counts(study, name)), Entry(text=said)),
                )
            )
    columns = ("among the ten", "most frequent words, with their mean share of all words")
    return Table("figure-4", "Ten most frequent words of each captioner, mean over seeds", "captioner", columns, tuple(rows))  # fmt: skip


def _images(study: Study) -> list[str]:
    """Images whose captions are shown: those with a picture, or else the first of the test."""
    pictured = [one.image for one in study.run.pictures]
    captioned = _captions(study).get(START, {})
    return [one for one in pictured if one in captioned][:SHOWN_IMAGES] or list(captioned)[:SHOWN_IMAGES]


def _captions(study: Study) -> dict[str, dict[str, str]]:
    """Captions by captioner and image, of the first seed."""
    found = {}
    for name in study.says:
        path = study.directory / f"seed-{study.seeds[0]}" / "captioners" / name / "captions.jsonl"
        path = study.directory / "people.jsonl" if name == PEOPLE else path
        rows = read_jsonl(path) if path.exists() else ()
        found[name] = {str(row["image"]): str(row["caption"]) for row in rows}
    return found


def _shown(study: Study) -> list[Shown]:
    pictures: dict[str, Picture] = {one.image: one for one in study.run.pictures}
    said = _captions(study)
    return [
        Shown(
            image,
            embedded(pictures[image].png) if image in pictures else None,
            tuple((says, said[name].get(image, "no caption")) for name, says in study.says.items()),
        )
        for image in _images(study)
    ]
