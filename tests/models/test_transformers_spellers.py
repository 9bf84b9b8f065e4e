"""Captioners of transformers behind the protocol: against their own `generate`, losses and scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from captioner_twins import CAPTIONERS, loaded, picture
from trainable_captioners import seeded

from alignscope.errors import BadInput, CheckpointError, Unsupported
from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.captioner_loading import open_captioner, save_captioner
from alignscope.models.captioners.decoding import mask_of
from alignscope.models.captioners.protocol import Captioner

Twin = Callable[[str], Path]
PICTURES = [picture(0), picture(1), picture(2)]
TEXTS = ["a red dog", "the cat near a kitchen", "unknow!"]


@pytest.fixture(params=CAPTIONERS)
def made(request: pytest.FixtureRequest, twin: Twin) -> AutoregressiveCaptioner:
    return open_captioner(twin(request.param))


def test_log_probabilities_have_the_mean_that_the_scorer_reports(made, twin):
    kind = made.name.removeprefix("tiny-random-")
    assert kind in CAPTIONERS
    ids = made.vocabulary.ids(TEXTS)
    got = made.logprob(made.features(PICTURES), ids).detach()
    mask = mask_of(ids, made.vocabulary.end)
    want = loaded(twin(kind)).score(PICTURES, TEXTS)
    torch.testing.assert_close(got.sum(dim=-1) / mask.sum(dim=-1), want, rtol=0, atol=1e-5)
    assert (got[~mask] == 0).all()
    assert made.vocabulary.texts(ids) == tuple(TEXTS)


def test_greedy_equals_transformers_own(made):
    batch = made.features(PICTURES)
    found = made.generate(batch, how="greedy", max_length=9)
    options = {"max_new_tokens": 9, "do_sample": False, "num_beams": 1}
    for row, image in enumerate(PICTURES):
        values = made.features([image]).values
        theirs = made.model.generate(pixel_values=values, **options)[0].tolist()
        start = theirs.index(made.speller.start) + 1
        assert found.ids[row].tolist()[: len(theirs) - start] == theirs[start:]
        assert len(theirs) > start + 1


@pytest.mark.parametrize("how", ["greedy", "beam", "sample"])
def test_log_probabilities_of_captions_equal_logprob_of_their_ids(made, how):
    options = {"count": 3, "generator": seeded()} if how == "sample" else {"beams": 3}
    before = torch.get_rng_state()
    with torch.no_grad():
        found = made.generate(made.features(PICTURES), how=how, max_length=6, **options)
        want = made.logprob(made.features(PICTURES), found.ids)
    torch.testing.assert_close(found.logprobs, want, rtol=0, atol=1e-5)
    assert torch.equal(before, torch.get_rng_state())
    assert len(found.texts) == (9 if how == "sample" else 3)


def test_reading_word_by_word_equals_reading_at_once(made):
    begun = made.speller.begin(made.features(PICTURES))
    words = made.vocabulary.ids(TEXTS)[:, :3]
    whole, state = made.speller.advance(words, begun).logits, begun
    for place in range(3):
        state = made.speller.advance(words[:, place : place + 1], state)
        torch.testing.assert_close(state.logits[:, 0], whole[:, place], rtol=0, atol=1e-5)
    again = made.speller.advance(words, begun).logits  # the state that was gone on from is as it was
    torch.testing.assert_close(again, whole, rtol=0, atol=0)


def test_training_raises_what_it_is_rewarded_for(made):
    """A few steps of plain gradient ascent on one caption per image, image encoder included."""
    made.model.train()
    for module in made.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch, ids = made.features(PICTURES[:2]), made.vocabulary.ids(TEXTS[:2])
    optimizer = torch.optim.SGD(made.model.parameters(), lr=0.001)
    seen = []
    for _ in range(3):
        total = made.logprob(batch, ids).sum()
        optimizer.zero_grad()
        (-total).backward()
        optimizer.step()
        seen.append(total.item())
    assert seen[0] < seen[1] < seen[2]
    pixels = [p for name, p in made.model.named_parameters() if "patch_embedding" in name]
    assert pixels
    assert all(parameter.grad.abs().sum() > 0 for parameter in pixels)


def test_it_keeps_the_protocol_and_comes_back_from_a_directory(made, tmp_path):
    assert isinstance(made, Captioner)
    save_captioner(made, tmp_path)
    opened = open_captioner(tmp_path)
    assert opened.fingerprint == made.fingerprint
    with torch.no_grad():
        next(opened.model.parameters()).add_(1)
    assert opened.fingerprint != made.fingerprint


def test_clipping_leaves_room_for_the_end(made):
    ids = made.vocabulary.ids(["a red dog near the small cat"], max_length=4)
    assert ids.shape == (1, 5)
    assert ids[0, -1] == made.vocabulary.end


def test_what_it_cannot_do_is_refused(made, tmp_path):
    with pytest.raises(Unsupported, match="image 0 is ndarray"):
        made.features([np.zeros(5, np.float32)])
    with pytest.raises(BadInput, match="captions of 999 tokens, wanted 1 to"):
        made.generate(made.features(PICTURES), max_length=999)
    assert made.generate(made.features([])).texts == ()


def test_other_models_and_strange_vocabularies_are_refused(twin, tmp_path):
    with pytest.raises(
        CheckpointError, match="LlavaForConditionalGeneration, wanted a captioner: FcCaptioner"
    ):
        open_captioner(twin("llava"))
    with pytest.raises(CheckpointError, match="leave `vocabulary` out"):
        open_captioner(twin("git"), vocabulary=tmp_path / "words.json")


def test_no_texts_are_no_rows(made):
    ids = made.vocabulary.ids([])
    assert ids.shape == (0, 0)
    assert made.vocabulary.texts(ids) == ()
    assert made.logprob(made.features([]), ids).shape == (0, 0)
