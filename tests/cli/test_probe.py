"""`alignscope probe` as a user types it, on captions of the world."""

import json

import pytest
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.cli.probe import _named
from alignscope.data.world.grammar import WEB
from alignscope.data.world.world import World
from alignscope.errors import BadInput


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    world = World("test", size=16)
    texts = [captions[0].text for captions in world.captions(WEB, 1)]
    ids = [scene.id for scene in world.scenes]
    for name, captions in (("own", texts), ("shuffled", [*texts[1:], texts[0]])):
        rows = [{"image": image, "caption": text} for image, text in zip(ids, captions, strict=True)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "shuffled.jsonl").open("a") as file:
        file.write('{"image": "test-0-000000", "caption": ""}\n')
    return folder


def typed(*words):
    done = CliRunner().invoke(app, ["probe", *map(str, words)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


@pytest.mark.parametrize(
    ("verb", "options", "rows"),
    [
        ("replacements", ["--replaced", "2"], ["score above captions: own | wrong", "sd over draws: b"]),
        ("templates", ["--template", "mine=a NOUN (near a NOUN)*"], ["higher than the caption: own | mine"]),
        ("nouns", ["--count", "2", "--count", "1", "--clip-score"], ["score: own | UNITER | k=1"]),
        ("choice", [], ["chosen: own | captions"]),
        ("matrix", ["--no-calibration"], ["score above own: b | captions"]),
    ],
)
def test_every_verb_scores_and_prints(verb, options, rows, files, tmp_path):
    words = [verb, files / "own.jsonl", f"b={files / 'shuffled.jsonl'}", "--model", "lx=tiny-lxmert"]
    words += ["--model", "tiny-clip", "--out", tmp_path / "run", "--draws", "50", *options]
    output = typed(*words)
    for row in rows:
        assert row in output
    assert "100 x probability" in output or verb == "choice"
    assert ("100 x CLIP-S" in output) == (verb == "nouns")
    assert output.index("lx") < output.index("tiny-clip")
    assert ("calibration AUC" in output) == (verb != "matrix")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["finished"]
    assert set(run["models"]) == {"lx", "tiny-clip"}
    assert str(tmp_path / "run" / "problems.jsonl") in output.replace("\n", "")


def test_texts_stand_side_by_side(files, tmp_path):
    words = ["texts", files / "own.jsonl", f"b={files / 'shuffled.jsonl'}", "--draws", "50"]
    words += ["--metric", "CIDEr", "--metric", "BLEU-4", "--corpus", files / "own.jsonl"]
    output = typed(*words, "--out", tmp_path / "run")
    heads = output.splitlines()[0].split()
    assert heads == ["measure", "own", "b"]
    for row in ("caption length", "perplexity", "CIDEr", "pattern ratio, strict: LXMERT"):
        assert row in output
    assert "1 missing" in output
    assert "own: most frequent words: a " in output


def test_bad_input_says_what_to_do(files, tmp_path):
    done = CliRunner().invoke(
        app,
        ["probe", "matrix", str(files / "none.jsonl"), "--model", "tiny-clip", "--out", str(tmp_path / "o")],
    )
    assert isinstance(done.exception, BadInput)
    assert "check the path" in str(done.exception)
    with pytest.raises(BadInput, match="got the name 'a' twice as captions"):
        _named(["x/a.jsonl", "y/a.jsonl"], what="captions")
    with pytest.raises(BadInput, match="NAME=VALUE"):
        _named(["a="], what="captions")
    assert _named(["./runs/x=1/model", "b=org/model"], what="--model") == {
        "model": "./runs/x=1/model",
        "b": "org/model",
    }
