"""Shards scored by the workers of a Ray cluster: `score_shard` per shard, and nothing else is done there.

Each worker is an actor that opens the model once and has one thread and one shard at a time, so that no more
tables wait than there are workers; this process alone writes. A worker that is lost is replaced and its shard
given to another (Ray: Moritz et al. 2018).
"""

from __future__ import annotations

import importlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

from alignscope.errors import AlignscopeError, BadInput, MissingExtra
from alignscope.models.protocols import PairScorer
from alignscope.studies.shards.one_shard import How, ScoredShard, check_able, score_shard

TRIES = 3
"""Workers that a shard may cost."""
STORE = 2**28  # bytes of a local cluster's object store: tables of scores are small
Opening = Callable[[], PairScorer]


class _Worker:
    """What runs in each actor; the model is opened by its first call, whose errors come back whole."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._opened: tuple[PairScorer, str] | None = None

    def about(self) -> tuple[str, str]:
        """Name and fingerprint of the model."""
        model, weights = self._model()
        return model.name, weights

    def score(self, path: Path, how: How, weights: str) -> ScoredShard:
        """A shard's table; refused where this machine has other weights than the first."""
        model, own = self._model()
        if own != weights:
            raise BadInput(
                f"a worker opens other weights of {model.name} ({own[:12]}) than the first ({weights[:12]}): "
                "have the same model on every machine"
            )
        return score_shard(model, path, how, weights=own)

    def _model(self) -> tuple[PairScorer, str]:
        if self._opened is None:
            import torch

            torch.set_num_threads(1)
            model = self._opening()
            check_able(model)
            self._opened = model, model.fingerprint
        return self._opened


@contextmanager
def ray_scorers(opening: Opening, *, address: str, workers: int, device: str) -> Iterator[RayScorers]:
    """Workers on a cluster (`local`: on this machine) for as long as the `with` lasts."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when ray starts: it tells nobody
    os.environ.setdefault("RAY_worker_niceness", "0")  # else 15: others on the machine would come first
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise MissingExtra("scoring on a Ray cluster", "pip install 'alignscope[ray]'") from None
    is_ours = not ray.is_initialized()
    if is_ours:
        own = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": STORE}
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR", **own if address == "local" else {})
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"no Ray cluster answers at {address!r} ({error}): give the address that `ray start` tells, or local"
            ) from None
    try:
        scorers = RayScorers(ray, opening, workers, gpus=1 if device.startswith("cuda") else 0)
        try:
            yield scorers
        finally:
            scorers.end()
    finally:
        if is_ours:
            ray.shutdown()


class _Task(NamedTuple):
    """What a worker is at: a shard, or opening the model where there is none; and the workers it has cost."""

    worker: Any
    path: Path | None = None
    lost: int = 0


@final
class RayScorers:
    """The `Scorers` of a cluster."""

    def __init__(self, ray: Any, opening: Opening, workers: int, *, gpus: int) -> None:
        self._ray = ray
        self._opening = opening
        self._kind = ray.remote(_Worker).options(num_cpus=1, num_gpus=gpus)
        self._workers = [self._kind.remote(opening) for _ in range(workers)]
        self._opened = {worker.about.remote(): _Task(worker) for worker in self._workers}
        first = self._workers[0]
        try:
            self.name, self.fingerprint = self._result(first.about.remote())
        except ray.exceptions.RayError as error:
            raise _lost("the model", error) from None

    def score(self, paths: Sequence[Path], how: How) -> Iterator[ScoredShard]:
        """As workers finish; a shard whose worker is lost goes to another, and costs `TRIES` workers at most.

        A worker that the cluster has no room for yet gets none.
        """
        waiting = deque(_Task(None, path) for path in paths)
        running, left = dict(self._opened), len(paths)
        while left:
            [done], _ = self._ray.wait(list(running), num_returns=1)
            task, found = running.pop(done), None
            worker = task.worker
            try:
                found = self._result(done)
            except self._ray.exceptions.RayError as error:
                if task.lost + 1 == TRIES:
                    raise _lost(str(task.path or "the model"), error) from None
                worker = self._instead_of(worker)
                again = task._replace(worker=worker, lost=task.lost + 1)
                running[worker.about.remote()] = again._replace(
                    path=None, lost=0 if task.path else again.lost
                )
                if task.path:
                    waiting.appendleft(again)
                continue
            if waiting:
                following = waiting.popleft()._replace(worker=worker)
                reference = worker.score.remote(following.path, how, self.fingerprint)
                running[reference] = following
            if isinstance(found, ScoredShard):
                left -= 1
                yield found

    def end(self) -> None:
        """Let the workers go."""
        for worker in self._workers:
            self._ray.kill(worker)

    def _instead_of(self, lost: Any) -> Any:
        """A new worker for one that is lost, or that no longer answers."""
        self._ray.kill(lost)
        self._workers.remove(lost)
        self._workers.append(self._kind.remote(self._opening))
        return self._workers[-1]

    def _result(self, reference: Any) -> Any:
        """What a worker found; what it refused is refused here, without the way it took."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, AlignscopeError):
                raise error.cause from None
            raise RuntimeError(f"a worker stopped at an error of its own:\n{error}") from None


def _lost(over: str, error: Exception) -> AlignscopeError:
    return AlignscopeError(
        f"{over}: worker after worker was lost over it, the last: {error}; see whether they have the memory, and go on "
        "with --resume and a smaller --batch-size"
    )
