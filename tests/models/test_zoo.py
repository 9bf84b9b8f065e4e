"""Names, paths and hub ids to models, and what is said where there is none."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from alignscope.errors import BadInput, CheckpointError, UnknownName
from alignscope.models import pretrained
from alignscope.models.zoo import open_model


def test_a_directory_opens_as_the_model_in_it(tiny_clip_dir: Path) -> None:
    model = open_model(tiny_clip_dir)
    assert model.name == "tiny-random-clip"
    assert model.traits.family == "dual"


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'tiny-clip'"):
        open_model("tiny-clp")


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    notes = tmp_path / "model.txt"
    notes.write_bytes(b"")
    with pytest.raises(UnknownName, match=r"it is a file.*must be a directory with config.json"):
        open_model(notes)


def test_activation_and_tokenizer_are_asked_of_open_clip_alone(tiny_clip_dir: Path) -> None:
    for choice in ({"activation": "gelu"}, {"tokenizer": tiny_clip_dir}):
        with pytest.raises(BadInput, match="no checkpoint of open_clip"):
            open_model(tiny_clip_dir, **choice)
        with pytest.raises(BadInput, match="no checkpoint of open_clip"):
            open_model("tiny-clip", **choice)


def test_an_unreachable_hub_id_says_how_to_fetch_it() -> None:
    with pytest.raises(
        CheckpointError, match=r"no directory nobody/nothing here; .*hf download nobody/nothing --local-dir"
    ):
        open_model("nobody/nothing")


def test_unknown_device_and_dtype(tiny_clip_dir: Path) -> None:
    with pytest.raises(BadInput, match="no device 'gpu9' here"):
        open_model(tiny_clip_dir, device="gpu9")
    with pytest.raises(UnknownName, match="did you mean 'float32'"):
        open_model(tiny_clip_dir, dtype="float3")


def test_absent_weights_of_tiny_clip_name_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "TINY_CLIP", tmp_path)
    with pytest.raises(CheckpointError, match=r"alignscope train recipes/tiny-clip\.toml"):
        open_model("tiny-clip")


def test_the_list_of_models_loads_no_torch() -> None:
    code = "import sys, alignscope.models.zoo as z; assert list(z.MODELS); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_code_in_a_pickle_is_not_run(tmp_path: Path, tiny_clip_dir: Path) -> None:
    trace = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (trace,))

    torch.save({"state_dict": Evil()}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="its weights cannot be read"):
        open_model(tmp_path / "weights.pt", tokenizer=tiny_clip_dir)
    assert not trace.exists()
