"""Fine-tuning with the optional parts, adapters and a diffusion teacher: whole runs, killed and resumed."""

from pathlib import Path

import pytest
import test_distillation as pipelines
import torch
from transformers import CLIPModel

import alignscope
from alignscope.training.finetune import finetune
from alignscope.training.metrics import Seen
from alignscope.training.recipe import Register
from alignscope.training.settings import (
    AttributionPlan,
    DistillationPlan,
    FineTuning,
    LoraPlan,
    SceneData,
)


class Killed(Exception):
    """What ends a run in the middle."""


def recipe(directory: Path) -> FineTuning:
    pipeline = pipelines.save_pipeline(directory / "pipeline")
    said = Register(0.9, 0.9, 0.3, 0.4, 0.9)
    return FineTuning(
        "extras",
        "tiny-clip",
        SceneData("world", said, images=40),
        batch=8,
        steps=4,
        learning_rate=1e-3,
        warmup=1,
        log_every=1,
        save_every=2,
        attribution=AttributionPlan(weight=1.0),
        lora=LoraPlan(rank=2),
        distillation=DistillationPlan(str(pipeline), weight=0.5),
    )


def test_adapters_and_a_teacher_train_and_go_on_after_a_kill(tmp_path: Path):
    torch.set_num_threads(1)
    plan = recipe(tmp_path)
    whole = CLIPModel.from_pretrained(finetune(plan, tmp_path / "whole")).state_dict()

    def kill(seen: Seen) -> None:
        if seen.stage == "training" and seen.done == 3:
            raise Killed

    with pytest.raises(Killed):
        finetune(plan, tmp_path / "killed", watch=kill)
    resumed = CLIPModel.from_pretrained(finetune(plan, tmp_path / "killed", resume=True)).state_dict()
    first = alignscope.model("tiny-clip").model.state_dict()
    assert whole.keys() == resumed.keys() == first.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    changed = {name for name in whole if not torch.equal(whole[name], first[name])}
    assert "logit_scale" in changed
    assert all(".self_attn." in name and name.endswith("_proj.weight") for name in changed - {"logit_scale"})
    assert len(changed) == 1 + 4 * (3 + 4), "four projections in every layer of both towers"
