"""`alignscope regions` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.data.regionfiles import open_regions
from alignscope.data.regionfiles.table import FORMATS
from alignscope.data.world.export import export
from alignscope.data.world.world import World
from alignscope.errors import BadData, OutputExists


def typed(*words: object):
    return CliRunner().invoke(app, ["regions", *map(str, words)])


@pytest.fixture
def world(tmp_path) -> Path:
    export(World("test", size=3, seed=0), tmp_path / "world", region_width=16)
    return tmp_path / "world"


def test_list_has_every_format():
    done = typed("list")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["format", *FORMATS]


def test_the_world_is_converted_and_checked(world, tmp_path):
    source, out = world / "regions" / "regions.tsv", tmp_path / "r.arrow"
    done = typed("convert", source, out)
    assert done.exit_code == 0, done.output
    assert "3 of 3 images, 24 regions of width 16 (lxmert-tsv, hash " in done.stdout
    assert dict(open_regions(out)) == dict(open_regions(source))
    first, second = (typed("check", file, "--images", world / "images") for file in (source, out))
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert "format: arrow\nimages: 3, sound 3, of 1 sizes\nregions: 24, per image 8 to 8\n" in second.stdout
    assert second.stdout.endswith("missing: 0 images of the folder\ncomplete\n")
    assert first.stdout.splitlines()[1:] == second.stdout.splitlines()[1:]  # the hash, too
    again = typed("convert", source, out)
    assert isinstance(again.exception, OutputExists)
    halved = typed("convert", source, out, "--half", "--overwrite")
    assert halved.exit_code == 0
    assert "float16: features changed by at most " in halved.stdout
    assert "note: features are float16, rounded from float32" in typed("check", out).stdout


def test_what_is_wrong_is_said_and_the_exit_code_is_1(world, tmp_path):
    source = world / "regions" / "regions.tsv"
    lines = source.read_text().splitlines()
    source.write_text("\n".join([lines[0], lines[1][:-7]]) + "\n")
    done = typed("check", source, "--images", world / "images", "--out", tmp_path / "p.jsonl")
    assert done.exit_code == 1
    assert done.stdout.endswith("problems: 1\nmissing: 1 image of the folder\nnot complete\n")
    assert "missing: no regions of " in done.stderr
    (row,) = map(json.loads, (tmp_path / "p.jsonl").read_text().splitlines())
    assert "regions.tsv:2: `features`" in row["what"]
    assert isinstance(typed("convert", source, tmp_path / "r.arrow").exception, BadData)
    skipped = typed("convert", source, tmp_path / "r.arrow", "--skip-broken")
    assert skipped.exit_code == 1
    assert "1 of 2 images" in skipped.stdout
    assert "1 image left out: " in skipped.stderr
    assert (tmp_path / "r.arrow.problems.jsonl").exists()


def test_sizes_and_words_are_given_by_options(tmp_path):
    np.savez(
        tmp_path / "7.npz",
        features=np.ones((2, 3), np.float16),
        norm_bb=np.array([[0, 0, 0.5, 0.5, 0.5, 0.5], [0.25, 0.25, 1, 1, 0.75, 0.75]], np.float16),
        objects_id=np.array([0, 1]),
    )
    (tmp_path / "words").write_text("cat\ndog\n")
    (tmp_path / "sizes").write_text("7\t8\t4\n")
    out = tmp_path / "r.arrow"
    done = typed("convert", tmp_path, out, "--sizes", tmp_path / "sizes", "--objects", tmp_path / "words")
    assert done.exit_code == 0, done.output
    assert open_regions(out)["7"].boxes.tolist() == [[0, 0, 4, 2], [2, 1, 8, 4]]
    assert open_regions(out)["7"].tags == ("cat", "dog")
    unit = typed("convert", tmp_path, out, "--sizes", "unit", "--no-tags", "--overwrite")
    assert unit.exit_code == 0, unit.output
    assert "note: image sizes are unknown: boxes are shares of 1x1 images" in unit.stderr
    assert (open_regions(out)["7"].width, open_regions(out)["7"].tags) == (1, ())
