"""`alignscope evaluate`: a model's scores on a benchmark, option by option, and what is counted of them.

Unique images and texts are encoded once and kept by content, or every pair is scored where a model reads
both together (`pairwise`); questions are streamed, so that memory does not grow with them. A stopped run goes
on where it was; several processes (torchrun) make the same files as one.
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import alignscope
from alignscope.data.benchmarks.facts import Benchmark, told_of
from alignscope.errors import BadData, BadInput, CalibrationError, OutputExists
from alignscope.evaluation.official import measure
from alignscope.evaluation.retrieval import mean_recall, recall
from alignscope.files import (
    merge_parquet,
    read_jsonl,
    sha_of,
    stream_parquet,
    write_json,
    write_jsonl,
    write_parquet,
)
from alignscope.models.protocols import DualEncoder, PairScorer, is_dual
from alignscope.processes import Processes, processes
from alignscope.records import DRAWS, Measurement, OptionScore, Problem, Question, Rank, Signature
from alignscope.studies.benchmarking.encoding import SHARD, encode_images, encode_texts, settle
from alignscope.studies.benchmarking.pairwise import (
    QUESTIONS,
    Pairs,
    PictureNotes,
    RegionFolder,
    check_able,
    grid_of,
    open_pictures,
    ranked_grid,
    score_grid,
    scored_pairs,
    self_check,
    settle_pictures,
    unscored,
    whole,
)
from alignscope.studies.benchmarking.plan import CHUNK, Contents, Images, Plan
from alignscope.studies.benchmarking.scoring import Sources, chunks, missing, problems, ranked, scored
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.output import RUN, claim, release
from alignscope.studies.pictures import RegionsOf, strangers
from alignscope.studies.store import EmbeddingStore

READER = "reader.jsonl"  # in the work directory: what the reader had to say


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation: where it lies, what it measured, how many problems it lists."""

    directory: Path
    measurements: tuple[Measurement, ...]
    problems: int


@dataclass(frozen=True)
class Task:
    """What is evaluated on what, and where the work lies."""

    model: PairScorer
    benchmark: Benchmark
    annotations: Path
    images: Images | RegionFolder | None
    out: Path
    sources: Sources | Pairs
    dtype: str
    batch_size: int
    seed: int
    draws: int
    allow_missing: bool
    calibrate: bool
    remarks: tuple[str, ...]

    @property
    def work(self) -> Path:
        """Where parts are kept until the run is finished."""
        return self.out / "work"

    @property
    def questions(self) -> int:
        """How many are scored and kept at a time."""
        return QUESTIONS if isinstance(self.sources, Pairs) else CHUNK

    def lines(self) -> Iterator[Question | Problem]:
        """The reader's lines from the start."""
        lines = self.benchmark.read(self.annotations)
        return whole(lines, self.model) if isinstance(self.images, RegionFolder) else lines

    def parts(self, contents: Contents) -> int:
        """How many chunks of questions there are."""
        return -(-contents.items.total() // self.questions)

    def part(self, name: str, number: int) -> Path:
        """Where the records or the problems of a chunk lie."""
        return self.work / f"{name}-{number:08d}.{'parquet' if name == 'scores' else 'jsonl'}"


def evaluate(
    model: PairScorer,
    benchmark: Benchmark,
    annotations: Path,
    images: Images | None,
    out: Path,
    *,
    regions: RegionsOf | None = None,
    calibrate: bool = True,
    remarks: Sequence[str] = (),
    allow_missing: bool = False,
    cache: Path | None = None,
    batch_size: int = 64,
    dtype: str = "float32",
    seed: int = 0,
    draws: int = DRAWS,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Evaluated:
    """Score every item of `benchmark` and write run.json, scores, problems and measurements under `out`.

    Items whose image is missing or broken are refused, unless `allow_missing`; the signature then says how
    many they are. `cache` keeps embeddings for other runs of the same model; without it they go with the
    run. A model of regions takes those of `regions` in place of `images`; a matching head that ranks shuffled
    pairs above matched ones is refused, unless `calibrate` is off. `remarks` on the regions are listed among
    the problems. Under torchrun every process calls this, and all get the result; the records are those of one
    process, to the bit where each has as many threads as that one.
    """
    seen = _seen(model, benchmark, images, regions, cache)
    identity = {
        "kind": "evaluate",
        "version": alignscope.__version__,
        "model": {"name": model.name, "fingerprint": model.fingerprint},
        "benchmark": benchmark.name,
        "dtype": dtype,
        "settings": {"seed": seed, "draws": draws, "batch_size": batch_size},
    }
    group = processes()
    started, clock = datetime.datetime.now(datetime.UTC), Clock()
    group.first(lambda: claim(out, identity, resume=resume, overwrite=overwrite))
    kept = (cache or out / "work" / "embeddings") / model.fingerprint / dtype
    sources = _sources(model, seen, out / "work", kept, batch_size)
    task = Task(
        *(model, benchmark, annotations, seen, out, sources),
        *(dtype, batch_size, seed, draws, allow_missing, calibrate),
        tuple(remarks),
    )
    contents = group.first(lambda: _planned(task))
    clock.lap("plan")
    _encode(task, contents, group, progress)
    clock.lap("encoding")
    lost = group.first(lambda: _settled(task, contents))
    calibration = group.first(lambda: _calibrated(task, contents, lost))
    _score(task, contents, group, progress)
    clock.lap("scoring")
    run = {**identity, "identity": identity, "finished": True, "command": command}
    run |= {"started": started.isoformat(timespec="seconds"), "seed": seed}
    return group.first(lambda: _finished(task, contents, lost, calibration, run, clock))


def _seen(
    model: PairScorer,
    benchmark: Benchmark,
    images: Images | None,
    regions: RegionsOf | None,
    cache: Path | None,
) -> Images | RegionFolder | None:
    """What a model sees of a benchmark's images; what it cannot do is refused before anything is written."""
    check_able(model, benchmark)
    if cache is not None and not is_dual(model):
        raise BadInput(f"got a cache of embeddings, and {model.name} has none: leave --cache out")
    if images is None and regions is None and benchmark.asks != "similarity":
        raise BadInput(f"{benchmark.name} asks about images and got none: give --images ({benchmark.images})")
    return images if regions is None else RegionFolder(regions, width=model.traits.feature_width)


def _sources(
    model: PairScorer, images: Images | RegionFolder | None, work: Path, kept: Path, batch_size: int
) -> Sources | Pairs:
    """Where scores come from: embeddings on disk, or the model itself where it has none."""
    plan = Plan(work / "plan.sqlite")
    if not is_dual(model):
        return Pairs(plan, PictureNotes(work / "pictures.sqlite"), model, images, batch_size)
    return Sources(plan, EmbeddingStore(kept / "images"), EmbeddingStore(kept / "texts"), model.traits)


def _planned(task: Task) -> Contents:
    """One pass over the reader; images that are not there are refused before anything is encoded."""
    task.work.mkdir(exist_ok=True)
    told: list[Problem] = []
    contents = task.sources.plan.made(task.lines(), task.images, task.model, told, sizes=task.benchmark.sizes)
    for subset, wanted in task.benchmark.sizes.items():
        got = contents.items[subset] if subset else contents.items.total()
        if got < wanted:
            what = f"{got} items, the authors count {wanted}"
            told.append(Problem(subset, task.annotations.name, what, "handled"))
    told += [Problem("", "regions", remark, "handled") for remark in task.remarks]
    told += check_able(task.model, task.benchmark)
    write_jsonl(task.work / READER, told)
    _refuse_missing(task, contents)
    return contents


def _settled(task: Task, contents: Contents) -> Counter[str]:
    """Items that cannot be scored by subset, after all was encoded; from here on the data are settled."""
    sources = task.sources
    if isinstance(sources, Pairs):
        settle_pictures(sources)
    else:
        settle(sources.plan, _encodable(task)[1], sources.images, sources.texts)
    lost = _refuse_missing(task, contents)
    data = {"annotations": contents.annotations, "images": contents.images}
    run = json.loads((task.out / RUN).read_text(encoding="utf-8"))
    before = run.get("data", data)
    if any(before[name] != data[name] for name in data):
        raise OutputExists(
            f"{task.out} holds a run on other data (annotations or images have changed since): "
            "give --overwrite or another --out"
        )
    write_json(task.out / RUN, {**run, "data": {**before, **data}})
    return lost


def _refuse_missing(task: Task, contents: Contents) -> Counter[str]:
    """How many items of each subset cannot be scored; an error with their list, unless they may be missing."""
    lost, told = Counter(contents.unread), task.out / "problems.jsonl"

    def problems() -> Iterator[Any]:
        yield from read_jsonl(task.work / READER)
        for question, faults in missing(task.lines(), task.sources.plan):
            lost[question.subset] += 1
            yield from faults

    write_jsonl(told, problems())
    count, total = lost.total(), contents.items.total() + contents.unread.total()
    if count and count == total:
        raise BadData(f"{task.benchmark.name}: none of {total} items can be scored; {told} says why of each")
    if not total:
        raise BadData(f"{task.annotations}: got no item, wanted {task.benchmark.files}; check the path")
    if count and not task.allow_missing:
        parts = [
            f"{name} {number} of {contents.items[name] + contents.unread[name]}"
            for name, number in sorted(lost.items())
        ]
        raise BadData(
            f"{task.benchmark.name}: {count:,} of {total:,} items cannot be scored ({', '.join(parts)}); "
            f"{told} lists them with the reasons. A number over the others would be one of another set: "
            "put in what is missing and --resume, or --resume --allow-missing to have it said in the signature"
        )
    return lost


def _encode(task: Task, contents: Contents, group: Processes, progress: Progress) -> None:
    """All embeddings the store lacks; of a model that has none, which pictures open."""
    sources, size = task.sources, task.batch_size
    pictures, texts = sources.plan.counts()

    def tell(stage: str, total: int) -> Any:
        return lambda done: progress(stage, done, total) if group.rank == 0 else None

    told = tell("images", -(-pictures // size))
    if isinstance(sources, Pairs):
        open_pictures(sources, group, tell=told)
    else:
        model, images = _encodable(task)
        if images is not None:
            encode_images(model, sources.plan, images, sources.images, group, batch_size=size, tell=told)
        told = tell("texts", -(-texts // (SHARD * size)))
        encode_texts(model, sources.plan, sources.texts, group, batch_size=size, tell=told)
    group.wait()


def _encodable(task: Task) -> tuple[DualEncoder, Images | None]:
    return cast(DualEncoder, task.model), cast("Images | None", task.images)


def _calibrated(
    task: Task, contents: Contents, lost: Counter[str]
) -> tuple[list[Measurement], list[Problem]]:
    """The self-check of a model of pairs on these data; refused, `out` is free again, unless scores are kept."""
    if not isinstance(task.sources, Pairs) or not task.calibrate:
        return [], []
    try:
        return self_check(task.lines(), task.sources, signature=_signature(task, contents, lost))
    except CalibrationError:
        if not any(task.work.glob("scores-*")):
            release(task.out, task.work.name, "problems.jsonl")
        raise


def _score(task: Task, contents: Contents, group: Processes, progress: Progress) -> None:
    """Records and problems of each chunk as a part, unless it is there; the scores are written last."""
    sources, total = task.sources, task.parts(contents)
    for chunk in chunks(task.lines(), sources.plan, group, size=task.questions):
        path = task.part("scores", chunk.number)
        if not path.exists():
            if isinstance(sources, Pairs):
                answers = scored_pairs(task.benchmark, chunk, sources)
                records = answers.records
                told = [*problems(chunk, sources.pictures), *unscored(answers)]
            else:
                records = scored(task.benchmark, chunk, sources)
                told = [*problems(chunk, sources.images)]
            write_jsonl(task.part("problems", chunk.number), told)
            write_parquet(path, records, OptionScore)
        if group.rank == 0:
            progress("scores", chunk.number + 1, total)
    if isinstance(sources, Pairs) and task.benchmark.asks == "retrieval":
        score_grid(grid_of(task.lines(), sources, task.work), sources, group, progress)
    group.wait()


def _signature(task: Task, contents: Contents, lost: Counter[str]) -> Signature:
    """What every number of a run rests on; it says what is missing and whose regions were used."""
    name, missing = task.benchmark.name, lost.total()
    total = contents.items.total() + contents.unread.total()
    makers = task.images.makers if isinstance(task.images, RegionFolder) else set()
    remarks = [f"{missing} of {total} missing"] if missing else []
    remarks += [f"regions of {', '.join(sorted(makers))}"] if makers else []
    return Signature(
        "official accuracy",
        f"{name}[{'; '.join(remarks)}]" if remarks else name,
        sha_of([contents.annotations, contents.images]),
        *(total - missing, task.sources.plan.usable_images(), task.model.name, task.model.fingerprint[:12]),
        dtype=task.dtype,
        seed=task.seed,
        version=alignscope.__version__,
    )


def _finished(
    task: Task,
    contents: Contents,
    lost: Counter[str],
    calibration: tuple[list[Measurement], list[Problem]],
    run: dict[str, Any],
    clock: Clock,
) -> Evaluated:
    """The parts as one file per kind of record, and what is measured of them."""
    out, (calibrations, doubtful) = task.out, calibration
    parts = chain([task.work / READER], (task.part("problems", n) for n in range(task.parts(contents))))
    makers = task.images.makers if isinstance(task.images, RegionFolder) else ()
    signature = _signature(task, contents, lost)
    measured, unranked = _measured(task, contents, lost, signature)
    rows = chain(chain.from_iterable(map(read_jsonl, parts)), unranked, doubtful, strangers(makers))
    told = write_jsonl(out / "problems.jsonl", rows)
    clock.lap("measuring")
    write_parquet(out / "measurements.parquet", [*measured, *calibrations], Measurement)
    run["model"] = {**run["model"], "traits": asdict(task.model.traits)}
    run["benchmark"] = told_of(task.benchmark)
    run["settings"] = {**run["settings"], "allow_missing": task.allow_missing}
    run["data"] = {"name": task.benchmark.name, "sha": signature.sha}
    run["data"] |= {"annotations": contents.annotations, "images": contents.images}
    run["counts"] = {"items": signature.items, "missing": lost.total()}
    run["counts"] |= {"images": signature.images, "problems": told}
    if isinstance(task.sources, Pairs):
        run["settings"]["calibrate"] = task.calibrate
        run["calibration"] = [asdict(each) for each in calibrations]
    write_json(out / RUN, {**run, "seconds": clock.laps})
    shutil.rmtree(task.work)
    return Evaluated(out, (*measured, *calibrations), told)


def _measured(
    task: Task, contents: Contents, lost: Counter[str], signature: Signature
) -> tuple[list[Measurement], Sequence[Problem]]:
    """Records to measurements and what could not be ranked: the one place that knows of the two ways."""
    out, sources = task.out, task.sources
    how: dict[str, Any] = {"signature": signature, "draws": task.draws, "seed": task.seed}
    if task.benchmark.asks == "retrieval":
        found = (
            ranked_grid(grid_of(task.lines(), sources, task.work))
            if isinstance(sources, Pairs)
            else ranked(task.lines(), sources)
        )
        write_parquet(out / "ranks.parquet", found.ranks, Rank)
        how["missing"] = found.missing
        return [*recall(found.ranks, **how), *mean_recall(found.ranks, **how)], found.problems
    parts = [task.part("scores", number) for number in range(task.parts(contents))]
    merge_parquet(out / "scores.parquet", parts, OptionScore)
    records = stream_parquet(out / "scores.parquet", OptionScore)
    return measure(task.benchmark, records, missing=lost, **how), ()
