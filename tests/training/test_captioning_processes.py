"""Two processes that share a step's images: the weights of one, and the same bits after a kill."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from captioning_cases import CROSS_ENTROPY, RECIPE, SELF_CRITICAL, stages
from safetensors.torch import load_file

from alignscope.training import captioning
from alignscope.training.metrics import rows

CROSSED = replace(CROSS_ENTROPY, steps=4, keep="last")
SAME_DRAWS = replace(
    stages(replace(CROSSED, most_sampling=0.0)), captioner=replace(RECIPE.captioner, dropout=0.0)
)
"""Nothing that is drawn differs between processes."""
RECIPES = {
    "one": SAME_DRAWS,
    "two": SAME_DRAWS,
    **dict.fromkeys(("killed", "whole"), stages(CROSSED, SELF_CRITICAL)),
}

SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_captioning_processes import RECIPES
from alignscope.training import captioning

kill, out = int(sys.argv[2]), Path(sys.argv[3])

def watch(seen):
    if kill and (seen.stage, seen.done) == ("2. self-critical", kill):
        os.kill(os.getpid(), signal.SIGKILL)

for name in sys.argv[4:]:
    captioning.train(RECIPES[name], out / name, resume=True, watch=watch)
"""


def run_in_two(out: Path, *names: str, kill: int = 0) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = out / "script.py"
    script.write_text(SCRIPT)
    command = [*torchrun, script, Path(__file__).parent, kill, out, *names]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert (found.returncode == 0) == (kill == 0), found.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of `RECIPES`, of which "one" had a single process and "killed" was killed and resumed."""
    out = tmp_path_factory.mktemp("runs")
    captioning.train(RECIPES["one"], out / "one")
    run_in_two(out, "killed", kill=3)
    run_in_two(out, "killed", "whole", "two")
    return out


def test_two_processes_make_the_weights_of_one(made: Path) -> None:
    """Three images a step, so that one process has two and the other one: tokens weigh alike."""
    one, two = (load_file(made / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
    losses = [[row["loss"] for row in rows(made / name)] for name in ("one", "two")]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def test_a_killed_run_of_two_ends_in_the_same_bits(made: Path) -> None:
    for file in ("model/model.safetensors", "captions.jsonl"):
        assert (made / "whole" / file).read_bytes() == (made / "killed" / file).read_bytes()
    told = [[{**row, "seconds": 0} for row in rows(made / name)] for name in ("whole", "killed")]
    assert told[0] == told[1]
