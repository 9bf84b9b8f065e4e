"""Models exported, read back, and never over something else."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from typer.testing import CliRunner

import alignscope
from alignscope.cli import app
from alignscope.errors import CheckpointMismatch, OutputExists, UnwritableOutput
from alignscope.models.dual.loading import load
from alignscope.models.zoo import open_model
from alignscope.studies.export import export

TEXTS = ["a red dog to the left of a small cat", "two spotted cats", "", "large & green " * 20]


def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    shapes = [(64, 64, 3), (40, 71, 3), (90, 33, 3)]
    return [Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]


def test_there_and_back_gives_the_same_logits(tmp_path: Path):
    first = alignscope.model("tiny-clip")
    there = export(first, tmp_path / "there")
    second = open_model(there.directory)
    back = export(second, tmp_path / "back", form="transformers")
    third = open_model(back.directory)
    wanted = first.score_grid(pictures(), TEXTS)
    for found in (second, third):
        assert (found.score_grid(pictures(), TEXTS) - wanted).abs().max().item() < 1e-6
    assert there.difference == 0
    plain, report = transformers.CLIPModel.from_pretrained(back.directory, output_loading_info=True)
    assert not any(report.values())
    pixels, tokens = first.pixels(pictures()), third.tokens(TEXTS[:2])
    with torch.no_grad():
        logits = plain(pixel_values=pixels, input_ids=tokens.ids, attention_mask=tokens.mask).logits_per_image
    assert (logits - wanted[:, :2]).abs().max().item() < 1e-5
    ends = second.tokenizer.eos_token_id
    assert ends == max(second.tokenizer.get_vocab().values()) != first.tokenizer.eos_token_id


def test_any_family_is_written_as_transformers(tiny_siglip_dir: Path, tmp_path: Path):
    first = load(tiny_siglip_dir)
    found = export(first, tmp_path / "copy", form="transformers")
    assert (load(found.directory).score_grid(pictures(), TEXTS) - first.score_grid(pictures(), TEXTS)).abs().max() < 1e-5  # fmt: skip


def test_nothing_is_written_over(tmp_path: Path):
    def run(*more: str):
        return CliRunner().invoke(app, ["export", "tiny-clip", "--out", str(tmp_path / "x"), *more])

    assert run().exit_code == 0
    assert isinstance(run().exception, OutputExists)
    assert run("--form", "transformers", "--overwrite").exit_code == 0
    assert not list((tmp_path / "x").glob("open_clip*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(OutputExists, match="nothing there is deleted"):
        export(alignscope.model("tiny-clip"), tmp_path / "mine", overwrite=True)


def test_a_copy_that_scores_otherwise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from alignscope.models.dual import openclip_export

    right = openclip_export.as_openclip

    def wrong(*arguments, **names):
        state = right(*arguments, **names)
        return {**state, "visual.proj": -state["visual.proj"]}

    monkeypatch.setattr(openclip_export, "as_openclip", wrong)
    with pytest.raises(CheckpointMismatch, match="scores of the copy differ"):
        export(alignscope.model("tiny-clip"), tmp_path / "x")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from alignscope.models.dual import openclip_export

    def full(*arguments, **names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openclip_export, "save_file", full)
    with pytest.raises(UnwritableOutput, match="No space left on device"):
        export(alignscope.model("tiny-clip"), tmp_path / "x")
