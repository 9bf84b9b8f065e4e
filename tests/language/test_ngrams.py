"""The n-gram model against its definition, computed plainly, and against NLTK where that is installed."""

from __future__ import annotations

import importlib.util
import itertools
import math
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable

import pytest

from alignscope.errors import BadData
from alignscope.language import katz, ngrams

CAPTIONS = [
    "A dog runs on the grass.",
    "a dog and a cat on the sofa",
    "The cat sleeps on a red sofa",
    "A man rides a horse.",
    "a man on a horse and a dog",
    "Two dogs run",
    "a red horse",
]


def made_up(sentences: int, *, different: int = 60) -> list[str]:
    """Captions whose n-grams are seen once to many times, so that every discount can be estimated."""
    draw = random.Random(0)
    words = [f"w{number}" for number in range(different)]
    weights = [1 / (number + 1) for number in range(different)]
    return [" ".join(draw.choices(words, weights, k=draw.randint(1, 7))) for _ in range(sentences)]


def plain(
    corpus: list[list[str]], order: int, *, modified: bool = False
) -> Callable[[str, list[str]], float]:
    """Chen and Goodman's recursion, every context looked up by going through all n-grams."""
    full = [
        tuple(padded[i : i + order])
        for words in corpus
        for padded in [["<s>"] * (order - 1) + words + ["</s>"]]
        for i in range(len(words) + 1)
    ]
    counts = {order: Counter(full)}
    for length in range(order - 1, 0, -1):
        longer = {gram[order - length - 1 :] for gram in full}
        counts[length] = Counter(gram[1:] for gram in longer)

    def discount(length: int, times: int) -> float:
        n = [list(counts[length].values()).count(k) for k in range(5)]
        if not (n[1] and n[2]):
            return 0.5
        y = n[1] / (n[1] + 2 * n[2])
        if modified and n[3]:
            three = (1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
            if 0 < three[0] < 1 and 0 < three[1] < 2 and 0 < three[2] < 3:
                return three[min(times, 3) - 1]
        return y

    def probability(word: str, context: list[str], length: int = order) -> float:
        if length == 0:
            return 1 / (len({gram[-1] for gram in full}) + 1)
        before = tuple(context[len(context) - length + 1 :])
        after = {gram[-1]: n for gram, n in counts[length].items() if gram[:-1] == before}
        lower = probability(word, context, length - 1)
        if not after:
            return lower
        kept = after[word] - discount(length, after[word]) if word in after else 0
        return (kept + sum(discount(length, n) for n in after.values()) * lower) / sum(after.values())

    return probability


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_it_is_the_definition(order: int, modified: bool):
    for captions, texts in (
        (CAPTIONS, ["a dog on the sofa", "The horse rides a zebra", "two", "sofa the on dog a"]),
        (made_up(60, different=200), ["w1 w1 w0 w2", "w59", "w3 zebra w0"]),
    ):
        model = ngrams.train(captions, order, modified=modified)
        wanted = plain([ngrams.words_of(caption) for caption in captions], order, modified=modified)
        for text in texts:
            padded = ["<s>"] * (order - 1) + ngrams.words_of(text) + ["</s>"]
            terms = [wanted(padded[i], padded[i - order + 1 : i]) for i in range(order - 1, len(padded))]
            assert model.logprob(text) == pytest.approx(sum(map(math.log, terms)), abs=1e-9)
            found = model.logprobs10(ngrams.words_of(text))
            assert found == pytest.approx([math.log10(each) for each in terms], rel=1e-12)


def test_three_discounts_are_three():
    captions = made_up(400, different=500)
    one, three = (ngrams.train(captions, modified=modified) for modified in (False, True))
    assert three.notes == ()
    assert one.logprobs.keys() == three.logprobs.keys()
    assert one.logprobs != three.logprobs
    told = ngrams.train(CAPTIONS, modified=True).notes
    assert (
        told
        == tuple(
            f"{n}-grams have one discount: too few were seen one to four times for three" for n in (3, 2, 1)
        )[::-1]
    )


SMOOTHINGS = {
    "Kneser-Ney": ngrams.train,
    "modified": lambda captions, order: ngrams.train(captions, order, modified=True),
    "Katz": katz.train,
    "Katz, all kept": lambda captions, order: katz.train(captions, order, gtmin=(1,)),
    "Katz, discounted": lambda captions, order: katz.train(captions, order, gtmin=(1,), gtmax=(3,)),
}


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_after_every_context_add_up_to_one(smoothing: str, order: int):
    for captions in (CAPTIONS, made_up(50)):
        model = SMOOTHINGS[smoothing](captions, order)
        words = [*model.vocabulary, "an unknown word"]
        contexts = {gram[:-1] for gram in model.logprobs}
        contexts |= {("<s>", "<s>"), ("zebra", "a"), ("never", "seen"), ("sofa", "two"), ("w59", "w1", "w58")}
        assert len(contexts) > 5
        for context in contexts:
            whole = sum(model.probability(word, context) for word in words)
            assert whole == pytest.approx(1, abs=1e-10), context


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
    assert model.probability("a", ["zebra"]) == pytest.approx(7 / 24)
    assert model.vocabulary == {"a", "b", "</s>"}
    assert model.notes == tuple(
        f"discount of {n}-grams is 0.5: too few were seen once or twice" for n in (1, 2)
    )


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


def test_texts_of_the_same_probabilities_tie():
    """Between unknown words a word has no context; sums in another order differ by rounding."""
    model = ngrams.train(made_up(60))
    words = ["w0", "w1", "w2", "w3", "w5"]
    orders = [" zebra ".join(["", *order, ""]) for order in itertools.permutations(words)]
    assert len({sum(model.logprobs10(ngrams.words_of(text))) for text in orders}) > 1
    assert len({model.logprob(text) for text in orders}) == 1


def test_marks_of_sentences_are_no_words_of_texts():
    model = ngrams.train(CAPTIONS)
    assert [model.knows(word) for word in ("dog", "zebra", "<s>", "</s>", "<unk>")] == [True] + [False] * 4


def test_captions_without_words_are_noted():
    model = ngrams.train([*CAPTIONS, "", "..."])
    assert model == ngrams.train(CAPTIONS)
    assert "2 of 9 captions passed over: no words" in model.notes


def test_captions_are_not_kept():
    ngrams.train(CAPTIONS)
    tracemalloc.start()
    ngrams.train(f"a man on a horse number {number % 10} and a dog" for number in range(4_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000, "4,000 captions are four times as much"


@pytest.mark.parametrize(
    ("captions", "order", "message"),
    [([], 3, "no caption"), (["...", ""], 3, "no caption"), (["a"], 0, "order 0")],
)
def test_what_it_cannot_be_trained_on(captions: list[str], order: int, message: str):
    for train in (ngrams.train, katz.train):
        with pytest.raises(BadData, match=message):
            train(captions, order)


@pytest.mark.skipif(importlib.util.find_spec("nltk") is None, reason="nltk is not installed")
def test_nltk_gives_the_same_with_its_discounts(monkeypatch: pytest.MonkeyPatch):
    """NLTK takes one discount, none from single words, and counts n-grams that end in padding: left out here."""
    from nltk.lm import KneserNeyInterpolated
    from nltk.util import everygrams

    def discounts(level: dict[ngrams.Gram, int], *, modified: bool) -> tuple[list[float], tuple[str, ...]]:
        return [1e-14 if len(next(iter(level))) == 1 else 0.3] * 3, ()

    monkeypatch.setattr(ngrams, "_discounts", discounts)
    for captions in (CAPTIONS, made_up(30)):
        model = ngrams.train(captions)
        padded = [["<s>", "<s>", *ngrams.words_of(caption), "</s>"] for caption in captions]
        theirs = KneserNeyInterpolated(3, discount=0.3)
        grams = [[g for g in everygrams(words, max_len=3) if g[-1] != "<s>"] for words in padded]
        theirs.fit(grams, sorted(model.vocabulary))
        for words in padded[:12]:
            for place in range(2, len(words)):
                for word in sorted(model.vocabulary):
                    context = words[place - 2 : place]
                    assert model.probability(word, context) == pytest.approx(
                        theirs.score(word, context), rel=1e-9
                    )
