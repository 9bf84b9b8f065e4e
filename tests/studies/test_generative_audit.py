"""Generative models under the audit: a captioner's likelihood, and a chat model's yes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import alignscope
from alignscope.data.world.world import World
from alignscope.files import read_parquet
from alignscope.records import Choice

TWINS = Path(__file__).parents[1] / "models" / "captioner_twins.py"


@pytest.mark.parametrize(("kind", "scoring"), [("blip", "information"), ("llava", "yes")])
def test_an_audit_scores_as_the_model_does_alone(tmp_path, kind, scoring):
    spec = importlib.util.spec_from_file_location("captioner_twins", TWINS)
    twins = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twins)
    model = alignscope.model(str(twins.save_twin(tmp_path / kind, kind)), scoring=scoring)
    run = alignscope.audit(model, size=2, checked=0, out=tmp_path / "run")
    choices, world = read_parquet(run.directory / "choices.parquet", Choice), World("test", size=2)
    wanted = [model.score([world.image(each.image)], [each.caption]).item() for each in choices]
    np.testing.assert_allclose([each.caption_score for each in choices], wanted, atol=1e-4)
    assert {problem.what for problem in run.problems} >= {"gradcam is unsupported by this model"}
    [accuracy] = [m for m in run.measurements if (m.measure, m.group) == ("accuracy", "all")]
    assert accuracy.items == len(choices) > 8
