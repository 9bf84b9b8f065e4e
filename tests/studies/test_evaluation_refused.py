"""`evaluate` after a refused calibration: its directory is free, unless scores are kept there."""

import importlib.util
from pathlib import Path

import pytest

from alignscope.data.world.world import World
from alignscope.errors import CalibrationError

path = Path(__file__).parent / "test_evaluation_scorers.py"
spec = importlib.util.spec_from_file_location("scorers_of_refused", path)
scorers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scorers)


def test_scores_that_are_kept_outlive_a_refused_calibration(tmp_path):
    world = World("test", size=12)
    (tmp_path / "images").mkdir()
    rows = []
    for number, item in enumerate(world.items):
        world.image(item.image).save(tmp_path / "images" / f"{number}.png")
        rows.append(scorers.row(number, [[f"{number}.png"]], [item.caption.text, "a foil"]))
    scorers.write(tmp_path / "caption.jsonl", rows)
    fits = scorers.fitting(tmp_path)
    flipped, run = scorers.Known(lambda *pair: -fits(*pair)), tmp_path / "run"

    def stop(stage, done, total):
        if stage == "scores":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scorers.run_on(tmp_path, run, model=flipped, progress=stop)  # --no-calibration
    with pytest.raises(CalibrationError):
        scorers.run_on(tmp_path, run, model=flipped, resume=True, calibrate=True)
    assert list((run / "work").glob("scores-*"))
    asked = len(flipped.asked)
    assert scorers.run_on(tmp_path, run, model=flipped, resume=True).measurements
    assert len(flipped.asked) == asked, "nothing is scored again"
