"""`alignscope.evaluate` and its command on the world's own foils: one benchmark, several, scores made elsewhere."""

import importlib.util
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import alignscope
from alignscope.cli import app
from alignscope.data.world.export import export
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput, UnknownName
from alignscope.files import read_parquet
from alignscope.records import Measurement, OptionScore
from alignscope.studies.benchmarking.suite import named

CROSS = Path(__file__).parents[1] / "cross" / "conftest.py"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("world") / "export"
    export(World("test", size=8), directory)
    return directory


def by_name(measurements):
    return {(m.measure, m.group): m for m in measurements}


def test_the_world_gives_the_audits_numbers(tiny_clip_dir, world, tmp_path):
    found = alignscope.evaluate(str(tiny_clip_dir), "world", world, world / "images", out=tmp_path / "run")
    audited = alignscope.audit(str(tiny_clip_dir), size=8, out=tmp_path / "audit", checked=0)
    ours, theirs = by_name(found.runs["world"].measurements), by_name(audited.measurements)
    kinds = {
        group for measure, group in theirs if measure == "accuracy" and group.startswith(("swap", "add"))
    }
    assert len(kinds) == 5
    for kind in kinds:
        assert ours["accuracy", kind].value == pytest.approx(theirs["accuracy", kind].value)
    assert found.report.exists()
    assert {"chance", "bag-of-words ceiling"} <= {
        m.measure for m in read_parquet(tmp_path / "run" / "baselines.parquet", Measurement)
    }


def test_scores_of_a_run_are_scores_made_elsewhere(tiny_clip_dir, world, tmp_path):
    first = alignscope.evaluate(str(tiny_clip_dir), "world", world, world / "images", out=tmp_path / "run")
    rows = read_parquet(tmp_path / "run" / "scores.parquet", OptionScore)
    scores = tmp_path / "scores.jsonl"
    scores.write_text(
        "".join(
            json.dumps({"item": r.item, "image": r.first, "text": r.second, "score": r.score}) + "\n"
            for r in rows
        )
    )
    again = alignscope.evaluate(None, "world", world, scores=scores, out=tmp_path / "again")
    ours, theirs = by_name(again.runs["world"].measurements), by_name(first.runs["world"].measurements)
    assert ours.keys() == theirs.keys()
    assert [ours[key].value for key in theirs] == [m.value for m in theirs.values()]


def test_several_benchmarks_have_a_folder_each(tiny_clip_dir, world, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "world").symlink_to(world)
    (notes / "pairs").symlink_to(world)
    out = tmp_path / "suite"
    words = ["evaluate", "world", "pairs", "--model", str(tiny_clip_dir), "--annotations", str(notes)]
    done = CliRunner().invoke(app, [*words, "--images", str(world / "images"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert json.loads((out / "run.json").read_text())["runs"] == ["world", "pairs"]
    assert (out / "report.html").exists()
    assert (out / "world" / "report.html").exists()
    same = [by_name(read_parquet(out / n / "measurements.parquet", Measurement)) for n in ("world", "pairs")]
    assert same[0]["accuracy", "all"].value == same[1]["accuracy", "all"].value


def test_a_suite_with_benchmarks_absent_is_refused_before_any_runs(tiny_clip_dir, world, tmp_path):
    notes, out = tmp_path / "notes", tmp_path / "suite"
    notes.mkdir()
    (notes / "world").symlink_to(world)
    with pytest.raises(BadInput, match=r"nothing named sts-b, sick-r, .*the others alone \(world\)"):
        alignscope.evaluate(str(tiny_clip_dir), ["world", "sts-b", "sick-r"], notes, out=out)
    assert not out.exists()


def test_what_cannot_be_done_is_said(tiny_clip_dir, world, tmp_path):
    model = str(tiny_clip_dir)
    assert len(named(["composition", "sugarcrepe"])) >= 15
    with pytest.raises(UnknownName, match="did you mean 'sugarcrepe'"):
        alignscope.evaluate(model, "sugercrepe", world, out=tmp_path / "run")
    with pytest.raises(BadInput, match="one of the two"):
        alignscope.evaluate(None, "world", world, out=tmp_path / "run")
    with pytest.raises(BadInput, match="no annotations for world"):
        alignscope.evaluate(model, "world", out=tmp_path / "run")
    with pytest.raises(BadInput, match="got none: give --images"):
        alignscope.evaluate(model, "world", world, out=tmp_path / "run")
    with pytest.raises(BadData, match="items can"):
        alignscope.evaluate(model, "world", world, tmp_path, out=tmp_path / "other")


def test_a_matching_head_from_the_command_line(world, tmp_path):
    spec = importlib.util.spec_from_file_location("cross_twins", CROSS)
    cross = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cross)
    model = str(cross.save_twin(tmp_path / "tiny-lxmert", "lxmert"))
    table = tmp_path / "table"
    words = ["evaluate", "world", "--model", model, "--annotations", str(world), "--out"]
    regions = ["--regions", str(world / "regions" / "regions.tsv")]
    done = [
        CliRunner().invoke(app, [*words, str(tmp_path / name), "--no-calibration", *more])
        for name, more in (("one", []), ("flipped", ["--match-index", "0"]))
    ]
    assert [each.exit_code for each in done] == [0, 0], [each.output for each in done]
    one, flipped = (
        read_parquet(tmp_path / name / "scores.parquet", OptionScore) for name in ("one", "flipped")
    )
    assert [r.score for r in one] == [-r.score for r in flipped] != []
    refused = CliRunner().invoke(app, [*words, str(tmp_path / "wide"), *regions])
    assert isinstance(refused.exception, BadData)  # 2048 features wide, the twin takes 6
    told = (tmp_path / "wide" / "problems.jsonl").read_text()
    assert "the model takes width 6" in told
    with pytest.raises(BadInput, match="takes pixels: leave --regions out"):
        alignscope.evaluate("tiny-clip", "world", world, world / "images", regions=regions[1], out=table)
    with pytest.raises(BadInput, match="regions are for a model"):
        alignscope.evaluate(None, "world", world, scores="a.jsonl", regions=regions[1], out=table)
    with pytest.raises(BadInput, match="give their file with --regions"):
        alignscope.evaluate(model, "pairs", world / "pairs.jsonl", out=table)
