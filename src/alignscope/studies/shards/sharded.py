"""Scores of any number of shards: each a unit of work that is written whole, by as many processes as there are.

One process takes all shards, one of several (`torchrun`, `Part`) those of its turn, a cluster any; the files are
the same, because a shard's follow from the shard alone. What is there is not made again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, final, runtime_checkable

import alignscope
from alignscope.errors import AlignscopeError, BadData, BadInput
from alignscope.files import sha_of, write_json, write_parquet, write_table
from alignscope.models.protocols import PairScorer
from alignscope.models.zoo import open_model
from alignscope.processes import ALONE, Processes
from alignscope.records import Measurement
from alignscope.studies.clock import Progress
from alignscope.studies.output import RUN, alone, claim, release
from alignscope.studies.shards.numbers import facts_of, limit_of, numbers, telling, write_problems
from alignscope.studies.shards.one_shard import How, ScoredShard, ShardFacts, check_able, score_shard, stem_of
from alignscope.training.streaming import matching

SCORES = "scores"
PATIENCE = 600.0  # seconds for which another process may write the numbers of all shards


@dataclass(frozen=True)
class Scored:
    """What one process has done; `measurements` are there once all shards are, whoever made them."""

    directory: Path
    shards: int  # of all
    waiting: int  # that other processes have not scored yet
    measurements: tuple[Measurement, ...]
    problems: int  # samples without a score, and shards that could not be read to their end


@runtime_checkable
class Scorers(Protocol):
    """Whoever scores shards: this process, or the workers of a cluster."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    def score(self, paths: Sequence[Path], how: How) -> Iterator[ScoredShard]:
        """Every shard once, in any order."""
        ...


@final
class Here:
    """This process, one shard after the other."""

    def __init__(self, model: PairScorer) -> None:
        check_able(model)
        self._model = model
        self.name = model.name
        self.fingerprint = model.fingerprint

    def score(self, paths: Sequence[Path], how: How) -> Iterator[ScoredShard]:
        """In the order of the paths."""
        for path in paths:
            yield score_shard(self._model, path, how, weights=self.fingerprint)


def score(
    model: str | PairScorer,
    shards: str | Path | Sequence[str | Path],
    out: Path | str = "runs/score",
    *,
    captions: str = "txt",
    unscored: float = 0.01,
    part: tuple[int, int] | None = None,
    ray: str | None = None,
    workers: int = 1,
    device: str = "cpu",
    dtype: str = "float32",
    activation: str | None = None,
    tokenizer: str | Path | None = None,
    match_index: int | None = None,
    scoring: Literal["likelihood", "information", "yes"] | None = None,
    batch_size: int = 64,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Scored:
    """How well each caption of webdataset `shards` fits its image, one Parquet file per shard under `out`.

    `shards` are paths of tar files, or patterns with `*` or `{00000..01242}`; `captions` is the ending of the
    caption's member (`txt`, or a JSON with a `caption`). A sample that cannot be scored stays as a row that says
    why; above the share `unscored` the run stops. `part` = (2, 8) takes the second of eight shards by turns, as
    the processes of `torchrun` do by themselves; `ray` is the address of a cluster (or `local`) whose `workers`
    take them, each with the model and one thread. With `resume` finished shards are not scored again.
    """
    paths = _distinct(
        matching([str(one) for one in ([shards] if isinstance(shards, str | Path) else shards)])
    )
    group = _group(part, ray, overwrite)
    how = How(captions, dtype, batch_size)
    opening = partial(
        open_model,
        dtype=dtype,
        activation=activation,
        tokenizer=tokenizer,
        match_index=match_index,
        scoring=scoring,
    )
    with _scorers(model, opening, _own_device(device), ray, workers) as scorers:
        work = _Work(Path(out), tuple(paths), scorers, how, group, unscored, command)
        with work.claimed(resume=resume, overwrite=overwrite):
            return work.done(progress)


def _scorers(
    model: str | PairScorer, opening: Callable[..., PairScorer], device: str, ray: str | None, workers: int
) -> AbstractContextManager[Scorers]:
    if ray is None:
        return nullcontext(Here(opening(model, device=device) if isinstance(model, str) else model))
    if not isinstance(model, str):
        raise BadInput(
            f"got an opened model ({model.name}) for a cluster, whose workers open it: give its name"
        )
    from alignscope.studies.shards.with_ray import ray_scorers

    return ray_scorers(partial(opening, model, device=device), address=ray, workers=workers, device=device)


def _distinct(paths: Sequence[Path]) -> list[Path]:
    """Absolute paths, whose names say where their scores go."""
    by_stem: dict[str, Path] = {}
    for path in paths:
        other = by_stem.setdefault(stem_of(path), path)
        if other is not path:
            raise BadData(
                f"got {other} and {path}, whose scores would be one file: score their folders into an --out each"
            )
    return [path.absolute() for path in paths]


def _group(part: tuple[int, int] | None, ray: str | None, overwrite: bool) -> Processes:
    """Which turn this process takes: the part that was asked for, or that of torchrun's process."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    group = Processes(int(os.environ.get("RANK", "0")), world) if world > 1 else ALONE
    if part is not None:
        number, of = part
        if not 1 <= number <= of:
            raise BadInput(f"got part {number}/{of}, wanted 1/{of} to {of}/{of}")
        if group.world > 1:
            raise BadInput(
                f"got part {number}/{of} under torchrun, whose processes have a part each: give one"
            )
        group = Processes(number - 1, of)
    if group.world > 1 and ray is not None:
        raise BadInput("got Ray beside a part of several processes: a cluster shares the shards by itself")
    if group.world > 1 and overwrite:
        raise BadInput(
            "got --overwrite for one of several processes, which would delete what others did: delete --out"
        )
    return group


def _own_device(device: str) -> str:
    """Of several processes on a machine each takes a graphics card of its own, by turns."""
    if device != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{int(os.environ['LOCAL_RANK']) % count}" if count else device


@final
@dataclass(frozen=True)
class _Work:
    """A run of shards as one process sees it."""

    out: Path
    paths: tuple[Path, ...]
    scorers: Scorers
    how: How
    group: Processes
    unscored: float
    command: str

    @property
    def identity(self) -> dict[str, Any]:
        sizes = [[path.name, path.stat().st_size] for path in self.paths]
        return {
            "kind": "score",
            "version": alignscope.__version__,
            "model": {"name": self.scorers.name, "fingerprint": self.scorers.fingerprint},
            "data": {"name": self.name, "sha": sha_of([self.how.captions, sizes]), "shards": len(self.paths)},
            "dtype": self.how.dtype,
        }

    @property
    def name(self) -> str:
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return stem_of(self.paths[0]) + more

    @property
    def folder(self) -> Path:
        """Where this process writes what is not yet whole."""
        return self.out / "work" / f"part-{self.group.rank + 1}-of-{self.group.world}"

    @contextmanager
    def claimed(self, *, resume: bool, overwrite: bool) -> Iterator[None]:
        """The directory for this run; of several processes each has its part alone, and the first makes the run."""
        is_alone = self.group.world == 1
        with alone(self.out, patience=0 if is_alone else PATIENCE):
            claim(self.out, self.identity, resume=resume or not is_alone, overwrite=overwrite)
            if is_alone:
                with self._begun():
                    yield
                return
        with alone(self.folder), self._begun():
            yield

    @contextmanager
    def _begun(self) -> Iterator[None]:
        for folder in (self.out / SCORES, self.folder):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            yield
        except AlignscopeError:
            if self.group.world == 1 and not any((self.out / SCORES).iterdir()):
                release(self.out, "work", SCORES)
            raise

    def done(self, progress: Progress) -> Scored:
        """Score what this process has to, and write the numbers of all where that was the last."""
        mine = [path for place, path in enumerate(self.paths) if self.group.is_mine(place)]
        before = {path for path in mine if self._is_scored(path)}
        known = [self._facts(path) for path in mine if path in before]
        todo = [path for path in mine if path not in before]
        check = partial(limit_of, shards=len(mine), unscored=self.unscored)
        check(known)
        progress("shards", len(known), len(mine))
        for scored in self.scorers.score(todo, self.how):
            self._keep(scored)
            known.append(scored.facts)
            check(known)
            progress("shards", len(known), len(mine))
        waiting = sum(not self._is_scored(path) for path in self.paths)
        if waiting:
            problems = sum(telling(facts) for facts in known)
            return Scored(self.out, len(self.paths), waiting, (), problems)
        if self.group.world == 1:
            return self._summed()
        with alone(self.out, patience=PATIENCE):
            return self._summed()

    def _place(self, path: Path, ending: str) -> Path:
        return self.out / SCORES / f"{stem_of(path)}.{ending}"

    def _is_scored(self, path: Path) -> bool:
        return self._place(path, "json").exists()

    def _facts(self, path: Path) -> ShardFacts:
        return facts_of(self._place(path, "json"))

    def _keep(self, scored: ScoredShard) -> None:
        """A shard's files, each whole or not there; the signature comes last and says that both are."""
        staged = self.folder / stem_of(scored.path)
        write_table(staged.with_name(staged.name + ".parquet"), scored.table)
        write_json(staged.with_name(staged.name + ".json"), asdict(scored.facts))
        for ending in ("parquet", "json"):
            os.replace(staged.with_name(f"{staged.name}.{ending}"), self._place(scored.path, ending))

    def _summed(self) -> Scored:
        """The numbers of all shards, and the end of the run."""
        known = [self._facts(path) for path in self.paths]
        limit_of(known, shards=len(known), unscored=self.unscored)
        tables = [self._place(path, "parquet") for path in self.paths]
        measurements = numbers(tables, known, name=self.name)
        write_parquet(self.out / "measurements.parquet", measurements, Measurement)
        problems = write_problems(self.out / "problems.jsonl", tables, known)
        counts: Mapping[str, int] = {
            name: sum(getattr(facts, name) for facts in known)
            for name in ("samples", "scored", "unscored", "noted")
        }
        run = {**self.identity, "identity": self.identity, "finished": True, "command": self.command}
        run |= {"counts": {**counts, "broken": sum(bool(facts.broken) for facts in known)}}
        write_json(self.out / RUN, run)
        shutil.rmtree(self.out / "work", ignore_errors=True)
        return Scored(self.out, len(self.paths), 0, tuple(measurements), problems)
