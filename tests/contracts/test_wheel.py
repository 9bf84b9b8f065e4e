"""The package as it is built has the recipes, and its commands find them from any directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READ = """
import sys
from pathlib import Path
import alignscope
from alignscope.studies.reproducing.everything import VERBS, toml_of
from alignscope.studies.over_seeds import toml_entries
from alignscope.training.reading import find, read, shipped
assert Path(alignscope.__file__).is_relative_to(sys.argv[1]), alignscope.__file__
assert shipped().is_relative_to(sys.argv[1]), shipped()
for kind in ("world", "quick", "real"):
    for name, verb in VERBS.items():
        path = toml_of(name, kind)
        print(verb.read(toml_entries(path), path).name)
others = [path for path in sorted(shipped().rglob("*.toml")) if "studies" not in path.parts]
print(len([read(path) for path in others]), read(find("paper-b/cae-gradcam")).name)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel holds."""
    place = tmp_path_factory.mktemp("built")
    words = ["-q", "egg_info", "--egg-base", str(place), "build_py", "--build-lib", str(place / "lib")]
    subprocess.run([sys.executable, "-W", "ignore", "setup.py", *words], cwd=ROOT, check=True, timeout=120)
    return place / "lib"


def ran(*words: str, built: Path, cwd: Path) -> str:
    told = {**os.environ, "PYTHONPATH": str(built), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=told, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_recipe_is_in_the_wheel_as_it_is_here(built: Path) -> None:
    here = {
        path.relative_to(ROOT / "recipes"): path.read_bytes() for path in (ROOT / "recipes").rglob("*.toml")
    }
    assert len(here) > 20
    there = built / "alignscope" / "recipes"
    assert {path.relative_to(there): path.read_bytes() for path in there.rglob("*.toml")} == here


def test_all_are_read_from_another_directory(built: Path, tmp_path: Path) -> None:
    lines = ran("-c", READ, str(built), built=built, cwd=tmp_path).splitlines()
    assert lines[:9] == [
        "captions", "composition", "scenes", "captions-quick", "composition-quick", "scenes-quick",
        "captions-coco", "composition-coco", "scenes-hl",
    ]  # fmt: skip
    others = [p for p in (ROOT / "recipes").rglob("*.toml") if "studies" not in p.parts]
    assert lines[9:] == [f"{len(others)} paper-b-cae-gradcam"]


def test_its_commands_answer_there(built: Path, tmp_path: Path) -> None:
    program = "from alignscope.cli import main; main()"
    said = ran("-c", program, "reproduce", "composition", "--quick", "--help", built=built, cwd=tmp_path)
    assert "--config" in said
    assert list(tmp_path.iterdir()) == []
