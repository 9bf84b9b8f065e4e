"""Paper B's printed numbers are those of the paper, and stand beside what the study measured in the same way."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from alignscope.files import write_json, write_parquet
from alignscope.records import Effect
from alignscope.reporting.variants import findings_of, variants_page
from alignscope.reporting.variants_paper import TABLES, printed_in_paper, tables_of

PAPER = Path(__file__).parents[2].parent / "shared" / "papers" / "B_composition_attribution_enhancement.txt"


def effect(variant: str, measure: str, group: str, value: float, difference: float | None = None) -> Effect:
    ends = (None, None) if difference is None else (difference - 0.01, difference + 0.01)
    unit = "correlation" if "spearman" in measure else "share"
    return Effect(variant, measure, group, unit, value, value - 0.02, value + 0.02, 5, 0, "ft", difference, *ends, 5, 0.95, f"{measure}|variant:{variant}|seeds:5")  # fmt: skip


def found() -> list[Effect]:
    return [
        effect("ft", "accuracy", "swap_relation", 0.5),
        effect("cae-attention", "accuracy", "swap_relation", 0.625, 0.125),
        effect("cae-attention", "accuracy", "replace_relation", 0.75, -0.05),
        effect("cae-attention", "recall@5", "text to image", 0.9, 0.0),
        effect("cae-attention", "recall@1", "text to image", 0.5, 0.0),
        effect("cae-attention", "recall@1", "image to text", 0.5, 0.0),
        effect("cae-attention", "recall@5", "image to text", 0.9, 0.0),
        effect("cae-attention", "paraphrase spearman", "all", 0.321, 0.02),
        effect("cae-attention", "accuracy", "all kinds (macro)", 0.7, 0.1),
    ]


def look(effects: list[Effect]):
    return {(one.variant, (one.measure, one.method, one.group)): one for one in effects}


def cells(table, row: str):
    return dict(zip(table.columns, dict(table.rows)[row], strict=True))


def test_printed_numbers_are_those_of_the_paper() -> None:
    """Every row of the paper's text with enough numbers is a row of ours, number by number."""
    if not PAPER.exists():
        pytest.skip(f"{PAPER} is not here")
    text = re.sub(r"</?u>|\*\*", "", PAPER.read_text(encoding="utf-8"))
    lines = [re.findall(r"(?<![\d.])\d\d?\.\d(?!\d)", line) for line in text.splitlines()]
    paper = printed_in_paper()
    for stem in TABLES:
        for row in paper[stem]["rows"]:
            own = re.findall(r"\d+\.\d", " ".join(row["cells"]))
            if stem == "table-2" and row["variant"] == "start":  # Table 1's, as its note says
                own = re.findall(r"\d+\.\d", " ".join(paper["table-1"]["rows"][1]["cells"]))
            if stem == "table-3":  # COCO's four, then Flickr30k's, in the paper
                own = [*own[::2], *own[1::2]]
            if stem == "table-4":
                own = [own[0], own[2], own[1], own[3]]
            assert own in lines, (stem, row["says"], own)


def test_averages_that_the_paper_prints_are_means_of_its_own_cells() -> None:
    paper = printed_in_paper()
    for row in paper["table-5"]["rows"]:
        *parts, average = map(float, row["cells"])
        assert sum(parts) / 5 == pytest.approx(average, abs=0.06), row["says"]
    rows = {row["says"]: row["cells"] for row in paper["table-3"]["rows"]}
    variants = [name for name in rows if "CAE" in name]
    for column, average in enumerate(rows["Avg."]):
        for which, printed in enumerate(re.findall(r"\d+\.\d", average)):
            own = [float(re.findall(r"\d+\.\d", rows[name][column])[which]) for name in variants]
            assert sum(own) / 4 == pytest.approx(float(printed), abs=0.06), (column, which)


def test_each_printed_number_stands_beside_the_same_kind_of_ours() -> None:
    tables = tables_of(look(found()), printed_in_paper())
    assert list(tables) == ["table-1", "table-3", "table-4", "table-5"]  # no variant of Table 2
    row = cells(tables["table-1"], "CLIP-CAE, attention")
    aro = row["ARO relation (who-does-what)"]
    assert (aro.value, aro.difference, aro.reading, aro.paper) == (62.5, 12.5, "above", "69.7")
    crepe, checklist = row["SugarCrepe relation (wrong relations)"], row["VL-CheckList relation (wrong relations)"]  # fmt: skip
    assert (crepe.value, crepe.paper, checklist.value, checklist.paper) == (75.0, "72.0", 75.0, "65.4")
    assert (row["VALSE"].value, row["VALSE"].reason, row["VALSE"].paper) == (None, "not in the world", "69.1")
    missing = cells(tables["table-1"], "CLIP-CAE, gradient")["ARO relation (who-does-what)"]
    assert (missing.value, missing.reason, missing.paper) == (None, "not in this study", "68.1")
    assert cells(tables["table-3"], "CLIP-CAE, attention")["T2I R@5"].paper == "COCO 65.2, Flickr30k 87.1"
    spearman = cells(tables["table-4"], "CLIP-CAE")["Spearman"]
    assert (spearman.value, spearman.paper) == (0.321, "SICK-R 69.3, STS-B 66.5")
    assert cells(tables["table-5"], "CLIP-CAE, both")["Avg."].value == 70.0
    assert tables_of(look([effect("own", "accuracy", "swap_relation", 0.5)]), printed_in_paper()) == {}


def written(tmp_path: Path) -> Path:
    variants = [{"name": name, "says": name, "recipe": {}} for name in ("ft", "cae-attention")]
    study = {"name": "s", "baseline": "ft", "seeds": [0, 1], "start": None, "variants": variants}
    write_json(tmp_path / "run.json", {"identity": {"kind": "variants", "study": study}, "finished": True})
    write_parquet(tmp_path / "effects.parquet", found(), Effect)
    return variants_page(tmp_path)


def test_wide_tables_fit_a_narrow_window_of_a_desk(tmp_path: Path, tab: Any) -> None:
    tab.open(written(tmp_path).as_uri(), width=900)
    tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert tab.value("document.documentElement.scrollWidth") == 900


def test_the_page_has_them_and_their_files(tmp_path: Path) -> None:
    html = written(tmp_path).read_text()
    assert "paper 69.7" in html
    assert "Winoground text" in html
    assert 'id="table-2"' not in html
    assert "ARO&#39;s attribute falls with all four variants" in html
    assert "one or two seeds give" in html
    assert "<h1>Quick run, no claim: Cae-attention answer more" in html
    with (tmp_path / "tables" / "table-1.csv").open(newline="") as file:
        rows = {(row["model"], row["column"]): row for row in csv.DictReader(file)}
    aro = rows["CLIP-CAE, attention", "ARO relation (who-does-what)"]
    assert (float(aro["value"]), aro["paper"], aro["signature"]) == (62.5, "69.7", "accuracy|variant:cae-attention|seeds:5")  # fmt: skip
    assert "[69.7]" in (tmp_path / "tables" / "table-1.tex").read_text()
    assert findings_of(tmp_path)[0] == "Cae-attention answer more foils than ft, over all kinds."
