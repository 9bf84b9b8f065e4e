"""The page of a benchmark and of a suite: the authors' numbers first, nothing of the user's becomes markup."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alignscope import files
from alignscope.errors import BadData
from alignscope.records import Measurement, OptionScore, Problem, Rank
from alignscope.reporting.evaluation import evaluation_page, suite_page

ATTACK = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}"


def words(reader: type[Any], page: Path) -> str:
    return reader(page.read_text(encoding="utf-8")).words.replace("\N{NARROW NO-BREAK SPACE}", " ")


def number(measure: str, group: str, value: float | None, **rest: Any) -> Measurement:
    ends = (None, None) if value is None else (value - 0.05, value + 0.05)
    return Measurement(measure, group, value, *ends, **{"items": 40, "images": 30, **rest})


def shown_with(directory: Path, numbers: list[Measurement]) -> Path:
    files.write_parquet(directory / "measurements.parquet", numbers, Measurement)
    return evaluation_page(directory)


def test_the_page_says_who_counts_and_how(reader: type[Any], evaluation_directory: Path) -> None:
    target = evaluation_page(evaluation_directory)
    assert target == evaluation_directory / "report.html"
    said = words(reader, target)
    for wanted in (
        "tiny-clip on SugarCrepe: 69.61 % by the authors’ rule; 12 of 7,511 items tied, 3 of 7,514 missing.",
        "The authors’ rule: mean over 3 groups; 2 left out by name; ties wrong.",
        "these numbers are of a smaller set",
        "The dashed line is chance, 50.00 %.",
        "official accuracy as a whole 69.61 % 67.20 to 71.90 % 400 380 12 3",
        "accuracy all items (micro) 71.04 % 68.80 to 73.30 % 7511 1560 12 3",
        "accuracy average of 3 of 4 subsets mean over subsets (macro) 69.55 %",
        "accuracy (ties half) all items (micro) 71.12 %",
        "text alone: trigram all items (micro) 64.30 %",
        "paper B accuracy mean over 2 subsets Attribute 55.00 %",
        "6 right, 3 wrong, 2 tied, 1 unscored; a few of each",
        "margin -1.25 · swap_att/2",
        "missing image unscored 3",
        "add_obj/108 missing image",
        "Hsieh et al. 2023, SugarCrepe: fixing hackable benchmarks, NeurIPS",
        "licence MIT from https://github.com/RAIVNLab/sugar-crepe",
        "alignscope evaluate sugarcrepe --model tiny-clip",
    ):
        assert wanted in said, wanted
    assert said.index("As its authors count") < said.index("Without the image") < said.index("As we count")


def test_the_page_stands_alone(reader: type[Any], evaluation_directory: Path) -> None:
    html = evaluation_page(evaluation_directory).read_text(encoding="utf-8")
    tags = reader(html).tags
    assert not {"script", "link", "iframe", "object", "base", "form", "img"} & {tag for tag, _ in tags}
    assert all((a.get("href") or "#").startswith("#") for _, a in tags)
    assert "url(" not in html
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in tags if tag == "a"} <= set(ids)


@pytest.mark.parametrize("where", ["texts", "names", "settings"])
def test_what_users_wrote_is_text(where: str, reader: type[Any], evaluation_directory: Path) -> None:
    plain = sorted({tag for tag, _ in reader(evaluation_page(evaluation_directory).read_text()).tags})
    directory, option = (
        evaluation_directory,
        OptionScore("b", "i", "s", "g", "", "k", "t", 0, 0, 1.0, True, False),
    )
    if where == "texts":
        hostile = replace(option, item=ATTACK, subset=ATTACK, image=ATTACK, text=ATTACK)
        wrong = replace(hostile, first=1, image=ATTACK + "2", score=0.5)
        files.write_parquet(directory / "scores.parquet", [hostile, wrong], OptionScore)
        files.write_jsonl(directory / "problems.jsonl", [Problem(ATTACK, ATTACK, ATTACK, "unscored")])
    elif where == "names":
        found = [number("official accuracy", ATTACK, 0.5, reason="official: " + ATTACK)]
        found += [number(f"accuracy{ATTACK}", ATTACK, None, reason=ATTACK), number("accuracy", ATTACK, 0.5)]
        files.write_parquet(directory / "measurements.parquet", found, Measurement)
        files.write_parquet(directory / "baselines.parquet", [number("baseline", ATTACK, 0.5)], Measurement)
    else:
        facts = dict.fromkeys(("name", "title", "citation", "licence", "url"), ATTACK)
        run = {"benchmark": facts, "model": {"name": ATTACK}, "command": ATTACK, "counts": {ATTACK: ATTACK}}
        files.write_json(directory / "run.json", run)
    html = evaluation_page(directory).read_text(encoding="utf-8")
    page = reader(html)
    assert {tag for tag, _ in page.tags} <= set(plain) | {"code", "p"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.words
    assert "{{ 7*7 }}" in page.words


def test_several_official_numbers_are_all_in_the_headline(
    reader: type[Any], evaluation_directory: Path
) -> None:
    shares = {"text": 0.308, "image": 0.105, "group": 0.08}
    rule = "official: share of items; ties wrong"
    found = [number("official accuracy", group, value, reason=rule) for group, value in shares.items()]
    tags = [number("official accuracy", f"{group} | tag {n}", 0.1) for group in shares for n in range(7)]
    said = words(reader, shown_with(evaluation_directory, [*found, *tags]))
    assert "30.80 %, 10.50 % and 8.00 % (text, image and group) by the authors’ rule" in said
    assert said.index("official accuracy group 8.00 %") < said.index("Part by part")
    assert "part text image group tag 0 10.00 % 5.00 to 15.00 % n 40 10.00 %" in said


def test_where_the_authors_report_no_average_none_is_made_up(
    reader: type[Any], evaluation_directory: Path
) -> None:
    found = [number("official accuracy", f"part {n}", 0.5 + n / 10) for n in range(5)]
    said = words(reader, shown_with(evaluation_directory, [*found, number("accuracy", "all", 0.66, ties=4)]))
    assert (
        "50.00 to 90.00 % (5 parts, no average is reported) by the authors’ rule; 4 of 40 items tied" in said
    )
    assert "these numbers are of a smaller set" not in said  # nothing is missing


def test_many_parts_are_sorted_and_every_one_is_there(reader: type[Any], evaluation_directory: Path) -> None:
    order = [(n * 17) % 48 for n in range(48)]
    found = [number("official accuracy", f"relation {n:02}", 0.2 + n / 100) for n in order]
    found += [
        number("official accuracy", "wearing", None, reason="no image of it"),
        number("official accuracy", "all", 0.44),
    ]
    said = words(reader, shown_with(evaluation_directory, found))
    worst, best, rest = (said.index(title) for title in ("The worst 10", "The best 10", "Those between"))
    assert worst < best < rest
    assert re.findall(r"relation (\d\d)", said[worst:best]) == [f"{n:02}" for n in range(10)]
    assert re.findall(r"relation (\d\d)", said[best:rest]) == [f"{n:02}" for n in range(47, 37, -1)]
    assert re.findall(r"relation (\d\d)", said[rest:]) == [f"{n:02}" for n in range(10, 38)]
    assert "unscored: no image of it" in said[rest:]


def test_retrieval_and_similarity_have_pages(reader: type[Any], evaluation_directory: Path) -> None:
    ways = ("image to text", "text to image")
    found = [number(f"recall@{k}", way, 0.3 + k / 50, ties=2) for way in ways for k in (1, 5, 10)]
    ranks = [Rank(f"q{n}", f"q{n}", way, 1 + n, n % 2, 400) for n in range(9) for way in ways]
    files.write_parquet(evaluation_directory / "ranks.parquet", ranks, Rank)
    (evaluation_directory / "scores.parquet").unlink()
    said = words(reader, shown_with(evaluation_directory, found))
    assert (
        "32.00 % and 32.00 % (recall@1 image to text and text to image) by the authors’ rule; 4 of 80" in said
    )
    assert (
        "text to image: 9 queries against 400 candidates; the right answer’s median rank is 5; 4 queries"
        in said
    )
    assert "Examples" not in said
    pair = OptionScore("sts-b", "test/1", "test", "test", "", "", "a b", 0, 1, 0.3, True, False, gold=4.2)
    files.write_parquet(evaluation_directory / "scores.parquet", [pair], OptionScore)
    said = words(
        reader, shown_with(evaluation_directory, [number("spearman", "all", 0.741, unit="correlation")])
    )
    assert "0.741 (spearman) by the authors’ rule" in said
    assert "chose the" not in said


def test_nothing_measured_is_said(reader: type[Any], evaluation_directory: Path) -> None:
    for path in evaluation_directory.glob("*.parquet"):
        path.unlink()
    said = words(reader, evaluation_page(evaluation_directory))
    assert "nothing could be scored by the authors’ rule (no such number was recorded)" in said
    assert "The run holds no measurements.parquet: no official number can be shown." in said


def test_a_suite_links_to_its_pages(reader: type[Any], suite_directory: Path) -> None:
    page = suite_page(suite_directory)
    assert page == suite_directory / "report.html"
    links = [a["href"] for tag, a in reader(page.read_text()).tags if tag == "a"]
    assert links == ["sugarcrepe/report.html", "winoground/report.html"]
    assert all((suite_directory / link).is_file() for link in links)
    said = words(reader, page)
    assert "tiny-clip on 2 benchmarks Not finished: comvg." in said
    assert "SugarCrepe 69.61 % 71.04 % 68.80 to 73.30 % 12 of 7,511 3 of 7,514" in said
    assert "Winoground 30.80 %, 10.50 % and 8.00 % text, image and group" in said
    assert not (suite_directory / "comvg" / "report.html").exists()


@pytest.mark.parametrize("names", [None, ["../elsewhere"], ["/etc"], [3], ["."], [".."], [""], "sugarcrepe"])
def test_a_suite_names_directories_of_its_own(names: object, suite_directory: Path) -> None:
    files.write_json(suite_directory / "run.json", {"identity": {"kind": "suite"}, "runs": names})
    with pytest.raises(BadData, match="wanted a list of names of directories"):
        suite_page(suite_directory)


def peak_megabytes(directory: Path) -> float:
    """Of a process that makes a page and nothing else; torch must not be in it."""
    code = (
        "import sys, pathlib; from alignscope.reporting.evaluation import evaluation_page\n"
        "evaluation_page(pathlib.Path(sys.argv[1])); assert 'torch' not in sys.modules\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    command = [sys.executable, "-c", code, str(directory)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_hardly_grows_with_the_scores(evaluation_directory: Path) -> None:
    """700,000 options took 266 MB in all and 1.6 s, of which 135 MB are there for twelve items too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    directory, count = evaluation_directory, 50_000
    few = peak_megabytes(directory)
    table = pq.read_table(directory / "scores.parquet")
    many = pa.concat_tables([table.slice(0, 2)] * (count // 2)).to_pydict()
    many["item"] = [f"add_obj/{n // 2}" for n in range(count)]
    many["text"] = [f"a caption of some length about a red ball and {n} cups" for n in range(count)]
    pq.write_table(pa.table(many, schema=table.schema), directory / "scores.parquet")
    grown = peak_megabytes(directory) - few
    assert grown < 40, f"{grown:.0f} MB more than for twelve items"
    assert "25,000 right" in (directory / "report.html").read_text(encoding="utf-8")
