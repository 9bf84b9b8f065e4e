"""`attribute` and `inspect` as a user types them."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.errors import BadInput, Unsupported
from alignscope.files import read_parquet
from alignscope.models.cross.loading import load
from alignscope.models.cross.official import save_official
from alignscope.models.cross.uniter import UniterConfig, UniterForPretraining
from alignscope.models.zoo import open_model
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


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a small UNITER's weights as its authors write it, with a tokenizer and an exported world."""
    place = tmp_path_factory.mktemp("official")
    tokenizer = open_model("tiny-uniter").tokenizer
    config = UniterConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_attention_heads=2,
        num_hidden_layers=2,
        intermediate_size=24,
        visual_feat_dim=6,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = UniterForPretraining(config)
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    model.save_pretrained(place / "uniter")
    tokenizer.save_pretrained(place / "uniter")
    vocabulary = tokenizer.get_vocab()
    (place / "words").mkdir()
    (place / "words" / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
    save_official(load(place / "uniter"), place / "uniter.pt")
    typed("world", "export", place / "world", "--size", "2", "--width", "6")
    return place


def inspect_words(official: Path, *models: object) -> list[object]:
    image = sorted((official / "world" / "images").glob("*.png"))[0]
    return ["inspect", *models, "--image", image, "--caption", "a red dog left of a cat"]


def test_inspect_an_official_file_beside_another_model(
    official: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    pytest.importorskip("spacy", reason="needs the extra alignscope[language]")
    words = inspect_words(official, official / "uniter.pt", tiny_clip_dir)
    words += ["--regions", official / "world" / "regions" / "regions.tsv", "--tokenizer", official / "words"]
    typed(*words, "--out", tmp_path / "run")
    typed(*words, "--out", tmp_path / "flipped", "--match-index", "0")
    first, second = (
        json.loads((tmp_path / name / "pair.json").read_text())["models"] for name in ("run", "flipped")
    )
    assert first[0]["score"] == -second[0]["score"] != 0
    assert first[1] == second[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scoring", "yes"], "scoring asked for .*it brings its own, leave it out"),
        (["--regions", "regions.tsv"], "got regions, .* take pixels: leave --regions out"),
    ],
)
def test_inspect_refuses_what_no_model_takes(
    official: Path, tiny_clip_dir: Path, tmp_path: Path, monkeypatch, options, message
) -> None:
    monkeypatch.chdir(official / "world" / "regions")
    words = [*inspect_words(official, tiny_clip_dir, tiny_clip_dir), "--out", tmp_path / "run", *options]
    with pytest.raises(BadInput, match=message):
        CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert not (tmp_path / "run").exists()
