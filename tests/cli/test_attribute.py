"""`attribute` and `inspect` as a user types them."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.errors import BadInput, Unsupported
from alignscope.files import read_parquet
from alignscope.records import WordHeat


def typed(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_attribute_with_every_option(tiny_clip_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["attribute", tiny_clip_dir, "--size", 5, "--checked", 3, "--out", out, "--layers", "0:2"]
    words += ["--method", "gradient", "--method", "perturbation", "--variant", "leave-one-out"]
    words += ["--temperature", 2, "--tokens", "real", "--normalize", "none", "--seed", 3]
    said = typed(*words)
    assert str(out / "report.html") in said.replace("\n", "")
    heats = read_parquet(out / "heats.parquet", WordHeat)
    assert {word.method for word in heats} == {"gradient", "perturbation"}
    assert {word.word_class for word in heats if word.method == "perturbation"} > {"other"}
    assert "layers=(0, 2),tokens=real,temperature=2.0,variant=leave-one-out" in (
        (out / "report.html").read_text().replace("&#39;", "'")
    )
    assert typed(*words, "--overwrite")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "first"], "wanted all, last or FIRST:STOP"),
        (["--layers", "0:9"], "tower of "),
        (["--temperature", "0"], "temperature is 0.0"),
        (["--method", "gradcm"], "did you mean 'gradcam'"),
        (["--activation", "gelu"], "activation"),
    ],
)
def test_options_that_cannot_be_are_said(tiny_clip_dir: Path, tmp_path: Path, options, message) -> None:
    words = ["attribute", str(tiny_clip_dir), "--size", "3", "--out", str(tmp_path / "run"), *options]
    with pytest.raises((BadInput, Unsupported), match=message):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_inspect_two_models(tiny_clip_dir: Path, tiny_siglip_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("spacy", reason="needs the extra alignscope[language]")
    Image.new("RGB", (50, 40), "green").save(tmp_path / "1.png")
    words = ["inspect", tiny_clip_dir, tiny_siglip_dir, "--image", tmp_path / "1.png"]
    said = typed(*words, "--caption", "a red dog left of a cat", "--out", tmp_path / "run")
    assert "report.html" in said
    assert "red" in (tmp_path / "run" / "report.html").read_text()
