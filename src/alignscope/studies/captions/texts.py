"""What the captions of any captioners are like, side by side, without a model of images (paper A, Tables 4, 5, Fig. 4)."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import alignscope
from alignscope.errors import BadInput, MissingExtra
from alignscope.evaluation.caption_metrics import METRICS, caption_metrics
from alignscope.evaluation.intervals import Interval, measured
from alignscope.files import sha_of, write_json, write_jsonl, write_parquet
from alignscope.language import arpa, katz, ngrams
from alignscope.language.perplexity import Unknown
from alignscope.probing.captions import CaptionFile, Tags, tagged_captions
from alignscope.probing.counts import averages, counted
from alignscope.probing.mining import as_patterns, mined_patterns
from alignscope.probing.ngrams import distinct, gram_counts
from alignscope.probing.patterns import pattern_fits, pattern_ratios
from alignscope.probing.surprise import MEASURES, perplexities, surprises
from alignscope.records import (
    DRAWS,
    CaptionCounts,
    CaptionScore,
    CaptionSurprise,
    GramCount,
    Measurement,
    MinedPattern,
    PatternFit,
    Problem,
    Signature,
    TaggedCaption,
)
from alignscope.studies.captions.captioned import caption_files, read_many, references_of, tagging
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.output import RUN, claimed

LENGTHS = (1, 2, 3, 4, 5)
DISTINCT = (1, 2, 3)
Smoothing = Literal["kneser-ney", "modified-kneser-ney", "katz"]


@final
@dataclass(frozen=True)
class TextSettings:
    """What a look at captions does; all of it is in the run's identity."""

    seed: int = 0
    draws: int = DRAWS  # of the bootstrap
    order: int = 3  # of the language model
    smoothing: Smoothing = "kneser-ney"
    unknown: Unknown = "skip"
    metrics: tuple[str, ...] = METRICS
    names: bool = False  # proper nouns are nouns too
    top: int = 10  # n-grams kept of each kind
    mined: int = 5  # patterns
    tagger: str | None = None  # "spacy" or "world"; None: the world's where images are its scenes


@final
@dataclass(frozen=True)
class Texts:
    """What was found; groups of measurements begin with the name of the captions."""

    directory: Path
    measurements: tuple[Measurement, ...]
    problems: tuple[Problem, ...]
    words: Mapping[str, Sequence[GramCount]]  # most frequent, by captions
    mined: Mapping[str, Sequence[MinedPattern]]


@final
@dataclass(frozen=True)
class _Beside:
    """What captions are compared with, and how their words are tagged."""

    references: CaptionFile | None
    model: ngrams.Model | None
    tag: Tags
    settings: TextSettings


@final
@dataclass(frozen=True)
class _Found:
    """All records of one file of captions."""

    numbers: list[Measurement]
    counts: list[CaptionCounts]
    grams: list[GramCount]
    fits: list[PatternFit]
    mined: list[MinedPattern]
    surprises: list[CaptionSurprise]
    scores: Sequence[CaptionScore]
    problems: list[Problem]


def texts(
    captions: Mapping[str, Path],
    out: Path,
    *,
    references: Path | None = None,
    corpus: Path | None = None,
    language_model: Path | None = None,
    settings: TextSettings = TextSettings(),
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Texts:
    """Look at files of captions, by the names that tables give them; write run.json and records under `out`.

    Caption metrics need `references` (the world has its own), perplexity a `corpus` to train on or a
    `language_model` (an ARPA file); what lacks them is unscored.
    """
    clock, started = Clock(), datetime.datetime.now(datetime.UTC)
    read = caption_files(captions)
    keys = list(dict.fromkeys(one.image for file in read.values() for one in file.captions))
    tag, tagger = tagging(keys, settings.tagger)
    told = references_of(keys, references)
    trained = None if corpus is None else read_many(corpus, split="train")
    model = _language_model(trained, language_model, settings)
    known = None if model is None else sha_of(sorted(model.logprobs.items()))
    identity = {
        "kind": "probe texts",
        "version": alignscope.__version__,
        "data": {name: one.sha for name, one in read.items()},
        "references": told.sha if told else None,
        "language model": known,
        "tagger": tagger,
        "settings": asdict(settings),
    }
    beside = _Beside(told, model, tag, settings)
    with claimed(out, identity, resume=resume, overwrite=overwrite):
        found: dict[str, _Found] = {}
        for number, (name, file) in enumerate(read.items()):
            progress("captions", number, len(read))
            signature = _signature(file, tagger, known, settings)
            found[name] = _looked_at(name, file, beside, signature)
            _write(out / "captions" / name, found[name])
            clock.lap(name)
        progress("captions", len(read), len(read))
        problems = _problems(found.values(), told, trained, model)
        numbers = [one for each in found.values() for one in each.numbers]
        write_parquet(out / "measurements.parquet", numbers, Measurement)
        write_jsonl(out / "problems.jsonl", problems)
        run: dict[str, Any] = {**identity, "identity": identity, "finished": True, "command": command}
        run |= {"started": started.isoformat(timespec="seconds"), "seconds": clock.laps}
        write_json(out / RUN, run)
        return Texts(
            out,
            tuple(numbers),
            tuple(problems),
            {name: _most_frequent(one.grams) for name, one in found.items()},
            {name: one.mined for name, one in found.items()},
        )


def _problems(
    found: Iterable[_Found],
    references: CaptionFile | None,
    corpus: CaptionFile | None,
    model: ngrams.Model | None,
) -> list[Problem]:
    """What was wrong with captions, references and corpus, and what the language model could not estimate."""
    return [
        *(one for each in found for one in each.problems),
        *(references.problems if references else ()),
        *(corpus.problems if corpus else ()),
        *(Problem("", "language model", note, "handled") for note in (model.notes if model else ())),
    ]


def _most_frequent(grams: Sequence[GramCount]) -> list[GramCount]:
    return [one for one in grams if (one.of, one.length, one.place) == ("words", 1, "anywhere")]


def _language_model(
    corpus: CaptionFile | None, file: Path | None, settings: TextSettings
) -> ngrams.Model | None:
    if corpus is not None and file is not None:
        raise BadInput("got captions to train on and a language model, wanted one of --corpus and --arpa")
    if file is not None:
        return arpa.read(file)
    if corpus is None:
        return None
    said = [one.text for one in corpus.captions]
    if settings.smoothing == "katz":
        return katz.train(said, settings.order)
    return ngrams.train(said, settings.order, modified=settings.smoothing == "modified-kneser-ney")


def _looked_at(name: str, file: CaptionFile, beside: _Beside, signature: Signature) -> _Found:
    """Everything of one file of captions."""
    settings = beside.settings
    captions = tagged_captions(file.captions, tag=beside.tag)
    counts, wordless = counted(captions, names=settings.names)
    missing = len(file.problems) + len(wordless)
    how: dict[str, Any] = {"signature": signature, "draws": settings.draws}
    fits, _ = pattern_fits(captions)
    mined, _ = mined_patterns(captions, top=settings.mined)
    own = as_patterns(mined)
    fitted, _ = pattern_fits(captions, own)
    numbers = [
        *averages(counts, missing=missing, **how),
        *(
            replace(one, missing=one.missing + len(file.problems))
            for length in DISTINCT
            for one in distinct(captions, length, **how)
        ),
    ]
    surprised, numbers_of_surprise, unread = _surprised(file, beside, how)
    scores, metrics = _metrics(file, beside.references, settings, signature)
    numbers += [*numbers_of_surprise, *metrics]
    numbers += pattern_ratios(fits, missing=missing, **how)
    numbers += pattern_ratios(fitted, own, missing=missing, **how)
    problems = [*file.problems, *wordless, *unread]
    problems += _unmeasured(scores, metrics)
    return _Found(
        [replace(one, group=f"{name} | {one.group}") for one in numbers],
        counts,
        _grams(captions, settings.top),
        [*fits, *fitted],
        mined,
        surprised,
        scores,
        [replace(one, what=f"{name}: {one.what}") for one in dict.fromkeys(problems)],
    )


def _unmeasured(scores: Sequence[CaptionScore], numbers: Sequence[Measurement]) -> list[Problem]:
    """Metrics that could not run, once each; captions that the others could not score, once for each reason."""
    whole = {one.measure: one.reason for one in numbers if one.value is None}
    single = {(one.image, one.reason): one for one in scores if one.reason and one.metric not in whole}
    return [
        *(Problem("", metric, reason, "unscored") for metric, reason in whole.items()),
        *(Problem(one.image, one.metric, one.reason, "unscored") for one in single.values()),
    ]


def _surprised(
    file: CaptionFile, beside: _Beside, how: Mapping[str, Any]
) -> tuple[list[CaptionSurprise], list[Measurement], list[Problem]]:
    if beside.model is None:
        reason = "no language model: give --corpus or --arpa"
        return [], [_unscored(measure, file, reason, how["signature"]) for measure in MEASURES], []
    found, problems = surprises(beside.model, file.captions, unknown=beside.settings.unknown)
    missing = len(file.problems) + len(problems)
    return found, perplexities(found, missing=missing, **how), problems


def _metrics(
    file: CaptionFile, references: CaptionFile | None, settings: TextSettings, signature: Signature
) -> tuple[Sequence[CaptionScore], list[Measurement]]:
    """Caption metrics; without references, or without the extra that computes them, they are unscored."""
    reason = "no references: give --references"
    if references is not None:
        try:
            found = caption_metrics(
                file.captions,
                references.captions,
                signature=signature,
                metrics=settings.metrics,
                draws=settings.draws,
                seed=settings.seed,
            )
        except MissingExtra as error:
            reason = str(error)
        else:
            lost = len(file.problems)
            return found.scores, [replace(one, missing=one.missing + lost) for one in found.numbers]
    return [], [_unscored(metric, file, reason, signature) for metric in settings.metrics]


def _unscored(measure: str, file: CaptionFile, reason: str, signature: Signature) -> Measurement:
    count = len(file.captions) + len(file.problems)
    nothing = Interval(None, None, None, reason)
    return measured(nothing, [], measure=measure, group="all", signature=signature, items=0, missing=count)


def _grams(captions: Sequence[TaggedCaption], top: int) -> list[GramCount]:
    """Words and parts of speech, anywhere and at the start, of every length."""
    found: list[GramCount] = []
    for length in LENGTHS:
        for of in ("words", "tags"):
            for place in ("anywhere", "start"):
                found += gram_counts(captions, length, of=of, place=place, top=top)
    return found


def _write(folder: Path, found: _Found) -> None:
    """The records of one file of captions."""
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / "counts.parquet", found.counts, CaptionCounts)
    write_parquet(folder / "grams.parquet", found.grams, GramCount)
    write_parquet(folder / "fits.parquet", found.fits, PatternFit)
    write_parquet(folder / "surprises.parquet", found.surprises, CaptionSurprise)
    write_parquet(folder / "scores.parquet", found.scores, CaptionScore)
    write_jsonl(folder / "mined.jsonl", found.mined)


def _signature(file: CaptionFile, tagger: str, model: str | None, settings: TextSettings) -> Signature:
    read_by = f";lm={model}" if model else ""
    return Signature(
        *("probe", file.name, file.sha, 0, 0, "", ""),
        dtype="float64",
        ties="none",
        seed=settings.seed,
        version=alignscope.__version__,
        method=f"tags={tagger}{read_by}",
    )
