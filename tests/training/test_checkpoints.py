import json
import math
import shutil
import subprocess
import sys

import pytest
import torch

from alignscope.errors import BadData, CheckpointError, OutputExists, UnwritableOutput
from alignscope.training import checkpoints
from alignscope.training.checkpoints import Best, Position
from alignscope.training.metrics import Diverged

RECIPE = {"seed": 0, "data": {"kind": "world", "images": 8}}


def saved(out, step, best=None):
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    position = Position(step, RECIPE, "d1", 2.5, 0.25, best)
    path = checkpoints.save(out, module.state_dict(), {"optimizer": optimizer.state_dict()}, position)
    return path, module, optimizer, position


def test_what_was_saved_is_read_back(tmp_path):
    path, module, optimizer, position = saved(tmp_path, 200, Best(100, 0.5))
    found = checkpoints.load(path, recipe=RECIPE, data="d1")
    assert path == tmp_path / "checkpoints" / "step-000200"
    assert found.position == position
    assert torch.equal(found.weights["weight"], module.weight)
    moments = optimizer.state_dict()["state"][0]["exp_avg"]
    assert torch.equal(found.rest["optimizer"]["state"][0]["exp_avg"], moments)


def test_weights_that_share_memory_are_written(tmp_path):
    whole = torch.arange(6.0).reshape(2, 3)
    path = checkpoints.save(tmp_path, {"a": whole, "b": whole.mT, "c": whole[1]}, {}, Position(1, RECIPE))
    found = checkpoints.load(path, recipe=RECIPE).weights
    assert torch.equal(found["b"], whole.mT)
    assert torch.equal(found["c"], whole[1])


def test_weights_that_are_no_numbers_are_never_a_checkpoint(tmp_path):
    kept, *_ = saved(tmp_path, 2)
    broken = {"whole": torch.arange(3), "weight": torch.tensor([1.0, math.nan])}
    with pytest.raises(Diverged, match=rf"1 weights \(first: weight\) .* after 4 steps: .* {kept}; lower"):
        checkpoints.save(tmp_path, broken, {}, Position(4, RECIPE))
    assert checkpoints.newest(tmp_path) == kept


def test_the_newest_and_the_best_are_kept(tmp_path):
    for step, best in [(2, None), (4, Best(4, 0.3)), (6, Best(4, 0.3)), (8, Best(4, 0.3))]:
        saved(tmp_path, step, best)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-000004", "step-000008"]
    saved(tmp_path, 10, Best(10, 0.4))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000010"]
    assert checkpoints.newest(tmp_path).name == "step-000010"


def test_newest_counts_and_does_not_spell(tmp_path):
    for step in (999999, 1000000):
        saved(tmp_path, step, Best(999999, 1.0))
    assert checkpoints.newest(tmp_path).name == "step-1000000"


def test_a_run_begins_where_it_was_or_in_an_empty_place(tmp_path):
    assert checkpoints.begin(tmp_path, resume=False) is None
    assert checkpoints.begin(tmp_path, resume=True) is None
    path, *_ = saved(tmp_path, 2)
    assert checkpoints.begin(tmp_path, resume=True) == path
    with pytest.raises(OutputExists, match="step-000002 is there from another run"):
        checkpoints.begin(tmp_path, resume=False)


def test_another_recipe_or_other_data_are_refused_with_the_difference(tmp_path):
    path, *_ = saved(tmp_path, 2)
    changed = {"seed": 1, "data": {"kind": "world", "images": 9}}
    with pytest.raises(BadData, match=r"data\.images: was 8, now 9; seed: was 0, now 1"):
        checkpoints.load(path, recipe=changed, data="d1")
    with pytest.raises(BadData, match="hash d1, these have d2"):
        checkpoints.load(path, recipe=RECIPE, data="d2")


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "state.json"])
@pytest.mark.parametrize("damage", ["torn", "absent"])
def test_a_torn_checkpoint_is_refused_by_name(tmp_path, name, damage):
    path, *_ = saved(tmp_path, 2)
    content = (path / name).read_bytes()
    if damage == "torn":
        (path / name).write_bytes(content[: len(content) // 2])
    else:
        (path / name).unlink()
    with pytest.raises(CheckpointError, match=r"step-000002 cannot be read.*delete it"):
        checkpoints.load(path, recipe=RECIPE, data="d1")


def test_a_checkpoint_of_another_name_or_state_is_refused(tmp_path):
    path, *_ = saved(tmp_path, 2)
    moved = path.with_name("step-000007")
    shutil.copytree(path, moved)
    with pytest.raises(CheckpointError, match="was changed"):
        checkpoints.load(moved, recipe=RECIPE, data="d1")
    state = json.loads((path / "state.json").read_text())
    state["recipe"]["seed"] = 5
    (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(CheckpointError, match="was changed"):
        checkpoints.load(path, recipe={**RECIPE, "seed": 5}, data="d1")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    path, *_ = saved(tmp_path, 2)

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was-run"), "w"))

    torch.save({"optimizer": Evil()}, path / "optimizer.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.load(path, recipe=RECIPE, data="d1")
    assert not (tmp_path / "was-run").exists()


FULL = """
import resource, sys, torch
from pathlib import Path
from alignscope.errors import UnwritableOutput
from alignscope.training import checkpoints
from alignscope.training.checkpoints import Position
out, large = Path(sys.argv[1]), sys.argv[2]
sizes = {"weights": 10, "rest": 10, large: 100_000}
checkpoints.save(out, {"w": torch.ones(10)}, {"o": torch.ones(10)}, Position(2, {"seed": 0}))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    checkpoints.save(out, {"w": torch.ones(sizes["weights"])}, {"o": torch.ones(sizes["rest"])}, Position(4, {"seed": 0}))
except UnwritableOutput as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are Unix's")
@pytest.mark.parametrize("large", ["weights", "rest"])
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, large):
    run = subprocess.run([sys.executable, "-c", FULL, tmp_path, large], capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    assert "step-000004 cannot be written" in run.stderr
    assert "last whole checkpoint is" in run.stderr
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-000002"]
    found = checkpoints.load(tmp_path / "checkpoints" / "step-000002", recipe={"seed": 0})
    assert torch.equal(found.weights["w"], torch.ones(10))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(UnwritableOutput, match="no checkpoint was written before"):
        saved(tmp_path, 2)
