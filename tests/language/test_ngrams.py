"""The n-gram model against its definition, computed plainly, and against NLTK where that is installed."""

from __future__ import annotations

import importlib.util
import itertools
import math
from dataclasses import replace

import pytest

from alignscope.errors import BadData
from alignscope.language import ngrams

CAPTIONS = [
    "A dog runs on the grass.",
    "a dog and a cat on the sofa",
    "The cat sleeps on a red sofa",
    "A man rides a horse.",
    "a man on a horse and a dog",
    "Two dogs run",
    "a red horse",
]


def plain(corpus: list[list[str]], order: int, word: str, context: list[str]) -> float:
    """Chen and Goodman's recursion, every count taken anew by looking through the corpus."""
    full = [
        tuple(padded[i : i + order])
        for words in corpus
        for padded in [["<s>"] * (order - 1) + words + ["</s>"]]
        for i in range(len(words) + 1)
    ]

    def count_of(length: int) -> dict[tuple[str, ...], int]:
        if length == order:
            return {gram: full.count(gram) for gram in set(full)}
        longer = {gram[order - length - 1 :] for gram in full}
        return {gram: sum(other[1:] == gram for other in longer) for gram in {other[1:] for other in longer}}

    def probability(length: int) -> float:
        if length == 0:
            return 1 / (len({gram[-1] for gram in full}) + 1)
        counts = count_of(length)
        before = tuple(context[len(context) - length + 1 :])
        after = {gram: n for gram, n in counts.items() if gram[:-1] == before}
        lower = probability(length - 1)
        if not after:
            return lower
        once, twice = (list(counts.values()).count(n) for n in (1, 2))
        discount = once / (once + 2 * twice) if once and twice else 0.5
        total = sum(after.values())
        kept = max(after.get((*before, word), 0) - discount, 0)
        return kept / total + discount * len(after) / total * lower

    return probability(order)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_it_is_the_definition(order: int):
    model = ngrams.train(CAPTIONS, order)
    corpus = [ngrams.words_of(caption) for caption in CAPTIONS]
    texts = ["a dog on the sofa", "The horse rides a zebra", "two", "sofa the on dog a"]
    for text in texts:
        padded = ["<s>"] * (order - 1) + ngrams.words_of(text) + ["</s>"]
        places = range(order - 1, len(padded))
        wanted = sum(math.log(plain(corpus, order, padded[i], padded[i - order + 1 : i])) for i in places)
        assert model.logprob(text) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_after_any_context_add_up_to_one(order: int):
    model = ngrams.train(CAPTIONS, order)
    contexts = [("<s>", "<s>"), ("<s>", "a"), ("a", "dog"), ("zebra", "a"), ("never", "seen")]
    for context in contexts:
        whole = sum(model.probability(word, context) for word in [*model.vocabulary, "an unknown word"])
        assert whole == pytest.approx(1, abs=1e-12)


def test_a_corpus_worked_by_hand():
    """Bigrams of "a b": <s> a, a b, b </s>, each once, so D is 0.5 at both lengths.

    Below, P(x) = (1 - 0.5) / 3 + 0.5 * 3 / 3 * 1/4 = 7/24 for the three known words; above,
    P(x | y) = (1 - 0.5) / 1 + 0.5 * 7/24 = 31/48 for each pair seen.
    """
    model = ngrams.train(["A b."], order=2)
    assert model.probability("a", []) == pytest.approx(7 / 24)
    assert model.probability("zebra", []) == pytest.approx(3 / 24)
    assert model.logprob("a b") == pytest.approx(3 * math.log(31 / 48))
    assert model.probability("a", ["b"]) == pytest.approx(0.5 * 7 / 24)


def test_the_end_of_the_sentence_counts_and_case_does_not():
    model = ngrams.train(CAPTIONS)
    assert model.logprob("A MAN rides a horse!") == model.logprob("a man rides a horse")
    assert model.logprob("a man rides a") < model.logprob("a man rides a horse")
    assert model.logprob("") == pytest.approx(math.log(model.probability("</s>", ["<s>", "<s>"])))


def test_word_order_matters_and_training_order_does_not():
    model = ngrams.train(CAPTIONS)
    best = max(
        itertools.permutations(["a", "man", "rides", "a", "horse"]), key=lambda w: model.logprob(" ".join(w))
    )
    assert " ".join(best) == "a man rides a horse"
    assert ngrams.train(reversed(CAPTIONS)) == model


@pytest.mark.parametrize(
    ("captions", "order", "message"),
    [([], 3, "no caption"), (["...", ""], 3, "no caption"), (["a"], 0, "order 0")],
)
def test_what_it_cannot_be_trained_on(captions: list[str], order: int, message: str):
    with pytest.raises(BadData, match=message):
        ngrams.train(captions, order)


@pytest.mark.skipif(importlib.util.find_spec("nltk") is None, reason="nltk is not installed")
def test_nltk_gives_the_same_above_the_words():
    """NLTK takes one discount, none from single words, and counts n-grams that end in padding: left out here."""
    from nltk.lm import KneserNeyInterpolated
    from nltk.util import everygrams

    corpus = [ngrams.words_of(caption) for caption in CAPTIONS]
    padded = [["<s>", "<s>", *words, "</s>"] for words in corpus]
    model = ngrams.train(CAPTIONS)
    model = replace(
        model,
        levels=tuple(replace(lev, discount=d) for lev, d in zip(model.levels, (0.0, 0.3, 0.3), strict=True)),
    )
    theirs = KneserNeyInterpolated(3, discount=0.3)
    grams = [[g for g in everygrams(words, max_len=3) if g[-1] != "<s>"] for words in padded]
    theirs.fit(grams, sorted(model.vocabulary))
    for words in padded:
        for place in range(2, len(words)):
            for word in sorted(model.vocabulary):
                context = words[place - 2 : place]
                assert model.probability(word, context) == pytest.approx(theirs.score(word, context))
