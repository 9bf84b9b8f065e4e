"""Runs that are killed at random, resumed until they end, and compared byte for byte with undisturbed ones.

    python benchmarks/fault_drill.py --kills 20 --only evaluate train

Half of the kills (SIGKILL) come at a time drawn evenly over the run's own duration, half just before a file
operation (open, rename, remove, mkdir) drawn evenly among those the run does in its directory: these come in bursts
that a clock seldom meets. Every run begins in a fork of one process that has imported all, so that kills
meet work and not imports. What may differ is listed in `OF_TIME`, `COMMANDS` and `IN_PAGES`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

OF_TIME = {"seconds", "started", "samples_per_second"}
"""Entries of JSON files that tell when and how fast."""
COMMANDS = {"command"}
"""Entries that quote the words typed, where --out and --resume stand."""
IN_PAGES = (
    rb"<p>Made by</p><pre><code>[^<]*</code></pre>",
    rb"<dt>(started|command)</dt><dd>[^<]*</dd>",
    rb"<p>Time: [^<]*</p>",
)
"""The same in HTML pages."""
FILE_OPERATIONS = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"})
REGISTER = (
    "{ attribute_rate = 0.9, relation_rate = 0.95, scene_rate = 0.3, size_rate = 0.5, object_rate = 0.9 }"
)
FINE_TUNING = f"""
name = "drill"
model = "tiny-clip"
batch = 8
steps = 12
learning_rate = 1e-3
warmup = 2
log_every = 2
save_every = 2
data = {{ kind = "world", images = 48, captions_per_image = 2, register = {REGISTER} }}
attribution = {{ methods = ["gradcam"], weight = "matched", ratio = 0.5, batches = 2 }}
[validation]
pairs = 16
every = 4
data = {{ kind = "world", split = "val", images = 20, register = {REGISTER} }}
"""
CAPTIONER = f"""
threads = 1
threshold = 0
longest = 8
[DATA]
kind = "world"
images = 24
validation = 6
test = 6
register = {REGISTER}
[CAPTIONER]
kind = "fc"
hidden = 24
dropout = 0.1
image_at_every_step = true
forget_bias = 1.0
[[STAGES]]
kind = "cross-entropy"
steps = 40
images = 4
learning_rate = 2e-2
most_sampling = 0.0
validate_every = 10
"""
SELF_CRITICAL = """
[[stages]]
kind = "self-critical"
steps = 10
images = 4
samples = 2
learning_rate = 1e-3
validate_every = 5
reward = [{ kind = "cider" }]
"""
GUIDED = """
[guidance]
steps = 2
images = 2
samples = 2
learning_rate = 1e-3
validate_every = 2
[scorers.clip]
model = "tiny-clip"
[scorers.uniter]
model = "tiny-uniter"
"""


def recipes(directory: Path) -> None:
    """The tiny recipes and the tiny study, as files."""
    own = CAPTIONER.replace("DATA", "data").replace("CAPTIONER", "captioner").replace("STAGES", "stages")
    shared = (
        CAPTIONER.replace("DATA", "recipe.data")
        .replace("CAPTIONER", "recipe.captioner")
        .replace("STAGES", "recipe.stages")
    )
    captioner = f'name = "drill"\nseed = 0\nsave_every = 5\nlog_every = 5\n{own}{SELF_CRITICAL}'
    study = 'name = "drill"\nseeds = [0]\ndraws = 20\nreplaced = 1\ncounts = [2]\nmetrics = ["BLEU-1"]\n[recipe]\n'
    (directory / "finetuning.toml").write_text(FINE_TUNING)
    (directory / "captioner.toml").write_text(captioner)
    (directory / "study.toml").write_text(f"{study}{shared}{GUIDED}")


RUNS: Mapping[str, tuple[str, ...]] = {
    "evaluate": ("evaluate world", "--model tiny-clip --annotations w --images w/images --batch-size 8"),
    "attribute": ("attribute tiny-clip", "--size 8 --checked 8"),
    "audit": ("audit tiny-clip", "--size 8 --checked 8"),
    "score": ("score tiny-clip", "--shards s-*.tar --batch-size 4"),
    "fine-tuning": ("train finetuning.toml", ""),
    "captioner": ("train captioner.toml", ""),
    "matrix": (
        "probe matrix right.jsonl wrong.jsonl",
        "--model clip=tiny-clip --model uniter=tiny-uniter --draws 50 --batch-size 8 --no-calibration",
    ),
    "ablation": ("probe ablation tiny-vinvl", "--scenes 16 --reference-scenes 60 --count 1"),
    "captions": ("reproduce captions", "--study study.toml --processes 2"),
}
"""What is drilled: its words before and after --out."""


@dataclass
class Drill:
    """What became of one command's kills."""

    seconds: float
    operations: int
    kills: dict[str, int] = field(default_factory=lambda: {"time": 0, "file": 0})
    runs: int = 0
    survived: int = 0
    faults: list[str] = field(default_factory=list)


def imported() -> None:
    """Import what runs import, so that forks begin at once."""
    import pyarrow.parquet
    import sklearn.linear_model
    import torch
    import transformers.models.clip.modeling_clip

    import alignscope.cli
    import alignscope.studies.captions.guided
    import alignscope.studies.public

    assert all((pyarrow.parquet, sklearn.linear_model, transformers, alignscope))
    torch.set_num_threads(1)


def begun(words: list[str], out: Path, log: Path, *, dies_before: int = 0, counts: Path | None = None) -> int:
    """A fork in a process group of its own that does a command; dies before its so many-th file operation."""
    pid = os.fork()
    if pid:
        with suppress(OSError):  # it came first
            os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(written, 1)
        os.dup2(written, 2)
        sys.argv = ["alignscope", *words]
        seen = watched(out, dies_before)
        from alignscope.cli import main

        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        if counts is not None:
            counts.write_text(str(len(seen)))
    except BaseException:  # the fork must not go on as the drill
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def watched(out: Path, dies_before: int) -> list[str]:
    """File operations below `out` as they come, from this process; before one of them it kills itself."""
    seen: list[str] = []
    below = str(out)

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in FILE_OPERATIONS and str(given[0]).startswith(below):
            if event == "open" and not (given[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
            seen.append(event)
            if len(seen) == dies_before:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return seen


def ended(pid: int, *, within: float | None = None) -> int | None:
    """The exit code of a fork (negative: the signal); None where it still works after so many seconds."""
    until = None if within is None else time.monotonic() + within
    while until is None or time.monotonic() < until:
        done, status = os.waitpid(pid, 0 if until is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def made(out: Path) -> dict[str, bytes]:
    """Every file of a run, without what tells the time and the words typed."""
    return {str(path.relative_to(out)): timeless(path) for path in sorted(out.rglob("*")) if path.is_file()}


def timeless(path: Path) -> bytes:
    """The bytes of a file; of JSON and pages without what tells the time or quotes the words typed."""
    content = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        rows = [json.loads(content)] if path.suffix == ".json" else map(json.loads, content.splitlines())
        return "\n".join(json.dumps(_without(row)) for row in rows).encode()
    if path.suffix == ".html":
        return re.sub(b"|".join(IN_PAGES), b"", content)
    return content


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(one) for key, one in value.items() if key not in OF_TIME | COMMANDS}
    return [_without(one) for one in value] if isinstance(value, list) else value


def different(found: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> list[str]:
    """Names of files that are not the same."""
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def words_of(name: str, out: Path, *, resume: bool = False) -> list[str]:
    """The command of a drill as typed."""
    verb, rest = RUNS[name]
    return [*verb.split(), *rest.split(), "--out", str(out), *(["--resume"] if resume else [])]


def drilled(name: str, kills: int, directory: Path, random: Random, *, most_seconds: float) -> Drill:
    """Kill and resume runs of a command until there were so many kills."""
    log = directory / f"{name}.log"
    out = directory / name  # the same for all, for some records tell where they lie
    wholes, seconds = [], 0.0
    for _ in range(2):
        start = time.monotonic()
        code = ended(begun(words_of(name, out), out, log, counts=directory / "count"))
        seconds = time.monotonic() - start
        if code:
            raise SystemExit(f"{name}: exit code {code} of an undisturbed run:\n{log.read_text()[-2000:]}")
        wholes.append(made(out))
        shutil.rmtree(out)
    wanted = wholes[0]
    if strange := different(wholes[1], wanted):
        raise SystemExit(f"{name}: two undisturbed runs differ in {strange}")
    found = Drill(seconds, int((directory / "count").read_text()))
    until = time.monotonic() + most_seconds
    while sum(found.kills.values()) < kills and time.monotonic() < until:
        fault = _survives(name, out, log, wanted, found, random)
        found.runs += 1
        if fault:
            found.faults.append(fault)
            out.rename(directory / f"{name}-fault-{found.runs}")
        else:
            found.survived += 1
            shutil.rmtree(out)
        told(f"{name}: {found.kills}, {found.survived} of {found.runs} runs survived {fault}")
    return found


def _survives(
    name: str, out: Path, log: Path, wanted: Mapping[str, bytes], found: Drill, random: Random
) -> str:
    """One run with up to three kills; what is wrong with it at the end, or nothing."""
    history = []
    for number in range(random.randint(1, 3)):
        by = random.choice(["time", "file"])
        at = random.uniform(0, found.seconds) if by == "time" else random.randint(1, found.operations)
        words = words_of(name, out, resume=number > 0)
        pid = begun(words, out, log, dies_before=int(at) if by == "file" else 0)
        code = ended(pid, within=float(at) if by == "time" else None)
        if code is None:
            _kill(pid, whole_group=random.random() < 0.5)
            code = ended(pid)
        history.append(f"{by} {at:.3f}")
        if code == -signal.SIGKILL:
            found.kills[by] += 1
        elif code:
            return f"exit code {code} after {history}: {log.read_text()[-1500:]}"
    code = ended(begun(words_of(name, out, resume=True), out, log))
    if code:
        return f"exit code {code} when resumed after {history}: {log.read_text()[-1500:]}"
    unlike = different(made(out), wanted)
    return f"unlike after {history}: {unlike}" if unlike else ""


def _kill(pid: int, *, whole_group: bool) -> None:
    """Kill a run, with the processes it began or without: those have to end by themselves."""
    (os.killpg if whole_group else os.kill)(pid, signal.SIGKILL)


def told(line: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


def table(found: Mapping[str, Drill]) -> Iterator[str]:
    """The counts, as Markdown."""
    yield "| command | seconds of a run | file operations | kills by time | kills before a file operation | runs | survived |"
    yield "|---|---|---|---|---|---|---|"
    for name, one in found.items():
        cells = (f"{one.seconds:.1f}", one.operations, one.kills["time"], one.kills["file"], one.runs)
        yield f"| {name} | {' | '.join(map(str, cells))} | {one.survived} |"


def main() -> int:
    """Drill what is asked for, and print the counts; the exit code is 1 where a run did not survive."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=[*RUNS])
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--seconds", type=float, default=3600, help="at most, of each command")
    parser.add_argument("--work", type=Path, help="directory that is kept")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE", HF_HUB_OFFLINE="1")
    found: dict[str, Drill] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = (options.work or Path(name)).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        os.chdir(directory)
        prepare(directory)
        imported()
        for one in options.only:
            random = Random(f"{options.seed}/{one}")
            found[one] = drilled(one, options.kills, directory, random, most_seconds=options.seconds)
    sys.stdout.write("\n".join(table(found)) + "\n")
    for one, drill in found.items():
        sys.stdout.write("".join(f"\n{one}: {fault}\n" for fault in drill.faults))
    return int(any(drill.faults for drill in found.values()))


def prepare(directory: Path) -> None:
    """An exported world of a few scenes, two files of captions of it, shards of three pairs, and the recipes."""
    from alignscope.data.world.export import export
    from alignscope.data.world.world import World

    world = World("test", size=12)
    export(world, directory / "w", overwrite=True, region_width=256)
    for name in ("right", "wrong"):
        with (directory / f"{name}.jsonl").open("w") as file:
            for item in world.items:
                text = item.caption.text if name == "right" else item.foils[0].text
                file.write(json.dumps({"image": item.image, "caption": text}) + "\n")
    for number in range(4):
        with tarfile.open(directory / f"s-{number}.tar", "w") as tar:
            for item in world.items[3 * number : 3 * number + 3]:
                key = Path(item.image).stem
                (directory / f"{key}.txt").write_text(item.caption.text)
                tar.add(directory / f"{key}.txt", f"{key}.txt")
                tar.add(directory / "w" / "images" / f"{item.image}.png", f"{key}.png")
    recipes(directory)


if __name__ == "__main__":
    sys.exit(main())
