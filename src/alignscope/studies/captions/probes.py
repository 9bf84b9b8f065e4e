"""What captions does a model love? Texts made of the captions of any captioner, scored by any models (paper A).

replacements: captions with wrong nouns, or with nothing but their nouns (Fig. 2); templates: their nouns in the
paper's templates (Tables 6, 7); nouns: three to seven nouns of the references in them (Fig. 3); choice: which
captioner's caption of an image scores highest (Table 1); matrix: every captioner by every scorer (Table 2).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import alignscope
from alignscope.data.regionfiles import open_regions
from alignscope.errors import BadInput
from alignscope.files import sha_of, write_json, write_jsonl, write_parquet
from alignscope.language.tags import tagged
from alignscope.models.protocols import PairScorer
from alignscope.probing.captions import tagged_captions
from alignscope.probing.scored import Numbered, by_nouns, curves
from alignscope.records import (
    ImageCaption,
    MadeCaption,
    Measurement,
    Point,
    Problem,
    Signature,
    TextScore,
)
from alignscope.studies.captions.caption_scores import (
    Scorer,
    checked,
    opened_images,
    scorers,
    text_scores,
    unit_of,
)
from alignscope.studies.captions.captioned import references_of, tagging
from alignscope.studies.captions.probed_texts import (
    DEFAULTS,
    Material,
    Planned,
    Settings,
    Verb,
    captions_of,
    corpus_of,
    planned_texts,
)
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.embeddings import Embedded, Seen
from alignscope.studies.output import RUN, claimed
from alignscope.studies.pictures import made_known


@final
@dataclass(frozen=True)
class Probed:
    """A finished probe: where it lies and what it measured; groups begin with the name of the model."""

    directory: Path
    measurements: tuple[Measurement, ...]
    problems: tuple[Problem, ...]


def probe(
    verb: Verb,
    captions: Mapping[str, Path],
    models: Mapping[str, PairScorer],
    out: Path,
    *,
    references: Path | None = None,
    corpus: Path | None = None,
    images: Path | None = None,
    regions: Path | None = None,
    settings: Settings = DEFAULTS,
    calibrate: bool = True,
    dtype: str = "float32",
    batch_size: int = 64,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Probed:
    """Make the texts of a verb, score them with each model, and write run.json and records under `out`.

    `captions` and `models` are by the names that tables give them. Without `references`, `images` or `regions`
    those of the world are taken, where the captions are of its scenes.
    """
    clock, started = Clock(), datetime.datetime.now(datetime.UTC)
    read = captions_of(verb, captions)
    keys = list(dict.fromkeys(one.image for file in read.values() for one in file.captions))
    is_made = verb not in ("choice", "matrix")  # of words, which are tagged
    tag, tagger = tagging(keys, settings.tagger) if is_made else (tagged, "")
    material = Material(
        read,
        lambda some: tagged_captions(some, tag=tag),
        references_of(keys, references),
        corpus_of(keys, corpus) if verb == "replacements" else None,
        settings,
    )
    detected = None if regions is None else open_regions(regions)
    found = scorers(models, keys, folder=images, regions=detected, work=out / "work")
    identity = _identity(verb, material, found, tagger, dtype)
    with claimed(out, identity, resume=resume, overwrite=overwrite):
        planned = planned_texts(verb, material)
        clock.lap("texts")
        told: list[Problem] = [*(p for one in read.values() for p in one.problems), *planned.problems]
        told += material.references.problems if material.references else ()
        signature = _signature(material, tagger, dtype)
        how = _Run(material, planned, signature, calibrate, batch_size, progress)
        scores, measurements, points, problems = _scored(how, found, clock)
        told += problems
        _write(out, planned, scores, measurements, points, told)
        clock.lap("numbers")
        run: dict[str, Any] = {**identity, "identity": identity, "finished": True, "command": command}
        run |= {"recipe": planned.recipe, "captions": {name: len(one.captions) for name, one in read.items()}}
        run |= {"started": started.isoformat(timespec="seconds"), "seconds": clock.laps}
        write_json(out / RUN, run)
        return Probed(out, tuple(measurements), tuple(told))


@final
@dataclass(frozen=True)
class _Run:
    material: Material
    planned: Planned
    signature: Signature
    calibrate: bool
    batch_size: int
    progress: Progress


def _scored(
    how: _Run, found: Sequence[Scorer], clock: Clock
) -> tuple[list[TextScore], list[Measurement], list[Point], list[Problem]]:
    """Every model is checked before the first one scores."""
    step: dict[str, Any] = {"batch_size": how.batch_size, "progress": how.progress}
    planned, settings = how.planned, how.material.settings
    if not planned.asked:
        first = next(iter(planned.problems), None)
        why = f" (first: {first.subject}: {first.what})" if first else ""
        raise BadInput(
            f"got captions of which no text could be made{why}, wanted some: correct the files or ask for less"
        )
    opened, measurements, problems = [], list[Measurement](), list[Problem]()
    for scorer in found:
        images, wrong = opened_images(scorer, **step)
        opened.append(images)
        problems += wrong
        if how.calibrate:
            numbers, doubts = checked(
                scorer, images, _belonging(how.material), signature=_of(how, scorer, images)
            )
            measurements += [replace(one, group=f"{scorer.name} | all") for one in numbers]
            problems += [replace(one, what=f"{scorer.name}: {one.what}") for one in doubts]
    clock.lap("images")
    scores, points = list[TextScore](), list[Point]()
    for scorer, images in zip(found, opened, strict=True):
        own, cut = text_scores(scorer, images, planned.asked, clip_score=settings.clip_score, **step)
        problems += cut
        scores += own
        totals = {name: len(one.captions) + len(one.problems) for name, one in how.material.captions.items()}
        unit = unit_of(scorer.model.traits, clip_score=settings.clip_score)
        numbered = Numbered(_of(how, scorer, images), unit, {**totals, **planned.totals}, settings.draws)
        numbers = planned.measure(own, numbered)
        if planned.measure is by_nouns:
            points += curves(numbers, series=scorer.name)
        measurements += [replace(one, group=f"{scorer.name} | {one.group}") for one in numbers]
        clock.lap(f"scores of {scorer.name}")
    return scores, measurements, points, problems


def _belonging(material: Material) -> Sequence[ImageCaption]:
    """Captions that belong to their images: references, else those of the first captioner."""
    images = {one.image for file in material.captions.values() for one in file.captions}
    told = [one for one in material.references.captions if one.image in images] if material.references else []
    return told or next(iter(material.captions.values())).captions


def _identity(
    verb: Verb, material: Material, found: Sequence[Scorer], tagger: str, dtype: str
) -> dict[str, Any]:
    return {
        "kind": f"probe {verb}",
        "version": alignscope.__version__,
        "data": {name: one.sha for name, one in material.captions.items()},
        "references": material.references.sha if material.references else None,
        "corpus": material.corpus.sha if material.corpus else None,
        "models": {one.name: one.model.fingerprint for one in found},
        "images": {one.name: one.images.source.sha for one in found},
        "tagger": tagger,
        "dtype": dtype,
        "settings": asdict(material.settings),
    }


def _signature(material: Material, tagger: str, dtype: str) -> Signature:
    shas = [one.sha for one in material.captions.values()]
    shas += [one.sha for one in (material.references, material.corpus) if one]
    return Signature(
        *("probe", "+".join(material.captions), sha_of(shas), 0, 0, "", ""),
        dtype=dtype,
        ties="half",
        seed=material.settings.seed,
        version=alignscope.__version__,
        method=f"tags={tagger}" if tagger else "",
    )


def _of(how: _Run, scorer: Scorer, images: Embedded | Seen) -> Signature:
    """The signature of a model's numbers; images, and whose regions they are, are part of the data."""
    shas = [how.signature.sha, scorer.images.source.sha, images.sha]
    return replace(
        how.signature,
        data=made_known(how.signature.data, images.makers),
        sha=sha_of(shas),
        model=scorer.model.name,
        weights=scorer.model.fingerprint[:12],
    )


def _write(
    out: Path,
    planned: Planned,
    scores: Sequence[TextScore],
    measurements: Sequence[Measurement],
    points: Sequence[Point],
    problems: Sequence[Problem],
) -> None:
    write_parquet(out / "scores.parquet", scores, TextScore)
    write_parquet(out / "measurements.parquet", measurements, Measurement)
    write_parquet(out / "points.parquet", points, Point)
    write_jsonl(out / "problems.jsonl", problems)
    write_jsonl(out / "choices.jsonl", planned.choices)
    for source, made in planned.made.items():
        folder = out / "captions" / source
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(folder / "made.parquet", made, MadeCaption)
