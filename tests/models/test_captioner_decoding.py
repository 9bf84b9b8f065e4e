"""Decoding: against exhaustive search, full recomputation and distributions written by hand."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from trainable_captioners import CONFIGS, WORDS, captioner, features, seeded

from alignscope.errors import BadInput, LengthMismatch
from alignscope.models.captioners.decoding import (
    State,
    beam_search,
    greedy,
    mask_of,
    sampling,
    spell,
    teacher_forced,
)
from alignscope.models.captioners.protocol import Captioner, Features

KINDS = tuple(CONFIGS)


@dataclass
class Chain:
    """A speller whose next word depends on an image and on the two words before it, by a table."""

    logits: torch.Tensor  # (image, word before last, last word, word)
    start: int = 0
    end: int = 0
    context_length: None = None
    module: None = None
    facts: tuple = ()

    def features(self, images: Any) -> Any:
        raise NotImplementedError

    def begin(self, features: Any = None) -> State:
        images = len(self.logits)
        return State((torch.arange(images), torch.zeros(images, dtype=torch.long)))

    def advance(self, words: torch.Tensor, state: State) -> State:
        image, before = state.kept
        found = []
        for word in words.unbind(dim=1):
            found.append(self.logits[image, before, word])
            before = word
        return State((image, before), torch.stack(found, dim=1), place=state.place + words.shape[1])


def chain(words: int = 4, images: int = 2, *, seed: int = 0, scale: float = 1.5) -> Chain:
    return Chain(
        scale * torch.randn(images, words, words, words, generator=seeded(seed), dtype=torch.float64)
    )


def captions_of(words: int, longest: int) -> list[tuple[int, ...]]:
    """Every caption: words and an end, or as many words as there may be."""
    found = [(*some, 0) for length in range(longest) for some in product(range(1, words), repeat=length)]
    return found + list(product(range(1, words), repeat=longest))


def plain_logprobs(table: torch.Tensor, caption: tuple[int, ...]) -> list[float]:
    found, before, last = [], 0, 0
    for word in caption:
        found.append(table[before, last].log_softmax(-1)[word].item())
        before, last = last, word
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("is_length_normalised", [False, True])
def test_a_beam_as_wide_as_all_captions_finds_what_exhaustive_search_finds(seed, is_length_normalised):
    speller, longest = chain(seed=seed), 4
    got = beam_search(
        speller, speller.begin(), beams=200, max_length=longest, is_length_normalised=is_length_normalised
    )
    for image, table in enumerate(speller.logits):

        def value(caption, table=table):
            each = plain_logprobs(table, caption)
            return sum(each) / (len(each) if is_length_normalised else 1)

        best = max(captions_of(4, longest), key=value)
        assert tuple(got.ids[image, : len(best)].tolist()) == best
        assert (got.ids[image, len(best) :] == 0).all()
        want = plain_logprobs(speller.logits[image], best)
        assert got.logprobs[image, : len(best)].tolist() == pytest.approx(want)
        assert (got.logprobs[image, len(best) :] == 0).all()


def test_normalisation_by_length_changes_what_is_best():
    lengths = [
        [
            int(mask_of(found.ids, 0).sum())
            for found in (
                beam_search(
                    chain(seed=seed),
                    chain().begin(),
                    beams=200,
                    max_length=4,
                    is_length_normalised=normalised,
                )
                for seed in range(4)
            )
        ]
        for normalised in (False, True)
    ]
    assert sum(lengths[1]) > sum(lengths[0])


@pytest.mark.parametrize("seed", range(6))
def test_one_beam_is_greedy(seed):
    speller = chain(seed=seed, images=5)
    one = beam_search(speller, speller.begin(), beams=1, max_length=6)
    other = spell(speller, speller.begin(), greedy, max_length=6)
    assert one.ids.tolist() == other.ids.tolist()
    torch.testing.assert_close(one.logprobs, other.logprobs)


def test_a_wider_beam_finds_what_greedy_misses():
    """A sure second word after an unlikely first one: .4 * 1 against .6 * .34."""
    table = torch.full((1, 4, 4, 4), -30.0)
    table[0, 0, 0, 1], table[0, 0, 0, 2] = torch.tensor([0.6, 0.4]).log()
    table[0, 0, 1] = torch.tensor([0.34, 0.33, 0.33, 1e-9]).log()
    table[0, 0, 2, 3] = 0.0
    table[0, 2, 3, 0] = 0.0
    speller = Chain(table)
    assert spell(speller, speller.begin(), greedy, max_length=4).ids.tolist() == [[1, 0]]
    found = beam_search(speller, speller.begin(), beams=2, max_length=4)
    assert found.ids.tolist() == [[2, 3, 0]]
    assert found.logprobs.sum().exp().item() == pytest.approx(0.4)


def test_greedy_takes_the_likeliest_word_at_every_step():
    speller = chain(images=3)
    found = spell(speller, speller.begin(), greedy, max_length=5)
    for image, table in enumerate(speller.logits):
        before, last, want = 0, 0, []
        while len(want) < 5 and (not want or want[-1] != 0):
            before, last = last, int(table[before, last].argmax())
            want.append(last)
        assert found.ids[image, : len(want)].tolist() == want


def test_samples_are_drawn_as_often_as_they_are_likely():
    speller, many = chain(words=3, images=1, scale=0.7), 20000
    state = speller.begin().select(torch.zeros(many, dtype=torch.long))
    found = spell(speller, state, sampling(seeded()), max_length=3)
    rows = [tuple(row) for row in found.ids.tolist()]
    for caption in captions_of(3, 3):
        share = sum(row[: len(caption)] == caption for row in rows) / many
        chance = torch.tensor(plain_logprobs(speller.logits[0], caption)).sum().exp().item()
        assert abs(share - chance) < 4 * (chance * (1 - chance) / many) ** 0.5 + 1e-9


def test_what_is_impossible_is_never_drawn():
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]]).expand(5000, 5)
    assert set(sampling(seeded())(logits).tolist()) == {1, 3}
    assert sampling(seeded(), temperature=1e-3)(logits).unique().tolist() == [3]


def test_temperature_sharpens_draws_and_leaves_the_model_s_own_log_probabilities():
    table = torch.tensor([0.5, 0.3, 0.2]).log().expand(1, 3, 3, 3)
    speller, many = Chain(table), 20000
    state = speller.begin().select(torch.zeros(many, dtype=torch.long))
    found = spell(speller, state, sampling(seeded(), temperature=0.5), max_length=1)
    chances = torch.tensor([25, 9, 4]) / 38  # squared and made to sum to one
    for word, chance in enumerate(chances.tolist()):
        assert (found.ids == word).double().mean().item() == pytest.approx(chance, abs=0.015)
    assert found.logprobs[:, 0].exp().unique().tolist() == pytest.approx([0.2, 0.3, 0.5])


def test_the_mask_covers_the_words_and_one_end():
    ids = torch.tensor([[3, 4, 0, 0], [0, 0, 0, 0], [1, 2, 3, 4], [1, 0, 2, 0]])
    want = [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]]
    assert mask_of(ids, 0).long().tolist() == want


@pytest.mark.parametrize("kind", KINDS)
class TestEveryCaptioner:
    def test_keeps_the_protocol(self, kind):
        assert isinstance(captioner(kind), Captioner)

    def test_reading_word_by_word_equals_reading_at_once_and_anew(self, kind):
        made = captioner(kind, dtype=torch.float64)
        model, words = made.model, torch.randint(0, len(WORDS), (3, 6), generator=seeded())
        begun = model.begin(features(made))
        whole = model.advance(words, begun).logits
        state = begun
        for place in range(6):
            state = model.advance(words[:, place : place + 1], state)
            torch.testing.assert_close(state.logits[:, 0], whole[:, place], rtol=0, atol=1e-10)
            anew = model.advance(words[:, : place + 1], begun).logits[:, -1]
            torch.testing.assert_close(anew, whole[:, place], rtol=0, atol=1e-10)
        chunks = model.advance(words[:, 2:], model.advance(words[:, :2], begun)).logits
        torch.testing.assert_close(chunks, whole[:, 2:], rtol=0, atol=1e-10)

    def test_no_token_sees_a_later_one_or_another_caption(self, kind):
        made = captioner(kind, dtype=torch.float64)
        ids = torch.tensor([[1, 2, 3, 4, 0], [4, 3, 2, 1, 0], [5, 5, 5, 5, 0]])
        got = made.logprob(features(made), ids)
        changed = ids.clone()
        changed[:, 3], changed[1] = 6, 6
        after = made.logprob(features(made), changed)
        torch.testing.assert_close(after[[0, 2], :3], got[[0, 2], :3], rtol=0, atol=1e-12)
        assert (after[:, 3] != got[:, 3]).all()

    def test_distributions_sum_to_one(self, kind):
        made = captioner(kind, dtype=torch.float64)
        every = torch.arange(len(WORDS))
        ids = torch.stack([torch.full_like(every, 3), every], dim=1)
        one = made.features([first(made)])
        assert made.logprob(one, ids)[:, 1].exp().sum().item() == pytest.approx(1)

    @pytest.mark.parametrize("how", ["greedy", "beam", "sample"])
    def test_log_probabilities_of_captions_equal_logprob_of_their_ids(self, kind, how):
        made = captioner(kind, dtype=torch.float64)
        options = {"count": 4, "generator": seeded()} if how == "sample" else {}
        found = made.generate(features(made), how=how, max_length=7, **options)
        want = made.logprob(features(made), found.ids)
        torch.testing.assert_close(found.logprobs, want, rtol=0, atol=1e-10)
        assert found.mask.tolist() == mask_of(found.ids, 0).tolist()
        assert (found.logprobs[~found.mask] == 0).all()
        assert (found.ids[~found.mask] == 0).all()
        assert found.texts == WORDS.texts(found.ids)
        assert len(found.ids) == (12 if how == "sample" else 3)

    def test_a_generator_decides_samples_and_the_global_one_is_left_alone(self, kind):
        made = captioner(kind)
        batch, before = features(made), torch.get_rng_state()
        draws = [
            made.generate(batch, how="sample", count=8, generator=seeded(seed)).texts for seed in (0, 0, 1)
        ]
        assert draws[0] == draws[1] != draws[2]
        made.generate(batch, how="beam")
        made.logprob(batch, WORDS.ids(["a", "cat", "red"]), scheduled_sampling=0.5, generator=seeded())
        assert torch.equal(before, torch.get_rng_state())

    def test_several_captions_per_image_equal_each_alone(self, kind):
        made = captioner(kind, dtype=torch.float64)
        batch = features(made)
        ids = torch.randint(0, len(WORDS), (6, 4), generator=seeded())
        got = made.logprob(batch, ids)
        mine = torch.tensor([2, 0, 0, 1, 2, 2])
        named = made.logprob(batch, ids, images=mine)
        for row in range(6):
            for image, whole in ((row // 2, got), (int(mine[row]), named)):
                alone = made.logprob(only(batch, image), ids[row : row + 1])
                torch.testing.assert_close(whole[row], alone[0], rtol=0, atol=1e-10)

    def test_the_image_side_runs_once_however_many_captions_there_are(self, kind, monkeypatch):
        made, seen = captioner(kind), []
        begin = type(made.model).begin
        monkeypatch.setattr(type(made.model), "begin", lambda *of: seen.append(len(of[1])) or begin(*of))
        made.generate(features(made), how="sample", count=5, generator=seeded())
        made.logprob(features(made), torch.ones(15, 2, dtype=torch.long))
        assert seen == [3, 3]

    def test_gradients_reach_every_weight_and_equal_finite_differences(self, kind):
        made = captioner(kind, scale=0.5, dtype=torch.float64)
        batch, ids = features(made), torch.tensor([[2, 5, 0], [0, 0, 0], [1, 1, 4]])
        inputs = batch.values.clone().requires_grad_(True)
        parameters = list(made.model.parameters())

        def total(inputs):
            return made.logprob(Features(inputs, batch.present), ids).sum(dim=0)

        assert torch.autograd.gradcheck(total, inputs, atol=1e-6)
        gradients = torch.autograd.grad(total(inputs).sum(), parameters)
        generator = seeded(5)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            ends = []
            with torch.no_grad():
                for step in (1e-6, -1e-6):
                    parameter += step * direction
                    ends.append(total(inputs).sum().item())
                    parameter -= step * direction
            want = (gradient * direction).sum().item()
            assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(want, rel=1e-5, abs=1e-7)

    def test_samples_have_the_gradient_of_logprob(self, kind):
        made = captioner(kind, dtype=torch.float64)
        found = made.generate(features(made), how="sample", count=2, generator=seeded(), max_length=5)
        parameters = list(made.model.parameters())
        got = torch.autograd.grad(found.logprobs.sum(), parameters)
        want = torch.autograd.grad(made.logprob(features(made), found.ids).sum(), parameters)
        for one, other in zip(got, want, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)
        with torch.no_grad():
            assert not made.generate(features(made)).logprobs.requires_grad

    def test_scheduled_sampling_of_0_is_teacher_forcing_and_of_1_reads_draws(self, kind):
        made = captioner(kind, dtype=torch.float64)
        batch, ids = features(made), torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0], [6, 1, 1, 1]])
        forced = made.logprob(batch, ids)
        torch.testing.assert_close(forced, made.logprob(batch, ids, scheduled_sampling=0.0), rtol=0, atol=0)
        got = made.logprob(batch, ids, scheduled_sampling=1.0, generator=seeded(3))
        # the same draws, one step at a time: what is read never depends on ids
        generator, model = seeded(3), made.model
        state, words = model.begin(batch), torch.zeros(3, 1, dtype=torch.long)
        for place in range(4):
            state = model.advance(words, state)
            logprobs = state.logits[:, 0].log_softmax(dim=-1)
            want = logprobs[torch.arange(3), ids[:, place]] * mask_of(ids, 0)[:, place]
            torch.testing.assert_close(got[:, place], want, rtol=0, atol=1e-10)
            points = torch.rand(3, 1, generator=generator, dtype=torch.float64)
            words = (logprobs.exp().cumsum(dim=-1) <= points).sum(dim=-1, keepdim=True)
            torch.rand(3, generator=generator)  # whether to replace: at 1 always
        torch.testing.assert_close(got[:, 0], forced[:, 0], rtol=0, atol=1e-10)
        assert (got[:, 1:] != forced[:, 1:]).any()

    def test_dropout_is_on_in_training_and_off_within_evaluating(self, kind):
        made = captioner(kind)
        batch, ids = features(made), WORDS.ids(["a cat", "red", "a dog"])
        calm = made.logprob(batch, ids)
        made.model.train()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            assert (made.logprob(batch, ids) != calm).any()
            with made.evaluating():
                torch.testing.assert_close(made.logprob(batch, ids), calm, rtol=0, atol=0)
        assert made.model.training


def first(made):
    from trainable_captioners import sights

    return sights(made.name, 1)[0]


def only(batch: Features, image: int) -> Features:
    """One image of a batch, its padding kept: it must change nothing."""
    present = None if batch.present is None else batch.present[image : image + 1]
    return Features(batch.values[image : image + 1], present)


def test_a_share_of_the_words_read_is_replaced_under_scheduled_sampling():
    """In a chain that always says 1 after any word, a reader of 2s is seen to read 1s instead."""
    rows = 4000
    table = torch.full((1, 3, 3, 3), -30.0)
    table[..., 1] = 0.0
    table[0, :, 2, :] = torch.tensor([-30.0, -30.0, 0.0])  # after 2 comes 2
    table[0, 0, 0, :] = torch.tensor([-30.0, 0.0, -30.0])
    speller = Chain(table)
    state = speller.begin().select(torch.zeros(rows, dtype=torch.long))
    ids = torch.full((rows, 2), 2)
    found = teacher_forced(speller, state, ids, scheduled_sampling=0.25, generator=seeded())
    assert (found[:, 1] < -10).double().mean().item() == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"how": "sample"}, BadInput, "no generator"),
        ({"how": "beam", "count": 2}, BadInput, "one caption per image"),
        ({"how": "beam", "beams": 0}, BadInput, "beams=0"),
        ({"how": "sample", "temperature": 0.0, "generator": seeded()}, BadInput, "temperature=0.0"),
        ({"max_length": 0}, BadInput, "captions of 0 tokens"),
    ],
)
def test_impossible_choices_are_refused(options, error, said):
    made = captioner("fc")
    with pytest.raises(error, match=said):
        made.generate(features(made), **options)


@pytest.mark.parametrize(
    ("ids", "options", "error", "said"),
    [
        (torch.ones(4, 2, dtype=torch.long), {}, LengthMismatch, "4 captions for 3 images"),
        (torch.ones(4, 2, dtype=torch.long), {"images": torch.zeros(3).long()}, LengthMismatch, "3 entries"),
        (torch.full((3, 2), len(WORDS)), {}, BadInput, "token ids from 7 to 7, wanted 0 to 6"),
        (torch.ones(3, 2, dtype=torch.long), {"scheduled_sampling": 0.1}, BadInput, "no generator"),
        (torch.ones(3, 2, dtype=torch.long), {"scheduled_sampling": 1.1}, BadInput, "a probability"),
    ],
)
def test_ids_that_cannot_be_scored_are_refused(ids, options, error, said):
    made = captioner("fc")
    with pytest.raises(error, match=said):
        made.logprob(features(made), ids, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_gives_no_caption(kind):
    made = captioner(kind)
    found = made.generate(made.features([]))
    assert found.texts == ()
    assert made.logprob(made.features([]), found.ids).shape == (0, 0)
