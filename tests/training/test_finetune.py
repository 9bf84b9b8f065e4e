"""Whole runs of the loop on a tiny model: what they leave behind, and what stops them."""

import csv
import errno
import gzip
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openclip_oracle as oracle
import pytest
import torch
from PIL import Image
from transformers import AutoModel, CLIPModel

from alignscope.errors import BadData, BadInput, OutputExists, UnwritableOutput
from alignscope.files import read_jsonl
from alignscope.models import pretrained
from alignscope.models.zoo import open_model
from alignscope.training import finetune as loop
from alignscope.training.finetune import finetune
from alignscope.training.metrics import PATIENCE, Diverged
from alignscope.training.recipe import Register
from alignscope.training.settings import (
    AttributionPlan,
    FineTuning,
    NegativePlan,
    SceneData,
    TableData,
    ValidationPlan,
)

PRETRAINED = Path(pretrained.__file__).parent / "tiny-clip"
RICH = Register(0.9, 0.95, 0.3, 0.5, 0.9)
NOUNS = Register(0.0, 0.0, 0.0, 0.0, 1.0)
PLAIN = FineTuning(
    "plain",
    "tiny-clip",
    SceneData("world", RICH, images=48, captions_per_image=2),
    batch=8,
    steps=6,
    learning_rate=1e-3,
    warmup=2,
    log_every=2,
    save_every=2,
)
CAE = replace(
    PLAIN,
    name="cae",
    attribution=AttributionPlan(batches=2),
    negatives=NegativePlan(),
    validation=ValidationPlan(SceneData("world", RICH, images=20, split="val"), pairs=16, every=3),
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return AutoModel.from_pretrained(directory).state_dict()


def is_same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    torch.set_num_threads(1)
    seen = []
    out = tmp_path_factory.mktemp("cae")
    finetune(CAE, out, watch=seen.append)
    return SimpleNamespace(out=out, seen=seen, rows=list(read_jsonl(out / "metrics.jsonl")))


def test_a_run_leaves_a_model_that_others_load(whole):
    model = CLIPModel.from_pretrained(whole.out / "model")
    assert model.config.architectures == ["CLIPModel"]
    assert json.loads((whole.out / "model" / "config.json").read_text())["model_type"] == "clip"
    before, after = open_model("tiny-clip"), open_model(whole.out / "model")
    texts = ["a red cat under a box", "a cat"]
    assert not torch.allclose(before.encode_texts(texts), after.encode_texts(texts), atol=1e-3)
    with torch.no_grad():
        ids = after.tokens(texts)
        found = model.get_text_features(input_ids=ids.ids, attention_mask=ids.mask).pooler_output
    assert torch.allclose(torch.nn.functional.normalize(found, dim=-1), after.encode_texts(texts), atol=1e-6)


def test_a_run_says_how_it_was_made(whole):
    made = json.loads((whole.out / "model" / "training.json").read_text())
    assert (made["recipe_sha"], made["step"], made["recipe"]["name"]) == (CAE.sha, 6, "cae")
    assert made["lambda"] == next(row["lambda"] for row in whole.rows if "gradient_norms" in row)
    assert made["coverage"] == json.loads((whole.out / "coverage.json").read_text())
    assert made["coverage"]["captions"] == 96
    values = {row["step"]: np.mean(list(row["validation"]["recall@1"].values()))
              for row in whole.rows if "validation" in row}  # fmt: skip
    first = next(step for step, value in values.items() if value == max(values.values()))
    assert made["best"] == {"step": first, "value": max(values.values())}
    assert (whole.out / "best" / "model").is_dir() == (first != 6)


def test_rows_come_as_often_as_asked_and_say_what_was_weighted(whole):
    steps = [row for row in whole.rows if "loss" in row]
    assert [row["step"] for row in steps] == [1, 2, 4, 6]
    assert [row["step"] for row in whole.rows if "validation" in row] == [3, 6]
    for row in steps:
        weight = row["lambda"] or 0.0
        expected = row["contrastive"] + weight * row["attribution"]["gradcam"]
        assert row["loss"] == pytest.approx(expected, rel=1e-6)
        assert row["gap"]["gradcam"] == pytest.approx(
            row["objects"]["gradcam"] - row["composition"]["gradcam"]
        )
    assert [row["lambda"] is None for row in steps] == [True, True, False, False]
    assert [row["epoch"] for row in steps] == pytest.approx([1 / 6, 2 / 6, 4 / 6, 1.0])


def test_the_matched_weight_gives_the_asked_ratio(whole):
    row = next(row for row in whole.rows if "gradient_norms" in row)
    norms = row["gradient_norms"]
    assert row["step"] == CAE.warmup + 1
    assert row["lambda"] * norms["attribution"] == pytest.approx(0.5 * norms["contrastive"])


def test_the_watch_is_told_every_step(whole):
    trained = [seen for seen in whole.seen if seen.stage == "training"]
    assert [(seen.done, seen.total) for seen in trained] == [(step, 6) for step in range(1, 7)]
    assert set(trained[-1].numbers) == {"loss", "L_attr", "gap", "valid", "foils/pair", "lr", "samples/s"}
    assert "captions" in {seen.stage for seen in whole.seen}


def test_a_finished_run_that_is_resumed_is_the_same(whole):
    before = weights(whole.out / "model")
    finetune(CAE, whole.out, resume=True)
    after = weights(whole.out / "model")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert list(read_jsonl(whole.out / "metrics.jsonl")) == whole.rows


class Killed(Exception):
    """What ends a run in the middle."""


@pytest.mark.parametrize("done", [2, 3, 5])
def test_a_run_stopped_around_the_matching_goes_on_as_if_nothing_was(tmp_path, whole, done):
    """At 3 the newest checkpoint, of step 2, is from before the weight was matched; at 5 from after it."""

    def stop(seen):
        if (seen.stage, seen.done) == ("training", done):
            raise Killed

    with pytest.raises(Killed):
        finetune(CAE, tmp_path, watch=stop)
    finetune(CAE, tmp_path, resume=True)
    assert is_same(tmp_path / "model", whole.out / "model")
    clock = ("seconds", "samples_per_second")
    found, wanted = (
        [{k: v for k, v in row.items() if k not in clock} for row in rows]
        for rows in (read_jsonl(tmp_path / "metrics.jsonl"), whole.rows)
    )
    assert found == wanted


def test_the_best_model_is_the_one_that_was_looked_at(tmp_path, monkeypatch):
    """Recall is made to fall, so the first validation is the best: its model is that of a run that ends there."""
    values = iter([0.9, 0.5, 0.4])
    real = loop.validate
    monkeypatch.setattr(
        loop,
        "validate",
        lambda *a, **k: replace(real(*a, **k), image_to_text=(v := next(values)), text_to_image=v),
    )
    plan = replace(CAE, attribution=None, validation=replace(CAE.validation, every=2))
    finetune(plan, tmp_path / "whole")
    kept = sorted(path.name for path in (tmp_path / "whole" / "checkpoints").iterdir())
    assert kept == ["step-000002", "step-000006"]
    made = json.loads((tmp_path / "whole" / "best" / "model" / "training.json").read_text())
    assert (made["step"], made["steps"], made["best"]["value"]) == (2, 6, 0.9)
    assert not is_same(tmp_path / "whole" / "model", tmp_path / "whole" / "best" / "model")


def test_checkpoints_of_another_run_are_not_gone_on_from_by_accident(whole):
    with pytest.raises(OutputExists, match="--resume"):
        finetune(CAE, whole.out)


def test_another_recipe_is_refused_with_the_difference(whole):
    with pytest.raises(BadData, match=r"learning_rate: was 0\.001, now 0\.002"):
        finetune(replace(CAE, learning_rate=2e-3), whole.out, resume=True)


def pictures(directory: Path, count: int) -> None:
    directory.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(directory / f"{number}.png")


def table(path: Path, count: int, first: str = "a red cat under a box") -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerow(["", "title", "filepath", "neg_caption", "neg_image"])
        for number in range(count):
            title = first if number == 0 else f"a cat near box {number}"
            rows.writerow(
                [number, title, f"{number}.png", [f"a box near cat {number}"], [(number + 1) % count]]
            )


def tabled(directory: Path, count: int = 12) -> FineTuning:
    pictures(directory / "images", count)
    table(directory / "table.tsv", count)
    data = TableData("table", str(directory / "table.tsv"), str(directory / "images"))
    return replace(PLAIN, data=data, batch=4, negatives=NegativePlan("own", form="full"))


def test_other_data_are_refused_with_both_hashes(tmp_path):
    plan = tabled(tmp_path)
    finetune(replace(plan), tmp_path / "run")
    state = json.loads((tmp_path / "run" / "checkpoints" / "step-000006" / "state.json").read_text())
    table(tmp_path / "table.tsv", 12, first="a blue cat under a box")
    with pytest.raises(BadData, match=f"hash {state['data']}, these have [0-9a-f]{{12}}"):
        finetune(plan, tmp_path / "run", resume=True)


def test_unreadable_images_are_put_aside_by_name_and_stop_a_run_when_they_are_many(tmp_path):
    plan = tabled(tmp_path)
    broken = tmp_path / "images" / "3.png"
    broken.write_bytes(broken.read_bytes()[:400])
    finetune(replace(plan, unreadable=0.9), tmp_path / "run")
    rows = list(read_jsonl(tmp_path / "run" / "quarantine.jsonl"))
    assert [row["name"] for row in rows] == ["3.png"]
    last = [row for row in read_jsonl(tmp_path / "run" / "metrics.jsonl") if "loss" in row][-1]
    assert last["unreadable"] >= 2  # once in each epoch at least
    with pytest.raises(BadData, match=r"3\.png"):
        finetune(replace(plan, unreadable=0.0), tmp_path / "other")


def test_captions_without_composition_cannot_be_matched_and_are_told(tmp_path):
    nouns = replace(CAE, data=replace(CAE.data, register=NOUNS), negatives=None, validation=None)
    seen = []
    with pytest.raises(BadInput, match="valid share 0: none of 96 captions"):
        finetune(nouns, tmp_path / "matched", watch=seen.append)
    assert [one.numbers["valid"] for one in seen if one.stage == "captions"] == [0.0]
    finetune(replace(nouns, attribution=AttributionPlan(weight=1.0)), tmp_path / "fixed")
    rows = list(read_jsonl(tmp_path / "fixed" / "metrics.jsonl"))
    assert {row["valid"]["gradcam"] for row in rows} == {0.0}
    assert {row["gap"]["gradcam"] for row in rows} == {None}


def test_a_weight_that_would_never_be_matched_is_refused(tmp_path):
    short = replace(CAE, steps=0, epochs=1, warmup=6)  # 48 images in batches of 8
    with pytest.raises(BadInput, match="warm-up of 6 steps, and the run has 6"):
        finetune(short, tmp_path)


@pytest.mark.parametrize("name", ["loss", "norm"])
def test_a_number_that_is_not_finite_stops_the_run_and_names_the_checkpoint(tmp_path, monkeypatch, name):
    real, taken = loop.backward, []

    def broken(encoder, batch, plan, engine):
        found = real(encoder, batch, plan, engine)
        taken.append(found)
        if len(taken) == 5 and name == "loss":
            return replace(found, loss=float("nan"))
        if len(taken) == 5:
            encoder.model.logit_scale.grad.fill_(float("inf"))
        return found

    monkeypatch.setattr(loop, "backward", broken)
    with pytest.raises(Diverged, match=r"at step 4: the last good checkpoint is .*step-000004"):
        finetune(PLAIN, tmp_path)
    monkeypatch.setattr(loop, "backward", real)
    finetune(PLAIN, tmp_path, resume=True)  # from the checkpoint that was named
    finetune(PLAIN, tmp_path / "whole")
    assert is_same(tmp_path / "model", tmp_path / "whole" / "model")


def test_a_loss_far_above_guessing_stops_the_run(tmp_path, monkeypatch):
    real = loop.backward
    high = 3 * np.log(8) + 0.1
    monkeypatch.setattr(loop, "backward", lambda *a: replace(real(*a), contrastive=high))
    plan = replace(
        PLAIN, batch=8, steps=PATIENCE + 5, log_every=1, save_every=7, data=replace(PLAIN.data, images=16)
    )
    with pytest.raises(Diverged, match=r"worse than guessing, at step 19: .*step-000014"):
        finetune(plan, tmp_path)


def test_a_full_disk_while_saving_leaves_a_run_that_can_go_on(tmp_path, monkeypatch):
    real = torch.save

    def full(thing, path):
        if "step-000004" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(thing, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UnwritableOutput, match=r"step-000004 cannot be written.*step-000002; make room"):
        finetune(PLAIN, tmp_path / "run")
    monkeypatch.setattr(torch, "save", real)
    finetune(PLAIN, tmp_path / "run", resume=True)
    finetune(PLAIN, tmp_path / "whole")
    assert is_same(tmp_path / "run" / "model", tmp_path / "whole" / "model")


def test_a_siglip_is_trained_with_its_own_loss_and_saved_as_one(tmp_path, tiny_siglip_dir):
    plan = replace(tabled(tmp_path), model=str(tiny_siglip_dir), negatives=None, steps=2)
    found = AutoModel.from_pretrained(finetune(plan, tmp_path / "run"))
    assert type(found).__name__ == "SiglipModel"
    first = next(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    before = AutoModel.from_pretrained(tiny_siglip_dir).state_dict()
    assert not torch.equal(found.state_dict()["logit_bias"], before["logit_bias"])
    assert first["contrastive"] > 0


def test_weights_of_open_clip_are_saved_as_a_transformers_model(tmp_path):
    """The start is open_clip's file, read with the activation asked for; the end opens without any hint."""
    words = tmp_path / "words"
    words.mkdir()
    lines = ["#version: 0.2", *oracle.MERGES]
    (words / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    torch.save(oracle.twin().state_dict(), words / "weights.pt")
    plan = replace(tabled(tmp_path), model=str(words / "weights.pt"), activation="gelu", steps=2)
    directory = finetune(plan, tmp_path / "run")
    found = open_model(directory)
    assert found.traits.activation == "gelu"
    start = open_model(words / "weights.pt", activation="gelu")
    assert found.tokens(["a red cat"]).ids.tolist() == start.tokens(["a red cat"]).ids.tolist()
    model = CLIPModel.from_pretrained(directory)
    assert model.config.architectures == ["CLIPModel"]
    assert torch.equal(model.text_projection.weight, found.model.text_projection.weight)


def test_a_new_text_tower_is_drawn_by_the_seed_and_the_image_tower_stays(tmp_path):
    plan = replace(PLAIN, fresh_text=True, trains="text", steps=2)
    one = weights(finetune(plan, tmp_path / "one"))
    other = weights(finetune(replace(plan, seed=1), tmp_path / "other"))
    start = open_model("tiny-clip").model.state_dict()
    image = [name for name in start if name.startswith("vision")]
    assert all(torch.equal(one[name], start[name]) for name in image)
    embedding = "text_model.embeddings.token_embedding.weight"
    assert not torch.allclose(one[embedding], start[embedding], atol=0.01)
    assert not torch.allclose(one[embedding], other[embedding], atol=0.01)


def test_the_attribution_loss_alone_trains_and_lets_the_contrastive_one_go(tmp_path):
    alone = replace(PLAIN, contrastive=0.0, attribution=AttributionPlan(("attention", "gradcam"), weight=3.0))
    finetune(alone, tmp_path, tensorboard=True)
    for row in read_jsonl(tmp_path / "metrics.jsonl"):
        both = row["attribution"].values()
        assert row["loss"] == pytest.approx(3.0 * sum(both) / 2, rel=1e-5)
    assert any((tmp_path / "tensorboard").iterdir())
    assert not is_same(tmp_path / "model", PRETRAINED)


def test_a_run_on_perturbation_goes_on_with_the_same_draws(tmp_path):
    """Replacements are drawn by the step, so a resumed run draws what the whole one drew."""
    plan = replace(PLAIN, attribution=AttributionPlan(("perturbation",), weight=0.1))

    def stop(seen):
        if (seen.stage, seen.done) == ("training", 5):
            raise Killed

    with pytest.raises(Killed):
        finetune(plan, tmp_path / "stopped", watch=stop)
    finetune(plan, tmp_path / "stopped", resume=True)
    finetune(plan, tmp_path / "whole")
    assert is_same(tmp_path / "stopped" / "model", tmp_path / "whole" / "model")


@pytest.mark.parametrize("device", ["cuda:7", "nonsense"])
def test_a_device_that_is_not_there_is_said(tmp_path, device):
    with pytest.raises(BadInput, match=device):
        finetune(PLAIN, tmp_path, device=device)
