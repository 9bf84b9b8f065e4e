"""The page is made from records alone, says what is absent, and lets nothing of the user's become markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alignscope import files
from alignscope.errors import BadData, UnwritableOutput
from alignscope.records import Choice, Example, Measurement, Problem, WordHeat
from alignscope.reporting.audit import audit_page

ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "</style><b>",
    "{{ 7*7 }}",
)


def test_the_reader_notices_unbalanced_tags(reader: type[Any]) -> None:
    with pytest.raises(AssertionError, match="inside"):
        reader("<p><b>x</p></b>")
    with pytest.raises(AssertionError, match="never closed"):
        reader("<p><b>x</b>")


def test_the_page_shows_what_was_recorded(reader: type[Any], run_directory: Path) -> None:
    target = audit_page(run_directory)
    assert target == run_directory / "report.html"
    assert not list(run_directory.glob("*.part"))
    page = reader(target.read_text(encoding="utf-8"))
    words = page.words.replace("\N{NARROW NO-BREAK SPACE}", " ")
    for wanted in (
        "tiny-clip stops at nouns: it catches 97 % of wrong objects",
        "Not scored: swapped attributes (no caption names two attributes).",
        "97.1 % 95.1 to 98.6 % 400 380 1 0 above chance",
        "52.0 % 47.1 to 56.9 % 400 380 3 2 at chance",
        "unscored: no caption names two attributes 0 0 0 12 unscored",
        "mean over kinds average of 6 of 7 kinds 67.6 %",
        "(difference 0.364, 95 % interval 0.349 to 0.379)",
        "(difference 5.58, 95 % interval 5.23 to 5.93)",
        "symmetry left half 77.0 %",
        "missing image unscored 5",
        "caption truncated at 77 tokens handled 1",
        "Ties (counted as wrong): 1 of 1 choices for who-does-what.",
        "✗ chose the wrong caption",
        "✓ chose the right caption",
        "= tied: both score the same",
        "difference -0.277",
        "data:world-test|sha:9f31c2aa01bd|items:1200|images:400|model:tiny-clip|weights:ab12cd34ef56",
        "alignscope audit tiny-clip --out runs/tiny-clip",
        "together 49.5 s",
        "Word classes: given by the data.",
        "attributions gradcam",
    ):
        assert wanted in words, wanted


def test_nothing_is_fetched_and_one_script_runs(reader: type[Any], run_directory: Path) -> None:
    html = audit_page(run_directory).read_text(encoding="utf-8")
    page = reader(html)
    names = [tag for tag, _ in page.tags]
    assert not {"link", "iframe", "object", "base", "form"} & set(names)
    assert names.count("script") == 2  # the list of choices and its script, see test_items.py
    sources = [
        a[name] or "" for _, a in page.tags for name in ("src", "href", "srcset", "action") if name in a
    ]
    assert len(sources) >= 10
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?://", html)
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert any("default-src 'none'" in (a.get("content") or "") for tag, a in page.tags if tag == "meta")


def test_links_within_the_page_lead_somewhere_and_ids_are_unique(
    reader: type[Any], run_directory: Path
) -> None:
    tags = reader(audit_page(run_directory).read_text(encoding="utf-8")).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {(a.get("href") or "#").removeprefix("#") for tag, a in tags if tag == "a"}
    targets |= {a["aria-labelledby"] for _, a in tags if a.get("aria-labelledby")}  # type: ignore[misc]
    assert len(targets) >= 16
    assert targets <= set(ids)


def test_it_can_be_heard(reader: type[Any], run_directory: Path) -> None:
    tags = reader(audit_page(run_directory).read_text(encoding="utf-8")).tags
    assert ("html", {"lang": "en"}) in tags
    images = [a for tag, a in tags if tag == "img"]
    charts = [a for tag, a in tags if tag == "svg"]
    assert len(images) == 3
    assert all("described as: " in (a["alt"] or "") for a in images)
    assert len(charts) >= 20
    assert all(a["role"] == "img" for a in charts)
    assert all("interval" in (a["aria-label"] or "") for a in charts)
    heads = [a for tag, a in tags if tag == "th"]
    assert len(heads) >= 40
    assert all(a.get("scope") in ("row", "col") for a in heads)


def test_the_interval_is_drawn_where_it_lies(run_directory: Path) -> None:
    html = audit_page(run_directory).read_text(encoding="utf-8")
    chart = re.search(r'<svg[^>]*aria-label="97\.1 %.*?</svg>', html)
    assert chart is not None
    place = lambda share: round(3 + 94 * share, 2)  # noqa: E731
    assert f'x1="{place(0.951)}%" x2="{place(0.9861)}%"' in chart[0]
    assert f'cx="{place(0.9712)}%"' in chart[0]
    assert 'class="reference" x1="50.0%"' in chart[0]


def test_words_carry_shade_and_class(reader: type[Any], run_directory: Path) -> None:
    tags = reader(audit_page(run_directory).read_text(encoding="utf-8")).tags
    shades = [a["style"] for tag, a in tags if tag == "span" and "--shade" in (a.get("style") or "")]
    assert len(shades) == 19  # every word of the three captions
    assert shades[2] == "--shade:1.0"  # cup
    assert [a["class"] for tag, a in tags if "heat 0.04" in (a.get("title") or "")] == ["w c-relation"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_of_the_users_becomes_markup(reader: type[Any], run_directory: Path, attack: str) -> None:
    shown = next(files.read_jsonl(run_directory / "examples.jsonl"))
    example = Example(attack, attack, attack, attack, attack + " foil", 2.0, 1.0, shown["png"])
    files.write_jsonl(run_directory / "examples.jsonl", [example, replace(example, png=attack)])
    files.write_jsonl(run_directory / "problems.jsonl", [Problem(attack, attack, attack, "handled")])
    choice = Choice(attack, attack, attack, attack, attack, 1.0, 1.0)
    files.write_parquet(run_directory / "choices.parquet", [choice], Choice)
    heat = WordHeat(attack, attack, 0, attack, 0, len(attack), "object", 1.0)
    files.write_parquet(run_directory / "heats.parquet", [heat], WordHeat)
    odd = [
        Measurement("accuracy", attack, 0.9, 0.8, 0.95, 50, 50, reason=attack, signature=attack),
        Measurement("accuracy", "swap_object", None, None, None, 0, 0, reason=attack),
        Measurement(attack, attack, 0.5, 0.4, 0.6, 50, 50, unit=attack),
    ]
    files.write_parquet(run_directory / "measurements.parquet", odd, Measurement)
    settings = {"model": {"name": attack, "traits": {attack: attack}}, "command": attack, "parser": attack}
    files.write_json(
        run_directory / "run.json",
        {**settings, "data": {"name": attack}, "settings": {attack: [attack]}, "seconds": {attack: 1}},
    )
    page = reader(audit_page(run_directory).read_text(encoding="utf-8"))
    assert page.words.count(" ".join(attack.split())) >= 15, "the attack is not shown as text"
    assert "49" not in page.words
    assert not {"base", "link"} & {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert {name for _, a in page.tags for name in a}.isdisjoint({"onerror", "onload"})
    assert [a["src"] for tag, a in page.tags if tag == "img"] == [f"data:image/png;base64,{shown['png']}"]
    assert any(attack in (a.get("alt") or "") for tag, a in page.tags if tag == "img")


@pytest.mark.parametrize(
    "name",
    [
        "measurements.parquet",
        "choices.parquet",
        "heats.parquet",
        "edits.parquet",
        "ranks.parquet",
        "problems.jsonl",
        "examples.jsonl",
    ],
)
def test_an_absent_file_is_said_to_be_absent(reader: type[Any], run_directory: Path, name: str) -> None:
    assert (
        f"The run holds no {name}" not in reader(audit_page(run_directory).read_text(encoding="utf-8")).words
    )
    (run_directory / name).unlink()
    assert f"The run holds no {name}" in reader(audit_page(run_directory).read_text(encoding="utf-8")).words


def test_what_a_model_of_pairs_lacks_is_said(reader: type[Any], run_directory: Path) -> None:
    def words() -> str:
        return reader(audit_page(run_directory).read_text(encoding="utf-8")).words

    said = ("this model reads image and text together", "told to leave it out (--no-calibration)")
    assert not any(what in words() for what in said)  # of a dual encoder
    facts = json.loads((run_directory / "run.json").read_text())
    facts["model"]["traits"]["family"] = "cross"
    files.write_json(run_directory / "run.json", facts)
    assert all(what in words() for what in said)


def test_a_run_with_nothing_in_it_claims_nothing(reader: type[Any], tmp_path: Path) -> None:
    files.write_json(tmp_path / "run.json", {"kind": "audit"})
    files.write_parquet(tmp_path / "measurements.parquet", [], Measurement)
    words = reader(audit_page(tmp_path).read_text(encoding="utf-8")).words
    assert "Nothing can be said about what the model hears" in words
    assert "measurements.parquet is empty: no accuracy can be shown" in words
    assert "whether anything was missing is not known" in words
    assert "Nothing was missing" not in words


def test_no_problems_is_said_only_of_an_empty_list(reader: type[Any], run_directory: Path) -> None:
    files.write_jsonl(run_directory / "problems.jsonl", [])
    assert "Nothing was missing" in reader(audit_page(run_directory).read_text(encoding="utf-8")).words


def test_long_lists_are_cut_with_a_count(reader: type[Any], run_directory: Path) -> None:
    problems = [Problem(f"i{n}", "s", "missing image", "unscored") for n in range(1234)]
    files.write_jsonl(run_directory / "problems.jsonl", problems)
    ties = [Choice(f"t{n}", "i", "swap_object", "a", "b", 1.0, 1.0) for n in range(77)]
    files.write_parquet(run_directory / "choices.parquet", ties, Choice)
    words = reader(audit_page(run_directory).read_text(encoding="utf-8")).words
    assert "missing image unscored 1234" in words
    assert "and 1034 more in problems.jsonl" in words
    assert "and 27 more in choices.parquet" in words


def test_problems_that_differ_in_their_numbers_are_one(reader: type[Any], run_directory: Path) -> None:
    whats = [f"word {n} not heard: beyond the 32 tokens" for n in (9, 12, 12)] + [
        "read 3 times",
        "read 3 times",
    ]
    problems = [Problem(f"i{n}", "s", what, "unscored") for n, what in enumerate(whats)]
    problems.append(Problem("j", "s", "word 7 not heard: beyond the 32 tokens", "handled"))
    files.write_jsonl(run_directory / "problems.jsonl", problems)
    words = reader(audit_page(run_directory).read_text(encoding="utf-8")).words
    table = "word … not heard: beyond the 32 tokens unscored 3 read 3 times unscored 2 "
    assert table + "word 7 not heard: beyond the 32 tokens handled 1" in words


def test_settings_inside_settings_are_shown(reader: type[Any], run_directory: Path) -> None:
    plan = {"methods": ["attention", "gradcam"], "options": {"layers": "all", "on": False}}
    files.write_json(run_directory / "run.json", {"settings": {"draws": 20, "plan": plan, "left_out": None}})
    words = reader(audit_page(run_directory).read_text(encoding="utf-8")).words
    assert "draws 20 plan methods attention, gradcam plan options layers all plan options on False" in words


def test_scores_that_are_not_numbers_are_unscored(reader: type[Any], run_directory: Path) -> None:
    shown = next(files.read_jsonl(run_directory / "examples.jsonl"))
    odd_scores = [{**shown, "foil_score": float("nan")}, {**shown, "caption_score": float("inf")}]
    (run_directory / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in odd_scores))
    odd = [Measurement("accuracy", "swap_object", float("nan"), None, None, 0, 0)]
    files.write_parquet(run_directory / "measurements.parquet", odd, Measurement)
    words = reader(audit_page(run_directory).read_text(encoding="utf-8")).words
    assert words.count("unscored: a score is not a finite number") == 2
    assert "nan" not in words.split()
    assert "unscored: no reason was recorded" in words


def test_directories_that_are_no_runs_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"no run\.json in .*alignscope audit"):
        audit_page(tmp_path)
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(BadData, match="got list, wanted an object"):
        audit_page(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(BadData, match="not JSON"):
        audit_page(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "choices.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadData, match=r"choices\.parquet: not a Parquet file of Choice"):
        audit_page(tmp_path)
    (tmp_path / "choices.parquet").unlink()
    (tmp_path / "problems.jsonl").write_text('{"item": "a"}\n')
    with pytest.raises(BadData, match=r"problems\.jsonl: not rows of Problem"):
        audit_page(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_place_that_cannot_be_written_is_said(run_directory: Path) -> None:
    (run_directory / "report.html").mkdir()
    with pytest.raises(UnwritableOutput, match=r"report\.html cannot be written"):
        audit_page(run_directory)
    assert not list(run_directory.glob("*.part"))


def test_half_a_surrogate_pair_does_not_stop_the_page(reader: type[Any], run_directory: Path) -> None:
    files.write_jsonl(
        run_directory / "problems.jsonl", [Problem("a", "half \ud83d a pair", "odd text", "handled")]
    )
    assert "half ? a pair" in reader(audit_page(run_directory).read_text(encoding="utf-8")).words


def test_the_page_needs_no_torch(run_directory: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from alignscope.reporting.audit import audit_page; "
        f"audit_page(Path({str(run_directory)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
