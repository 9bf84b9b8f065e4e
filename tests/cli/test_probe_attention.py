"""`alignscope probe attention` and `diagnosticity` as a user types them."""

import json

import pytest
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.errors import BadInput, UnknownName
from alignscope.files import read_parquet
from alignscope.records import BlockSpread, RankOverlap


def typed(*words):
    return CliRunner().invoke(app, ["probe", *map(str, words)])


def said(*words):
    done = typed(*words)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_attention_of_the_world(tmp_path):
    words = ["attention", "a=tiny-vinvl", "b=tiny-vinvl", "--scenes", 12, "--images-read", 9, "--draws", 20]
    words += [
        "--layers",
        "all",
        "--heads",
        "mean",
        "--heads",
        "max",
        "--block",
        "label-vision",
        "--out",
        tmp_path,
    ]
    output = said(*words)
    assert "mean mass: label-vision | layer 0 | mean" in output
    assert "none of 9 pairs differs" in output  # of a captioner with itself
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["finished"], len(run["images"]), run["settings"]["heads"]) == (True, 9, ["mean", "max"])
    rows = read_parquet(tmp_path / "models" / "b" / "spreads.parquet", BlockSpread)
    assert len(rows) == 9 * len(run["layers"]["b"]) * 2
    refused = typed(*words)
    assert "give --resume, --overwrite or another --out" in str(refused.exception)
    assert "a and b | label-vision" in said(*words, "--overwrite")


def test_diagnosticity_of_the_world(tmp_path):
    words = ["diagnosticity", "tiny-vinvl", "--scenes", 40, "--reference-scenes", 200, "--depth", 2]
    words += ["--order", "first", "--assign", "own", "--no-background", "--draws", 20, "--out", tmp_path]
    output = said(*words)
    assert "tiny-vinvl: attended first, frequent" in output
    assert "regions with a label" in output
    rows = read_parquet(tmp_path / "models" / "tiny-vinvl" / "overlaps.parquet", RankOverlap)
    assert {row.depth for row in rows} == {2}
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["reference images"] == 200
    assert sum(run["scenes"].values()) == 40


@pytest.mark.parametrize(
    ("words", "error", "what"),
    [
        (
            ["attention", "tiny-vinvl", "--heads", "maxi"],
            UnknownName,
            "no way over heads named 'maxi': did you mean",
        ),
        (["attention", "tiny-vinvl", "--regions", "r.tsv"], BadInput, "got --regions without --hl"),
        (["attention", "tiny-vinvl", "--hl", "h", "--background"], BadInput, "only the world can be drawn"),
        (["attention", "tiny-vinvil"], UnknownName, "did you mean 'tiny-vinvl'"),
        (
            ["attention", "tiny-vinvl", "--feature-width", "9", "--scenes", "3"],
            BadInput,
            "could look at none",
        ),
        (["diagnosticity", "tiny-vinvl", "--reference", "r"], BadInput, "own train split is its reference"),
        (["diagnosticity", "tiny-vinvl", "--reference-labels", "r"], BadInput, "without --reference"),
        (["diagnosticity", "tiny-vinvl", "--hl", "h", "--reference", "r"], BadInput, "without its objects"),
    ],
)
def test_what_cannot_be_is_said(words, error, what, tmp_path):
    done = typed(*words, "--out", tmp_path / "out")
    assert isinstance(done.exception, error), done.output
    assert what in str(done.exception)
