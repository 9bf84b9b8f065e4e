"""The page of a study of variants: what it claims follows from the intervals, and all text is escaped."""

import json

import pytest

from alignscope.errors import BadData
from alignscope.files import write_json, write_parquet
from alignscope.records import Effect
from alignscope.reporting.pages import page
from alignscope.reporting.variants import OVERALL, headline, page_of
from alignscope.reporting.variants_paper import TABLE_1


def effect(variant, group, value, difference=None, half=None, measure="accuracy", method=""):
    ends = (None, None) if difference is None else (difference - half, difference + half)
    return Effect(
        variant, measure, group, "share", value, value - 0.01, value + 0.01, 5, 0, "ft", difference, *ends, 5, 0.95,
        "accuracy|data:world-test|variant:ft|seeds:5", method,
    )  # fmt: skip


def study(directory, effects, says="plain <b>fine-tuning</b>"):
    variants = [
        {"name": "ft", "says": says, "recipe": {"batch": 128}},
        {"name": "cae", "says": "CAE, gradcam", "recipe": {"batch": 128}},
    ]
    identity = {
        "kind": "variants",
        "study": {
            "name": "composition",
            "baseline": "ft",
            "seeds": [0, 1],
            "start": None,
            "variants": variants,
        },
    }
    directory.mkdir(exist_ok=True)
    write_parquet(directory / "effects.parquet", effects, Effect)
    write_json(directory / "run.json", {"identity": identity, "finished": True})
    return directory


def effects(cae, half):
    return [
        effect("ft", "swap_object", 0.6),
        effect("ft", "all kinds (macro)", 0.7),
        effect("cae", "swap_object", 0.6 + cae, cae, half),
        effect("cae", "all kinds (macro)", 0.7 + cae, cae, half),
    ]


def test_what_is_told_apart_is_said_and_the_rest_is_not(tmp_path):
    better = page_of(study(tmp_path / "a", effects(0.05, 0.02), says="plain fine-tuning"))
    assert better.headline == "CAE, gradcam answer more foils than plain fine-tuning, over all kinds"
    assert better.findings == (
        "CAE, gradcam: above it in swapped objects (+5.0 ± 2.0) and mean over kinds (+5.0 ± 2.0).",
    )
    undecided = page_of(study(tmp_path / "b", effects(0.05, 0.06), says="plain fine-tuning"))
    assert undecided.headline == "No variant is told apart from plain fine-tuning, over all kinds"
    assert undecided.findings == ("CAE, gradcam: no kind of foil told apart from it.",)
    worse = page_of(study(tmp_path / "c", effects(-0.05, 0.02), says="plain fine-tuning"))
    assert worse.headline == "CAE, gradcam answer fewer than plain fine-tuning, over all kinds"


def test_the_page_escapes_names_and_shows_every_number(tmp_path):
    html = page(study(tmp_path / "run", effects(0.05, 0.02))).read_text()
    assert "plain &lt;b&gt;fine-tuning" in html
    assert "<b>fine-tuning" not in html
    for shown in (
        "65.0\N{NARROW NO-BREAK SPACE}%",
        "+5.0 ±\N{NO-BREAK SPACE}2.0",
        "±\N{NO-BREAK SPACE}1.0",
        "data:world-test",
    ):
        assert shown in html, shown


def test_a_number_that_no_seed_has_is_unscored_not_zero(tmp_path):
    lost = Effect(
        "cae", "accuracy", "swap_object", "share", None, None, None, 0, 5, "ft", None, None, None, 0, 0.95, ""
    )
    html = page(study(tmp_path / "run", [effect("ft", "swap_object", 0.6), lost])).read_text()
    assert "unscored in all 5 seeds" in html


def test_a_directory_without_effects_is_refused(tmp_path):
    with pytest.raises(BadData, match=r"wanted the --out of a finished one"):
        page(study(tmp_path / "run", []))


def test_a_headline_counts_variants_where_they_are_many() -> None:
    says = {"start": "before", "ft": "plain"} | {f"v{n}": f"variant {n}" for n in range(5)}
    gains = {f"v{n}": 0.05 for n in range(4)} | {"v4": -0.05, "start": -0.2}
    look = {(v, OVERALL): effect(v, OVERALL[2], 0.7 + gain, gain, 0.01) for v, gain in gains.items()}
    said = headline(look, says, "ft")
    assert said == "4 of 5 variants answer more foils; variant 4 answer fewer than plain, over all kinds"


def test_on_benchmarks_columns_of_table_1_are_compared(tmp_path):
    """One column is told apart, one is not, one is a measure that Table 1 does not have."""
    aro, valse = TABLE_1["ARO relation"], TABLE_1["VALSE"]
    mean = ("mean of benchmarks", "", "Table 1")

    def told(variant, key, value, *gap):
        return effect(variant, key[2], value, *gap, measure=key[0])

    found = [told("ft", key, 0.6) for key in (aro, valse, mean)]
    found += [
        told("cae", aro, 0.65, 0.05, 0.02),
        told("cae", valse, 0.61, 0.01, 0.02),
        told("cae", mean, 0.63, 0.03, 0.01),
    ]
    found += [
        effect("ft", "aro-relation", 0.5),
        effect("cae", "aro-relation", 0.7, 0.2, 0.01),
    ]  # plain accuracy
    directory = study(tmp_path / "run", found, says="CLIP-FT")
    run = json.loads((directory / "run.json").read_text())
    run["identity"]["study"]["benchmarks"] = [{"name": "aro-relation"}, {"name": "valse"}]
    write_json(directory / "run.json", run)
    shown = page_of(directory)
    assert (
        shown.headline
        == "CAE, gradcam answer more foils than CLIP-FT, over the columns of Table 1 in this study"
    )
    assert shown.findings == ("CAE, gradcam: above it in ARO relation (+5.0 ± 2.0).",)
    heading, _, grids = shown.grids[0]
    assert heading == "Benchmarks"
    assert {grid.title: grid.columns for grid in grids} == {
        "By the authors’ rule": ("aro-relation",), "As paper B counts": ("valse, Relation",),
    }  # fmt: skip
    assert "Caption or foil" not in [part[0] for part in shown.grids]
    assert "of foil" not in "".join(shown.findings)
