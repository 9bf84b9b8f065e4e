"""Commands as a user types them, in processes of their own where the exit code is the point."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import alignscope
from alignscope.cli import app

ROOT = Path(__file__).parents[2]


def typed(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from alignscope.cli import main; main()", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["audit", "tiny-clp"], "did you mean 'tiny-clip'"),
        (["audit", "."], "no model"),
        (["train", "recipes/tiny-clp.toml"], "did you mean 'tiny-clip'"),
        (["audit", "tiny-clip", "--images", "."], "without --pairs"),
        (["audit", "tiny-clip", "--size", "3", "--out", "src"], "not empty"),
        (["audit", "tiny-clip", "--size", "3", "--out", "README.md/run"], "cannot write"),
        (["report", "src"], "run.json"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(words, message, tmp_path):
    if words[0] != "train" and "--out" not in words and words[0] != "report":
        words = [*words, "--out", str(tmp_path / "run")]
    done = typed(*words)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert message in " ".join(done.stderr.split()), done.stderr


def test_an_audit_and_its_report_again(tiny_clip_dir, tmp_path):
    out = tmp_path / "run"
    runner = CliRunner()
    words = ["audit", str(tiny_clip_dir), "--size", "4", "--out", str(out)]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    assert str(out / "report.html") in done.output.replace("\n", "")
    assert f"more, and all intervals, in {out / 'measurements.parquet'} and the report" in done.output
    assert [line for line in done.output.splitlines() if line.startswith("gradcam ")]
    first = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert runner.invoke(app, ["report", str(out)]).exit_code == 0
    assert (out / "report.html").read_bytes() == first


def test_sugarcrepe_becomes_pairs(tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "1.jpg")
    record = '"{key}": {{"filename": "{file}", "caption": "a dog", "negative_caption": "a cat"}}'
    text = ", ".join(record.format(key=k, file=f) for k, f in [("0", "1.jpg"), ("7", "2.jpg")])
    (tmp_path / "replace_obj.json").write_text("{" + text + "}")
    out = tmp_path / "pairs.jsonl"
    words = ["pairs", "sugarcrepe", "--annotations", str(tmp_path / "replace_obj.json")]
    words += ["--images", str(tmp_path), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert out.read_text().count("replace_object") == 1
    assert "noted: 1 x missing image '2.jpg'" in done.output
    assert CliRunner().invoke(app, words).exit_code != 0  # it is there already
    assert CliRunner().invoke(app, [*words, "--overwrite"]).exit_code == 0


def test_the_world_is_exported(tmp_path):
    done = CliRunner().invoke(app, ["world", "export", str(tmp_path / "world"), "--size", "3"])
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "world").rglob("*.png"))) == 3


def test_an_exported_world_has_regions_for_the_tiny_models(tmp_path):
    done = CliRunner().invoke(app, ["world", "export", str(tmp_path), "--size", "12", "--width", "256"])
    assert done.exit_code == 0, done.output
    features, other = tmp_path / "regions" / "regions.tsv", tmp_path / "regions" / "other.tsv"
    assert f"takes regions 256 wide also: --regions {features}" in done.output.replace("\n", " ")
    names, rest = zip(*(line.split("\t", 1) for line in features.read_text().splitlines()), strict=True)
    moved = zip(names, (rest[1], rest[0], *rest[2:]), strict=True)
    other.write_text("".join(f"{name}\t{fields}\n" for name, fields in moved))
    words = ["calibrate", "tiny-uniter", "--pairs", str(tmp_path / "pairs.jsonl")]
    words += ["--images", str(tmp_path / "images"), "--regions"]
    first, again, second = (CliRunner().invoke(app, [*words, str(f)]) for f in (features, features, other))
    assert "over 12 images" in first.output, first.exception
    assert first.output == again.output
    shas = [re.search(r"sha:(\w+)", done.output)[1] for done in (first, second)]
    assert shas[0] != shas[1]  # other regions are other data


@pytest.mark.parametrize(
    "program", [[str(Path(sys.executable).with_name("alignscope"))], [sys.executable, "-m", "alignscope"]]
)
def test_the_program_says_its_version(program: list[str]):
    done = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"alignscope {alignscope.__version__}\n"
