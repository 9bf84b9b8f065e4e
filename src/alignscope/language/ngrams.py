"""How plausible a text is without any image: an n-gram language model with Kneser-Ney smoothing.

Interpolated Kneser-Ney (Kneser and Ney 1995; Chen and Goodman 1999, section 3.3): n-grams of full length
are counted as they are, shorter ones by how many different words they were seen after; from each count
a discount D = n1 / (n1 + 2 n2) of its length is taken, and what that frees goes to the next shorter
context, in the end to a uniform distribution over the vocabulary and one unknown word.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from alignscope.errors import BadData

START, END = "<s>", "</s>"
_WORD = re.compile(r"\w+(?:'\w+)*")
Gram = tuple[str, ...]


def words_of(text: str) -> list[str]:
    """Words without case and punctuation.

    >>> words_of("A dog's bone, on the T-shirt.")
    ['a', "dog's", 'bone', 'on', 'the', 't', 'shirt']
    """
    return _WORD.findall(text.casefold().replace("’", "'"))


@final
@dataclass(frozen=True)
class Level:
    """Counts of n-grams of one length: of each n-gram, of each context, and the followers of a context."""

    grams: dict[Gram, int]
    totals: dict[Gram, int]
    followers: dict[Gram, int]
    discount: float


@final
@dataclass(frozen=True)
class Model:
    """A trained model; `levels[k]` counts n-grams of k + 1 words, `vocabulary` has the end of a sentence."""

    order: int
    vocabulary: frozenset[str]
    levels: tuple[Level, ...]

    def probability(self, word: str, context: Sequence[str]) -> float:
        """Of a word after the last words of `context`; every word never seen has that of the unknown word."""
        found = 1 / (len(self.vocabulary) + 1)
        for length, level in enumerate(self.levels):
            before = tuple(context[len(context) - length :])
            total = level.totals.get(before)
            if len(before) < length or total is None:
                break
            kept = max(level.grams.get((*before, word), 0) - level.discount, 0.0)
            found = (kept + level.discount * level.followers[before] * found) / total
        return found

    def logprob(self, text: str) -> float:
        """Natural logarithm of the probability of a text's words and its end."""
        return sum(
            math.log(self.probability(gram[-1], gram[:-1])) for gram in _grams(words_of(text), self.order)
        )


def train(captions: Iterable[str], order: int = 3) -> Model:
    """Count captions, read once and one by one; those without a word are passed over."""
    if order < 1:
        raise BadData(f"got an n-gram model of order {order}, wanted at least 1; 3 is usual")
    counts: Counter[Gram] = Counter()
    for caption in captions:
        if words := words_of(caption):
            counts.update(_grams(words, order))
    if not counts:
        raise BadData("got no caption with words in it, wanted some to train on; check the file of captions")
    levels = [_level(counts)]
    for _ in range(order - 1):
        counts = Counter(gram[1:] for gram in counts)  # distinct words before each
        levels.insert(0, _level(counts))
    return Model(order, frozenset(word for (word,) in counts), tuple(levels))


def _grams(words: Sequence[str], order: int) -> Iterator[Gram]:
    """The n-grams that end in each word and in the end of the sentence."""
    padded = (*[START] * (order - 1), *words, END)
    return (padded[place : place + order] for place in range(len(words) + 1))


def _level(counts: Counter[Gram]) -> Level:
    totals: defaultdict[Gram, int] = defaultdict(int)
    followers: defaultdict[Gram, int] = defaultdict(int)
    for gram, count in counts.items():
        totals[gram[:-1]] += count
        followers[gram[:-1]] += 1
    once, twice = (sum(count == times for count in counts.values()) for times in (1, 2))
    discount = once / (once + 2 * twice) if once and twice else 0.5  # too few to estimate it from
    return Level(dict(counts), dict(totals), dict(followers), discount)
