"""A cluster's workers make the files of one process, also when some are lost."""

import builtins
import importlib.util
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from shard_cases import shards

import alignscope
from alignscope.errors import AlignscopeError, BadData, BadInput, MissingExtra
from alignscope.models.dual.loading import load
from alignscope.studies.shards.one_shard import How, score_shard
from alignscope.studies.shards.with_ray import TRIES, RayScorers, ray_scorers
from alignscope.training.streaming import matching

HERE = Path(__file__).parent


class Lost(Exception):
    """What ray raises of a worker that is gone."""


class Told(Lost):
    """What ray raises of an error in a worker."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class OneProcess:
    """What `RayScorers` asks of ray, done in this process; workers die in the calls whose numbers are given."""

    exceptions = SimpleNamespace(RayError=Lost, RayTaskError=Told)

    def __init__(self, dies_at: set[int]) -> None:
        self.dies_at, self.calls, self.begun, self.killed, self.most = dies_at, 0, 0, 0, 0
        self.waiting: dict[int, object] = {}

    def remote(self, kind):
        return SimpleNamespace(options=lambda **how: SimpleNamespace(remote=partial(self._begin, kind)))

    def _begin(self, kind, *given):
        self.begun += 1
        worker = kind(*given)
        methods = {name: getattr(worker, name) for name in ("about", "score")}
        return SimpleNamespace(
            **{name: SimpleNamespace(remote=partial(self._call, m)) for name, m in methods.items()}
        )

    def _call(self, method, *given):
        self.calls += 1
        self.waiting[self.calls] = partial(method, *given)
        self.most = max(self.most, len(self.waiting))
        return self.calls

    def wait(self, references, *, num_returns):
        return references[-num_returns:], references[
            :-num_returns
        ]  # the last first: results come in any order

    def get(self, reference):
        work = self.waiting.pop(reference)
        if reference in self.dies_at:
            raise Lost("out of memory")
        try:
            return work()
        except Exception as error:
            raise Told(error) from None

    def kill(self, worker):
        self.killed += 1


@pytest.fixture
def paths(tmp_path):
    return matching([shards(tmp_path / "cc", count=5, each=2)])


def test_every_shard_comes_once_though_workers_are_lost(tiny_clip_dir, paths):
    ray = OneProcess(dies_at={2, 5, 7})  # a worker that opens the model, and two at a shard
    scorers = RayScorers(ray, partial(load, str(tiny_clip_dir)), 2, gpus=0)
    model = load(str(tiny_clip_dir))
    assert (scorers.name, scorers.fingerprint) == (model.name, model.fingerprint)
    found = {one.path: one for one in scorers.score(paths, How())}
    assert sorted(found) == paths
    for path, one in found.items():
        wanted = score_shard(model, path, How(), weights=model.fingerprint)
        assert one.facts == wanted.facts
        assert one.table.equals(wanted.table)
    assert ray.most <= 3  # no more shards under way than workers, and the first question
    scorers.end()
    assert (ray.begun, ray.killed) == (5, 5)


def test_a_shard_that_costs_too_many_workers_stops_the_run(tiny_clip_dir, paths):
    opening = partial(load, str(tiny_clip_dir))
    ray = OneProcess(dies_at={3, 5, 7})  # the calls between open the model again
    with pytest.raises(
        AlignscopeError, match=r"cc-00000\.tar: worker after worker was lost .* out of memory"
    ):
        list(RayScorers(ray, opening, 1, gpus=0).score(paths, How()))
    assert ray.begun == TRIES
    with pytest.raises(AlignscopeError, match="the model: worker after worker"):
        RayScorers(OneProcess(dies_at={2}), opening, 1, gpus=0)
    with pytest.raises(AlignscopeError, match="the model: worker after worker"):
        list(RayScorers(OneProcess(dies_at={1, 3, 4}), opening, 1, gpus=0).score(paths, How()))


def test_a_worker_for_whom_there_is_no_room_holds_nothing_up(tiny_clip_dir, paths):
    class Full(OneProcess):
        def wait(self, references, *, num_returns):
            ready = [each for each in references if each != 2]  # the second worker never begins
            return ready[:num_returns], [each for each in references if each not in ready[:num_returns]]

    scorers = RayScorers(Full(set()), partial(load, str(tiny_clip_dir)), 2, gpus=0)
    assert [one.path for one in scorers.score(paths, How())] == paths


def test_what_a_worker_refuses_is_refused_in_its_own_words(tiny_clip_dir, paths, tmp_path):
    scorers = RayScorers(OneProcess(set()), partial(load, str(tiny_clip_dir)), 1, gpus=0)
    with pytest.raises(BadData, match="No such file"):
        list(scorers.score([tmp_path / "none.tar"], How()))
    scorers = RayScorers(OneProcess(set()), partial(load, str(tiny_clip_dir)), 1, gpus=0)
    scorers.fingerprint = "other"
    with pytest.raises(BadInput, match="other weights"):
        list(scorers.score(paths, How()))
    with pytest.raises(RuntimeError, match="an error of its own"):
        RayScorers(OneProcess(set()), lambda: builtins.int("x"), 1, gpus=0)


def test_without_ray_the_extra_is_named(monkeypatch, paths):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingExtra, match=r"alignscope\[ray\]"),
        ray_scorers(lambda: None, address="local", workers=1, device="cpu"),
    ):
        pass


CLUSTER = """
import os, sys
from functools import partial
from pathlib import Path
import alignscope
from alignscope.models import zoo
from alignscope.studies.shards import sharded
real = zoo.open_model
def dying_once(name, *, flag, **how):
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return real(name, **how)
    model = real(name, **how)
    model.encode_images = lambda *given, **how: os._exit(9)
    return model
sharded.open_model = partial(dying_once, flag={flag!r})
result = alignscope.score({model!r}, {pattern!r}, {out!r}, ray="local", workers=2)
assert result.waiting == 0
assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
"""


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: alignscope[ray]")
def test_a_local_cluster_leaves_the_files_of_one_process(tiny_clip_dir, tmp_path):
    """Two workers, of which the first to open the model dies over its first shard."""
    pattern = shards(tmp_path / "cc", count=4, each=5)
    one, two, flag = tmp_path / "one", tmp_path / "two", tmp_path / "died"
    code = CLUSTER.format(model=str(tiny_clip_dir), pattern=pattern, out=str(two), flag=str(flag))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "WORLD_SIZE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert flag.exists()
    alignscope.score(str(tiny_clip_dir), pattern, one)
    for folder in (one, two):
        run = (folder / "run.json").read_text()
        assert '"finished": true' in run
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(two)) for path in two.rglob("*") if path.is_file())
    assert len(names) == 11
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
