"""Katz's back-off against a case worked by hand and against its definition, summed over the whole vocabulary."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from alignscope.errors import BadData
from alignscope.language import katz
from alignscope.language.ngrams import words_of

WORKED = ["a b", "a b", "a c", "d", "e f g"]


def test_a_corpus_worked_by_hand():
    """Bigrams: <s> a three times, a b and b </s> twice, eight others once; discounts up to 2.

    A = 3 * 1 / 8; d_1 = (2 * 2 / 8 - A) / (1 - A) = 0.2; d_2 = (3 * 1 / (2 * 2) - A) / (1 - A) = 0.6.
    Of 15 single words and ends none is discounted, so that one more in the denominator is the unknown word.
    """
    model = katz.train(WORKED, 2, gtmin=(1,), gtmax=(1, 2))
    assert model.notes == ("1-grams seen 1 times are not discounted: Good-Turing gives 0",)
    single = {"a": 3, "b": 2, "c": 1, "d": 1, "e": 1, "f": 1, "g": 1, "</s>": 5, "zebra": 1}
    for word, times in single.items():
        assert model.probability(word, []) == pytest.approx(times / 16)
    assert model.probability("a", ["<s>"]) == pytest.approx(3 / 5)
    assert model.probability("d", ["<s>"]) == pytest.approx(0.2 / 5)
    assert model.probability("b", ["<s>"]) == pytest.approx(0.32 / (11 / 16) * 2 / 16)
    assert model.probability("b", ["a"]) == pytest.approx(2 * 0.6 / 3)
    assert model.probability("zebra", ["a"]) == pytest.approx((1 - 1.2 / 3 - 0.2 / 3) / (13 / 16) / 16)
    assert model.probability("</s>", ["b"]) == pytest.approx(0.6)


def test_srilm_leaves_trigrams_out_that_were_seen_once():
    kept = {gram for gram in katz.train(WORKED).logprobs if len(gram) == 3}
    assert kept == {("<s>", "a", "b"), ("a", "b", "</s>")}
    assert len([gram for gram in katz.train(WORKED, gtmin=(1,)).logprobs if len(gram) == 3]) == 8
    words = katz.train(WORKED, gtmin=(2,))
    assert words.vocabulary == {"a", "b", "</s>"}, "rarer words are unknown words"
    assert words.probability("c", []) == words.probability("zebra", [])


def plain(captions: list[str], order: int, gtmin: list[int], gtmax: list[int]) -> Callable[..., float]:
    """Katz's recursion; what a context gives away is shared by going through all words it was not seen before."""
    counts: Counter[tuple[str, ...]] = Counter()
    for caption in captions:
        padded = ["<s>", *words_of(caption), "</s>"]
        for end in range(2, len(padded) + 1):
            counts.update(tuple(padded[start:end]) for start in range(max(end - order, 0), end))
    vocabulary = [*sorted({gram[-1] for gram in counts}), "<unk>"]

    def discount(length: int, times: int) -> float:
        n = Counter(c for gram, c in counts.items() if len(gram) == length)
        k = gtmax[length - 1]
        while k > 0 and n[k + 1] == 0:
            k -= 1
        if times > k or n[1] == 0:
            return 1.0
        a = (k + 1) * n[k + 1] / n[1]
        if a == 1:
            return 1.0
        raw = (times + 1) * n[times + 1] / (times * n[times])
        d = (raw - a) / (1 - a)
        return d if 3e-6 < d <= 1 and raw <= 1 else 1.0

    def probability(word: str, context: tuple[str, ...]) -> float:
        length = len(context) + 1
        seen = {gram[-1]: c for gram, c in counts.items() if gram[:-1] == context}
        if not seen:
            return probability(word, context[1:])
        kept = {w: c * discount(length, c) for w, c in seen.items() if c >= gtmin[length - 1]}
        total = sum(seen.values())
        if sum(kept.values()) > total * (1 - 3e-6):
            total += 1
        if word in kept:
            return kept[word] / total
        left = 1 - sum(kept.values()) / total
        others = [w for w in vocabulary if w not in kept]
        if not context:
            return left if word == "<unk>" else 0.0
        return left * probability(word, context[1:]) / sum(probability(w, context[1:]) for w in others)

    return probability


@pytest.mark.parametrize(
    ("gtmin", "gtmax"),
    [((1, 1, 2), (1, 7)), ((1,), (1, 7)), ((1,), (0,)), ((1,), (5,)), ((1, 2, 3), (1, 4, 2))],
)
def test_it_is_the_definition(gtmin: tuple[int, ...], gtmax: tuple[int, ...]):
    captions = _made_up()
    model = katz.train(captions, 3, gtmin=gtmin, gtmax=gtmax)
    spread = [[each[min(i, len(each) - 1)] for i in range(3)] for each in (gtmin, gtmax)]
    wanted = plain(captions, 3, *spread)
    asked = [((), "w1"), ((), "<unk>"), (("<s>",), "w0"), (("<s>",), "w14"), (("w1", "w0"), "w2")]
    asked += [(("w0", "w0"), "w0"), (("w0", "w1"), "</s>"), (("w14", "w0"), "w1"), (("<s>", "w2"), "w1")]
    for context, word in asked:
        assert model.probability(word, context) == pytest.approx(wanted(word, context), rel=1e-9)


@pytest.mark.parametrize(
    ("gtmin", "gtmax"), [((2, 1), (1, 7)), ((0,), (1, 7)), ((1,), (-1,))], ids=["falls", "none", "negative"]
)
def test_limits_that_cannot_be(gtmin: tuple[int, ...], gtmax: tuple[int, ...]):
    with pytest.raises(BadData, match="wanted a gtmin"):
        katz.train(WORKED, gtmin=gtmin, gtmax=gtmax)


def test_captions_of_words_too_rare():
    with pytest.raises(BadData, match="seen 9 times or more"):
        katz.train(WORKED, gtmin=(9,))


def test_captions_shorter_than_the_order():
    model = katz.train(["a", "b", "a"], 5, gtmin=(1,))
    assert sum(
        model.probability(word, ["<s>", "a"]) for word in ("a", "b", "</s>", "zebra")
    ) == pytest.approx(1)
    assert max(map(len, model.logprobs)) == 3


def _made_up() -> list[str]:
    """Captions drawn by chance, the same on every run."""
    draw = random.Random(1)
    words, weights = [f"w{i}" for i in range(15)], [1 / (i + 1) for i in range(15)]
    return [" ".join(draw.choices(words, weights, k=draw.randint(1, 6))) for _ in range(80)]
