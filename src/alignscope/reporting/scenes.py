"""The page of a study of scene captioners: paper C's tables and figures, and which of its claims hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from alignscope.reporting.entries import Table, grid_of, signatures_in
from alignscope.reporting.grids import Grid
from alignscope.reporting.page import render, write_page
from alignscope.reporting.scenes_examples import Example, examples_of
from alignscope.reporting.scenes_figures import (
    AFTER,
    SHIFT,
    Panel,
    attention_figure,
    attention_layers,
    confidence_figure,
    confusion,
    contour_figure,
    heat_map,
    scene_bars,
    set_figure,
    special_figure,
)
from alignscope.reporting.scenes_findings import findings, headline
from alignscope.reporting.scenes_numbers import CAPTIONERS, FIRST, Probe, Study, read_study
from alignscope.reporting.scenes_probe_tables import (
    WHOSE,
    counts_of,
    find,
    hardest,
    image_sets,
    probe_tables,
    scores_of,
)
from alignscope.reporting.scenes_tables import blocks_of, tables_of, training_reasons
from alignscope.reporting.scenes_verdicts import Finding
from alignscope.reporting.table_files import write_tables

PARTS = {
    "table-1": "Scene captions during fine-tuning",
    "figure-3": "Attention matrices",
    "figure-4": "Mass and spread of attention",
    "table-2": "Objects attended to, and objects of the scene",
    "table-3": "Objects that tell of a scene",
    "table-5": "Images without their telling objects",
    "figure-5": "Captions before and after",
    "figure-6": "Confidence of unchanged captions",
    "figure-7": "Shift of confidence",
    "figure-8": "Images that are probed",
    "figure-9": "Scenes read in states",
    "table-4": "Probes with every input",
    "background": "Background or objects?",
    "figure-10": "Special tokens",
    "figure-11": "Higher layers",
    "figure-12": "Confidence by set of images",
    "table-6": "Probes by classifier",
    "table-7": "Probes by split",
    "figure-13": "Scenes read in states, the easiest split",
    "held-out": "Held-out images alone",
}
"""Parts in the order of the paper, its appendix last, and what it does not have where it belongs."""
OWN = ("background", "held-out")


@dataclass(frozen=True)
class Part:
    """A table or figure of the paper, or one beyond it."""

    stem: str
    heading: str
    place: str  # in the paper
    says: str  # in the paper, where it prints no number
    printed: tuple[tuple[str, str], ...]  # what the paper prints of its own rows
    grids: tuple[Grid, ...]
    more: tuple[Grid, ...]  # other readings of the same
    notes: tuple[str, ...]
    panels: tuple[Panel, ...]
    signatures: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    study: Study
    headline: str
    findings: tuple[Finding, ...]
    parts: tuple[Part, ...]
    examples: tuple[Example, ...]
    errors: tuple[str, ...]


def scenes_page(directory: Path) -> Path:
    """Write directory/report.html and tables/ from the records of a finished study; returns the page's path."""
    study = read_study(directory)
    tables = all_tables(study)
    write_tables(tables.values(), directory, against="object captions")
    return write_page(directory / "report.html", render("scenes.html", page_of(study, tables)))


def findings_of(directory: Path) -> tuple[str, ...]:
    """What a finished study found, as sentences with numbers."""
    found = findings(read_study(directory))
    return (
        f"{headline(found)}.",
        *(f"{one.about}: {one.verdict}. {' '.join(one.says.splitlines())}" for one in found),
    )


def all_tables(study: Study) -> dict[str, Table]:
    """Every table by the name of its files."""
    return {**tables_of(study), **probe_tables(study)}


def page_of(study: Study, tables: Mapping[str, Table]) -> Page:
    """Sort tables and figures into the parts of the page; a part without anything is left out."""
    panels = _panels(study)
    parts = []
    for stem, heading in PARTS.items():
        own = [table for name, table in tables.items() if name == stem or name.startswith(f"{stem}-")]
        if own or panels.get(stem):
            parts.append(_part(study, stem, heading, own, panels.get(stem, ())))
    found = findings(study)
    return Page(
        study, headline(found), found, tuple(parts), examples_of(study), tuple(study.paper.get("errors", ()))
    )


def _part(
    study: Study, stem: str, heading: str, own: Sequence[Table], panels: Sequence[tuple[str, Markup]]
) -> Part:
    called = "" if stem in OWN else f"{stem.replace('-', ' ').capitalize()}. "
    shown = [table for table in own if not _is_other_reading(table)]
    return Part(
        stem,
        f"{called}{heading}",
        study.printed(stem, "place"),
        study.printed(stem, "says"),
        _printed(study, stem),
        tuple(grid_of(table) for table in shown),
        tuple(grid_of(table) for table in own if table not in shown),
        (*study.notes(stem), *(_unscored(study) if stem == "table-1" else ())),
        tuple(panels),
        tuple(dict.fromkeys(one for table in own for one in signatures_in(table))),
        tuple(table.stem for table in own),
    )


def _unscored(study: Study) -> list[str]:
    """Why metrics of Table 1 have no value."""
    return [f"Unscored: {why}." for why in dict.fromkeys(training_reasons(study).values())]


def _is_other_reading(table: Table) -> bool:
    """Other layers, other means over heads, other classifiers than the paper's."""
    return table.stem.startswith("figure-4-") or (
        table.stem.startswith("background-") and not table.stem.endswith("-forest")
    )


def _printed(study: Study, stem: str) -> tuple[tuple[str, str], ...]:
    """The paper's own rows, which are of other steps, scenes and objects than those here."""
    found: list[tuple[str, str]] = []
    for kind in ("metrics", "overlaps"):
        for name, row in study.paper.get(stem, {}).get(kind, {}).items():
            called = f"epoch {name}" if kind == "metrics" else name
            found.append((called, "; ".join(f"{column} {value}" for column, value in row.items())))
    found += list(study.paper.get(stem, {}).get("objects", {}).items())
    for one in study.paper.get(stem, {}).get("examples", ()):
        found.append((one["objects"], f"{one['before']} → {one['after']}"))
    return tuple(found)


def _panels(study: Study) -> dict[str, list[Panel]]:
    layers = attention_layers(study)
    return {
        "figure-3": attention_figure(study, layers[0]) if layers else [],
        "figure-4": contour_figure(study, [f"{block} | {FIRST}" for block in blocks_of(study)]),
        "figure-6": confidence_figure(study, AFTER),
        "figure-7": confidence_figure(study, SHIFT),
        "figure-9": _scene_panels(study, hardest(study), with_confusion=True),
        "figure-10": special_figure(study),
        "figure-11": [panel for layer in _higher(layers) for panel in attention_figure(study, layer)],
        "figure-12": set_figure(study),
        "figure-13": _scene_panels(study, 90, with_confusion=False),
    }


def _higher(layers: Sequence[int]) -> list[int]:
    """The middle and the last of the layers above the first.

    >>> _higher(range(12)), _higher([0, 1]), _higher([0])
    ([6, 11], [1], [])
    """
    return sorted({layers[len(layers) // 2], layers[-1]} - {layers[0]}) if layers else []


def _scene_panels(study: Study, split: int, *, with_confusion: bool) -> list[Panel]:
    """F1 of scenes by captioner as bars, and which scenes are taken for which."""
    first = next(iter(image_sets(study)), "")
    scenes = tuple(counts_of(study))
    panels: list[Panel] = []
    for name in CAPTIONERS:
        one = find(study, name, first)
        scores = {scene: scores_of(study, one, "F1", split=split, scene=scene) for scene in scenes}
        drawn = scene_bars(study, scores, title=f"F1 by scene, {WHOSE[name]}, {split} percent")
        panels += [(f"F1, {WHOSE[name]}", drawn)] if drawn else []
    for name in CAPTIONERS if with_confusion else ():
        one = find(study, name, first)
        matrix = confusion(study, Probe(one.name, one.name, split=split), scenes) if one else None
        if matrix is not None:
            title = f"scenes taken for scenes, {WHOSE[name]}"
            panels.append((f"{title[0].upper()}{title[1:]}: rows are true", heat_map(matrix, title=title, highest=1.0)))  # fmt: skip
    return panels
