"""Training of captioners as a whole: it learns, keeps the best, stops on collapse, and resumes to the same bits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import captioner_twins
import numpy as np
import pytest
import torch
from captioning_cases import CROSS_ENTROPY, RECIPE, SELF_CRITICAL, stages

from alignscope.errors import BadData, BadInput
from alignscope.files import read_jsonl
from alignscope.models.captioners.captioner_loading import open_captioner
from alignscope.studies.training import train_recipe
from alignscope.training import captioning, checkpoints
from alignscope.training.captioning_material import material
from alignscope.training.captioning_reward import Paying
from alignscope.training.engine import Engine
from alignscope.training.metrics import Diverged, Seen, rows
from alignscope.training.reading import read
from alignscope.training.recipe import (
    AttentionLstmPlan,
    CiderPlan,
    SavedCaptioner,
    ScorerPlan,
    TransformerPlan,
)
from alignscope.training.rewards import Measured

RECIPES = Path(__file__).parents[2] / "recipes"


class Stopped(Exception):
    pass


def stopping(stage: str, step: int) -> Callable[[Seen], None]:
    """A watch that ends a run as a kill would."""

    def watch(seen: Seen) -> None:
        if (seen.stage, seen.done) == (stage, step):
            raise Stopped

    return watch


def made(out: Path) -> dict[str, Any]:
    """All that a run leaves and that must not depend on when it was stopped."""
    files = sorted(path for path in out.rglob("*.safetensors") if checkpoints.FOLDER not in path.parts)
    return {
        "weights": {str(path.relative_to(out)): path.read_bytes() for path in files},
        "captions": (out / "captions.jsonl").read_bytes(),
        "metrics": [{name: each for name, each in row.items() if name != "seconds"} for row in rows(out)],
    }


def paid_by(
    monkeypatch: pytest.MonkeyPatch, measure: Callable[[Sequence[int], Sequence[str]], list[float]]
) -> None:
    reward = Measured("made up", measure)
    monkeypatch.setattr(captioning, "payment", lambda *_, **__: Paying(reward, reward))


def test_a_stopped_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Both stages, with dropout, scheduled sampling, and a scorer and CIDEr-D as reward."""
    guided = replace(
        SELF_CRITICAL, reward=(ScorerPlan("scorer", "tiny-clip"), CiderPlan("cider", weight=0.1))
    )
    recipe = stages(CROSS_ENTROPY, guided)
    captioning.train(recipe, tmp_path / "whole")
    whole = made(tmp_path / "whole")
    assert len(whole["weights"]) == 3
    assert {row["scheduled_sampling"] for row in whole["metrics"] if row["stage"] == 0} == {0, 0.05}
    for name, step in (("1. cross-entropy", 3), ("1. cross-entropy", 6), ("2. self-critical", 3)):
        out = tmp_path / f"stopped {name} {step}"
        with pytest.raises(Stopped):
            captioning.train(recipe, out, watch=stopping(name, step))
        captioning.train(recipe, out, resume=True)
        assert made(out) == whole, (name, step)


def test_rates_follow_the_epochs_of_the_loop(tmp_path: Path) -> None:
    """Four images, two a step: an epoch is two steps."""
    stage = replace(
        CROSS_ENTROPY, steps=0, epochs=7, images=2, decay_every=3, sampling_every=5, learning_rate=5e-4
    )
    recipe = replace(stages(stage), data=replace(RECIPE.data, images=4))
    captioning.train(recipe, tmp_path)
    found = [(row["learning_rate"], row["scheduled_sampling"]) for row in rows(tmp_path)]
    rates = [5e-4] * 3 + [4e-4] * 3 + [3.2e-4]
    chances = [0.0] * 5 + [0.05] * 2
    assert [each for each, _ in found] == pytest.approx([rate for rate in rates for _ in range(2)])
    assert [each for _, each in found] == pytest.approx([chance for chance in chances for _ in range(2)])


def test_a_word_that_is_paid_for_becomes_likelier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 7 item 7, through the whole loop."""

    def has_moon(images: Sequence[int], texts: Sequence[str]) -> list[float]:
        return [float("moon" in text.split()) for text in texts]

    paid_by(monkeypatch, has_moon)
    stage = replace(SELF_CRITICAL, steps=40, images=8, samples=5, learning_rate=3e-2, validate_every=40)
    directory = captioning.train(stages(replace(CROSS_ENTROPY, steps=20), stage), tmp_path)

    data = material(RECIPE.data)
    chances = []
    for place in (tmp_path / "stages" / "1-cross-entropy", directory):
        captioner = open_captioner(place)
        features = captioner.features(data.train.sights)
        moon = torch.tensor([captioner.vocabulary.words.index("moon") + 1])  # type: ignore[attr-defined]
        after_a = torch.tensor([[captioner.vocabulary.words.index("a") + 1, int(moon)]] * 8)  # type: ignore[attr-defined]
        with torch.no_grad():
            chances.append(captioner.logprob(features, after_a)[:, 1].exp().mean().item())
    assert chances[1] > 3 * chances[0]
    found = [row["reward"] for row in rows(tmp_path) if row["stage"] == 1]
    assert np.mean(found[-5:]) > 0.8 > 0.5 > np.mean(found[:3])
    assert rows(tmp_path)[-1]["kl_to_start"] > 0.1


def test_a_reward_that_is_the_same_for_all_moves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid_by(monkeypatch, lambda images, texts: [0.5] * len(texts))
    directory = captioning.train(RECIPE, tmp_path)
    before = (tmp_path / "stages" / "1-cross-entropy" / "model.safetensors").read_bytes()
    assert (directory / "model.safetensors").read_bytes() == before
    assert {row["kl_to_start"] for row in rows(tmp_path) if row["stage"] == 1} == {0}


def test_captions_of_a_few_images_are_learned_by_heart(tmp_path: Path) -> None:
    data = replace(RECIPE.data, images=6, captions_per_image=1)
    stage = replace(
        CROSS_ENTROPY, steps=120, images=6, captions=1, most_sampling=0.0, decay=1.0, validate_every=120
    )
    recipe = replace(
        stages(stage), data=data, captioner=replace(RECIPE.captioner, hidden=48, dropout=0.0), longest=16
    )
    directory = captioning.train(recipe, tmp_path)
    captioner, train = open_captioner(directory), material(data).train
    said = captioner.generate(captioner.features(train.sights), max_length=16).texts
    assert [*said] == [captions[0] for captions in train.captions]
    test = material(data).test
    written = [(row["image"], row["caption"]) for row in read_jsonl(tmp_path / "captions.jsonl")]
    assert written == [
        *zip(test.keys, captioner.generate(captioner.features(test.sights), max_length=16).texts, strict=True)
    ]
    assert json.loads((directory / "training.json").read_text())["recipe"]["name"] == "test"


def test_the_best_weights_are_kept_or_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIDEr-D is told to be best in the middle: after four steps of six."""
    weights: dict[str, dict[int, Any]] = {"best": {}, "last": {}}
    for keep in ("best", "last"):
        told = iter([0.1, 0.9, 0.2])

        def validate(run: Any, captioner: Any, paying: Any, step: int) -> dict[str, float]:
            state = {name: tensor.clone() for name, tensor in captioner.model.state_dict().items()}
            weights[keep][step] = state  # noqa: B023
            return {"cider": next(told)}  # noqa: B023

        monkeypatch.setattr(captioning, "validate", validate)
        out = tmp_path / keep
        directory = captioning.train(stages(replace(CROSS_ENTROPY, keep=keep)), out)
        names = sorted(path.name for path in (out / checkpoints.FOLDER).iterdir())
        assert names == ["step-000004", "step-000006"], "best and last"
        found = open_captioner(directory).model.state_dict()
        wanted = weights[keep][4 if keep == "best" else 6]
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
        other = weights[keep][6 if keep == "best" else 4]
        assert not all(torch.equal(found[name], other[name]) for name in other)


def test_self_critical_training_begins_with_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([0.9, 0.1, 0.1])
    plain, begun = captioning.validate, []

    def validate(run: Any, captioner: Any, paying: Any, step: int) -> dict[str, Any]:
        if paying is None:
            return {"cider": next(told)}
        begun.append({name: tensor.clone() for name, tensor in captioner.model.state_dict().items()})
        return plain(run, captioner, paying, step)

    monkeypatch.setattr(captioning, "validate", validate)
    captioning.train(RECIPE, tmp_path)
    best = open_captioner(tmp_path / "stages" / "1-cross-entropy").model.state_dict()
    assert all(torch.equal(best[name], begun[0][name]) for name in best)
    assert not all(torch.equal(best[name], begun[-1][name]) for name in best)
    first = next(row for row in rows(tmp_path) if row["stage"] == 1)
    assert set(first["before"]) == set(
        first["validation"] if "validation" in first else rows(tmp_path)[-1]["validation"]
    )
    assert "reward" in first["before"]


def test_collapse_ends_a_stage_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid_by(monkeypatch, lambda images, texts: [float(len(text.split())) for text in texts])
    guided = replace(
        SELF_CRITICAL,
        steps=20,
        images=8,
        samples=5,
        learning_rate=3e-2,
        validate_every=20,
        most_cut=0.5,
        most_repetition=1.0,
    )
    recipe = stages(replace(CROSS_ENTROPY, steps=20), replace(guided, stop_at_alarm=True))
    captioning.train(recipe, tmp_path / "stopped")
    told = [row for row in rows(tmp_path / "stopped") if row["stage"] == 1]
    assert [bool(row["alarms"]) for row in told] == [False] * (len(told) - 1) + [True]
    assert len(told) < 20
    assert told[-1]["alarms"][0].startswith("cut is")
    assert told[-1]["validation"]["cut"] >= 0
    first = made(tmp_path / "stopped")
    captioning.train(recipe, tmp_path / "stopped", resume=True)
    assert made(tmp_path / "stopped") == first, "a run that is over stays over"
    captioning.train(stages(replace(CROSS_ENTROPY, steps=20), guided), tmp_path / "on")
    assert len([row for row in rows(tmp_path / "on") if row["stage"] == 1]) == 20


def test_gradients_are_clipped_by_value_and_adam_is_the_papers(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    captioning.move(Engine(cpu=True), optimizer, weight @ torch.tensor([7.0, -3.0, 0.05]), 0.5, most=0.1)
    torch.testing.assert_close(weight.data, torch.tensor([-0.05, 0.05, -0.025]))
    captioning.train(stages(CROSS_ENTROPY), tmp_path)
    saved = torch.load(checkpoints.at(tmp_path, 6) / checkpoints.OPTIMIZER, weights_only=True)
    (group,) = saved["optimizer"]["param_groups"]
    assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-8, 0)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    recipe = stages(replace(CROSS_ENTROPY, learning_rate=1e30))
    with pytest.raises(
        Diverged, match=r"loss (nan|inf) in step \d of stage 0: (the last|no) .*learning_rate"
    ):
        captioning.train(recipe, tmp_path)


@pytest.mark.parametrize(
    "plan",
    [
        AttentionLstmPlan("attention-lstm", hidden=8, attention=4),
        TransformerPlan("transformer", hidden=8, layers=1, heads=2, mlp=8),
    ],
    ids=lambda plan: plan.kind,
)
def test_captioners_of_regions_train_too(tmp_path: Path, plan: Any) -> None:
    data = replace(RECIPE.data, sees="regions")
    recipe = replace(
        stages(replace(CROSS_ENTROPY, steps=2), replace(SELF_CRITICAL, steps=2)), data=data, captioner=plan
    )
    directory = captioning.train(recipe, tmp_path / "run")
    again = replace(
        recipe, captioner=SavedCaptioner("saved", str(directory)), stages=(replace(SELF_CRITICAL, steps=1),)
    )
    captioning.train(again, tmp_path / "again")
    assert rows(tmp_path / "again")[0]["before"] == rows(tmp_path / "run")[-1]["validation"]


def test_a_saved_captioner_without_stages_speaks_as_it_is(tmp_path: Path) -> None:
    """What a study takes from others; done again it stays as it is."""
    first = captioning.train(stages(CROSS_ENTROPY), tmp_path / "first")
    recipe = replace(stages(), captioner=SavedCaptioner("saved", str(first)))
    for resume in (False, True):
        found = captioning.train(recipe, tmp_path / "again", resume=resume)
        assert (found / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()
        said = [(tmp_path / name / "captions.jsonl").read_bytes() for name in ("first", "again")]
        assert said[0] == said[1] != b""
    assert rows(tmp_path / "again") == []
    changes = ['captioner={kind="saved", path="x"}', "stages=[]"]
    assert read(RECIPES / "world-captioner.toml", changes).stages == ()  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["blip", "git"])
def test_captioners_of_transformers_train_too(tmp_path: Path, kind: str) -> None:
    saved = captioner_twins.save_twin(tmp_path / kind, kind)
    crossed = replace(CROSS_ENTROPY, steps=4, sampling=0.5, learning_rate=1e-3, most_sampling=0.5)
    recipe = replace(
        stages(crossed, replace(SELF_CRITICAL, steps=2)),
        data=replace(RECIPE.data, sees="image"),
        captioner=SavedCaptioner("saved", str(saved)),
    )
    directory = captioning.train(recipe, tmp_path / "run")
    losses = [row["loss"] for row in rows(tmp_path / "run") if row["stage"] == 0]
    assert losses[-1] < losses[0]
    open_captioner(directory)


def test_another_recipe_or_other_data_do_not_go_on(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        captioning.train(RECIPE, tmp_path, watch=stopping("1. cross-entropy", 3))
    with pytest.raises(BadData, match=r"threshold: was 0, now 1"):
        captioning.train(replace(RECIPE, threshold=1), tmp_path, resume=True)


def test_another_captioner_at_the_same_path_does_not_go_on(tmp_path: Path) -> None:
    """The recipe is the same, its entry names other weights."""
    one = captioning.train(stages(replace(CROSS_ENTROPY, steps=2, keep="last")), tmp_path / "one")
    recipe = replace(stages(SELF_CRITICAL), captioner=SavedCaptioner("saved", str(one)))
    with pytest.raises(Stopped):
        captioning.train(recipe, tmp_path / "run", watch=stopping("1. self-critical", 3))
    other = captioning.train(stages(replace(CROSS_ENTROPY, steps=3, keep="last")), tmp_path / "other")
    (one / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(BadData, match="made from data with the hash"):
        captioning.train(recipe, tmp_path / "run", resume=True)


def test_it_trains_by_name_into_a_claimed_directory(tmp_path: Path) -> None:
    changes = [
        "data.images=8", "data.validation=2", "data.test=2", "threshold=0", "captioner.hidden=8",
        'stages=[{kind="cross-entropy", steps=2, images=2}]',
    ]  # fmt: skip
    seen: list[Seen] = []
    name = str(RECIPES / "world-captioner.toml")
    directory = train_recipe(name, tmp_path / "run", changes=changes, watch=seen.append)
    open_captioner(directory)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["finished"]
    assert seen[-1].stage == "1. cross-entropy"
    with pytest.raises(BadInput, match="leave out --workers"):
        train_recipe(name, tmp_path / "other", changes=changes, workers=1)
