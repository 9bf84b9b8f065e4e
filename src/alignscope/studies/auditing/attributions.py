"""Attribution of captions in chunks: any number of pairs, saved as they come, checked on a sample.

One chunk is attributed and checked by one function, which the audit shares. What is measured of all
chunks is read back from the files column by column, so that memory does not grow with the captions.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import alignscope
from alignscope.attribution.attribute import Attributed
from alignscope.attribution.attribute import attribute as attribute_batches
from alignscope.attribution.options import METHODS, Method, Options
from alignscope.errors import BadData, OutputExists
from alignscope.files import read_jsonl, sha_of, write_json, write_jsonl, write_parquet
from alignscope.language.replacements import CONCEPTS, Candidates, candidates
from alignscope.models.protocols import PairScorer, is_dual
from alignscope.records import Attribution, Item, Measurement, Point, Problem, Signature
from alignscope.reporting.attribution import attribution_page
from alignscope.studies.auditing.map_checks import Plan, checks, sampled
from alignscope.studies.auditing.parts import Found, facts, has_part, in_parts, merged_parts
from alignscope.studies.auditing.summary import summarised
from alignscope.studies.calibration import calibration
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.embeddings import ImageRows, images_of
from alignscope.studies.output import RUN, claimed
from alignscope.studies.pictures import RegionsOf, made_known, strangers
from alignscope.studies.streams import Chunk, Slice, Stream

CHUNK = 512  # lines at a time
RARE = 200  # captions per occurrence that a candidate needs, up to OFTEN occurrences
OFTEN = 5


@dataclass(frozen=True)
class Attributions:
    """A finished run: where it lies and what it measured."""

    directory: Path
    report: Path
    measurements: tuple[Measurement, ...]
    problems: int


def write_attributions(
    model: PairScorer,
    stream: Stream,
    out: Path,
    *,
    plan: Plan,
    regions: RegionsOf | None = None,
    calibrate: bool = True,
    dtype: str = "float32",
    parser: str | None = None,
    batch_size: int = 64,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Attributions:
    """Attribute every caption of `stream` and write records, numbers and report.html under `out`."""
    identity = {
        "kind": "attribute",
        "version": alignscope.__version__,
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "data": {"name": stream.name, "sha": stream.sha},
        "dtype": dtype,
        "parser": parser,
        "settings": asdict(plan),
    }
    with claimed(out, identity, resume=resume, overwrite=overwrite) as work:
        started, clock = datetime.datetime.now(datetime.UTC), Clock()
        calibrations, doubtful = _calibrated(model, stream, regions, plan, dtype) if calibrate else ([], [])
        available = _kept_candidates(stream, plan, work, progress)
        if regions is not None and resume:
            _same_regions(work, model, stream, regions)
        count = _attribute(model, stream, regions, plan, available, batch_size, work, progress)
        makers = {maker for held in facts(work, count) for maker in held["makers"]}
        before = [*unsupported(model), *doubtful, *strangers(makers)]
        merged_parts(work, out, count + 1, problems=before)
        signature = _signature(model, stream, out, list(facts(work, count)), plan, dtype)
        numbers = summarised(out, plan, signature=signature)
        measurements = [*calibrations, *numbers.measurements]
        write_parquet(out / "measurements.parquet", measurements, Measurement)
        write_parquet(out / "points.parquet", numbers.points, Point)
        run: dict[str, Any] = {**identity, "identity": identity, "finished": True, "command": command}
        run |= _told(model, stream, signature)
        run |= {"started": started.isoformat(timespec="seconds"), "seed": plan.seed}
        clock.lap("attribution")
        run |= {"seconds": clock.laps}
        write_json(out / RUN, run)
        problems = sum(1 for _ in read_jsonl(out / "problems.jsonl"))
        return Attributions(out, attribution_page(out), tuple(measurements), problems)


def _same_regions(work: Path, model: PairScorer, stream: Stream, regions: RegionsOf) -> None:
    """Refuse to go on with other regions than those of the first part, which is kept."""
    chunk = next(stream.chunks(CHUNK), None)
    if chunk is None or not has_part(work, 0):
        return
    images = images_of(model, chunk, regions=regions, batch_size=1)
    if next(facts(work, 1))["sha"] != _sha(chunk, images.sha):
        raise OutputExists(
            f"{work.parent} was begun with other regions: resume with the same file, or give --overwrite or "
            "another --out"
        )


def _sha(chunk: Chunk, regions: str) -> str:
    """Of a chunk's data; regions of a file are part of them."""
    return sha_of([chunk.sha, regions]) if regions else chunk.sha


def _attribute(
    model: PairScorer,
    stream: Stream,
    regions: RegionsOf | None,
    plan: Plan,
    available: Candidates | None,
    batch_size: int,
    work: Path,
    progress: Progress,
) -> int:
    """Word heats chunk by chunk, then their checks, kept as they come; returns how many chunks."""
    tested: list[Item] = []
    count = 0
    for count, chunk in enumerate(stream.chunks(CHUNK), start=1):

        def part(chunk: Chunk = chunk) -> tuple[Found, Mapping[str, Any]]:
            return _part(model, chunk, regions, plan, available, batch_size)

        in_parts(work, count - 1, part)
        tested += sampled(chunk.items, wanted=plan.checked, of=stream.lines, seed=plan.seed)
        progress("captions", min(count * CHUNK, stream.lines), stream.lines)
    in_parts(work, count, lambda: (_checked(model, stream, regions, tested, plan, available, batch_size), {}))
    progress("checks", len(tested), len(tested))
    return count


def _told(model: PairScorer, stream: Stream, signature: Signature) -> dict[str, Any]:
    """What run.json says of model and data."""
    counts = {"items": signature.items, "images": signature.images}
    return {
        "model": {"name": model.name, "fingerprint": model.fingerprint, "traits": asdict(model.traits)},
        "data": {"name": stream.name, "sha": signature.sha, **counts},
    }


def attributed(
    model: PairScorer,
    stream: Stream,
    plan: Plan,
    *,
    regions: RegionsOf | None = None,
    batch_size: int,
    problems: list[Problem],
) -> Iterator[Attribution]:
    """Attributions in the order of the stream, nothing written; `problems` grows as they come."""
    available = found_candidates(stream, plan)
    makers: set[str] = set()
    for chunk in stream.chunks(CHUNK):
        problems += chunk.problems
        images = images_of(model, chunk, regions=regions, batch_size=batch_size)
        items = [item for item in chunk.items if item.image in images.row]
        found = by_length(model, items, images, plan.methods, plan.options, available, batch_size)
        problems += (*images.problems, *truncated(model, items), *found.problems)
        problems += strangers(set(images.makers) - makers)
        makers |= set(images.makers)
        yield from found.attributions


def _calibrated(
    model: PairScorer, stream: Stream, regions: RegionsOf | None, plan: Plan, dtype: str
) -> tuple[list[Measurement], list[Problem]]:
    """The self-check of a model that reads image and text together, on the first captions."""
    chunk = next(stream.chunks(CHUNK), None)
    if is_dual(model) or chunk is None:
        return [], []
    images = images_of(model, chunk, regions=regions, batch_size=1)
    items = [item for item in chunk.items if item.image in images.row]
    shown = len({item.image for item in items})
    signature = Signature(
        *("attribute", made_known(stream.name, images.makers), chunk.sha, len(items), shown),
        *(model.name, model.fingerprint[:12]),
        dtype=dtype,
        seed=plan.seed,
        version=alignscope.__version__,
    )
    return calibration(model, items, images, signature=signature)


def _signature(
    model: PairScorer, stream: Stream, out: Path, parts: Sequence[Mapping[str, Any]], plan: Plan, dtype: str
) -> Signature:
    items = sum(part["items"] for part in parts)
    if not items:
        first = next(read_jsonl(out / "problems.jsonl"), {"what": "it has no captions"})
        raise BadData(f"no caption of {stream.name} can be attributed; first problem: {first['what']}")
    return Signature(
        "attribute",
        made_known(stream.name, [maker for part in parts for maker in part["makers"]]),
        sha_of([part["sha"] for part in parts]),
        items,
        len({key for part in parts for key in part["images"]}),
        model.name,
        model.fingerprint[:12],
        dtype=dtype,
        seed=plan.seed,
        version=alignscope.__version__,
    )


def _kept_candidates(stream: Stream, plan: Plan, work: Path, progress: Progress) -> Candidates | None:
    """As `found_candidates`, counted once per run."""
    kept = work / "candidates.jsonl"
    if not kept.exists():
        found = found_candidates(stream, plan, progress=progress)
        if found is None:
            return None
        write_jsonl(kept, [{concept: list(found.words[concept]) for concept in CONCEPTS}])
    row = next(read_jsonl(kept))
    return Candidates({concept: tuple(row[concept]) for concept in CONCEPTS})


def found_candidates(
    stream: Stream, plan: Plan, *, progress: Progress = lambda stage, done, total: None
) -> Candidates | None:
    """The words that may stand in for others, of the whole stream; None where no method asks for them."""
    if "perturbation" not in plan.methods or plan.options.variant != "replace":
        return None

    def items() -> Iterator[Item]:
        for count, chunk in enumerate(stream.chunks(CHUNK), start=1):
            yield from chunk.items
            progress("words", min(count * CHUNK, stream.lines), stream.lines)

    return candidates((item.caption for item in items()), at_least=occurrences(stream.lines))


def occurrences(captions: int) -> int:
    """How often a word must come to stand in for others: once per 200 captions, 5 times at most.

    >>> occurrences(20), occurrences(500), occurrences(100_000)
    (1, 3, 5)
    """
    return min(OFTEN, 1 + captions // RARE)


def _part(
    model: PairScorer,
    chunk: Chunk,
    regions: RegionsOf | None,
    plan: Plan,
    available: Candidates | None,
    batch_size: int,
) -> tuple[Found, Mapping[str, Any]]:
    """A chunk's records, and what it held."""
    before = tuple(chunk.problems)
    images = images_of(model, chunk, regions=regions, batch_size=batch_size)
    items = [item for item in chunk.items if item.image in images.row]
    found = word_heats(model, items, images, plan, available, batch_size)
    problems = (*before, *images.problems, *truncated(model, items), *found["problems"])
    held: dict[str, Any] = {"sha": _sha(chunk, images.sha), "items": len(items), "makers": images.makers}
    held["images"] = sorted({item.image for item in items})
    return {**found, "problems": problems}, held


def word_heats(
    model: PairScorer,
    items: Sequence[Item],
    images: ImageRows,
    plan: Plan,
    available: Candidates | None,
    batch_size: int,
) -> Found:
    """Heats of the words of all items, in their order, and what has none."""
    found = by_length(model, items, images, plan.methods, plan.options, available, batch_size)
    return {"heats": [w for one in found.attributions for w in one.words], "problems": found.problems}


def _checked(
    model: PairScorer,
    stream: Stream,
    regions: RegionsOf | None,
    items: Sequence[Item],
    plan: Plan,
    available: Candidates | None,
    batch_size: int,
) -> Found:
    """The checks of those items whose images open; the others are problems already."""
    images = images_of(model, Slice(stream, items, ()), regions=regions, batch_size=batch_size)
    kept = [item for item in items if item.image in images.row]
    return checks(model, kept, images, stream.image, plan, available, batch_size)


def by_length(
    model: PairScorer,
    items: Sequence[Item],
    images: ImageRows,
    methods: Sequence[Method],
    options: Options,
    available: Candidates | None,
    batch_size: int,
) -> Attributed:
    """Attributions in the order of the items; texts of like length go together, so little is padded."""
    order = sorted(range(len(items)), key=lambda row: len(items[row].caption.text))
    parts = attribute_batches(
        model,
        [items[row] for row in order],
        images[[items[row].image for row in order]],
        methods=methods,
        options=options,
        candidates=available,
        batch_size=batch_size,
    )
    attributions: list[Attribution] = []
    problems: list[Problem] = []
    for part in parts:
        attributions += part.attributions
        problems += part.problems
    place = {item.id: row for row, item in enumerate(items)}
    attributions.sort(key=lambda one: (place[one.item], METHODS.index(one.method)))
    return Attributed(tuple(attributions), tuple(problems))


def unsupported(model: PairScorer) -> list[Problem]:
    """A problem for every method of word attribution that the model does not give."""
    return [
        Problem("", model.name, f"{method} is unsupported by this model", "unscored")
        for method in METHODS
        if method not in model.traits.attributions
    ]


def truncated(model: PairScorer, items: Sequence[Item]) -> Iterator[Problem]:
    """A problem for every caption or foil that the model does not hear to its end; what cuts none scores none."""
    if not model.traits.cuts:
        return
    said = [(item.id, text) for item in items for text in (item.caption.text, *(f.text for f in item.foils))]
    length = model.traits.context_length
    tokens = model.tokens([text for _, text in said])
    unheard = tokens.unheard or (0,) * len(said)
    for (item, text), count, lost in zip(said, tokens.lengths, unheard, strict=True):
        if count > length:
            yield Problem(item, text, f"text of {count} tokens truncated at {length}", "handled")
        elif lost:
            yield Problem(item, text, f"{lost} tokens after an unknown one are not heard", "handled")
