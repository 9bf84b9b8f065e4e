"""Steps of a captioner's training against plain code: rates, draws, losses and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from captioning_cases import CROSS_ENTROPY, SELF_CRITICAL, captioner, part
from torch import Tensor

from alignscope.training.captioning_steps import (
    CrossEntropySteps,
    Place,
    SelfCriticalSteps,
    captions_of,
    epoch_of,
    images_of,
    learning_rate,
    scheduled_sampling,
    steps_of,
)
from alignscope.training.recipe import CrossEntropy, SelfCritical
from alignscope.training.rewards import Measured, Reward
from alignscope.training.wording import wording

PAPER = CrossEntropy("cross-entropy", epochs=30)


def test_the_rates_of_the_paper_by_epoch() -> None:
    """Sheet A.3, section 7 item 8: x0.8 every 3 epochs, +0.05 every 5 up to 0.25."""
    rate, chance = 5e-4, 0.0
    for epoch in range(40):
        if epoch and epoch % 3 == 0:
            rate *= 0.8
        if epoch and epoch % 5 == 0 and epoch <= 25:
            chance += 0.05
        assert learning_rate(PAPER, epoch) == pytest.approx(rate)
        assert scheduled_sampling(PAPER, epoch) == pytest.approx(chance)
    assert learning_rate(PAPER, 29) == pytest.approx(6.71e-5, rel=1e-3)
    guided = SelfCritical("self-critical", reward=(), epochs=20)
    assert {learning_rate(guided, epoch) for epoch in range(20)} == {5e-5}


def test_epochs_and_steps_of_coco() -> None:
    """113,287 images, 10 a step: an epoch is 11,328.7 steps, and no image is left out of any."""
    assert steps_of(PAPER, 113_287) == 339_861
    assert [epoch_of(PAPER, step, 113_287) for step in (0, 11_328, 11_329, 339_860)] == [0, 0, 1, 29]
    assert steps_of(replace(PAPER, epochs=0, steps=7), 113_287) == 7


def test_every_pass_has_every_image_once_in_an_order_of_its_own() -> None:
    seen = [image for step in range(5) for image in images_of(Place(0, 1, step), 4, 10)]
    first, second = seen[:10], seen[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert images_of(Place(0, 1, 2), 4, 10) == seen[8:12]
    assert [image for step in range(3) for image in images_of(Place(1, 1, step), 4, 10)][:10] != first


def test_captions_come_twice_only_where_there_are_too_few() -> None:
    data = part(images=3, captions=4)
    for step in range(5):
        taken = captions_of(data, [0, 2], 3, Place(0, 0, step))
        for image, own in ((0, taken[:3]), (2, taken[3:])):
            assert set(own) <= set(data.captions[image])
            assert len(set(own)) == 3
    assert len(captions_of(data, [1], 6, Place(0, 0, 0))) == 6
    assert len({tuple(captions_of(data, [1], 3, Place(0, 0, step))) for step in range(9)}) > 1


def test_the_loss_is_the_mean_over_words_and_ends() -> None:
    data, made = part(), captioner()
    stage = replace(CROSS_ENTROPY, images=3, captions=2, most_sampling=0.0)
    place = Place(0, 0, 1)
    found = CrossEntropySteps(made, data, stage, words_read=3)(place).loss
    images = images_of(place, 3, len(data))
    texts = captions_of(data, images, 2, place)
    total, tokens = 0.0, 0
    for number, text in enumerate(texts):
        words = text.split()[:3]  # as many as are read
        ids = made.vocabulary.ids([" ".join(words)])
        assert ids.shape == (1, len(words) + 1)
        features = made.features([data.sights[images[number // 2]]])
        total -= made.logprob(features, ids).sum().item()
        tokens += len(words) + 1
    assert found.item() == pytest.approx(total / tokens, rel=1e-5)


def test_scheduled_sampling_is_passed_on_from_its_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    data, made, chances = part(), captioner(), []
    plain = type(made).logprob

    def logprob(self: Any, *args: Any, **options: Any) -> Tensor:
        chances.append(options["scheduled_sampling"])
        return plain(self, *args, **options)

    monkeypatch.setattr(type(made), "logprob", logprob)
    stage = replace(CROSS_ENTROPY, images=5, sampling=0.05, sampling_every=5, most_sampling=0.25)
    steps = CrossEntropySteps(made, data, stage, words_read=16)
    for epoch in (0, 5, 29):
        assert steps(Place(0, 0, epoch)).numbers() == {"scheduled_sampling": chances[-1]}
    assert chances == pytest.approx([0, 0.05, 0.25])


def test_a_step_is_a_function_of_seed_stage_and_step() -> None:
    data, made = part(), captioner(dropout=0.5)
    steps = CrossEntropySteps(made, data, replace(CROSS_ENTROPY, sampling=0.5), words_read=16)
    guided = _self_critical(made, SELF_CRITICAL)
    for each in (steps, guided):
        losses = []
        for place in (Place(1, 0, 4), Place(1, 0, 5), Place(2, 0, 4), Place(1, 0, 4)):
            torch.rand(3)  # whatever else draws between
            losses.append(each(place).loss.item())
        assert losses[0] == losses[3]
        assert len(set(losses)) == 3


def _length(images: Sequence[int], texts: Sequence[str]) -> list[float]:
    """Pays words, and images differently."""
    return [len(text.split()) * (1 + image) / 10 for image, text in zip(images, texts, strict=True)]


def _self_critical(
    made: Any, stage: SelfCritical, *, start: Any = None, reward: Reward | None = None
) -> SelfCriticalSteps:
    reward = reward or Measured("length", _length)
    start = start or captioner()
    return SelfCriticalSteps(made, start, part(), stage, reward, 5, frozenset({"cat", "dog"}), None)


@pytest.mark.parametrize("baseline", ["greedy", "others"])
def test_the_self_critical_gradient_is_that_of_plain_code(baseline: Any) -> None:
    made, data = captioner(scale=0.7), part()
    stage = replace(SELF_CRITICAL, images=3, samples=4, baseline=baseline)
    place = Place(0, 1, 2)
    said: list[tuple[list[int], list[str]]] = []

    def heard(images: Sequence[int], texts: Sequence[str]) -> list[float]:
        said.append((list(images), list(texts)))
        return _length(images, texts)

    loss = _self_critical(made, stage, reward=Measured("length", heard))(place).loss
    gradients = torch.autograd.grad(loss, list(made.model.parameters()))

    images = images_of(place, 3, len(data))
    (asked, texts), *more = said
    assert not more, "samples and greedy captions are paid in one call"
    assert asked == [image for image in images for _ in range(4)] + images
    total, tokens = torch.zeros(()), 0
    for number, text in enumerate(texts[:12]):
        image = images[number // 4]
        features = made.features([data.sights[image]])
        own = _length([image] * 4, texts[number // 4 * 4 : number // 4 * 4 + 4])
        if baseline == "greedy":
            greedy = made.generate(features, max_length=5).texts
            assert greedy == (texts[12 + number // 4],)
            paid = own[number % 4] - _length([image], greedy)[0]
        else:
            paid = own[number % 4] - (sum(own) - own[number % 4]) / 3
        ids = made.vocabulary.ids([text])
        ids = ids[:, :5] if len(text.split()) == 5 else ids  # cut: the end was never drawn
        total = total - paid * made.logprob(features, ids).sum()
        tokens += ids.shape[1]
    expected = torch.autograd.grad(total / tokens, list(made.model.parameters()))
    assert any(each.abs().max() > 1e-3 for each in expected)
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_a_sample_that_is_the_greedy_caption_moves_nothing() -> None:
    """Section 7 item 7, with a captioner so sure of its words that it draws no other."""
    made = captioner(scale=60.0)
    steps = _self_critical(made, SELF_CRITICAL)
    stepped = steps(Place(0, 1, 0))
    numbers = stepped.numbers()
    assert numbers["reward"] == pytest.approx(numbers["reward_of_greedy"])
    assert numbers["reward"] > 0
    stepped.loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in made.model.parameters())
    unsure = captioner(scale=0.5)
    _self_critical(unsure, SELF_CRITICAL)(Place(0, 1, 0)).loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in unsure.model.parameters())


def test_dropout_is_on_in_samples_alone() -> None:
    """The baseline is the captioner's own caption in evaluation mode: drawn twice it is the same."""
    made = captioner(scale=0.5, dropout=0.9)
    stage = replace(SELF_CRITICAL, images=5)
    rows = [_self_critical(made, stage)(Place(0, 1, step)).numbers() for step in (1, 2)]
    assert rows[0]["reward_of_greedy"] == pytest.approx(rows[1]["reward_of_greedy"])
    assert rows[0]["reward"] != rows[1]["reward"]
    assert made.model.training


def test_numbers_of_a_step() -> None:
    made, start = captioner(scale=0.5, dropout=0.5), captioner(scale=0.4)
    stage = replace(SELF_CRITICAL, images=2, samples=3, most_cut=0.0, most_repetition=1.0)
    found = _self_critical(made, stage, start=start)(Place(0, 1, 0)).numbers()
    assert {"reward", "reward_of_greedy", "kl_to_start", "samples", "greedy"} <= set(found)
    assert found["alarms"] == (
        [f"cut is {found['samples']['cut']:.3g} of the samples, above 0"] if found["samples"]["cut"] else []
    )
    assert 0 < found["samples"]["nouns"] < 1
    assert found["kl_to_start"] != 0
    same = _self_critical(made, stage, start=made)(Place(0, 1, 0)).numbers()
    assert same["kl_to_start"] == 0, "of the captioner from itself, whatever dropout does to its samples"


def test_wording_against_plain_counts() -> None:
    texts = ["a cat near a cat", "a dog", "", "a dog"]
    found = wording(texts, cut=[False] * 3 + [True], nouns={"cat", "dog"})
    pairs = [pair for text in texts for pair in pairwise(text.split())]
    assert found.length == 9 / 4
    assert (found.cut, found.repetition) == (0.25, 0.25)
    assert found.distinct_2 == len(set(pairs)) / 6
    assert found.nouns == 4 / 9
    empty = wording(["", ""], cut=[False, False], nouns={"cat"})
    assert (empty.length, empty.distinct_2, empty.nouns, empty.perplexity) == (0, None, None, None)
