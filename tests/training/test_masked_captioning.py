"""Masked-caption training against plain code: what is hidden, the loss, the rates, and runs that are stopped."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captioning_cases import RECIPE, captioner, stages
from oscar_twins import mixed, oscar, plain_logits, plain_states
from test_captioning import Stopped, made, stopping

from alignscope.errors import BadInput, BadRecipe
from alignscope.files import read_jsonl
from alignscope.models.captioners.captioner_loading import open_captioner
from alignscope.training import captioning, checkpoints
from alignscope.training.captioning_material import Part, material
from alignscope.training.captioning_steps import WORDS, Place, is_due, rate_of, steps_of
from alignscope.training.masked_captioning import (
    MaskedSteps,
    adamw,
    each_caption,
    hide,
    smoothed_losses,
    without_worst,
)
from alignscope.training.metrics import rows
from alignscope.training.reading import section
from alignscope.training.recipe import (
    Captioning,
    CiderPlan,
    MaskedCaption,
    OscarPlan,
    SavedCaptioner,
    SelfCritical,
)

OFFICIAL = MaskedCaption("masked-caption", epochs=10)
STAGE = MaskedCaption("masked-caption", steps=6, images=4, learning_rate=1e-2, drop_worst_after=3)
PLAN = OscarPlan("oscar", hidden=16, layers=1, heads=2, mlp=16, caption_length=20, text_length=28)
DATA = replace(RECIPE.data, sees="labelled", images=6, captions_per_image=2)


def recipe(*chosen: Any) -> Captioning:
    return replace(stages(*chosen or (STAGE,)), data=DATA, captioner=PLAN)


def hidden(length: int, *, rows: int = 20_000, share: float = 0.15) -> Any:
    """Captions [CLS] 10 11 … [SEP] with padding, of a vocabulary of 1000."""
    ids = torch.arange(9, 9 + length + 2).repeat(rows, 1)
    ids[:, 0], ids[:, length - 1 :] = 2, 3
    present = torch.arange(length + 2).repeat(rows, 1) < length
    found = hide(ids, present, share=share, most=3, mask=4, tokens=1000, random=np.random.default_rng(0))
    return ids, found


@pytest.mark.parametrize(
    ("length", "count"), [(2, 1), (9, 1), (10, 2), (11, 2), (16, 2), (17, 3), (20, 3), (30, 3)]
)
def test_a_share_is_hidden_one_at_least_and_three_at_most(length: int, count: int) -> None:
    """0.15 of tokens with start and end, rounded half to even as Python does: 1.5 is 2, 2.5 is 2."""
    ids, (shown, places) = hidden(length, rows=200)
    assert places.sum(dim=-1).tolist() == [count] * 200
    assert not places[:, 0].any()
    assert not places[:, length:].any(), "no padding"
    assert torch.equal(shown[~places], ids[~places])


def test_every_place_with_the_end_is_hidden_as_often_and_shown_80_10_10() -> None:
    length = 8
    ids, (shown, places) = hidden(length)
    often = places[:, 1:length].float().mean(dim=0)
    torch.testing.assert_close(
        often, torch.full((7,), 1 / 7), rtol=0, atol=4 * math.sqrt(1 / 7 * 6 / 7 / 20_000)
    )
    kinds = Counter(
        "mask" if now == 4 else "same" if now == was else "other"
        for was, now in zip(ids[places].tolist(), shown[places].tolist(), strict=True)
    )
    slack = 4 * math.sqrt(0.1 * 0.9 * 20_000)
    assert abs(kinds["mask"] - 16_000) < 4 * math.sqrt(0.8 * 0.2 * 20_000)
    assert abs(kinds["same"] - 2_000) < slack
    assert abs(kinds["other"] - 2_000) < slack
    others = shown[places][(shown[places] != ids[places]) & (shown[places] != 4)]
    assert others.unique().numel() > 800
    assert int(others.max()) > 990


def test_smoothed_losses_are_divergences_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    targets = [3, 0, 6, 1, 3]
    for smoothing in (0.0, 0.1):
        wanted = []
        for row, target in zip(logits.tolist(), targets, strict=True):
            total = sum(math.exp(one) for one in row)
            loss = 0.0
            for word, one in enumerate(row):
                aim = 1 - smoothing if word == target else smoothing / 6
                if aim:
                    loss += aim * (math.log(aim) - math.log(math.exp(one) / total))
            wanted.append(loss)
        got = smoothed_losses(logits, torch.tensor(targets), smoothing)
        assert got.tolist() == pytest.approx(wanted, abs=1e-12)
    aims = torch.full((1, 7), 0.1 / 6).scatter(1, torch.tensor([[2]]), 0.9)
    assert smoothed_losses(aims.log(), torch.tensor([2]), 0.1).item() == pytest.approx(0, abs=1e-6)


def test_the_worst_are_left_out_as_a_loop_does() -> None:
    losses = torch.rand(33, generator=torch.Generator().manual_seed(1))
    left = losses.tolist()
    for _ in range(33 - int(33 * 0.8)):
        left.remove(max(left))
    assert sorted(without_worst(losses, 0.2).tolist()) == sorted(left)
    assert without_worst(losses[:1], 0.9).tolist() == losses[:1].tolist()
    assert len(without_worst(losses, 0.0)) == 33


@pytest.mark.parametrize("step", [2, 3])
def test_the_loss_of_a_step_is_that_of_plain_code(step: int) -> None:
    """Whole sequences with the whole mask at once; from step 3 on without the worst of them."""
    twin, texts = oscar(), ["a dog near a table", "red", "cat near cat near a dog", "toad"]
    part = Part([f"image-{n}" for n in range(4)], [[text] for text in texts], mixed())
    stage = replace(STAGE, masked=0.4, drop_worst=0.4)
    place = Place(0, 0, step)
    stepped = MaskedSteps(_without_dropout(twin), part, stage, 16)(place)
    random, tokenizer = np.random.default_rng(place.drawn(WORDS)), twin.speller.tokenizer  # type: ignore[attr-defined]
    order = np.random.default_rng([0, 0, step, 1]).permutation(4)
    losses = []
    for entry in order.tolist():
        caption = [2, *tokenizer(texts[entry], add_special_tokens=False)["input_ids"], 3]
        count = min(max(round(0.4 * len(caption)), 1), 3)
        chosen, shown = (1 + random.permutation(len(caption) - 1)[:count]).tolist(), list(caption)
        for at in chosen:
            drawn = random.random()
            if drawn < 0.8:
                shown[at] = tokenizer.mask_token_id
            elif drawn < 0.9:
                shown[at] = int(random.integers(len(twin.vocabulary)))
        logits = plain_logits(twin, plain_states(twin, part.sights[entry], shown)[0][: len(shown)])
        for at in chosen:
            share = torch.full((logits.shape[-1],), 0.1 / (logits.shape[-1] - 1), dtype=torch.float64)
            share[caption[at]] = 0.9
            losses.append((share * (share.log() - logits[at].log_softmax(-1))).sum().item())
    if step >= 3:
        losses = sorted(losses)[: int(len(losses) * 0.6)]
    assert stepped.loss.dtype == torch.float64
    assert stepped.tokens == len(losses)
    assert stepped.loss.item() == pytest.approx(np.mean(losses), abs=1e-6)


def _without_dropout(twin: Any) -> Any:
    for module in twin.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return twin


def test_the_rate_falls_in_a_line_without_warm_up() -> None:
    total = steps_of(OFFICIAL, 11_999 * 3)
    assert total == 11_250, "paper C: 10 epochs of 11,999 images with 3 captions, 32 a step"
    rates = [rate_of(OFFICIAL, step, total, 11_999 * 3) for step in (0, total // 2, total - 1)]
    assert rates == pytest.approx([3e-5, 1.5e-5, 3e-5 / total])


def test_each_pass_has_every_caption_and_is_validated_after(tmp_path: Path) -> None:
    """Six images with two captions, four a step: three steps a pass."""
    stage = replace(STAGE, steps=0, epochs=2)
    captioning.train(recipe(stage), tmp_path)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [1, 2, 3, 4, 5, 6]
    assert ["validation" in row for row in found] == [False, False, True] * 2
    assert [row["learning_rate"] for row in found] == pytest.approx([1e-2 * (6 - n) / 6 for n in range(6)])
    data = material(DATA)
    for step in (3, 6):
        said = [*read_jsonl(tmp_path / "validation" / f"{step:06d}.jsonl")]
        assert [row["image"] for row in said] == [*data.validation.keys]
    people = [*read_jsonl(tmp_path / "validation" / "references.jsonl")]
    assert [row["caption"] for row in people] == [text for said in data.validation.captions for text in said]
    assert not is_due(stage, 0, 12)
    pairs = each_caption(data.train)
    assert [pairs.captions[n][0] for n in range(12)] == [
        text for texts in data.train.captions for text in texts
    ]
    assert pairs.sights[3].regions == data.train.sights[1].regions
    assert [row["counted"] for row in found][:3] == [row["hidden"] for row in found][:3]
    assert all(row["counted"] == int(row["hidden"] * 0.8) for row in found[3:])


def test_the_optimizer_is_the_officials(tmp_path: Path) -> None:
    captioning.train(recipe(STAGE), tmp_path)
    saved = torch.load(checkpoints.at(tmp_path, 6) / checkpoints.OPTIMIZER, weights_only=True)
    decayed, free = saved["optimizer"]["param_groups"]
    assert (decayed["eps"], decayed["betas"], decayed["weight_decay"]) == (1e-8, (0.9, 0.999), 0.05)
    assert free["weight_decay"] == 0
    twin = oscar()
    optimizer = adamw(twin, STAGE)
    names = {id(each): name for name, each in twin.model.named_parameters()}
    assert {names[id(each)].rpartition(".")[2] for each in optimizer.param_groups[0]["params"]} == {"weight"}
    assert all(
        "LayerNorm" in names[id(each)] or names[id(each)].endswith("bias")
        for each in optimizer.param_groups[1]["params"]
    )


def test_gradients_are_clipped_by_their_norm() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:]}], lr=1.0)
    loss = weights[0] @ torch.tensor([2.0, 1.0]) + 2 * weights[1].sum()
    captioning.move(
        captioning.engine_for(recipe(), "cpu"),
        optimizer,
        loss,
        1.0,
        most=1.0,
        clip=captioning.clip_grad_norm_,
    )
    torch.testing.assert_close(weights[0].data, torch.tensor([-2 / 3, -1 / 3]), rtol=0, atol=1e-5)
    torch.testing.assert_close(weights[1].data, torch.tensor([-2 / 3]), rtol=0, atol=1e-5)


def test_words_stay_where_embeddings_are_frozen(tmp_path: Path) -> None:
    def words(directory: Path) -> torch.Tensor:
        return open_captioner(directory).model.get_input_embeddings().weight.detach()

    moved = captioning.train(recipe(STAGE), tmp_path / "moved")
    stays = captioning.train(recipe(replace(STAGE, freezes_embeddings=True)), tmp_path / "stays")
    begun = recipe(replace(STAGE, steps=1, learning_rate=1e-30))
    start = words(captioning.train(begun, tmp_path / "start"))
    assert torch.equal(words(stays), start)
    assert not torch.equal(words(moved), start)
    heads = [open_captioner(each).model.state_dict()["cls.predictions.bias"] for each in (moved, stays)]
    assert all(each.abs().amax() > 1e-3 for each in heads)


def test_a_stopped_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Masked captions with dropout, then self-critical steps of the same captioner."""
    guided = SelfCritical(
        "self-critical",
        (CiderPlan("cider"),),
        steps=3,
        images=3,
        samples=2,
        learning_rate=1e-3,
        validate_every=2,
    )
    plan = recipe(STAGE, guided)
    captioning.train(plan, tmp_path / "whole")
    whole = made(tmp_path / "whole")
    assert len(whole["weights"]) == 3
    for name, step in (("1. masked-caption", 3), ("1. masked-caption", 6), ("2. self-critical", 2)):
        out = tmp_path / f"stopped {name} {step}"
        with pytest.raises(Stopped):
            captioning.train(plan, out, watch=stopping(name, step))
        captioning.train(plan, out, resume=True)
        assert made(out) == whole, (name, step)


def test_captions_of_a_few_images_are_learned_by_heart_and_so_are_their_ends(tmp_path: Path) -> None:
    stage = replace(
        STAGE, steps=250, images=6, learning_rate=5e-3, masked=0.3, drop_worst=0.0, validate_every=250
    )
    plan = replace(
        recipe(stage),
        data=replace(DATA, captions_per_image=1),
        captioner=replace(PLAN, hidden=32, dropout=0.0, initializer_range=0.1),
        longest=16,
        words_read=18,
    )
    found, train = open_captioner(captioning.train(plan, tmp_path)), material(plan.data).train
    said = found.write(train.sights, max_length=18)
    assert [one.text for one in said] == [texts[0] for texts in train.captions]


def test_scenes_are_said_after_objects_by_the_same_words(tmp_path: Path) -> None:
    objects = captioning.train(recipe(STAGE), tmp_path / "objects")
    scenes = replace(
        recipe(STAGE),
        data=replace(DATA, register=None, says="scenes"),
        captioner=SavedCaptioner("saved", str(objects)),
    )
    data = material(scenes.data)
    directory = captioning.train(scenes, tmp_path / "scenes")
    begun = rows(tmp_path / "scenes")[0]
    assert begun["stage"] == 0
    tokenizer = open_captioner(directory).speller.tokenizer
    for texts in data.train.captions:
        for text in texts:
            assert tokenizer.tokenize(text) == text.split(), "no word is spelled"
    assert json.loads((directory / "training.json").read_text())["recipe"]["data"]["says"] == "scenes"


def test_other_captioners_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match="got a FcCaptioner for masked-caption training, wanted an Oscar or VinVL"
    ):
        adamw(captioner(), STAGE)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"captioner": {"kind": "fc"}}, "oscar, or a saved captioner that is one"),
        ({"words_read": 39}, "room for words_read with start and end"),
        ({"data": {"kind": "world", "images": 9, "sees": "labelled"}}, "a register for captions of objects"),
        (
            {"data": {"kind": "world", "images": 99, "sees": "regions", "says": "scenes"}},
            "'labelled' for oscar",
        ),
        ({"stages": [{"kind": "masked-caption", "epochs": 1, "drop_worst": 1.0}]}, "from 0 to below 1"),
        ({"data": {"kind": "hl", "train": "", "test": "t", "regions": "r"}}, "a text that is not empty"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(changes: dict[str, Any], wanted: str) -> None:
    entries = {
        "name": "x", "seed": 0, "threads": 1, "longest": 20,
        "data": {"kind": "oscar", "train": "a", "validation": "b", "test": "c"},
        "captioner": {"kind": "oscar"},
        "stages": [{"kind": "masked-caption", "epochs": 1}],
    }  # fmt: skip
    assert section(Captioning, entries, "here").stages == (replace(OFFICIAL, epochs=1),)
    with pytest.raises(BadRecipe, match=wanted):
        section(Captioning, {**entries, **changes}, "here")
