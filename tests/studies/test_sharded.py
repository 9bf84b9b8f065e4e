"""Scores of many shards: the same files however the work is shared and however often it is stopped."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from shard_cases import pairs, shard, shards
from typer.testing import CliRunner

import alignscope
from alignscope.cli import app
from alignscope.errors import BadData, BadInput, OutputExists, Unsupported
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.dual.loading import load
from alignscope.records import Measurement
from alignscope.studies.output import alone
from alignscope.studies.shards import sharded
from alignscope.studies.shards.numbers import limit_of
from alignscope.studies.shards.one_shard import How, score_shard

HERE = Path(__file__).parent
COUNT, EACH = 4, 5


@pytest.fixture(scope="module")
def encoder(tiny_clip_dir):
    return load(str(tiny_clip_dir))


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    return shards(tmp_path_factory.mktemp("data") / "cc", count=COUNT, each=EACH)


def files(out: Path) -> dict[str, bytes]:
    """All that a run left, without the words typed."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    run = {**json.loads(found.pop("run.json")), "command": ""}
    return {**found, "run.json": json.dumps(run).encode()}


@pytest.fixture(scope="module")
def whole(encoder, pattern, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    result = alignscope.score(encoder, pattern, out)
    assert (result.shards, result.waiting, result.problems) == (COUNT, 0, 0)
    return files(out)


def test_each_shard_has_its_table_and_its_signature(encoder, pattern, whole, tmp_path):
    names = [f"cc-{n:05d}" for n in range(COUNT)]
    of_shards = {f"scores/{name}.{ending}" for name in names for ending in ("parquet", "json")}
    assert whole.keys() == of_shards | {"run.json", "measurements.parquet", "problems.jsonl"}
    path = Path(pattern.replace("{00000..00003}", "00002"))
    alone_scored = score_shard(encoder, path, How(), weights=encoder.fingerprint)
    (tmp_path / "t").write_bytes(whole["scores/cc-00002.parquet"])
    assert pq.read_table(tmp_path / "t").equals(alone_scored.table)
    facts = json.loads(whole["scores/cc-00002.json"])
    assert facts["weights"] == encoder.fingerprint
    assert (facts["samples"], facts["scored"], facts["version"]) == (EACH, EACH, alignscope.__version__)


def test_numbers_are_those_of_all_scores(encoder, pattern, tmp_path):
    out = tmp_path / "run"
    result = alignscope.score(encoder, pattern, out)
    tables = [pq.read_table(path) for path in sorted((out / "scores").glob("*.parquet"))]
    assert list(result.measurements) == read_parquet(out / "measurements.parquet", Measurement)
    for name in ("score", "cosine"):
        values = np.concatenate([table.column(name).to_numpy() for table in tables]).astype(np.float64)
        found = {m.group: m for m in result.measurements if name in m.measure}
        assert found["all"].value == pytest.approx(values.mean(), abs=1e-6)
        means = [table.column(name).to_numpy().mean() for table in tables]  # shards of one size
        drawn = np.random.default_rng(5).choice(means, (4000, COUNT)).mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        spread = high - low
        assert found["all"].low == pytest.approx(low, abs=0.1 * spread)
        assert found["all"].high == pytest.approx(high, abs=0.1 * spread)
        assert found["5%"].value == pytest.approx(np.quantile(values, 0.05), abs=1e-6)
        assert found["50%"].value == pytest.approx(np.median(values), abs=1e-6)
        assert {(m.items, m.missing, m.unit) for m in found.values()} == {(COUNT * EACH, 0, name)}


@pytest.mark.parametrize("by_torchrun", [False, True])
def test_parts_in_any_order_leave_the_same_files(by_torchrun, encoder, pattern, whole, tmp_path, monkeypatch):
    out, left = tmp_path / "run", []
    for number in (2, 1, 3):
        if by_torchrun:
            monkeypatch.setenv("RANK", str(number - 1))
            monkeypatch.setenv("WORLD_SIZE", "3")
            result = alignscope.score(encoder, pattern, out)
        else:
            result = alignscope.score(encoder, pattern, out, part=(number, 3))
        left.append(result.waiting)
        assert bool(result.measurements) == (result.waiting == 0)
    assert left == [3, 1, 0]
    assert files(out) == whole
    again = alignscope.score(encoder, pattern, out, part=None if by_torchrun else (1, 3))
    assert again.waiting == 0
    assert files(out) == whole


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
import alignscope
from alignscope.studies.shards import sharded
real, done = os.replace, []
def replace(source, target):
    if "scores" in str(target):
        done.append(target)
        if len(done) == {at}:
            os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
sharded.os.replace = replace
alignscope.score({model!r}, {pattern!r}, {out!r})
"""


def test_a_killed_run_goes_on_to_the_same_bytes(tiny_clip_dir, pattern, tmp_path, monkeypatch):
    """Killed between the second shard's table and its signature."""
    model, out = str(tiny_clip_dir), tmp_path / "run"
    code = KILLED.format(here=str(HERE), model=model, pattern=pattern, out=str(out), at=4)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "scores").iterdir()}
    assert sorted(kept) == ["cc-00000.json", "cc-00000.parquet", "cc-00001.parquet"]
    with pytest.raises(OutputExists, match="--resume"):
        alignscope.score(model, pattern, out)
    made = []
    score = sharded.score_shard
    monkeypatch.setattr(
        sharded, "score_shard", lambda m, path, *a, **k: made.append(path.stem) or score(m, path, *a, **k)
    )
    alignscope.score(model, pattern, out, resume=True)
    assert made == [f"cc-{n:05d}" for n in range(1, COUNT)]
    assert (out / "scores" / "cc-00000.json").stat().st_mtime_ns == kept["cc-00000.json"]
    monkeypatch.undo()
    alignscope.score(model, pattern, tmp_path / "other")
    assert files(out) == files(tmp_path / "other")


def lossy(folder: Path, *, lost: int, of: int) -> str:
    members = [(name, b"x" if int(name[:9]) < lost and "png" in name else c) for name, c in pairs(range(of))]
    shard(folder / "a.tar", members)
    return str(folder / "a.tar")


def test_too_many_samples_without_a_score_stop_the_run(encoder, tmp_path):
    path, out = lossy(tmp_path, lost=3, of=6), tmp_path / "run"
    with pytest.raises(BadData, match=r"3 of 6 samples have no score, more than the share of 0\.002"):
        alignscope.score(encoder, path, out, unscored=0.002)
    assert (out / "scores" / "a.parquet").exists()
    result = alignscope.score(encoder, path, out, unscored=0.01, resume=True)
    assert {m.missing for m in result.measurements} == {3}
    rows = list(read_jsonl(out / "problems.jsonl"))
    assert [row["item"] for row in rows] == [f"a.tar/{n:09d}" for n in range(3)]
    assert result.problems == 3
    assert json.loads((out / "run.json").read_text())["counts"]["unscored"] == 3


def test_broken_shards_are_told_and_too_many_stop_the_run(encoder, tmp_path):
    pattern = shards(tmp_path / "cc", count=3, each=2)
    (tmp_path / "cc" / "cc-00001.tar").write_bytes(b"no tar" * 1000)
    result = alignscope.score(encoder, pattern, tmp_path / "run")
    assert result.problems == 1
    (row,) = read_jsonl(tmp_path / "run" / "problems.jsonl")
    assert row["item"] == "cc-00001.tar"
    assert {m.items for m in result.measurements} == {4}
    with pytest.raises(BadData, match="1 of 2 shards could not be read"):
        alignscope.score(encoder, pattern, tmp_path / "strict", unscored=0.0)
    (tmp_path / "cc" / "cc-00002.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(BadData, match="2 of 3 shards could not be read"):
        alignscope.score(encoder, pattern, tmp_path / "more")
    (tmp_path / "cc" / "cc-00000.tar").write_bytes(bytes(1024))
    with pytest.raises(BadData, match="no sample of cc-00000 could be scored"):
        alignscope.score(encoder, str(tmp_path / "cc" / "cc-00000.tar"), tmp_path / "none")


def test_limits_count_over_enough_samples(encoder, pattern):
    facts = score_shard(encoder, Path(pattern.replace("{00000..00003}", "00000")), How(), weights="w").facts
    many = [replace(facts, samples=10_000, unscored=100)]
    limit_of(many, shards=1, unscored=0.01)
    with pytest.raises(BadData, match="101 of 10000"):
        limit_of([replace(facts, samples=10_000, unscored=101)], shards=1, unscored=0.01)
    broken = [replace(facts, broken="cut")] * 12
    limit_of(broken, shards=1243, unscored=0.01)
    with pytest.raises(BadData, match="13 of 13 shards"):
        limit_of([*broken, broken[0]], shards=1243, unscored=0.01)


def test_what_cannot_be_is_refused(encoder, pattern, tmp_path, monkeypatch):
    out = tmp_path / "run"
    for number in (0, 4):
        with pytest.raises(BadInput, match=f"got part {number}/3"):
            alignscope.score(encoder, pattern, out, part=(number, 3))
    with pytest.raises(BadInput, match="cluster"):
        alignscope.score("tiny-clip", pattern, out, part=(1, 2), ray="local")
    with pytest.raises(BadInput, match="opened model"):
        alignscope.score(encoder, pattern, out, ray="local")
    with pytest.raises(BadInput, match="delete --out"):
        alignscope.score(encoder, pattern, out, part=(1, 2), overwrite=True)
    with pytest.raises(BadData, match="no file matches"):
        alignscope.score(encoder, str(tmp_path / "{0..3}.tar"), out)
    (tmp_path / "x").mkdir()
    twins = [shard(tmp_path / "x" / "cc-00000.tar", []), pattern]
    with pytest.raises(BadData, match="one file"):
        alignscope.score(encoder, twins, out)
    with pytest.raises(Unsupported, match="regions"):
        alignscope.score("tiny-uniter", pattern, out)
    assert not out.exists()
    alignscope.score(encoder, pattern, out, part=(1, 2))
    with pytest.raises(OutputExists, match="another run"):
        alignscope.score(encoder, pattern.replace("3}", "2}"), out, part=(2, 2))
    with alone(out / "work" / "part-2-of-2"), pytest.raises(OutputExists, match="another process"):
        alignscope.score(encoder, pattern, out, part=(2, 2))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="under torchrun"):
        alignscope.score(encoder, pattern, out, part=(1, 2))


def test_each_process_takes_a_card_of_its_own(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert sharded._own_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [sharded._own_device(name) for name in ("cuda", "cuda:0", "cpu")] == ["cuda:1", "cuda:0", "cpu"]


def test_the_command_line(tiny_clip_dir, pattern, tmp_path):
    words = ["score", str(tiny_clip_dir), "--shards", pattern, "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*words, "--part", "1/2", "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    told = json.loads(done.stdout)
    assert (told["shards"], told["waiting"], told["measurements"]) == (COUNT, 2, [])
    done = CliRunner().invoke(app, [*words, "--part", "2/2"])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "mean cosine" in done.stdout
    assert "scores of 4 shards" in done.stdout
    assert CliRunner().invoke(app, [*words, "--part", "2"]).exit_code == 2
    assert os.environ.get("WORLD_SIZE") is None
