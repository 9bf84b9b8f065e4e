"""Two processes that share a step's images: the weights of one, and the same bits after a kill."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from alignscope.training.metrics import rows

SCRIPT = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from captioning_cases import CROSS_ENTROPY, RECIPE, SELF_CRITICAL, stages
from alignscope.training import captioning

kind, kill, out = sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
crossed = replace(CROSS_ENTROPY, steps=4, keep="last")
if kind == "plain":  # nothing that is drawn differs between processes
    recipe = stages(replace(crossed, most_sampling=0.0))
    recipe = replace(recipe, captioner=replace(recipe.captioner, dropout=0.0))
else:
    recipe = stages(crossed, SELF_CRITICAL)

def watch(seen):
    if kill and (seen.stage, seen.done) == ("2. self-critical", kill):
        os.kill(os.getpid(), signal.SIGKILL)

captioning.train(recipe, out, resume=True, watch=watch)
"""


def run(kind: str, out: Path, *, kill: int = 0, processes: int = 2) -> None:
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    script = out.parent / "script.py"
    script.write_text(SCRIPT)
    command = [
        sys.executable,
        *(several if processes > 1 else []),
        script,
        Path(__file__).parent,
        kind,
        kill,
        out,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert (found.returncode == 0) == (kill == 0), found.stderr


def test_two_processes_make_the_weights_of_one(tmp_path: Path) -> None:
    """Three images a step, so that one process has two and the other one: tokens weigh alike."""
    run("plain", tmp_path / "one", processes=1)
    run("plain", tmp_path / "two")
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
    losses = [[row["loss"] for row in rows(tmp_path / name)] for name in ("one", "two")]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def test_a_killed_run_of_two_ends_in_the_same_bits(tmp_path: Path) -> None:
    run("all", tmp_path / "whole")
    run("all", tmp_path / "killed", kill=3)
    run("all", tmp_path / "killed")
    made = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert made[0] == made[1]
    told = [[{**row, "seconds": 0} for row in rows(tmp_path / name)] for name in ("whole", "killed")]
    assert told[0] == told[1]
    assert (tmp_path / "whole" / "captions.jsonl").read_bytes() == (
        tmp_path / "killed" / "captions.jsonl"
    ).read_bytes()
