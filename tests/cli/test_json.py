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
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import Measurement, SceneProbeScore

VERBS = ["audit", "attribute", "calibrate", "evaluate", "compare", "doctor", "list models"]
PROBES = ["texts", "replacements", "templates", "nouns", "choice", "matrix"]
PROBES += ["attention", "diagnosticity", "ablation", "scenes"]


def told(*words: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
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


def test_every_verb_that_measures_has_it() -> None:
    command = typer.main.get_command(app)
    for name in [*VERBS, *(f"probe {verb}" for verb in PROBES)]:
        leaf = command
        for word in name.split():
            leaf = leaf.commands[word]
        assert any(option.opts == ["--json"] for option in leaf.params), name
    assert {*command.commands["probe"].commands} == {*PROBES}


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
