"""Runs that were killed, and runs of two processes: the same weights as one that nothing happened to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from alignscope.files import read_jsonl
from alignscope.models.pretrained import __file__ as pretrained

SCRIPT = """
import os, signal, sys
from pathlib import Path
import torch
from alignscope.training.finetune import finetune
from alignscope.training.recipe import Register
from alignscope.training.settings import *

torch.set_num_threads(1)
model, kill, outs = sys.argv[1], int(sys.argv[2]), map(Path, sys.argv[3:])
said = Register(0.9, 0.95, 0.3, 0.5, 0.9)
held = ValidationPlan(SceneData("world", said, images=10, split="val"), pairs=8, every=3)
plan = FineTuning("cae", model, SceneData("world", said, images=40, captions_per_image=2), batch=8, steps=8,
    learning_rate=1e-3, warmup=3, max_norm=1.0, log_every=1, save_every=2, validation=held,
    augmentation=Augmentation(scale=(0.5, 1.0)), attribution=AttributionPlan(batches=2), negatives=NegativePlan())

def watch(seen):
    if (seen.stage, seen.done) == ("training", kill):
        os.kill(os.getpid(), signal.SIGKILL)

for out in outs:
    finetune(plan, out, resume=True, watch=watch if kill else lambda seen: None)
"""


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny-clip with dropout in the attention of both towers."""
    source = Path(pretrained).parent / "tiny-clip"
    directory = tmp_path_factory.mktemp("models") / "forgetful"
    directory.mkdir()
    for path in source.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    config = CLIPConfig.from_pretrained(source)
    config.text_config.attention_dropout = config.vision_config.attention_dropout = 0.2
    config.save_pretrained(directory)
    return directory


def run(model: Path | str, *outs: Path, kill: int = 0, processes: int = 1) -> int:
    """Run or resume in each place; returns the exit status."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    script = outs[0].parent / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, *(several if processes > 1 else []), script, model, kill, *outs]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
    if not kill:
        assert found.returncode == 0, found.stderr
    return found.returncode


def weights(out: Path) -> dict[str, torch.Tensor]:
    return CLIPModel.from_pretrained(out / "model").state_dict()


def timeless(out: Path) -> list[dict]:
    """Rows of metrics.jsonl without what the clock says."""
    rows = read_jsonl(out / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k not in ("seconds", "samples_per_second")} for row in rows]


def test_a_killed_run_goes_on_to_the_same_weights_bit_for_bit(tmp_path, forgetful):
    kill = 7
    assert run(forgetful, tmp_path / "killed", kill=kill) == -9
    assert not (tmp_path / "killed" / "model").exists()
    state = json.loads((max((tmp_path / "killed" / "checkpoints").iterdir()) / "state.json").read_text())
    assert state["step"] == kill - 1
    run(forgetful, tmp_path / "killed", tmp_path / "whole")
    killed, whole = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(killed[name], whole[name]) for name in whole)
    assert timeless(tmp_path / "killed") == timeless(tmp_path / "whole")
    start = CLIPModel.from_pretrained(forgetful).state_dict()
    assert not torch.equal(whole["text_projection.weight"], start["text_projection.weight"])


def test_two_processes_train_what_one_trains(tmp_path):
    run("tiny-clip", tmp_path / "one")
    run("tiny-clip", tmp_path / "two", processes=2)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=0, msg=name)
    of_one, of_two = timeless(tmp_path / "one"), timeless(tmp_path / "two")
    assert [row["step"] for row in of_one] == [row["step"] for row in of_two]
    first, second = (next(row for row in rows if "gradient_norms" in row) for rows in (of_one, of_two))
    assert second["lambda"] == pytest.approx(first["lambda"], rel=1e-4)
    made = json.loads((tmp_path / "two" / "model" / "training.json").read_text())
    assert made["processes"] == 2
