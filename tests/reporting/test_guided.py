"""The page of guided captioners: its sentences follow from the intervals, and no name can break a page or a table."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from alignscope.errors import BadData
from alignscope.files import write_json, write_jsonl, write_parquet
from alignscope.records import Effect, GramCount, Measurement, Point, Trial
from alignscope.reporting.entries import Entry, Table, grid_of, signatures_in
from alignscope.reporting.guided import all_tables, findings_of, guided_page
from alignscope.reporting.guided_findings import findings, headline
from alignscope.reporting.guided_numbers import read_study
from alignscope.reporting.page import ROOM
from alignscope.reporting.pages import page
from alignscope.reporting.table_files import csv_of, latex_of

PAPER = Path(__file__).parents[3] / "shared" / "papers" / "A_probing_alignment_captions.txt"
SCORERS = {"uniter": "UNITER", "clip": "CLIP"}
GUIDED = {"uniter": "UNITER", "clip": "CLIP", "uniter-odds": "UNITER, log-odds", "cider": "CIDEr-D"}
PAYS = {"uniter": "uniter", "clip": "clip", "uniter-odds": "uniter", "cider": ""}
PROBABILITY, COSINE = "100 x probability", "100 x cosine"


def effect(variant, measure, group, value, difference=None, half=1.0, *, unit="score", above=5):
    """Five seeds; an interval of one on both sides of the value."""
    ends = (None, None) if difference is None else (difference - half, difference + half)
    known = value is not None
    return Effect(
        variant, measure, group, unit, value, value - 1 if known else None, value + 1 if known else None,
        5 if known else 0, 0 if known else 5, "ce", difference, *ends, above, 0.95,
        f"{measure}|data:captions|v:1|variant:{variant}|seeds:5|interval:student",
    )  # fmt: skip


def some_effects():
    """UNITER's captioner rises and reads worse, CLIP's falls with its own score and is else not told apart."""
    return [
        effect("ce", "score", "uniter", 70.0, unit=PROBABILITY),
        effect("uniter", "score", "uniter", 90.0, 20.0, unit=PROBABILITY),
        effect("uniter-odds", "score", "uniter", 96.0, 26.0, unit=PROBABILITY),
        effect("clip", "score", "uniter", 60.0, -10.0, unit=PROBABILITY, above=0),
        effect("cider", "score", "uniter", 71.0, 1.0, 3.0, unit=PROBABILITY, above=3),
        effect("people", "score", "uniter", 80.0, 10.0, unit=PROBABILITY),
        effect("ce", "score", "clip", 30.0, unit=COSINE),
        effect("clip", "score", "clip", 25.0, -5.0, unit=COSINE, above=0),
        effect("ce", "perplexity", "all", 7.0),
        effect("uniter", "perplexity", "all", 50.0, 43.0),
        effect("clip", "perplexity", "all", 8.0, 1.0, 4.0, above=3),
        effect("ce", "CIDEr", "all", 0.9),
        effect("uniter", "CIDEr", "all", 0.3, -0.6, 0.1, above=0),
        effect("clip", "CIDEr", "all", None),
        effect("ce", "SPICE", "all", None, unit="share"),
        effect("uniter", "SPICE", "all", None, unit="share"),
        effect("ce", "chosen", "uniter", 0.1, unit="share"),
        effect("uniter", "chosen", "uniter", 0.9, 0.8, 0.05, unit="share"),
        effect("ce", "score above captions", "uniter | UNITER", 4.0, unit=PROBABILITY),
        effect("ce", "score", "uniter | UNITER", 74.0, unit=PROBABILITY),
        effect("ce", "score above captions", "uniter | wrong nouns", -30.0, unit=PROBABILITY),
        effect("ce", "score above captions", "uniter | random other words", -5.0, unit=PROBABILITY),
        effect("ce", "score", "uniter | wrong nouns", 40.0, unit=PROBABILITY),
        effect("ce", "prefix ratio", "UNITER: NP+ REL", 0.25, unit="share"),
    ]  # fmt: skip


def study(directory, effects, *, trials=(), says=None, seeds=(0, 1)):
    directory.mkdir(exist_ok=True)
    says = GUIDED if says is None else says
    guided = [{"name": n, "says": s, "scorer": PAYS[n], "stage": {"steps": 4}} for n, s in says.items()]
    scorers = [
        {"name": n, "says": s, "model": f"tiny-{n}", "regions": "", "images": ""} for n, s in SCORERS.items()
    ]
    told = {
        "name": "captions",
        "seeds": list(seeds),
        "recipe": {"images": 3},
        "scorers": scorers,
        "guided": guided,
    }
    write_json(
        directory / "run.json",
        {
            "identity": {"kind": "guided captioners", "study": told},
            "finished": True,
            "command": "alignscope <x>",
        },
    )
    write_parquet(directory / "effects.parquet", effects, Effect)
    write_parquet(directory / "trials.parquet", list(trials), Trial)
    texts = directory / "seed-0" / "texts"
    texts.mkdir(parents=True, exist_ok=True)
    lost = Measurement("SPICE", "ce | all", None, None, None, 0, 0, reason="SPICE: jars <absent>")
    write_parquet(texts / "measurements.parquet", [lost], Measurement)
    write_jsonl(directory / "people.jsonl", [{"image": "one", "caption": "a <i>cat</i>"}])
    (directory / "seed-0" / "captioners" / "ce").mkdir(parents=True, exist_ok=True)
    write_jsonl(
        directory / "seed-0" / "captioners" / "ce" / "captions.jsonl",
        [{"image": "one", "caption": "a cat & a dog"}],
    )
    return directory


def said(directory):
    return {one.about: one.says for one in findings(read_study(directory))}


def trials_of(variant, measure, group, values):
    return [Trial(variant, seed, measure, group, value, PROBABILITY) for seed, value in enumerate(values)]


def test_a_rise_a_fall_and_a_difference_that_is_not_told_are_said_as_such(tmp_path):
    found = said(study(tmp_path / "run", some_effects()))
    assert found["Score of who pays"] == (
        "higher than CE for UNITER (+20.0 ± 1.00, above in 5 of 5 seeds); "
        "lower than CE for CLIP (−5.00 ± 1.00, above in 0 of 5 seeds). "
        "Otherwise than the paper, which has CLIP higher."
    )
    assert found["Perplexity"] == (
        "higher than CE for UNITER (+43.0 ± 1.00, above in 5 of 5 seeds); "
        "not told apart from CE for CLIP (+1.00 ± 4.00, above in 3 of 5 seeds). "
        "The paper has CLIP higher, which these seeds do not tell."
    )
    assert found["Scores of the others"].startswith(
        "of 1 scores by a model that does not pay, 0 are higher than CE’s, 1 lower, 0 not told apart (the paper: 8 of 20"
    )


def test_what_has_no_value_is_unscored_and_says_why(tmp_path):
    directory = study(tmp_path / "run", some_effects())
    found = said(directory)
    assert found["CIDEr"].startswith(
        "lower than CE for UNITER (−60.0 ± 10.0, above in 0 of 5 seeds); unscored for CLIP."
    )
    assert "SPICE unscored in all seeds" in found["Other metrics against references"]
    html = guided_page(directory).read_text()
    assert "unscored, see below" in html
    assert "SPICE: jars &lt;absent&gt;" in html
    assert "unscored in all 5 seeds" in html


def test_the_headline_counts_what_is_told_apart(tmp_path):
    directory = study(tmp_path / "a", some_effects())
    assert headline(read_study(directory)) == (
        "Of captioners paid by a model’s score, 1 of 2 please it more than before, in 1 of 2 it is pleased less, "
        "perplexity rises in 1 of 2 and CIDEr falls in 1 of 2"
    )
    wide = [replace(one, difference_low=-99.0, difference_high=99.0) for one in some_effects()]
    assert "no captioner of 2 is told apart" in headline(read_study(study(tmp_path / "b", wide)))


def test_controls_are_compared_seed_by_seed(tmp_path):
    trials = [
        *trials_of("uniter", "score", "uniter", [90.0, 92.0]),
        *trials_of("uniter-odds", "score", "uniter", [95.0, 91.0]),
        *trials_of("people", "score", "uniter", [80.0, 80.0]),
        *trials_of("ce", "score above captions", "uniter | wrong nouns", [-30.0, -4.0]),
        *trials_of("ce", "score above captions", "uniter | random other words", [-5.0, -6.0]),
    ]
    found = said(study(tmp_path / "run", some_effects(), trials=trials))
    assert "UNITER (+2.00, above in 1 of 2 seeds)" in found["Log-odds in place of probabilities"]
    assert (
        "CE captions had 70.0 of 100 with UNITER: none left a probability without room"
        in found["Log-odds in place of probabilities"]
    )
    assert "UNITER (+11.0, above in 2 of 2 seeds)" in found["Guided against people"]
    assert "wrong nouns worse in 1 of 2 seeds" in found["Wrong nouns against random other words"]
    assert "not told apart from CE for UNITER (+1.00 ± 3.00" in found["Control paid by CIDEr-D"]
    assert "UNITER takes its own captioner’s most often (90.0 %)" in found["Forced choice"]


def test_a_probability_that_is_full_is_said_to_leave_nothing(tmp_path):
    full = [
        replace(one, value=97.5)
        if (one.variant, one.measure, one.group) == ("ce", "score", "uniter")
        else one
        for one in some_effects()
    ]
    trials = [
        *trials_of("uniter", "score", "uniter", [97.0]),
        *trials_of("uniter-odds", "score", "uniter", [99.0]),
    ]
    found = said(study(tmp_path / "run", full, trials=trials))
    assert (
        "97.5 of 100 with UNITER: UNITER left a probability hardly anything"
        in found["Log-odds in place of probabilities"]
    )


@pytest.mark.parametrize(
    ("heights", "wanted"),
    [
        ((50.0, 60.0, 70.0), "rises"),
        ((70.0, 60.0, 50.0), "falls"),
        ((50.0, 70.0, 60.0), "neither rises nor falls"),
    ],
)
def test_scores_over_nouns_rise_or_fall_at_every_step(tmp_path, heights, wanted):
    directory = study(tmp_path / "run", some_effects())
    (directory / "nouns" / "uniter").mkdir(parents=True)
    points = [
        Point("number of nouns", f"uniter | people | {name}", k + 2.0, y, y - 1, y + 1, 9)
        for name, shift in (("UNITER", 0), ("CLIP", 100))
        for k, y in enumerate(height + shift for height in heights)
    ]
    write_parquet(directory / "nouns" / "uniter" / "points.parquet", points, Point)
    assert said(directory)["More nouns"].startswith(f"UNITER {wanted}")


def test_the_terminal_gets_the_same_sentences(tmp_path):
    directory = study(tmp_path / "run", some_effects())
    first, *rest = findings_of(directory)
    assert first == f"{headline(read_study(directory))}."
    assert rest == [f"{about}: {says}" for about, says in said(directory).items()]


def test_hostile_names_stay_text_and_nothing_is_asked_of_the_net(tmp_path):
    hostile = '<script src="http://evil.example">'
    directory = study(tmp_path / "run", some_effects(), says=GUIDED | {"uniter": hostile})
    words = [GramCount("words", "anywhere", 1, "<svg onload=x>", "NOUN", 9, 9, 0.5)]
    (directory / "seed-0" / "texts" / "captions" / "ce").mkdir(parents=True)
    write_parquet(directory / "seed-0" / "texts" / "captions" / "ce" / "grams.parquet", words, GramCount)
    html = page(directory).read_text()
    assert "<script" not in html
    assert "&lt;script src=" in html
    assert "<svg onload" not in html
    assert "&lt;svg onload=x&gt;" in html
    assert "a &lt;i&gt;cat&lt;/i&gt;" in html
    linked = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert linked
    assert all(link.startswith(("#", "tables/", "data:image/png")) for link in linked)
    assert "default-src 'none'" in html
    for name in {link for link in linked if link.startswith("tables/")}:
        assert (directory / name).is_file(), name


def test_every_number_of_a_table_has_its_signature_and_the_printed_number(tmp_path):
    directory = study(tmp_path / "run", some_effects())
    table = all_tables(read_study(directory))["table-2"]
    row = dict(table.rows)["UNITER"][0]
    assert (row.value, row.paper, row.reading) == (90.0, "90.4↑", "above")
    assert signatures_in(table) == [
        "score|data:captions|v:1|variant:ce,uniter,clip,uniter-odds,cider,people|seeds:5|interval:student"
    ]
    html = guided_page(directory).read_text()
    for shown in ("90.0", "+20.0 ±\N{NO-BREAK SPACE}1.00", "paper 90.4↑", signatures_in(table)[0], "84.6"):
        assert shown in html, shown
    template = dict(all_tables(read_study(directory))["table-7"].rows)["UNITER (100 × probability)"]
    assert [(one.value, one.paper) for one in template] == [(70.0, "71.6"), (74.0, "80.5"), (4.0, "+8.9")]


def test_printed_numbers_are_those_of_the_paper():
    if not PAPER.exists():
        pytest.skip(f"{PAPER} is not there")
    printed = json.loads((ROOM / "papers" / "a.json").read_text(encoding="utf-8"))
    lines = [line.split("\t") for line in PAPER.read_text(encoding="utf-8").splitlines()]
    rows = {
        name: [cells for first, *cells in lines if first.casefold() == name]
        for name in printed["table-2"]["scores"]
    }
    scorers = [name for name in rows if name != "ce"]
    for name, found in rows.items():
        scores, metrics = (printed["table-2"][part][name] for part in ("scores", "metrics"))
        assert [*(scores[by] for by in scorers), *metrics.values()] in found
        assert list(printed["table-4"]["statistics"][name].values()) in found
    for name in scorers:
        before, made, gap = printed["table-7"]["scores"][name].values()
        assert [before, made] in [cells[:2] for cells in rows[name]]
        assert float(made) - float(before) == pytest.approx(float(gap))
        percents = [cell.rstrip("%") for cells in lines for cell in cells if cell.endswith("%")]
        for ratio in (*printed["table-5"]["prefixes"][name].values(), printed["table-5"]["patterns"][name]):
            assert ratio in percents


def test_csv_keeps_commas_quotes_and_what_is_missing():
    entries = (Entry(value=1.25, low=1.0, high=1.5, seeds=5, paper="9,1"), Entry(reason='no "jar", none'))
    table = Table("t", "title", "who", ("a,b", "c"), (('x "y"', entries),))
    rows = list(csv.DictReader(io.StringIO(csv_of(table))))
    assert [(row["who"], row["column"]) for row in rows] == [('x "y"', "a,b"), ('x "y"', "c")]
    assert (rows[0]["value"], rows[0]["paper"], rows[0]["difference"]) == ("1.25", "9,1", "")
    assert (rows[1]["value"], rows[1]["reason"]) == ("", 'no "jar", none')


def test_a_name_that_begins_like_a_formula_is_text_in_a_spreadsheet():
    entries = (Entry(text="=HYPERLINK(1)", paper="+8.9"), Entry(value=-1.5, reason="-2+3"))
    table = Table("t", "title", "who", ("@a", "b"), (("=cmd()|' /C calc'!A0", entries),))
    first, second = csv.DictReader(io.StringIO(csv_of(table)))
    assert (first["who"], first["column"], first["text"]) == (
        "'=cmd()|' /C calc'!A0",
        "'@a",
        "'=HYPERLINK(1)",
    )
    assert (first["paper"], second["value"], second["reason"]) == ("+8.9", "-1.5", "'-2+3")


def test_latex_has_a_caption_of_several_lines_on_one():
    table = Table("t", "title", "who", ("a",), (("b", (Entry(text="one\n\n\u2028two\x0b"),)),))
    assert r"b & one two \\" in latex_of(table, against="CE").splitlines()


def test_latex_prints_signs_and_a_row_can_begin_with_a_bracket():
    up = Entry(
        value=50.0, difference=2.0, difference_low=1.0, difference_high=3.0, reading="above", paper="7↑"
    )
    table = Table(
        "t", "50 % & more", "a_b", ("#1",), (("[x] {y} \\z", (up,)), ("b", (Entry(reason="100 %"),)))
    )
    text = latex_of(table, against="CE")
    assert r"\caption{50 \% \& more. " in text
    assert r"a\_b & \#1 \\" in text
    assert r"{[}x] \{y\} \textbackslash{}z & 50.0 (+2.00 $\pm$ 1.00) $\uparrow$ [7$\uparrow$] \\" in text
    assert r"b & (100 \%) \\" in text
    assert grid_of(table).rows[1][1][0].is_scored is False


def test_a_directory_without_effects_is_refused(tmp_path):
    with pytest.raises(BadData, match=r"wanted the --out of a finished one"):
        page(study(tmp_path / "run", []))
