"""Perplexity of captions: sums over captions, resampled by images."""

import numpy as np
import pytest

from alignscope.language.ngrams import train
from alignscope.probing.surprise import perplexities, surprises
from alignscope.records import ImageCaption

TOLD = ["a dog runs", "a cat sleeps on a mat", "two dogs and a cat sleep"]


def test_an_interval_is_of_the_perplexities_of_drawn_images(signature):
    captions = [ImageCaption(str(number % 5), text) for number, text in enumerate(TOLD * 5)]
    found, problems = surprises(train(TOLD), captions)
    assert problems == []
    whole = perplexities(found, signature=signature, draws=400)[0]
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(400):  # plainly
        images = rng.integers(5, size=5)
        mine = [one for image in images for one in found if one.image == str(image)]
        drawn.append(10 ** (-sum(o.logprob10 for o in mine) / sum(o.foretold for o in mine)))
    assert whole.low == pytest.approx(np.quantile(drawn, 0.025), rel=0.05)
    assert whole.high == pytest.approx(np.quantile(drawn, 0.975), rel=0.05)
    assert (whole.items, whole.images) == (15, 5)


def test_captions_without_known_words_have_no_ppl1_and_none_nothing_at_all(signature):
    found, problems = surprises(train(TOLD), [ImageCaption("1", "zebra"), ImageCaption("2", "...")])
    assert [one.item for one in problems] == ["2"]
    ppl, ppl1, oovs = perplexities(found, signature=signature, missing=1)
    assert ppl.value is not None  # the end of the sentence is foretold
    assert (ppl1.value, ppl1.missing) == (None, 1)
    assert "no word" in ppl1.reason
    assert oovs.value == 1.0
    nothing = perplexities(found[1:], signature=signature, missing=1)
    assert [one.value for one in nothing] == [None] * 3
    assert {one.reason for one in nothing} == {"nothing scored"}
