"""Perplexity of captions with an interval: how surprising a language model finds them (paper A, Table 4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from alignscope.evaluation.intervals import Interval, clustered_statistic, measured, sample_of
from alignscope.language.ngrams import Model
from alignscope.language.perplexity import Unknown, caption_scores
from alignscope.records import DRAWS, CaptionSurprise, ImageCaption, Measurement, Problem, Signature

MEASURES = ("perplexity", "perplexity without sentence ends", "words unknown to the language model")


def surprises(
    model: Model, captions: Sequence[ImageCaption], *, unknown: Unknown = "skip"
) -> tuple[list[CaptionSurprise], list[Problem]]:
    """What each caption adds to the perplexity; one without a word is unscored."""
    scores = caption_scores(model, [one.text for one in captions], unknown=unknown)
    found = [
        CaptionSurprise(
            *(one.image, one.text, score.words, score.oovs, score.foretold, score.logprob10),
            score.reason or "",
        )
        for one, score in zip(captions, scores, strict=True)
    ]
    return found, [Problem(one.image, one.caption, one.reason, "unscored") for one in found if one.reason]


def perplexities(
    found: Iterable[CaptionSurprise], *, signature: Signature, missing: int = 0, draws: int = DRAWS
) -> list[Measurement]:
    """Of all captions together, with and without the ends of sentences, and the share of unknown words.

    Intervals draw images anew: of each draw the perplexity is computed as of the whole.
    """
    kept = [one for one in found if one.logprob10 is not None]
    sums = {
        "logprob10": [one.logprob10 or 0.0 for one in kept],
        "foretold": [float(one.foretold) for one in kept],
        "words": [float(one.foretold - 1) for one in kept],  # without the end of the sentence
        "oovs": [float(one.oovs) for one in kept],
        "all words": [float(one.words) for one in kept],
    }
    images = [one.image for one in kept]
    columns = {name: sample_of(list(zip(values, images, strict=True))) for name, values in sums.items()}
    seed = signature.seed
    numbers = []
    for measure, (above, below), unit in zip(
        MEASURES,
        (("logprob10", "foretold"), ("logprob10", "words"), ("oovs", "all words")),
        ("score", "score", "share"),
        strict=True,
    ):
        samples = [columns[above], columns[below]]
        combine = _share if unit == "share" else _perplexity
        interval = (
            clustered_statistic(samples, combine, draws=draws, seed=seed)
            if any(sums[below])
            else Interval(
                None, None, None, "no word that the language model knows" if kept else "nothing scored"
            )
        )
        numbers.append(
            measured(
                interval,
                samples,
                measure=measure,
                group="all",
                signature=signature,
                unit=unit,
                items=len(kept),
                missing=missing,
            )
        )
    return numbers


def _perplexity(means: Float[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
    return 10 ** -_share(means)


def _share(means: Float[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
    shares = np.full(len(means), np.nan)
    np.divide(means[:, 0], means[:, 1], out=shares, where=means[:, 1] > 0)
    return shares
