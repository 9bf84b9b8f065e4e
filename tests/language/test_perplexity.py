"""Perplexity worked by hand, its rules for unknown words, and real captions against the same with words shuffled."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from alignscope.errors import BadData
from alignscope.language import katz, ngrams
from alignscope.language.perplexity import CaptionScore, Perplexity, caption_scores, perplexity

KARPATHY = Path(__file__).parents[2].parent / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"
HAND = ngrams.Model(
    2,
    {
        ("</s>",): -0.5,
        ("<unk>",): -2.0,
        ("a",): -0.25,
        ("dog",): -0.75,
        ("<s>", "a"): -0.1,
        ("a", "dog"): -0.2,
    },
    {("<s>",): -0.5, ("a",): -0.125, ("dog",): 0.0625},
)


def test_captions_worked_by_hand():
    """`a dog`: -0.1 - 0.2 + (0.0625 - 0.5); `a zebra`: -0.1, skipped or -0.125 - 2, and -0.5 for the end."""
    captions = ["A dog.", "a zebra", "...", "zebra"]
    skipped = list(caption_scores(HAND, captions))
    assert_near(skipped[0], CaptionScore(2, 0, 3, -0.7375))
    assert_near(skipped[1], CaptionScore(2, 1, 2, -0.6))
    assert skipped[2] == CaptionScore(0, 0, 0, None, "no words")
    assert_near(skipped[3], CaptionScore(1, 1, 1, -0.5))
    total = -0.7375 - 0.6 - 0.5
    wanted = Perplexity(
        captions=4,
        unscored=1,
        sentences=3,
        words=5,
        oovs=2,
        logprob10=total,
        ppl=10 ** (-total / (5 - 2 + 3)),
        ppl1=10 ** (-total / (5 - 2)),
    )
    assert_near(perplexity(skipped), wanted)
    scored = list(caption_scores(HAND, captions, unknown="score"))
    assert_near(scored[1], CaptionScore(2, 1, 3, -0.1 - 2.125 - 0.5))
    total = -0.7375 - 2.725 - (0.5 + 2 + 0.5)
    assert_near(perplexity(scored), Perplexity(4, 1, 3, 5, 2, total, 10 ** (-total / 8), 10 ** (-total / 5)))


def assert_near(found: CaptionScore | Perplexity, wanted: CaptionScore | Perplexity) -> None:
    assert asdict(found) == pytest.approx(asdict(wanted))


def test_corpora_in_which_nothing_can_be_measured():
    assert perplexity(caption_scores(HAND, [])) == Perplexity(0, 0, 0, 0, 0, 0.0, None, None)
    assert perplexity(caption_scores(HAND, ["", "!?"])) == Perplexity(2, 2, 0, 0, 0, 0.0, None, None)
    unknown = perplexity(caption_scores(HAND, ["zebra"]))
    assert unknown.ppl == pytest.approx(10**0.5)
    assert unknown.ppl1 is None


def test_a_model_without_an_unknown_word():
    closed = replace(HAND, logprobs={gram: p for gram, p in HAND.logprobs.items() if gram != ("<unk>",)})
    assert perplexity(caption_scores(closed, ["a zebra"])) == perplexity(caption_scores(HAND, ["a zebra"]))
    assert closed.logprob("a zebra") == -math.inf
    with pytest.raises(BadData, match="without <unk>"):
        caption_scores(closed, ["a zebra"], unknown="score")


def test_words_can_be_cut_otherwise():
    scored = caption_scores(HAND, ["a dog .", "A dog", "a </s> <s> dog <unk>"], words=str.split)
    assert [(score.words, score.oovs, score.foretold) for score in scored] == [
        (3, 1, 3),
        (2, 1, 2),
        (5, 3, 3),
    ]


def test_captions_are_read_one_by_one():
    taken = []
    scores = caption_scores(HAND, (taken.append(each) or each for each in ("a dog", "a", "dog")))
    next(scores)
    assert taken == ["a dog"]


def test_it_is_the_probability_of_the_texts():
    captions = ["a dog runs", "a cat sleeps", "the dog sleeps on a cat"]
    model = ngrams.train(captions)
    found = perplexity(caption_scores(model, captions))
    total = sum(map(model.logprob, captions))
    assert found.logprob10 * math.log(10) == pytest.approx(total)
    assert found.ppl == pytest.approx(math.exp(-total / (12 + 3)))
    assert found.ppl1 == pytest.approx(math.exp(-total / 12))


@pytest.mark.skipif(not KARPATHY.exists(), reason=f"{KARPATHY} is not here")
def test_real_captions_surprise_less_than_the_same_words_shuffled():
    """Trained on the captions of one half of the images, asked about every twentieth of the other half."""
    rows = json.loads(KARPATHY.read_text(encoding="utf-8"))
    learnt = [caption for row in rows[: len(rows) // 2] for caption in row["caption"]]
    asked = [caption for row in rows[len(rows) // 2 :] for caption in row["caption"]][::20]
    assert (len(learnt), len(asked)) == (12_504, 626)
    draw = random.Random(0)
    words = [ngrams.words_of(caption) for caption in asked]
    shuffled = [" ".join(draw.sample(each, k=len(each))) for each in words]
    found = {}
    for name, train in (("Kneser-Ney", ngrams.train), ("Katz", katz.train)):
        model = train(learnt)
        real, mixed = (perplexity(caption_scores(model, each)) for each in (asked, shuffled))
        assert (real.words, real.oovs, real.sentences) == (mixed.words, mixed.oovs, mixed.sentences)
        assert real.words == sum(map(len, words))
        assert 30 < real.ppl < real.ppl1 < 80
        assert mixed.ppl > 10 * real.ppl
        found[name] = real.ppl
    assert found["Kneser-Ney"] < found["Katz"], "as Chen and Goodman (1999) found throughout"
