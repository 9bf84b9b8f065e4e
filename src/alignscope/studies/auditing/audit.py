"""The audit: does a model align images with whole meaning, or only with nouns?

Four questions on one data set: (a) does it prefer the caption to each kind of foil, (b) which classes of
words does its score listen to, under every method of attribution the model gives, and are those maps
right, (c) does wrong nouns or other random words hurt the score more (Ma et al. 2022, section 4.4),
(d) does it retrieve.
Everything measured goes to records in one directory; the report is made from these alone.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import alignscope
from alignscope.attribution.options import METHODS
from alignscope.errors import BadData, OutputExists
from alignscope.evaluation.choices import accuracy
from alignscope.evaluation.retrieval import ranks, recall
from alignscope.evaluation.sensitivity import score_drops
from alignscope.files import read_jsonl, sha_of, write_json, write_jsonl, write_parquet
from alignscope.language.replacements import candidates
from alignscope.models.protocols import PairScorer
from alignscope.records import (
    DRAWS,
    Choice,
    EditedScore,
    Item,
    ItemSource,
    Measurement,
    Point,
    Problem,
    Rank,
    Signature,
)
from alignscope.reporting.audit import audit_page
from alignscope.studies.auditing.attributions import CHUNK, occurrences, truncated, unsupported, word_heats
from alignscope.studies.auditing.edits import Edit, plan_edits
from alignscope.studies.auditing.examples import examples
from alignscope.studies.auditing.map_checks import Plan, checks, sampled
from alignscope.studies.auditing.parts import Found, in_parts, merged_parts
from alignscope.studies.auditing.summary import Summary, summarised
from alignscope.studies.auditing.thumbnails import write_thumbnails
from alignscope.studies.calibration import calibration
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.embeddings import Embedded, Said, Seen, embed_images, embed_texts, scores_of
from alignscope.studies.output import RUN, claimed
from alignscope.studies.pictures import RegionsOf, made_known, strangers


@dataclass(frozen=True)
class Settings:
    """What an audit does beyond its model and data; all of it is in the run's identity."""

    seed: int = 0
    draws: int = DRAWS  # bootstrap draws
    edit_draws: int = 5  # edited captions of each sort per caption
    ties: Literal["wrong", "half", "right"] = "wrong"
    plan: Plan = field(default=Plan(METHODS))  # of attribution; methods the model lacks are left out


@dataclass(frozen=True)
class Audit:
    """A finished audit: where it lies and what it measured."""

    directory: Path
    report: Path
    measurements: tuple[Measurement, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Task:
    """What is audited on what, and where the work lies."""

    model: PairScorer
    source: ItemSource
    regions: RegionsOf | None
    calibrate: bool
    settings: Settings
    dtype: str
    batch_size: int
    work: Path
    progress: Progress


@dataclass(frozen=True)
class Findings:
    """Everything one audit found, before it is summed up."""

    items: tuple[Item, ...]  # those whose image opened
    choices: tuple[Choice, ...]
    edits: tuple[EditedScore, ...]
    ranks: tuple[Rank, ...]
    problems: tuple[Problem, ...]
    parts: int  # of attribution, kept in the work directory
    signature: Signature
    calibrations: tuple[Measurement, ...]  # of a model that reads image and text together


def audit(
    model: PairScorer,
    source: ItemSource,
    out: Path,
    *,
    regions: RegionsOf | None = None,
    calibrate: bool = True,
    settings: Settings = Settings(),
    dtype: str = "float32",
    parser: str | None = None,
    batch_size: int = 64,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Audit:
    """Measure `model` on `source` and write run.json, records and report.html under `out`."""
    given = tuple(method for method in settings.plan.methods if method in model.traits.attributions)
    settings = replace(settings, plan=replace(settings.plan, methods=given))
    identity = {
        "kind": "audit",
        "version": alignscope.__version__,
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "data": {"name": source.name, "sha": source.sha},
        "dtype": dtype,
        "parser": parser,
        "settings": asdict(settings),
    }
    with claimed(out, identity, resume=resume, overwrite=overwrite) as work:
        started, clock = datetime.datetime.now(datetime.UTC), Clock()
        task = Task(model, source, regions, calibrate, settings, dtype, batch_size, work, progress)
        found = _findings(task, clock)
        merged_parts(work, out, found.parts, problems=[*unsupported(model), *found.problems])
        measured = _measure(task, found, out)
        clock.lap("intervals")
        _write(out, source, found, measured)
        write_thumbnails(source, (item.image for item in found.items), out)
        clock.lap("thumbnails")
        run: dict[str, Any] = {**identity, "identity": identity, "finished": True, "command": command}
        run |= _told(task, found)
        run |= {"started": started.isoformat(timespec="seconds"), "seconds": clock.laps}
        write_json(out / RUN, run)
        problems = tuple(Problem(**row) for row in read_jsonl(out / "problems.jsonl"))
        return Audit(out, audit_page(out), tuple(measured.measurements), problems)


def _told(task: Task, found: Findings) -> dict[str, Any]:
    """What run.json says of model, data and settings."""
    model, items = task.model, task.source.items
    counts = {"items": len(items), "images": len({item.image for item in items})}
    counts["foils"] = sum(len(item.foils) for item in items)
    return {
        "model": {"name": model.name, "fingerprint": model.fingerprint, "traits": asdict(model.traits)},
        "data": {"name": task.source.name, "sha": found.signature.sha, **counts},
        "seed": task.settings.seed,
        "ties": task.settings.ties,
    }


def _findings(task: Task, clock: Clock) -> Findings:
    """Embed, score, attribute, edit, rank; a part that was kept in `work` is not done again."""
    model, source, work = task.model, task.source, task.work
    problems = list(source.problems)
    how: dict[str, Any] = {"batch_size": task.batch_size, "progress": task.progress}
    images = embed_images(model, source, work, regions=task.regions, **how)
    problems += (*images.problems, *strangers(images.makers))
    items = tuple(item for item in source.items if item.image in images.row)
    if not items:
        raise BadData(f"no item of {source.name} can be scored; first problem: {problems[:1]}")
    signature = _signature(task, items, images)
    calibrations: list[Measurement] = []
    if task.calibrate and isinstance(images, Seen):
        calibrations, doubtful = calibration(model, items, images, signature=signature)
        problems += doubtful
    _same_data(work, signature.sha)
    clock.lap("images")
    texts = [text for item in items for text in (item.caption.text, *(f.text for f in item.foils))]
    problems += truncated(model, items)
    said = embed_texts(model, texts, work, name="texts", **how)
    choices, unscored = _choices(task, items, images, said)
    problems += unscored
    clock.lap("texts")
    parts = _attribute(task, items, images)
    clock.lap("attribution")
    planned, unedited = plan_edits(items, draws=task.settings.edit_draws, seed=task.settings.seed)
    problems += unedited
    new = [text for plan in planned for text in (plan.item.caption.text, plan.edited)]
    edited = embed_texts(model, new, work, name="edited texts", **how)
    edits, unscored = _edits(task, planned, images, edited)
    problems += unscored
    clock.lap("sensitivity")
    ranked, unranked = _ranks(model, items, images, said)
    problems += unranked
    clock.lap("retrieval")
    return Findings(
        *(items, tuple(choices), tuple(edits), tuple(ranked), tuple(problems)),
        *(parts, signature, tuple(calibrations)),
    )


def _same_data(work: Path, sha: str) -> None:
    """Refuse to go on with other regions than those the work began with."""
    kept = work / "data.json"
    if kept.exists() and json.loads(kept.read_text(encoding="utf-8"))["sha"] != sha:
        raise OutputExists(f"{work.parent} holds a run on other regions: give --overwrite or another --out")
    write_json(kept, {"sha": sha})


def _write(out: Path, source: ItemSource, found: Findings, measured: Summary) -> None:
    """The records of an audit as files, beside those of attribution."""
    write_parquet(out / "choices.parquet", found.choices, Choice)
    write_parquet(out / "edits.parquet", found.edits, EditedScore)
    write_parquet(out / "ranks.parquet", found.ranks, Rank)
    write_parquet(out / "measurements.parquet", measured.measurements, Measurement)
    write_parquet(out / "points.parquet", measured.points, Point)
    write_jsonl(out / "examples.jsonl", examples(found.choices, source))


def _choices(
    task: Task, items: Sequence[Item], images: Embedded | Seen, texts: Embedded | Said
) -> tuple[list[Choice], list[Problem]]:
    """Caption against each foil, and what has no score."""
    pairs = [(item, foil) for item in items for foil in item.foils]
    if not pairs:
        return [], []
    asked = [(item.image, text) for item, foil in pairs for text in (item.caption.text, foil.text)]
    owners = [item.id for item, _ in pairs for _ in range(2)]
    scores, unscored = _scores(task, owners, asked, images, texts, "choices")
    choices = [
        Choice(item.id, item.image, foil.kind, item.caption.text, foil.text, right, wrong)
        for (item, foil), right, wrong in zip(pairs, scores[::2], scores[1::2], strict=True)
    ]
    return choices, unscored


def _scores(
    task: Task,
    owners: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    images: Embedded | Seen,
    texts: Embedded | Said,
    name: str,
) -> tuple[list[float], list[Problem]]:
    """Scores of pairs, and a problem of their item (`owners`) for each that has none."""
    found = scores_of(task.model, pairs, images, texts, task.work, name=name, progress=task.progress)
    lost = dict.fromkeys(
        (owner, pair) for owner, pair in zip(owners, pairs, strict=True) if pair in found.reasons
    )
    return found.scores, [Problem(owner, pair[1], found.reasons[pair], "unscored") for owner, pair in lost]


def _attribute(task: Task, items: Sequence[Item], images: Embedded | Seen) -> int:
    """Word heats chunk by chunk, then their checks, kept as they come; returns how many parts."""
    model, plan, work, size = task.model, task.settings.plan, task.work, task.batch_size
    available = candidates((item.caption for item in items), at_least=occurrences(len(items)))
    starts = range(0, len(items), CHUNK)
    for number, start in enumerate(starts):
        chunk = items[start : start + CHUNK]

        def part(chunk: Sequence[Item] = chunk) -> tuple[Found, dict[str, Any]]:
            return word_heats(model, chunk, images, plan, available, size), {}

        in_parts(work, number, part)
        task.progress("attribution", start + len(chunk), len(items))
    tested = sampled(items, wanted=plan.checked, of=len(items), seed=plan.seed)

    def last() -> tuple[Found, dict[str, Any]]:
        return checks(model, tested, images, task.source.image, plan, available, size), {}

    in_parts(work, len(starts), last)
    task.progress("checks", len(tested), len(tested))
    return len(starts) + 1


def _edits(
    task: Task, planned: Sequence[Edit], images: Embedded | Seen, texts: Embedded | Said
) -> tuple[list[EditedScore], list[Problem]]:
    """The scores of captions before and after each edit, against their own images, and what has none."""
    asked = [(plan.item.image, text) for plan in planned for text in (plan.item.caption.text, plan.edited)]
    owners = [plan.item.id for plan in planned for _ in range(2)]
    scores, unscored = _scores(task, owners, asked, images, texts, "edits") if asked else ([], [])
    edits = [
        EditedScore(p.item.id, p.item.image, p.sort, p.draw, p.item.caption.text, p.edited, p.count, old, new)
        for p, old, new in zip(planned, scores[::2], scores[1::2], strict=True)
    ]
    return edits, unscored


def _ranks(
    model: PairScorer, items: Sequence[Item], images: Embedded | Seen, texts: Embedded | Said
) -> tuple[list[Rank], list[Problem]]:
    """Retrieval among the audit's own images and captions, where it does not take a forward of every pair."""
    keys = list(images.row)
    pairs = list(dict.fromkeys((item.image, item.caption.text) for item in items))
    if isinstance(images, Seen) or isinstance(texts, Said):
        what = (
            f"retrieval would take {len(keys)} x {len(pairs)} forwards of a model that reads image and text "
            "together: not audited; `alignscope evaluate` does it on a retrieval benchmark"
        )
        return [], [Problem("", model.name, what, "unscored")]
    place = {key: i for i, key in enumerate(keys)}
    return ranks(images[keys], texts[[t for _, t in pairs]], [place[key] for key, _ in pairs], keys), []


def _signature(task: Task, items: Sequence[Item], images: Embedded | Seen) -> Signature:
    """The signature of all numbers; regions of a file are part of the data."""
    source, settings = task.source, task.settings
    sha = sha_of([source.sha, images.sha]) if images.sha else source.sha
    return Signature(
        "audit",
        made_known(source.name, images.makers),
        sha,
        len(items),
        len({item.image for item in items}),
        task.model.name,
        task.model.fingerprint[:12],
        dtype=task.dtype,
        ties=settings.ties,
        seed=settings.seed,
        version=alignscope.__version__,
    )


def _measure(task: Task, found: Findings, out: Path) -> Summary:
    """Records to measurements, each with its interval and signature, and to curves."""
    source, settings = task.source, task.settings
    images = {item.image for item in found.items}
    scored = {item.id for item in found.items}
    unscored = [item for item in source.items if item.id not in scored]
    missing = Counter(foil.kind for item in unscored for foil in item.foils)
    unranked = {
        "image to text": len({item.image for item in source.items} - images),
        "text to image": len({(item.image, item.caption.text) for item in unscored}),
    }
    how: dict[str, Any] = {"signature": found.signature, "draws": settings.draws, "seed": settings.seed}
    words = summarised(out, settings.plan, signature=found.signature, choices=found.choices)
    measurements = [
        *found.calibrations,
        *accuracy(found.choices, missing=missing, ties=settings.ties, **how),
        *words.measurements,
        *score_drops(found.edits, missing=len(unscored), **how),
        *(recall(found.ranks, missing=unranked, **how) if found.ranks else ()),
    ]
    return Summary(measurements, words.points)
