"""A recipe by name into a claimed directory; the training itself is tested in its own room."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alignscope.errors import BadInput, BadRecipe, OutputExists
from alignscope.models.zoo import open_model
from alignscope.studies.output import alone
from alignscope.studies.training import train_recipe
from alignscope.training.metrics import Seen

SAYS = "{ attribute_rate = 0.9, relation_rate = 0.9, scene_rate = 0.1, size_rate = 0.4, object_rate = 0.9 }"
SMALL = f"""
name = "small"
model = "tiny-clip"
batch = 8
steps = 3
warmup = 1
log_every = 1
data = {{ kind = "world", register = {SAYS}, images = 24 }}

[attribution]
methods = ["attention"]
weight = 2.0
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "small.toml").write_text(SMALL)
    return str(tmp_path / "small.toml")


def test_a_fine_tuning_ends_in_a_model_and_says_how_it_was_made(recipe: str, tmp_path: Path) -> None:
    seen: list[Seen] = []
    out = tmp_path / "run"
    directory = train_recipe(recipe, out, changes=["seed=7"], command="as typed", watch=seen.append)
    assert directory == out / "model"
    open_model(directory)
    run = json.loads((out / "run.json").read_text())
    assert run["finished"] is True
    assert run["command"] == "as typed"
    assert run["identity"]["recipe"]["seed"] == 7
    assert run["identity"]["recipe"]["attribution"]["weight"] == 2.0
    assert any(each.done == each.total == 3 for each in seen)
    train_recipe(recipe, out, changes=["seed=7"], resume=True)  # finished: nothing is left to do


def test_another_recipe_does_not_go_on_from_it(recipe: str, tmp_path: Path) -> None:
    train_recipe(recipe, tmp_path / "run")
    with pytest.raises(OutputExists, match="not empty: give --resume"):
        train_recipe(recipe, tmp_path / "run")
    with pytest.raises(
        OutputExists, match=r"recipe.attribution.margin: was 0.0, now 0.1\n  recipe.seed: was 0, now 1"
    ):
        train_recipe(recipe, tmp_path / "run", changes=["attribution.margin=0.1", "seed=1"], resume=True)
    harmless = ["unreadable=0.5", "log_every=2", "save_every=1"]
    train_recipe(recipe, tmp_path / "run", changes=harmless, resume=True)
    train_recipe(recipe, tmp_path / "run", changes=["seed=1"], overwrite=True)


def test_two_trainings_in_one_directory_are_refused(recipe: str, tmp_path: Path) -> None:
    with alone(tmp_path / "run"), pytest.raises(OutputExists, match="another process is at work"):
        train_recipe(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


def test_nothing_is_claimed_for_a_wrong_recipe(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadRecipe, match="stps: unknown entry, did you mean 'steps'"):
        train_recipe(recipe, changes=["stps=3"])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("asked", [{"device": "cuda"}, {"workers": 2}, {"tensorboard": True}], ids=str)
def test_training_from_scratch_knows_one_process_on_the_cpu(tmp_path: Path, asked: dict[str, Any]) -> None:
    scratch = str(Path(__file__).parents[2] / "recipes" / "tiny-clip.toml")
    with pytest.raises(BadInput, match="one process on the CPU: leave out --device"):
        train_recipe(scratch, tmp_path / "run", **asked)
    assert not (tmp_path / "run").exists()


def test_two_processes_claim_once_and_make_one_model(recipe: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    program = str(Path(sys.executable).with_name("alignscope"))
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--no-python",
    ]
    words = [program, "train", recipe, "--out", str(out)]
    done = subprocess.run([*torchrun, *words], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("model: ") == 1
    assert json.loads((out / "run.json").read_text())["finished"] is True
    open_model(out / "model")


def test_data_that_are_missing_leave_the_directory_free(tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "paper-c" / "vinvl-hl-scenes.toml"
    for _ in range(2):  # the second try is refused for the same reason, not for what the first left
        with pytest.raises(BadInput, match="got nothing there"):
            train_recipe(str(recipe), tmp_path / "run")
        assert not any((tmp_path / "run").iterdir())
