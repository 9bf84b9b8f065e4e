"""How surprised a language model is by captions: perplexity of a corpus, with and without the ends of sentences.

As SRILM's `ngram -ppl` counts it: ppl = 10^(-logprob / (words - OOVs + sentences)), ppl1 the same without
sentences; the logarithm includes every end of a sentence. A word that the model does not know (OOV) is skipped,
from the logarithm and from the count of words, and hides the words before it from those after it;
with `unknown="score"` all such words are one word of the model's, foretold and counted like others (SRILM's -unk).

Differs: a caption without a word is unscored and counted apart, where SRILM takes an empty line for a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, final

from alignscope.errors import BadData
from alignscope.language.ngrams import UNKNOWN, Model, words_of

Unknown = Literal["skip", "score"]


@final
@dataclass(frozen=True)
class CaptionScore:
    """What one caption adds to a perplexity; sums of captions are what a bootstrap draws."""

    words: int
    oovs: int  # words that the model does not know
    foretold: int  # words that count, and the end of the sentence: words - OOVs + 1, or words + 1
    logprob10: float | None  # None where there is no word
    reason: str | None = None  # why it is unscored


@final
@dataclass(frozen=True)
class Perplexity:
    """Of a corpus: every caption weighs by its words."""

    captions: int
    unscored: int  # captions without a word
    sentences: int  # the others
    words: int
    oovs: int
    logprob10: float
    ppl: float | None  # None where no caption is scored
    ppl1: float | None  # None where no word is


def caption_scores(
    model: Model,
    captions: Iterable[str],
    *,
    unknown: Unknown = "skip",
    words: Callable[[str], list[str]] = words_of,
) -> Iterator[CaptionScore]:
    """One score per caption, read one by one, in their order.

    `words` cuts a text as the model's training did: `str.split` for a file learnt from tokenised text.
    """
    if unknown == "score" and (UNKNOWN,) not in model.logprobs:
        raise BadData(f"got a model without {UNKNOWN}, wanted one to score unknown words; skip them instead")
    return (_score(model, words(caption), unknown) for caption in captions)


def perplexity(scores: Iterable[CaptionScore]) -> Perplexity:
    """Of all captions together, not the mean of theirs.

    >>> from alignscope.language.ngrams import train
    >>> model = train(["a dog runs", "a cat sleeps"])
    >>> found = perplexity(caption_scores(model, ["A dog sleeps.", "a zebra", "!"]))
    >>> found.captions, found.unscored, found.words, found.oovs
    (3, 1, 5, 1)
    """
    captions = sentences = words = oovs = foretold = 0
    logprob10 = 0.0
    for score in scores:
        captions += 1
        if score.logprob10 is not None:
            sentences += 1
            words += score.words
            oovs += score.oovs
            foretold += score.foretold
            logprob10 += score.logprob10
    ppl = 10 ** (-logprob10 / foretold) if foretold else None
    ppl1 = 10 ** (-logprob10 / (foretold - sentences)) if foretold > sentences else None
    return Perplexity(captions, captions - sentences, sentences, words, oovs, logprob10, ppl, ppl1)


def _score(model: Model, words: list[str], unknown: Unknown) -> CaptionScore:
    if not words:
        return CaptionScore(0, 0, 0, None, "no words")
    known = [model.knows(word) for word in words]
    oovs = known.count(False)
    logprobs = model.logprobs10(words)
    if unknown == "skip" and oovs:
        logprobs = [each for each, counts in zip(logprobs, [*known, True], strict=True) if counts]
    return CaptionScore(len(words), oovs, len(logprobs), sum(logprobs))
