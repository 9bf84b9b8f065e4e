"""Calibration self-check: a matching head read at the wrong logit is found before it makes numbers.

ViLBERT says "match" by logit 0, the others by logit 1 (sheet A.5); read the other way round a model looks
worse than chance. A few images with their own and with another's text tell.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from jaxtyping import Float
from torch import Tensor

from alignscope.attribution.scores import possible_scores
from alignscope.errors import BadInput, CalibrationError, LengthMismatch
from alignscope.evaluation.calibration import matching_auc
from alignscope.evaluation.intervals import Interval, Sample, measured
from alignscope.models.protocols import PairScorer, Picture
from alignscope.records import Item, Measurement, Problem, Signature
from alignscope.studies.embeddings import ImageRows

MEASURE = "calibration AUC"
WANTED, LEAST = 64, 8  # pairs
ENOUGH = 32  # with fewer the interval is wide, which is said
_CANDIDATES = 4  # times as many images as wanted are drawn: some have no text of their own
_IMAGES = 8  # at a time


def calibration_pairs(
    items: Iterable[tuple[str, str]], *, seed: int, wanted: int = WANTED
) -> list[tuple[str, str]]:
    """Up to `wanted` pairs of (image, text), every image and every text once, drawn by seed.

    No text is one of another drawn image's as well, so any other order of the texts is a derangement.
    Which images are drawn does not depend on the order of the items, and memory does not grow with them.
    """
    most = _CANDIDATES * wanted
    drawn: dict[bytes, tuple[str, dict[str, str]]] = {}
    for image, text in items:
        rank = hashlib.sha256(f"{seed} {image}".encode()).digest()
        drawn.setdefault(rank, (image, {}))[1].setdefault(" ".join(text.casefold().split()), text)
        if len(drawn) > 2 * most:
            drawn = {rank: drawn[rank] for rank in sorted(drawn)[:most]}
    kept = [drawn[rank] for rank in sorted(drawn)[:most]]
    owners = Counter(folded for _, texts in kept for folded in texts)
    own = [(image, [text for folded, text in texts.items() if owners[folded] == 1]) for image, texts in kept]
    return [(image, texts[0]) for image, texts in own if texts][:wanted]


def calibrated(
    model: PairScorer,
    pictures: Sequence[Picture],
    texts: Sequence[str],
    *,
    signature: Signature,
    skippable: bool = True,
) -> Measurement:
    """AUC of each picture with its own text against the text of the next, for `calibration_pairs`.

    A matching head on the wrong side of one half is refused, with the option to do without the check where it
    is `skippable`; `doubts` says what else a number leaves open.
    The value is None, with the reason, where there are too few pairs to tell.
    """
    if len(pictures) != len(texts):
        raise LengthMismatch(f"{len(texts)} texts for {len(pictures)} pictures: give each its own")
    others = [*texts[1:], *texts[:1]]
    if len(texts) > 1 and any(map(str.__eq__, texts, others)):
        raise BadInput("got equal texts side by side: give the pairs of `calibration_pairs`")
    wanted = len(texts) if len(texts) >= LEAST else 0
    scores = np.zeros((wanted, 2), np.float32)  # (image, matched or shuffled)
    for start in range(0, wanted, _IMAGES):
        part = slice(start, start + _IMAGES)
        twice = [picture for picture in pictures[part] for _ in range(2)]
        both = list(chain.from_iterable(zip(texts[part], others[part], strict=True)))
        scores[part] = possible_scores(model, twice, both).scores.numpy().reshape(-1, 2)
    is_finite = np.isfinite(scores).all(axis=1)
    matched, shuffled = scores[is_finite].T
    found = _measured(matched, shuffled, len(texts), signature)
    if model.traits.score == "match" and found.value is not None and found.value < 0.5:
        raise CalibrationError(_refusal(model, found, signature.data, skippable=skippable))
    return found


def calibration(
    model: PairScorer, items: Sequence[Item], images: ImageRows, *, signature: Signature
) -> tuple[list[Measurement], list[Problem]]:
    """The self-check on some items: what it measured, and what it leaves open."""
    pairs = calibration_pairs(((item.image, item.caption.text) for item in items), seed=signature.seed)
    pictures = images[[key for key, _ in pairs]]
    assert not isinstance(pictures, Tensor)
    found = calibrated(model, pictures, [text for _, text in pairs], signature=signature)
    return [found], doubts(found)


def doubts(found: Measurement) -> list[Problem]:
    """What a calibration leaves open: nothing checked, few pairs, or an interval that reaches one half."""
    said = [found.reason] if found.items < ENOUGH else []
    if found.value is not None and found.low is not None and found.low <= 0.5:
        said.append(f"{_told(found)}: the model hardly tells matched from shuffled pairs on these data")
    return [Problem("", MEASURE, what, "handled") for what in said]


def _measured(
    matched: Float[np.ndarray, " image"],
    shuffled: Float[np.ndarray, " image"],
    pairs: int,
    signature: Signature,
) -> Measurement:
    count = len(matched)
    interval = Interval(None, None, None)
    if count < LEAST:
        reason = f"calibration not checked: {count} pairs with texts of their own and finite scores"
        reason += f", wanted at least {LEAST}"
    else:
        interval = matching_auc(matched, shuffled, seed=signature.seed)
        few = f"calibrated on {count} pairs, wanted {ENOUGH}" if count < ENOUGH else ""
        reason = "; ".join(filter(None, (few, interval.reason)))
    return measured(
        interval,
        [Sample(matched, np.arange(count))] if count else [],
        measure=MEASURE,
        group="all",
        signature=replace(signature, ties="half"),
        ties=int((matched[:, None] == shuffled[None, :]).sum()),
        missing=pairs - count,
        reason=reason,
    )


def _told(found: Measurement) -> str:
    return f"AUC {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] over {found.items} pairs"


def _refusal(model: PairScorer, found: Measurement, data: str, *, skippable: bool) -> str:
    start = f"{model.name} on {data}: {_told(found)} with their own and with another image's text"
    index = model.traits.match_index
    if found.high is not None and found.high >= 0.5:
        return (
            f"{start}: it cannot tell matched from shuffled pairs on these data. Check that these are its "
            "weights, its kind of images or region features, and its captions"
            + ("; --no-calibration goes on anyway" if skippable else "")
        )
    remedy = (
        "its head has one logit, so check the weights"
        if index is None
        else f"flip match index? --match-index {1 - index}"
    )
    instead = ", or --no-calibration to go on anyway" if skippable else ""
    return f"{start}: it scores them the wrong way round; {remedy}{instead}"
