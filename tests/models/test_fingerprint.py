"""What a model is called. What its hash is of stands in the tests of its family."""

from __future__ import annotations

from pathlib import Path

from alignscope.models.fingerprint import name_of


def test_what_training_wrote_is_called_as_its_run(tmp_path: Path):
    for directory in ("my-clip", "repaired/model"):
        (tmp_path / directory).mkdir(parents=True)
    told = [name_of(tmp_path / directory) for directory in ("my-clip", "repaired/model", "repaired")]
    assert told == ["my-clip", "repaired", "repaired"]
    assert name_of("openai/model") == "openai/model"
