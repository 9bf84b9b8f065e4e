"""How plausible a text is without any image: an n-gram language model, Kneser-Ney smoothed.

Interpolated Kneser-Ney (Kneser and Ney 1995; Chen and Goodman 1999, section 3.3): n-grams of full length
are counted as they are, shorter ones by how many different words they were seen after; from each count
a discount D = n1 / (n1 + 2 n2) of its length is taken, and what that frees goes to the next shorter
context, in the end to a uniform distribution over the vocabulary and one unknown word. The modified form
(their section 3.4) takes three discounts, from counts of 1, of 2, and of 3 or more.

Differs from SRILM and lmplz: a sentence starts with order - 1 start marks (as in NLTK), so what is freed after
them goes to the words that were seen first in a sentence, each alike, and then to all words.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, final

from alignscope.errors import BadData

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
_WORD = re.compile(r"\w+(?:'\w+)*")
Gram = tuple[str, ...]


def words_of(text: str) -> list[str]:
    """Words without case and punctuation.

    >>> words_of("A dog's bone, on the T-shirt.")
    ['a', "dog's", 'bone', 'on', 'the', 't', 'shirt']
    """
    return [sys.intern(word) for word in _WORD.findall(text.casefold().replace("’", "'"))]


@final
@dataclass(frozen=True)
class Model:
    """A trained model in back-off form, as ARPA files hold it: logarithms to base 10.

    An n-gram that is not listed has the weight of its context times the probability of its last n - 1 words.
    """

    order: int
    logprobs: Mapping[Gram, float]  # n-grams of 1 to `order` words
    backoffs: Mapping[Gram, float]  # of contexts; those not listed weigh 1
    notes: tuple[str, ...] = field(
        default=(), compare=False
    )  # what training passed over or could not estimate

    @property
    def vocabulary(self) -> frozenset[str]:
        """The words that can be foretold, the end of a sentence among them, the unknown word not."""
        return frozenset(gram[0] for gram in self.logprobs if len(gram) == 1 and gram[0] != UNKNOWN)

    def probability(self, word: str, context: Sequence[str]) -> float:
        """Of a word after the last words of `context`; every word never seen has that of the unknown word."""
        before = context[max(len(context) - self.order + 1, 0) :]
        return 10 ** self.logprob10(tuple(self._known([*before, word])))

    def logprob(self, text: str) -> float:
        """Natural logarithm of the probability of a text's words and its end.

        Rounded to 10 decimals: texts that are equally probable but for the order of their words tie.
        """
        return round(math.log(10) * math.fsum(self.logprobs10(words_of(text))), 10)

    def logprobs10(self, words: Sequence[str]) -> list[float]:
        """Of each word and of the end of the sentence, to base 10."""
        padded = (START, *self._known(words), END)
        return [self.logprob10(padded[max(end - self.order, 0) : end]) for end in range(2, len(padded) + 1)]

    def logprob10(self, gram: Gram) -> float:
        """Of the last word of an n-gram after the others; minus infinity of an unknown word that has none."""
        weight, found = 0.0, self.logprobs.get(gram)
        while found is None:
            if len(gram) == 1:
                return -math.inf
            weight += self.backoffs.get(gram[:-1], 0.0)
            gram = gram[1:]
            found = self.logprobs.get(gram)
        return weight + found

    def knows(self, word: str) -> bool:
        """Whether a word of a text is in the vocabulary; marks are not words."""
        return (word,) in self.logprobs and word not in (START, END, UNKNOWN)

    def _known(self, words: Sequence[str]) -> list[str]:
        """Words with the unknown ones as one."""
        return [word if (word,) in self.logprobs or word == START else UNKNOWN for word in words]


def train(captions: Iterable[str], order: int = 3, *, modified: bool = False) -> Model:
    """Count captions and smooth by Kneser and Ney, modified (three discounts) or not.

    >>> model = train(["a dog runs", "a cat sleeps", "the dog sleeps"])
    >>> model.logprob("a dog sleeps") > model.logprob("sleeps dog a")
    True
    """
    counts, notes = count(captions, order)
    levels = [counts]
    for _ in range(order - 1):
        levels.append(Counter(gram[1:] for gram in levels[-1]))  # distinct words before each
    logprobs: dict[Gram, float] = {}
    backoffs: dict[Gram, float] = {}
    shorter: dict[Gram, float] = {(): 1 / (len(levels[-1]) + 1)}
    for level in reversed(levels):
        discounts, told = _discounts(level, modified=modified)
        notes += told
        totals, freed = _contexts(level, discounts)
        found = {}
        for gram, times in level.items():
            before = gram[:-1]
            kept = times - discounts[min(times, 3) - 1]
            found[gram] = (kept + freed[before] * shorter[gram[1:]]) / totals[before]
            logprobs[gram] = min(math.log10(found[gram]), 0.0)
        for before, total in totals.items():
            backoffs[before] = math.log10(freed[before] / total)
        shorter = found
    logprobs[(UNKNOWN,)] = backoffs.pop(()) - math.log10(len(levels[-1]) + 1)
    _mark_once(logprobs, backoffs)
    return Model(order, logprobs, backoffs, notes)


def count(captions: Iterable[str], order: int) -> tuple[Counter[Gram], tuple[str, ...]]:
    """The n-grams that end in each word and in the end of a sentence, and a note of what was passed over.

    Captions are read once, one by one; memory grows with distinct n-grams alone.
    """
    if order < 1:
        raise BadData(f"got an n-gram model of order {order}, wanted at least 1; 3 is usual")
    asked = wordless = 0

    def sentences() -> Iterator[list[str]]:
        nonlocal asked, wordless
        for caption in captions:
            asked += 1
            if words := words_of(caption):
                yield words
            else:
                wordless += 1

    counts = Counter(chain.from_iterable(_grams(words, order) for words in sentences()))
    if not counts:
        raise BadData("got no caption with words in it, wanted some to train on; check the file of captions")
    return counts, (f"{wordless} of {asked} captions passed over: no words",) if wordless else ()


def _grams(words: Sequence[str], order: int) -> Iterator[Gram]:
    padded = (*[START] * (order - 1), *words, END)
    return zip(*(padded[skip:] for skip in range(order)), strict=False)


def _mark_once(logprobs: dict[Gram, float], backoffs: dict[Gram, float]) -> None:
    """Give n-grams with several start marks, the longer ones last, to the one with a single mark.

    Files and other toolkits know but one mark. After marks alone the same words were seen at every length, so
    that the longest probability is the one in force and weights multiply.
    """
    for gram in [gram for gram in logprobs if gram[:2] == (START, START)]:
        logprobs[_after_marks(gram)] = logprobs.pop(gram)
    for gram in [gram for gram in backoffs if gram[:2] == (START, START)]:
        once = _after_marks(gram)
        backoffs[once] = backoffs.get(once, 0.0) + backoffs.pop(gram)


def _after_marks(gram: Gram) -> Gram:
    return gram[gram.count(START) - 1 :]


class _Contexts(NamedTuple):
    totals: dict[Gram, int]
    freed: dict[Gram, float]


def _contexts(level: Mapping[Gram, int], discounts: Sequence[float]) -> _Contexts:
    """Of each context, how often it was seen and how much of that discounts free."""
    totals: defaultdict[Gram, int] = defaultdict(int)
    followers: defaultdict[Gram, list[int]] = defaultdict(lambda: [0, 0, 0])
    for gram, times in level.items():
        before = gram[:-1]
        totals[before] += times
        followers[before][min(times, 3) - 1] += 1
    freed = {
        before: sum(discount * seen for discount, seen in zip(discounts, each, strict=True))
        for before, each in followers.items()
    }
    return _Contexts(dict(totals), freed)


def _discounts(level: Mapping[Gram, int], *, modified: bool) -> tuple[list[float], tuple[str, ...]]:
    """From counts of 1, 2, and 3 or more (Chen and Goodman 1999, equations 17 and 26), with a note if made up."""
    length = len(next(iter(level)))
    seen = Counter(level.values())
    once, twice = seen[1], seen[2]
    if not (once and twice):
        return [0.5] * 3, (f"discount of {length}-grams is 0.5: too few were seen once or twice",)
    single = once / (once + 2 * twice)
    if not modified:
        return [single] * 3, ()
    three = [k - (k + 1) * single * seen[k + 1] / seen[k] if seen[k] else 0.0 for k in (1, 2, 3)]
    if all(0 < discount < k for k, discount in enumerate(three, start=1)):
        return three, ()
    return [single] * 3, (f"{length}-grams have one discount: too few were seen one to four times for three",)
