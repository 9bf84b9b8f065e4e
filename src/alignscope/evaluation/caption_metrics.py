"""BLEU, METEOR, ROUGE-L, CIDEr and SPICE of captions against references, as COCO's evaluation computes them.

The scorers are pycocoevalcap's (its Java programs for METEOR and SPICE). What cannot run is unscored with
the reason, never 0, and nothing is downloaded. BLEU and METEOR of a corpus are no means over captions but
come from sums over them, so those sums are resampled for the interval; CIDEr's document frequencies (from
the references of the captions scored, as there) stay as they are.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from alignscope.errors import BadData, UnknownName
from alignscope.evaluation.intervals import Interval, Sample, clustered_statistic, measured
from alignscope.evaluation.java import jars, run_java
from alignscope.evaluation.measures import MEASURES, values_of
from alignscope.evaluation.tokenisation import Tokens, default_tokens, tokenised
from alignscope.records import DRAWS, CaptionScore, ImageCaption, Measurement, Signature

METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "SPICE")
BLEU_ORDERS = 4
METEOR_COLUMNS = 23
METEOR_STAGES = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase: version 1.5 for English
METEOR_ALPHA, METEOR_BETA, METEOR_GAMMA, METEOR_DELTA = 0.85, 0.2, 0.6, 0.75
CORENLP = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")  # SPICE's download

Sums = Float[np.ndarray, "row column"]


@dataclass(frozen=True)
class CaptionMetrics:
    """Every caption's value under every metric, and the numbers of the whole."""

    scores: tuple[CaptionScore, ...]
    numbers: tuple[Measurement, ...]


@dataclass(frozen=True)
class _Scored:
    """What a metric needs to know of each caption, and how sums over captions become values.

    Where `reason` says why, nothing was scored; a value that is not finite is of that caption alone.
    """

    sums: Sums | None
    value: Callable[[Sums], Float[np.ndarray, " row"]] | None = None
    reason: str = ""


@dataclass(frozen=True)
class _Ready:
    """Captions that can be scored, in words, and why the others cannot."""

    places: tuple[int, ...]  # in the captions given
    candidates: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    reasons: Mapping[int, str]


def caption_metrics(
    captions: Sequence[ImageCaption],
    references: Sequence[ImageCaption],
    *,
    signature: Signature,
    metrics: Sequence[str] = METRICS,
    tokens: Tokens | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> CaptionMetrics:
    """Score one caption an image against all references of that image; intervals resample images.

    A caption without a word, or of an image without references, is unscored under every metric and
    counted as missing. `tokens` is the Java tokeniser where there is Java; the signature says which.
    """
    known = (*METRICS, *(name for name in MEASURES if name not in METRICS))
    unknown = [metric for metric in metrics if metric not in known]
    if unknown:
        raise UnknownName(f"no caption metric {unknown[0]!r}: choose among {', '.join(known)}")
    image, count = Counter(caption.image for caption in captions).most_common(1)[0] if captions else ("", 0)
    if count > 1:
        raise BadData(f"image {image!r} has {count} captions, wanted one an image: keep one")
    jars()  # or say which extra is missing
    tokens = tokens or default_tokens()
    ready, failed = _ready(captions, references, tokens)
    coco = f"pycocoevalcap={version('pycocoevalcap')}"
    how: dict[str, Any] = {"draws": draws, "seed": seed, "level": level}
    scores, numbers = [], []
    for metric, scored in _scored(ready, metrics, failed).items():
        method = f"tokens={tokens},{coco if metric in METRICS else 'by=' + MEASURES.source(metric)}"
        how["signature"] = replace(signature, method=method, dtype="float64", ties="none", seed=seed)
        values, reasons = _values(metric, scored, ready, len(captions))
        scores += [
            CaptionScore(caption.image, metric, value, reason)
            for caption, value, reason in zip(captions, values, reasons, strict=True)
        ]
        numbers.append(_number(metric, scored, ready, values, **how))
    return CaptionMetrics(tuple(scores), tuple(numbers))


def _number(
    metric: str,
    scored: _Scored,
    ready: _Ready,
    values: Sequence[float | None],
    *,
    signature: Signature,
    draws: int,
    seed: int,
    level: float,
) -> Measurement:
    """The number of all captions with a value, each its own image."""
    known = [place for place, value in enumerate(values) if value is not None]
    interval = Interval(None, None, None, scored.reason or "no caption could be scored")
    samples: list[Sample] = []
    if known and scored.sums is not None and scored.value is not None:
        rows = scored.sums[np.searchsorted(ready.places, known)]
        samples = [Sample(column, np.array(known)) for column in rows.T]
        combine = partial(_of_means, value=scored.value, count=len(known))
        interval = clustered_statistic(samples, combine, draws=draws, seed=seed, level=level)
    return measured(
        interval,
        samples,
        measure=metric,
        group="all",
        signature=signature,
        unit="share" if metric in METRICS and metric != "CIDEr" else "score",
        items=len(known),
        missing=len(values) - len(known),
        level=level,
    )


def _ready(
    captions: Sequence[ImageCaption], references: Sequence[ImageCaption], tokens: Tokens
) -> tuple[_Ready, str]:
    """The captions to score, and why there are none where the tokeniser failed."""
    of_image: dict[str, list[str]] = {}
    for reference in references:
        of_image.setdefault(reference.image, []).append(reference.text)
    reasons = {}
    for place, caption in enumerate(captions):
        if not caption.text.strip():
            reasons[place] = "empty caption"
        elif caption.image not in of_image:
            reasons[place] = "no references of this image"
    places = [place for place in range(len(captions)) if place not in reasons]
    groups = [[captions[place].text, *of_image[captions[place].image]] for place in places]
    found = tokenised([text for group in groups for text in group], tokens=tokens)
    if found.reason:
        return _Ready((), (), (), reasons), found.reason
    texts = iter(found.texts)
    words = [tuple(next(texts) for _ in group) for group in groups]
    for place, (candidate, *others) in zip(places, words, strict=True):
        if not candidate:
            reasons[place] = f"no word in the caption {captions[place].text.strip()!r}"
        elif not all(others):
            reasons[place] = f"no word in reference {others.index('') + 1} of this image"
    kept = [(place, group) for place, group in zip(places, words, strict=True) if place not in reasons]
    return _Ready(
        tuple(place for place, _ in kept),
        tuple(group[0] for _, group in kept),
        tuple(group[1:] for _, group in kept),
        reasons,
    ), ""


def _scored(ready: _Ready, metrics: Sequence[str], failed: str) -> dict[str, _Scored]:
    if failed or not ready.places:
        return {metric: _Scored(None, reason=failed) for metric in metrics}
    families = {"BLEU": _bleu, "METEOR": _meteor, "ROUGE": _rouge, "CIDEr": _cider, "SPICE": _spice}
    ours = [metric for metric in metrics if metric in METRICS]
    found = {family: families[family](ready) for family in dict.fromkeys(_family(each) for each in ours)}
    return {
        metric: _meaned(values_of(metric, ready.candidates, ready.references))
        if metric not in METRICS
        else replace(found["BLEU"], value=partial(_bleu_of, order=int(metric[-1])))
        if metric.startswith("BLEU")
        else found[_family(metric)]
        for metric in metrics
    }


def _family(metric: str) -> str:
    return metric.split("-")[0]


def _values(metric: str, scored: _Scored, ready: _Ready, count: int) -> tuple[list[float | None], list[str]]:
    """Each caption's value, or None and why."""
    values: list[float | None] = [None] * count
    reasons = [ready.reasons.get(place, scored.reason) for place in range(count)]
    if scored.sums is not None and scored.value is not None:
        for place, value in zip(ready.places, scored.value(scored.sums).tolist(), strict=True):
            values[place] = value if np.isfinite(value) else None
            reasons[place] = "" if np.isfinite(value) else f"{metric} gave no number"
    return values, reasons


def _of_means(means: Sums, *, value: Callable[[Sums], Float[np.ndarray, " row"]], count: int) -> np.ndarray:
    return value(means * count)


def _bleu(ready: _Ready) -> _Scored:
    """Matches and n-grams of each order, length, and the length of the nearest reference (Papineni et al.)."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=BLEU_ORDERS)
    for candidate, references in zip(ready.candidates, ready.references, strict=True):
        scorer += (candidate, list(references))
    rows = [
        [
            *one["correct"],
            *one["guess"],
            length,
            min(one["reflen"], key=lambda each: (abs(each - length), each)),
        ]
        for one in scorer.ctest
        for length in [one["testlen"]]
    ]
    return _Scored(np.array(rows, dtype=np.float64))


def _bleu_of(sums: Sums, *, order: int) -> Float[np.ndarray, " row"]:
    """BLEU from sums, with the tiny additions that keep COCO's code from dividing by zero."""
    matches, ngrams = sums[:, :order], sums[:, BLEU_ORDERS : BLEU_ORDERS + order]
    ratio = (sums[:, -2] + 1e-15) / (sums[:, -1] + 1e-9)
    precision = np.prod((matches + 1e-15) / (ngrams + 1e-9), axis=1) ** (1 / order)
    return precision * np.exp(np.minimum(0, 1 - 1 / ratio))


def _meteor(ready: _Ready) -> _Scored:
    """Weighted matches, words and chunks, from the statistics that METEOR's program gives of each caption."""
    lines = [
        " ||| ".join(["SCORE", *(text.replace("|||", "") for text in (*references, candidate))])
        for candidate, references in zip(ready.candidates, ready.references, strict=True)
    ]
    arguments = ["-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"]
    done = run_java(arguments, folder=jars() / "meteor", text="".join(f"{line}\n" for line in lines))
    if done.reason:
        return _Scored(None, reason=f"METEOR: {done.reason}")
    told = [line.split() for line in done.output.splitlines()]
    if len(told) != len(lines) or any(len(row) != METEOR_COLUMNS for row in told):
        return _Scored(None, reason="METEOR: its program gave something else than statistics of each caption")
    table = np.array(told, dtype=np.float64)
    lengths, functions, stages = table[:, :2], table[:, 2:4], table[:, 4:20].reshape(-1, 4, 4)
    chunks, matches = table[:, 20], table[:, 21:]
    words = METEOR_DELTA * (lengths - functions) + (1 - METEOR_DELTA) * functions
    content, function = (
        np.einsum("tsk,s->tk", part, METEOR_STAGES) for part in (stages[:, :, :2], stages[:, :, 2:])
    )
    hits = METEOR_DELTA * content + (1 - METEOR_DELTA) * function
    is_whole = (chunks == 1) & (matches == lengths).all(axis=1)  # no penalty for the one chunk
    columns = [hits, words, np.where(is_whole, 0, chunks)[:, None], matches.mean(axis=1)[:, None]]
    return _Scored(np.concatenate(columns, axis=1), _meteor_of)


def _meteor_of(sums: Sums) -> Float[np.ndarray, " row"]:
    """METEOR 1.5 from sums (Denkowski and Lavie 2014, section 2)."""
    precision, recall = _ratio(sums[:, 0], sums[:, 2]), _ratio(sums[:, 1], sums[:, 3])
    mean = _ratio(precision * recall, METEOR_ALPHA * precision + (1 - METEOR_ALPHA) * recall)
    return mean * (1 - METEOR_GAMMA * _ratio(sums[:, 4], sums[:, 5]) ** METEOR_BETA)


def _ratio(above: Float[np.ndarray, " row"], below: Float[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _rouge(ready: _Ready) -> _Scored:
    from pycocoevalcap.rouge.rouge import Rouge

    pairs = zip(ready.candidates, ready.references, strict=True)
    return _meaned([Rouge().calc_score([candidate], list(references)) for candidate, references in pairs])


def _cider(ready: _Ready) -> _Scored:
    from pycocoevalcap.cider.cider import Cider

    if len(ready.places) == 1:
        return _Scored(None, reason="CIDEr: one image, so that every n-gram has the weight 0")
    references = {place: list(texts) for place, texts in enumerate(ready.references)}
    _, values = Cider().compute_score(
        references, {place: [text] for place, text in enumerate(ready.candidates)}
    )
    return _meaned(values)


def _spice(ready: _Ready) -> _Scored:
    """SPICE's program, run in a folder of its own; pycocoevalcap's class would download and write beside it."""
    home = jars() / "spice"
    missing = [name for name in CORENLP if not (home / "lib" / name).is_file()]
    if missing:
        reason = f"SPICE: {' and '.join(missing)} (Stanford CoreNLP 2015-12-09) not in {home / 'lib'}"
        return _Scored(None, reason=f"{reason}: put it there, nothing is downloaded")
    pairs = zip(ready.candidates, ready.references, strict=True)
    rows = [{"image_id": place, "test": test, "refs": refs} for place, (test, refs) in enumerate(pairs)]
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "captions.json", Path(folder) / "scores.json"
        asked.write_text(json.dumps(rows), encoding="utf-8")
        arguments = ["-Xmx8G", "-jar", "spice-1.0.jar", str(asked), "-out", str(answer), "-subset", "-silent"]
        done = run_java(arguments, folder=home)
        if done.reason:
            return _Scored(None, reason=f"SPICE: {done.reason}")
        try:
            told = json.loads(answer.read_text(encoding="utf-8"))
            found = {row["image_id"]: row["scores"]["All"]["f"] for row in told}
            return _meaned(
                [np.nan if found[place] is None else float(found[place]) for place in range(len(rows))]
            )
        except (OSError, ValueError, LookupError, TypeError) as error:
            return _Scored(
                None, reason=f"SPICE: its program left no readable scores ({type(error).__name__})"
            )


def _meaned(values: Sequence[float] | Float[np.ndarray, " caption"]) -> _Scored:
    """A metric whose number is the mean of its captions' values."""
    column = np.array(values, dtype=np.float64)[:, None]
    return _Scored(np.concatenate([column, np.ones_like(column)], axis=1), _mean_of)


def _mean_of(sums: Sums) -> Float[np.ndarray, " row"]:
    return sums[:, 0] / sums[:, 1]
