"""Names, paths and hub ids to models, and what is said where there is none."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from alignscope.cli.export import export
from alignscope.errors import BadInput, CheckpointError, UnknownName, Unsupported
from alignscope.models import pretrained
from alignscope.models.zoo import kind_of, open_dual, open_model
from alignscope.training.finetune import finetune
from alignscope.training.recipe import Register
from alignscope.training.settings import FineTuning, SceneData


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


CHOICES = {"activation": "gelu", "tokenizer": "words", "match_index": 1, "scoring": "yes"}


@pytest.mark.parametrize("choice", CHOICES)
def test_choices_that_do_not_apply_are_refused_by_name(tiny_clip_dir: Path, choice: str) -> None:
    asked = {choice: CHOICES[choice]}
    with pytest.raises(BadInput, match=rf"{choice} asked for '.*', which is a dual encoder: .*leave it out"):
        open_model(tiny_clip_dir, **asked)
    with pytest.raises(BadInput, match=rf"{choice} asked for 'tiny-clip', which is a model that comes with"):
        open_model("tiny-clip", **asked)


def with_config(directory: Path, **values: Any) -> Path:
    (directory / "config.json").write_text(json.dumps(values))
    return directory


@pytest.mark.parametrize(
    ("values", "kind", "taken"),
    [
        ({"architectures": ["LxmertForPreTraining"], "model_type": "lxmert"}, "cross", "match_index"),
        ({"architectures": ["UniterForPretraining"], "model_type": "uniter"}, "cross", "match_index"),
        ({"architectures": ["GitForCausalLM"], "model_type": "git"}, "captioner", "scoring"),
        ({"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"}, "captioner", "scoring"),
        ({"architectures": ["SiglipModel"], "model_type": "siglip"}, "dual", None),
        ({"model_type": "clip"}, "dual", None),
    ],
)
def test_the_architecture_decides_who_opens_a_directory(
    tmp_path: Path, values: dict[str, Any], kind: str, taken: str | None
) -> None:
    directory = with_config(tmp_path, **values)
    assert kind_of(str(directory)) == kind
    for choice in CHOICES.keys() - {taken}:
        with pytest.raises(BadInput, match=f"{choice} asked for"):
            open_model(directory, **{choice: CHOICES[choice]})
    if kind != "dual":
        with pytest.raises(Unsupported, match=r"wanted a dual encoder .*only these are trained and exported"):
            open_dual(directory)


def test_weights_of_a_directory_are_opened_by_their_directory(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["BlipForImageTextRetrieval"]}')
    save_file({"itm_head.bias": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"beside its config\.json: give the directory, {tmp_path}"):
        open_model(str(tmp_path / "model.safetensors"))


def test_another_architecture_is_named_with_what_is_known(tmp_path: Path) -> None:
    directory = with_config(tmp_path, architectures=["BertForMaskedLM"], model_type="bert")
    with pytest.raises(CheckpointError, match=r"is a BertForMaskedLM, wanted .*`alignscope list models`"):
        open_model(directory)


def test_a_dual_encoder_is_one_by_any_way(tiny_clip_dir: Path) -> None:
    assert open_dual(tiny_clip_dir).fingerprint == open_model(tiny_clip_dir).fingerprint
    assert open_dual("tiny-clip").traits.family == "dual"


@pytest.mark.parametrize("verb", ["export", "train"])
def test_what_takes_dual_encoders_alone_says_so(tmp_path: Path, verb: str) -> None:
    directory = str(with_config(tmp_path, architectures=["LxmertForPreTraining"], model_type="lxmert"))
    plan = FineTuning("plan", directory, SceneData("world", Register(1.0, 1.0, 1.0, 1.0, 1.0), images=4))
    calls = {
        "export": lambda: export(directory, tmp_path / "out"),
        "train": lambda: finetune(plan, tmp_path / "out"),
    }
    with pytest.raises(Unsupported, match=r"reads image and text together, wanted a dual encoder"):
        calls[verb]()


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
    monkeypatch.setattr(pretrained, "HERE", tmp_path)
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
