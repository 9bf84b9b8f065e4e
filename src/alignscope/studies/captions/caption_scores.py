"""Scores of any texts against the images of captions, under one model after another, kept as they come.

Matching heads are checked before anything is scored. A score in paper A's units is 100 times the probability of a
match, or 100 times the cosine (sheet A.5); likelihoods have no such unit and stay as they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from alignscope.errors import BadData, BadInput, OutputExists
from alignscope.files import write_json
from alignscope.models.protocols import PairScorer, Traits
from alignscope.records import (
    Caption,
    ImageCaption,
    Item,
    MadeCaption,
    Measurement,
    Problem,
    Regions,
    Signature,
    TextScore,
)
from alignscope.studies.auditing.attributions import truncated
from alignscope.studies.calibration import calibration
from alignscope.studies.captions.captioned import Pictured, pictured
from alignscope.studies.clock import Progress
from alignscope.studies.embeddings import Embedded, Seen, embed_images, embed_texts, scores_of
from alignscope.studies.pictures import strangers

CLIP_SCORE_WEIGHT = 2.5
"""CLIP-S is this times the cosine where it is positive (Hessel et al. 2021)."""


@final
@dataclass(frozen=True)
class Asked:
    """A text of a source to be scored."""

    source: str
    image: str
    text: str
    kind: str = "caption"
    name: str = ""
    draw: int = 0
    noun_count: int = 0
    original: str = ""


@final
@dataclass(frozen=True)
class Scorer:
    """A model by the name that tables give it, its images, and the folder that keeps its scores."""

    name: str
    model: PairScorer
    images: Pictured
    work: Path


def asked_captions(source: str, captions: Iterable[ImageCaption]) -> list[Asked]:
    """Captions as they are, each text of an image once."""
    return [Asked(source, one.image, one.text) for one in dict.fromkeys(captions)]


def asked_made(source: str, made: Iterable[MadeCaption]) -> list[Asked]:
    """Texts that were made."""
    return [
        Asked(source, one.image, one.text, one.kind, one.name, one.draw, one.noun_count, one.original)
        for one in made
    ]


def unit_of(traits: Traits, *, clip_score: bool = False) -> str:
    """What `paper_score` gives."""
    if traits.score == "cosine":
        return "100 x CLIP-S" if clip_score else "100 x cosine"
    return "100 x probability" if traits.score in ("match", "yes") else "log-likelihood per token"


def paper_score(raw: float, traits: Traits, *, clip_score: bool = False) -> float:
    """A score as paper A prints it; CLIP-S is for its Fig. 3 alone."""
    if traits.score == "cosine":
        cosine = (raw - traits.bias) / traits.scale
        return 100 * (CLIP_SCORE_WEIGHT * max(cosine, 0.0) if clip_score else cosine)
    if traits.score in ("match", "yes"):
        odds = math.exp(-abs(raw))  # at most 1
        return 100 * (1 if raw >= 0 else odds) / (1 + odds)
    return raw


def scorers(
    models: Mapping[str, PairScorer],
    images: Sequence[str],
    *,
    folder: Path | None,
    regions: Mapping[str, Regions] | None,
    work: Path,
) -> list[Scorer]:
    """Each model with what it sees of the images."""
    if not models:
        raise BadInput("got no model, wanted one that scores: give --model")
    if not images:
        raise BadData("got no text to score, wanted some; see the problems of the captions")
    if regions is not None and all(model.traits.unit == "patch" for model in models.values()):
        raise BadInput("got regions, and every model takes pixels: leave --regions out")
    return [
        Scorer(
            name,
            model,
            pictured(
                model, images, folder=folder, regions=regions if model.traits.unit == "region" else None
            ),
            work / f"model-{number}",
        )
        for number, (name, model) in enumerate(models.items())
    ]


def opened_images(
    scorer: Scorer, *, batch_size: int, progress: Progress
) -> tuple[Embedded | Seen, list[Problem]]:
    """The images as the model takes them, and what was wrong with them."""
    scorer.work.mkdir(exist_ok=True)
    source = scorer.images.source
    problems = list(source.problems)
    images = embed_images(
        scorer.model,
        source,
        scorer.work,
        regions=scorer.images.regions,
        batch_size=batch_size,
        progress=_named(scorer, progress),
    )
    ids = {item.image: item.id for item in source.items}
    problems += (*images.problems, *strangers(images.makers))
    if not images.row:
        raise BadData(
            f"got {len(problems)} images, none of which {scorer.name} can see (first: {problems[0].subject}: "
            f"{problems[0].what}); wanted some: check --images or --regions, and the names in the captions"
        )
    _same_images(scorer.work, [ids[key] for key in images.row], images.sha)
    return images, [
        Problem(p.item, p.subject, f"{scorer.name}: {p.what}", p.action) for p in dict.fromkeys(problems)
    ]


def _same_images(work: Path, found: Sequence[str], sha: str) -> None:
    """Refuse to go on with other images or regions than those the work began with."""
    kept, facts = work / "images.json", {"images": list(found), "sha": sha}
    if kept.exists() and json.loads(kept.read_text(encoding="utf-8")) != facts:
        raise OutputExists(
            f"{work.parent.parent} holds a run on other images: give --overwrite or another --out"
        )
    write_json(kept, facts)


def checked(
    scorer: Scorer, images: Embedded | Seen, captions: Iterable[ImageCaption], *, signature: Signature
) -> tuple[list[Measurement], list[Problem]]:
    """The self-check of a model that reads image and text together; nothing for one of two towers."""
    if isinstance(images, Embedded):
        return [], []
    keys = {item.id: item.image for item in scorer.images.source.items if item.image in images.row}
    items = [Item(one.image, keys[one.image], Caption(one.text)) for one in captions if one.image in keys]
    return calibration(scorer.model, items, images, signature=signature)


def text_scores(
    scorer: Scorer,
    images: Embedded | Seen,
    asked: Sequence[Asked],
    *,
    clip_score: bool = False,
    batch_size: int,
    progress: Progress,
) -> tuple[list[TextScore], list[Problem]]:
    """A record per text, in their order, and which texts the model does not hear whole."""
    model, told = scorer.model, _named(scorer, progress)
    keys = {item.id: item.image for item in scorer.images.source.items if item.image in images.row}
    usable = [one for one in asked if one.image in keys]
    texts = list(dict.fromkeys(one.text for one in usable))
    said = embed_texts(model, texts, scorer.work, batch_size=batch_size, name="texts", progress=told)
    pairs = [(keys[one.image], one.text) for one in usable]
    raw = scores_of(model, pairs, images, said, scorer.work, name="scores", progress=told)
    values = iter(raw.scores)
    found = []
    for one in asked:
        value = next(values) if one.image in keys else None
        reason = "" if value is not None else "image not scored"
        if value is not None and not math.isfinite(value):
            value = None
            reason = raw.reasons.get((keys[one.image], one.text), "its score is not finite")
        score = None if value is None else paper_score(value, model.traits, clip_score=clip_score)
        found.append(
            TextScore(
                *(scorer.name, one.source, one.image, one.kind, one.name, one.draw, one.noun_count),
                *(one.original, one.text, value, score, reason),
            )
        )
    items = [Item(text, text, Caption(text)) for text in texts]
    cut = [Problem("", p.subject, f"{scorer.name}: {p.what}", p.action) for p in truncated(model, items)]
    return found, cut


def _named(scorer: Scorer, progress: Progress) -> Progress:
    return lambda stage, done, total: progress(f"{scorer.name}: {stage}", done, total)
