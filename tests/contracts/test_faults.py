"""Faults of machines and files: kills, full disks, Ctrl-C, broken and hostile inputs. The long form is
benchmarks/fault_drill.py, whose functions are used here."""

import json
import os
import pickle
import resource
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignscope.data.coco import read_captions
from alignscope.data.features import FeatureFolder
from alignscope.data.hl import read_hl
from alignscope.data.pairs import read_pairs
from alignscope.errors import BadData, UnwritableOutput
from alignscope.files import read_jsonl
from alignscope.studies.output import RUN, claim
from alignscope.studies.store import opened

ROOT = Path(__file__).parents[2]
DRILL = runpy.run_path(str(ROOT / "benchmarks" / "fault_drill.py"))
IDENTITY = {"kind": "test", "seed": 1}
ALIGNSCOPE = [sys.executable, "-c", "from alignscope.cli import main; main()"]
KILLS = 1


def test_killed_runs_end_in_the_same_bytes(tmp_path: Path) -> None:
    """A captioner's training, in processes of its own, for a fork of this one would hold pytest's threads."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "fault_drill.py", "--kills", str(KILLS), "--only", "captioner"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    cells = [cell.strip() for cell in done.stdout.splitlines()[2].split("|")]
    assert cells[1] == "captioner"
    assert int(cells[4]) + int(cells[5]) >= KILLS
    assert cells[6] == cells[7] != "0"


def test_the_drill_tells_files_that_differ_and_leaves_out_times_alone(tmp_path: Path) -> None:
    for name, row in {
        "a": {"seconds": 1, "loss": 2},
        "b": {"seconds": 3, "loss": 2},
        "c": {"loss": 4},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "b" / "more").touch()
    first, second, third = (DRILL["made"](tmp_path / name) for name in "abc")
    assert DRILL["different"](first, second) == ["more"]
    assert DRILL["different"](first, third) == ["metrics.jsonl"]


@pytest.mark.parametrize("left", [".writable", f"{RUN}.part"])
def test_a_claim_that_was_killed_is_no_run_of_another(tmp_path: Path, left: str) -> None:
    (tmp_path / left).touch()
    claim(tmp_path, IDENTITY, resume=True)
    assert json.loads((tmp_path / RUN).read_text()) == {"identity": IDENTITY, "finished": False}


def test_a_deletion_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a finished run is not taken for one, and --overwrite may be given again."""
    claim(tmp_path, IDENTITY)
    (tmp_path / RUN).write_text(json.dumps({"identity": IDENTITY, "finished": True}))
    for name in "ab":
        (tmp_path / name).touch()
    unlink = Path.unlink

    deleted: list[str] = []

    def dies_in_the_second(path: Path, **how: bool) -> None:
        if path.name in ("a", "b", RUN):
            deleted.append(path.name)
        if len(deleted) == 2:
            raise KeyboardInterrupt
        unlink(path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", dies_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            claim(tmp_path, IDENTITY, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {deleted[1], RUN}
    assert not json.loads((tmp_path / RUN).read_text())["finished"]
    claim(tmp_path, {**IDENTITY, "seed": 2}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [RUN]


def test_workers_end_when_the_process_that_began_them_is_killed(tmp_path: Path) -> None:
    """Else one at work would write into a directory that a resumed run has claimed."""
    code = (
        "import os, signal, sys, time\n"
        "from alignscope.studies.workers import workers\n"
        "if __name__ == '__main__':\n"
        "    with workers(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 60)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, check=False, timeout=30
    )
    assert done.returncode == -signal.SIGKILL
    worker, until = int(done.stdout), time.monotonic() + 5
    while is_alive(worker) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_alive(worker)


def is_alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [
        "attribute",
        "tiny-clip",
        "--size",
        "24",
        "--checked",
        "4",
        "--method",
        "gradient",
        "--out",
        str(out),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    running = subprocess.Popen([*ALIGNSCOPE, *words], stderr=subprocess.PIPE, text=True, env=environment)
    while running.poll() is None and not (out / "work").is_dir():
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert running.returncode == 130, told
    assert "Traceback" not in told
    assert "--resume" in told
    assert not json.loads((out / RUN).read_text())["finished"]


def limited() -> None:
    """No file above 12 kB from here on, as on a disk that is full; without the signal it is an error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))


def test_no_room_is_one_message_and_the_run_goes_on_once_there_is(tmp_path: Path) -> None:
    DRILL["prepare"](tmp_path)
    words = [*ALIGNSCOPE, *DRILL["words_of"]("captioner", tmp_path / "run")]
    full = subprocess.run(
        words, capture_output=True, text=True, cwd=tmp_path, check=False, preexec_fn=limited
    )
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    assert full.stderr.count("alignscope:") == 1
    assert "cannot be written" in full.stderr
    assert "--resume" in full.stderr
    assert not (tmp_path / "run" / "model").exists()
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model" / "training.json").exists()


def test_a_full_index_is_not_called_broken(tmp_path: Path) -> None:
    """Its advice must not be to delete what was made so far."""

    def fill() -> None:
        with opened(tmp_path / "index.sqlite") as file:
            file.execute("PRAGMA max_page_count = 2")
            file.execute("CREATE TABLE t (x BLOB)")
            file.execute("INSERT INTO t VALUES (zeroblob(100000))")

    with pytest.raises(UnwritableOutput, match="make room"):
        fill()


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


@pytest.mark.parametrize(
    "reader",
    [
        lambda path: list(read_jsonl(path)),
        lambda path: list(read_captions(path)),
        lambda path: list(read_pairs(path)),
        lambda path: list(read_hl(path)),
    ],
    ids=["lines", "coco", "pairs", "hl"],
)
def test_deep_nesting_is_no_crash(tmp_path: Path, reader: Callable[[Path], Any]) -> None:
    path = tmp_path / "deep.json"
    path.write_text(DEEP)
    with pytest.raises(BadData):
        assert reader(path), "rows or an error"


def test_arrays_that_declare_more_than_memory_holds_and_archives_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "bomb.npy").open("wb") as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (10**14,)}
        np.lib.format.write_array_header_1_0(file, shape)
    with (tmp_path / "archive.npy").open("wb") as file:
        np.savez_compressed(file, x=np.zeros(10**6, dtype=np.float32))
    features = FeatureFolder(tmp_path)
    for name in ("bomb", "archive"):
        with pytest.raises(BadData, match=f"{name}.npy"):
            features[name]


class Code:
    """A pickle that makes a file when it is run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_code_in_features_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(Code(mark)))
    assert mark.exists(), "the trap works"
    mark.unlink()
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Code(mark)))
    np.save(tmp_path / "object.npy", np.array([Code(mark)], dtype=object), allow_pickle=True)
    for name in ("plain", "object"):
        with pytest.raises(BadData, match=name):
            FeatureFolder(tmp_path)[name]
    assert not mark.exists()
