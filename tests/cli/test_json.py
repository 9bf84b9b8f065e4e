"""`--json`: stdout is one JSON object, and its records are those of the files that the same run wrote."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from alignscope.cli import app, machine
from alignscope.data.leaks import read_training
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import Measurement, SceneProbeScore

WITHOUT = {"explore"}
"""A server, which ends with Ctrl-C and finds nothing."""


def told(*words: object, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    assert done.stdout.endswith("\n")
    (line,) = done.stdout.splitlines()
    return json.loads(line)


def measured(directory: Path) -> list[dict[str, Any]]:
    """The measurements that lie in a run's directory."""
    rows = [asdict(row) for row in read_parquet(directory / "measurements.parquet", Measurement)]
    assert rows, "found none: nothing was checked"
    return rows


def listed(directory: Path) -> int:
    return sum(1 for _ in read_jsonl(directory / "problems.jsonl"))


def test_audits_and_their_comparison(
    tiny_clip_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = [tmp_path / "random", tmp_path / "trained"]
    for directory, model in zip(runs, (tiny_clip_dir, "tiny-clip"), strict=True):
        found = told("audit", model, "--size", 4, "--checked", 0, "--out", directory)
        assert found["measurements"] == measured(directory)
        assert found["problems"] == listed(directory)
        assert found["directory"] == str(directory)
        assert Path(found["report"]).is_file()
    found = told("compare", *runs, "--draws", 20, "--out", tmp_path / "c")
    assert [found["first"], found["second"]] == [*map(str, runs)]
    assert found["measurements"] == measured(tmp_path / "c")
    whole = next(line for line in found["lines"] if line["subset"] == "all")
    assert math.isclose(whole["difference"], whole["second"] - whole["first"])
    assert capfd.readouterr().out == ""  # nor past Python's own stdout, which the runner has


def test_attributions(tiny_clip_dir: Path, tmp_path: Path) -> None:
    words = ["attribute", tiny_clip_dir, "--size", 3, "--checked", 0, "--method", "gradcam"]
    found = told(*words, "--out", tmp_path / "a")
    assert found["measurements"] == measured(tmp_path / "a")
    assert found["problems"] == listed(tmp_path / "a")


def test_a_calibration_and_an_evaluation(tmp_path: Path) -> None:
    world = tmp_path / "world"
    assert CliRunner().invoke(app, ["world", "export", str(world), "--size", "12"]).exit_code == 0
    images = ["--images", world / "images"]
    found = told("calibrate", "tiny-clip", "--pairs", world / "pairs.jsonl", *images)
    assert found["model"] == "tiny-clip"
    assert [(row["measure"], row["items"]) for row in found["measurements"]] == [("calibration AUC", 12)]
    (doubt,) = found["doubts"]
    assert doubt["what"].startswith("calibrated on 12 pairs, wanted 32")
    out = tmp_path / "run"
    found = told("evaluate", "world", "--model", "tiny-clip", "--annotations", world, "--out", out, *images)
    (run,) = found["runs"].values()
    assert run["measurements"] == measured(out)
    assert run["problems"] == listed(out)
    assert Path(found["report"]).is_file()


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from alignscope.data.world.grammar import WEB
    from alignscope.data.world.world import World

    folder, world = tmp_path_factory.mktemp("captions"), World("test", size=6)
    texts = [each[0].text for each in world.captions(WEB, 1)]
    for name, lines in (("own", texts), ("moved", [*texts[1:], texts[0]])):
        rows = [{"image": s.id, "caption": text} for s, text in zip(world.scenes, lines, strict=True)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "own.jsonl", folder / "moved.jsonl"


@pytest.mark.parametrize(
    ("verb", "options", "more"),
    [
        ("texts", ["--metric", "CIDEr"], {"words", "mined"}),
        ("choice", ["--model", "tiny-clip"], set()),
        ("templates", ["--model", "tiny-clip"], set()),
    ],
)
def test_probes_of_captions(
    verb: str, options: list[str], more: set[str], captions: tuple[Path, Path], tmp_path: Path
) -> None:
    found = told("probe", verb, *captions, "--draws", 20, "--out", tmp_path / "run", *options)
    assert found["measurements"] == measured(tmp_path / "run")
    assert {*found} == {"directory", "measurements", "problems"} | more
    assert found["problems"] == listed(tmp_path / "run")


def test_probes_of_captioners(tmp_path: Path) -> None:
    small = ["--scenes", 8, "--reference-scenes", 100, "--draws", 20]
    for verb, options, more in (
        ("attention", ["--scenes", 6, "--draws", 20], "tests"),
        ("diagnosticity", small, "ranked"),
        ("ablation", [*small, "--count", 1], "tests"),
    ):
        found = told("probe", verb, "tiny-vinvl", *options, "--out", tmp_path / verb)
        assert found["measurements"] == measured(tmp_path / verb)
        assert more in found


def test_probes_of_scenes(tmp_path: Path) -> None:
    words = ["tiny-vinvl", "--scenes", 40, "--reference-scenes", 100, "--seeds", 1, "--split", 50, "--intact"]
    words += ["--classifier", "logistic", "--no-control", "--no-transfer", "--no-raw"]
    found = told("probe", "scenes", *words, "--out", tmp_path / "s")
    rows = read_parquet(tmp_path / "s" / "scores.parquet", SceneProbeScore)
    assert found["scores"] == [asdict(row) for row in rows]
    assert found["scores"]
    assert found["images"] == 40


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported world of twelve scenes."""
    folder = tmp_path_factory.mktemp("world")
    found = told("world", "export", folder, "--size", 12, "--width", 4, "--overwrite")
    assert found == {"directory": str(folder), "scenes": 12}
    return folder


def test_files_of_benchmarks(world: Path, tmp_path: Path) -> None:
    listed_here = told("data", "list")
    assert "world" in {one["name"] for one in listed_here["benchmarks"]}
    assert "winoground" in listed_here["suites"]["composition"]
    (world / "images" / "test-0-000003.png").rename(tmp_path / "gone.png")
    try:
        words = ["data", "check", "world", "--annotations", world, "--images", world / "images"]
        found = told(*words, "--out", tmp_path / "p.jsonl", code=1)
        rows = [*read_jsonl(tmp_path / "p.jsonl")]
        assert found["complete"] is False
        assert found["problems"] == {"unscored": len(rows), "handled": 0}
        assert found["first"] == rows[:5]
        assert found["subsets"][-1]["missing"] == 1
        words = ["pairs", "world", "--annotations", world, "--images", world / "images"]
        found = told(*words, "--out", tmp_path / "pairs.jsonl")
        assert found["pairs"] == len([*read_jsonl(tmp_path / "pairs.jsonl")])
        assert {one["subject"] for one in found["problems"]} == {"test-0-000003.png"}
    finally:
        (tmp_path / "gone.png").rename(world / "images" / "test-0-000003.png")


def test_leaks(world: Path, tmp_path: Path) -> None:
    words = ["leaks", "world", "--annotations", world, "--training", world / "annotations" / "captions.json"]
    found = told(*words, "--out", tmp_path / "leaks.jsonl")
    assert found["items"] == len([*read_jsonl(tmp_path / "leaks.jsonl")])
    rows = read_parquet(tmp_path / "leaks-measurements.parquet", Measurement)
    assert found["measurements"] == [asdict(row) for row in rows]
    read = read_training([world / "annotations" / "captions.json"])
    told_of = found["training"]
    assert (told_of["images"], told_of["captions"]) == (len(read.images), len(read.captions))
    assert told_of["rows"] == read.rows > 0


def test_files_of_regions(world: Path, tmp_path: Path) -> None:
    source = world / "regions" / "regions.tsv"
    assert "lxmert-tsv" in {one["name"] for one in told("regions", "list")["formats"]}
    found = told("regions", "check", source)
    checked = found["checked"]
    assert (found["complete"], checked["images"], checked["widths"]) == (True, 12, {"4": 12})
    assert sum(int(many) * images for many, images in checked["regions"].items()) > 12
    lines = source.read_text().splitlines()
    (tmp_path / "broken.tsv").write_text("\n".join([*lines[1:], lines[0][:-9]]) + "\n")
    for name in ("objects_vocab.txt", "attributes_vocab.txt"):
        (tmp_path / name).write_bytes((source.parent / name).read_bytes())
    found = told("regions", "check", tmp_path / "broken.tsv", code=1)
    assert [one["item"] for one in found["checked"]["problems"]] == ["test-0-000000"]
    words = ["regions", "convert", tmp_path / "broken.tsv", tmp_path / "r.arrow", "--skip-broken"]
    found = told(*words, code=1)
    assert (found["images"], found["written"]["images"], len(found["problems"])) == (12, 11, 1)
    assert told("regions", "check", tmp_path / "r.arrow")["checked"]["sha"] == found["written"]["sha"]


def test_a_run_beside_published_numbers(tmp_path: Path) -> None:
    from alignscope.evaluation.published import published
    from alignscope.files import write_parquet

    row = next(row for row in published() if row.benchmark == "winoground")
    ours = Measurement(row.measure, row.group, row.value / 100, None, None, 400, 400)
    write_parquet(tmp_path / "measurements.parquet", [ours], Measurement)
    (tmp_path / "run.json").write_text('{"identity": {"kind": "evaluate"}, "benchmark": "winoground"}')
    found = told("verify", tmp_path, "--as", row.model)
    first = next(line for line in found["benchmarks"]["winoground"] if line["measure"] == row.measure)
    assert (first["published"], first["is_same"]) == (row.value, True)


def test_one_image_and_its_page_and_an_export(world: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    image = world / "images" / "test-0-000000.png"
    found = told("inspect", tiny_clip_dir, "--image", image, "--caption", "a dog", "--out", tmp_path / "i")
    assert found == {"directory": str(tmp_path / "i"), "report": str(tmp_path / "i" / "report.html")}
    assert told("report", tmp_path / "i") == {"report": found["report"]}
    found = told("export", tiny_clip_dir, "--form", "transformers", "--out", tmp_path / "e")
    assert found["directory"] == str(tmp_path / "e")
    assert 0 <= found["difference"] < 1e-4


def leaves(command: Any, name: str = "") -> dict[str, Any]:
    found = {} if hasattr(command, "commands") else {name.strip(): command}
    for word, child in getattr(command, "commands", {}).items():
        found |= leaves(child, f"{name} {word}")
    return found


def test_every_verb_that_finds_something_has_it() -> None:
    lack = {
        name
        for name, leaf in leaves(typer.main.get_command(app)).items()
        if not any(option.opts == ["--json"] for option in leaf.params)
    }
    assert {name for name in lack if not name.startswith("reproduce ")} == WITHOUT


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["verify", "nowhere", "--as", "x"], 1),
        (["leaks", "wrld", "--annotations", ".", "--training", ".", "--out", "o"], 1),
        (["regions", "check", "nowhere"], 1),
        (["data", "check", "wrld", "--annotations", "."], 1),
        (["data", "check", "world"], 2),
    ],
)
def test_an_error_leaves_stdout_empty(words: list[str], code: int) -> None:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert (done.exit_code, done.stdout) == (code, "")


def test_what_json_cannot_say_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True)
    class Found:
        value: float

    machine.say(path=Path("a/b"), records=(Found(0.5),), text="é")
    assert capsys.readouterr().out == '{"path": "a/b", "records": [{"value": 0.5}], "text": "\\u00e9"}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        machine.say(found=Found(math.nan))
    with pytest.raises(TypeError, match="got set, wanted records"):
        machine.say(found={1})
