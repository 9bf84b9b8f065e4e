"""The speed book: every benchmark, one after another, each in a fresh process of one thread or two.

    make bench                  make bench ARGS=--quick                make bench ARGS="--only scst --again"
    make bench ARGS="--skip training parser"

Writes runs/bench/bench.json and the page docs/speed.md after every benchmark, and what each printed as
runs/bench/NAME.log. What has finished is not run again unless `--again`; a benchmark that failed is. `--quick` is
fewer rounds, smaller loads and fewer models, and keeps what a whole run has found; a whole run replaces what is quick.
Those whose bounds the issues name come first. A run that is stopped keeps what has finished, and goes on from there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from figures import Figure, line
from page import Entry, Section, page, surroundings

from alignscope.files import write_json, write_lines

HERE = Path(__file__).parent
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
AROUND = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class Benchmark:
    """A script with what it is given: always, and for a few minutes in all."""

    name: str
    title: str
    script: str
    always: str = ""
    quick: str = ""
    is_on_gpu: bool = False
    threads: int = 1  # 2 where the bound is of two cores

    def command(self, *, is_quick: bool) -> str:
        """The script with what it is given."""
        return " ".join(filter(None, (self.script, self.always, self.quick if is_quick else "")))


BENCHMARKS = (
    Benchmark("world", "Scenes of the world beside the floor of issue 2", "world_speed.py"),
    Benchmark(
        "ngrams",
        "Trigram model beside nltk.lm (issue 7)",
        "ngram_speed.py",
        quick="--first 5000 --sample 5",
    ),
    Benchmark("patterns", "Patterns of captions beside the 30 s of issue 7", "pattern_speed.py"),
    Benchmark(
        "scst",
        "Self-critical step beside its parts and a plain loop (issue 7)",
        "scst_speed.py",
        quick="--rounds 8 --images 100 --steps 100",
    ),
    Benchmark(
        "scst-published",
        "Self-critical step at published sizes, FC captioner and CLIP ViT-B/32 (issue 7)",
        "scst_speed.py",
        "--published --rounds 3",
        quick="--rounds 2",
    ),
    Benchmark(
        "attribution",
        "Word attribution beside the notebook way and the passes it needs (issue 3)",
        "attribution_speed.py",
        "--repetitions 3 --notebook 4",
        quick="--count 64 --batch-size 16 --repetitions 2 --notebook 4 --perturbed 8",
        threads=2,
    ),
    Benchmark(
        "shards",
        "`score` of webdataset shards beside its forwards, and two Ray workers beside one process (issue 9)",
        "shard_speed.py",
        "--shards 4 --each 64 --rounds 2",
        quick="--each 16",
    ),
    Benchmark(
        "evaluate",
        "`evaluate` beside the official per-item way, the encoding alone, and itself at a tenth (issue 4)",
        "evaluate_speed.py",
        "--images 160 --sample 60 --repeats 2",
        quick="--images 32 --sample 10 --repeats 2 --growth-images 30",
        threads=2,
    ),
    Benchmark(
        "scorers",
        "Scorers beside their models' own forward pass (issue 6)",
        "scorer_speed.py",
        "--rounds 3",
        quick="--rounds 2 --only uniter vilt clip git",
    ),
    Benchmark(
        "training",
        "Steps with an attribution loss beside the plain step (issue 5)",
        "training_speed.py",
        "--device cpu --rounds 3",
        quick="--count 32 --batch-size 4 --rounds 2 --only attention gradcam gradient 'perturbation, 1 draw, 1 unit'",
    ),
    Benchmark("bootstrap", "Clustered bootstrap beside SciPy's", "bootstrap_speed.py"),
    Benchmark("cider", "CIDEr-D beside pycocoevalcap's", "cider_speed.py"),
    Benchmark(
        "parser",
        "Word classes beside SceneGraphParser's: quality, not speed",
        "parser_quality.py",
        quick="--world 0",
    ),
    Benchmark(
        "streams",
        "Memory of `attribute` as captions grow",
        "stream_memory.py",
        quick="--sizes 200 2000",
    ),
    Benchmark(
        "training-gpu",
        "Steps with an attribution loss beside the plain step on a GPU, with their memory (issue 5)",
        "training_speed.py",
        "--device cuda --batch-size 64 --count 512 --memory-batch 64",
        quick="--rounds 5",
        is_on_gpu=True,
    ),
)
BESIDE = {
    "bench.py": "this file",
    "page.py": "writes docs/speed.md",
    "figures.py": "what every benchmark gives",
    "scorer_models.py": "the models of scorer_speed.py",
    "fault_drill.py": "counts what survives kill -9: no speed, no ratio",
    "newcomer.py": "seconds of a newcomer's commands, from clone to a repaired model: no ratio",
}
"""Files of this folder that are no benchmarks, and why."""


def run_one(
    given: Benchmark, out: Path, *, folder: Path = HERE, is_quick: bool, at_most_seconds: float
) -> Entry:
    """One benchmark in a process of its own; what went wrong is told in the entry."""
    script, *arguments = shlex.split(given.command(is_quick=is_quick))
    began, load = time.perf_counter(), os.getloadavg()[0]
    why, figures = "", []
    with (
        tempfile.TemporaryDirectory() as place,
        (out / f"{given.name}.log").open("w+", encoding="utf-8") as log,
    ):
        found = Path(place) / "figures.json"
        try:
            done = subprocess.run(
                [sys.executable, str(folder / script), *arguments, "--json", str(found)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **AROUND, **dict.fromkeys(THREADS, str(given.threads))},
                timeout=at_most_seconds,
            )
        except subprocess.TimeoutExpired:
            why = f"ran past {at_most_seconds:g} s"
        else:
            log.seek(0)
            last = ([each.strip() for each in log if each.strip()] or ["it said nothing"])[-1]
            if done.returncode:
                why = f"exit status {done.returncode}: {last}"
            elif not found.is_file():
                why = f"it gave no figures: {last}"
            else:
                figures = [Figure(**row) for row in json.loads(found.read_text(encoding="utf-8"))["figures"]]
                why = "" if figures else "it gave no figures: an empty list"
    return Entry(
        name=given.name,
        command=given.command(is_quick=is_quick),
        is_quick=is_quick and given.quick != "",
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - began, 1),
        load_before=round(load, 2),
        load_after=round(os.getloadavg()[0], 2),
        around=surroundings(),
        figures=figures,
        not_run=why,
    )


def is_finished(entry: Entry | None, given: Benchmark, *, is_quick: bool) -> bool:
    """Whether it ran as it would be run now, or wholly where a quick run would do."""
    if entry is None or entry.not_run:
        return False
    ways = {False, is_quick}
    return any(entry.command == given.command(is_quick=way) for way in ways)


def run_book(
    benchmarks: Sequence[Benchmark],
    out: Path,
    *,
    folder: Path = HERE,
    is_quick: bool = False,
    is_again: bool = False,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    has_gpu: Callable[[], bool],
    at_most_seconds: float = 3600.0,
    after: Callable[[dict[str, Entry]], object] = lambda entries: None,
    say: Callable[[str], object] = sys.stdout.write,
) -> dict[str, Entry]:
    """All entries by name, those of earlier runs too; written as they come."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "bench.json"
    entries = read_entries(file)
    for given in benchmarks:
        if (only and given.name not in only) or given.name in skip:
            continue
        kept = entries.get(given.name)
        is_kept = kept is not None and not is_again and is_finished(kept, given, is_quick=is_quick)
        if given.is_on_gpu and not is_kept and not has_gpu():
            say(f"\n{given.title}\n  not run: torch finds no GPU here\n")
            continue
        say(f"\n{given.title}\n")
        if not is_kept or kept is None:
            kept = run_one(given, out, folder=folder, is_quick=is_quick, at_most_seconds=at_most_seconds)
            entries[given.name] = kept
            write_json(file, {"entries": [asdict(each) for each in entries.values()]})
            after(entries)
        say(f"  {kept.seconds:.0f} s on {kept.date}{', from an earlier run' if is_kept else ''}\n")
        say("".join(map(line, kept.figures)))
        if kept.not_run:
            say(f"  not run: {kept.not_run} (all of it: {out / given.name}.log)\n")
    return entries


def read_entries(file: Path) -> dict[str, Entry]:
    """Entries of earlier runs by name."""
    if not file.is_file():
        return {}
    rows = json.loads(file.read_text(encoding="utf-8"))["entries"]
    found = [Entry(**{**row, "figures": [Figure(**each) for each in row["figures"]]}) for row in rows]
    return {entry.name: entry for entry in found}


def gpu_is_here() -> bool:
    """Whether torch finds one."""
    import torch

    return torch.cuda.is_available()


def write_page(entries: dict[str, Entry], path: Path) -> None:
    """The page of all benchmarks, run or not."""
    sections = [
        Section(given.title, f"benchmarks/{given.script}", given.is_on_gpu, entries.get(given.name))
        for given in BENCHMARKS
    ]
    write_lines(path, page(sections))


def main() -> int:
    """Run, print, write; 1 where a benchmark failed."""
    names = [given.name for given in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds and small loads: some minutes")
    parser.add_argument("--again", action="store_true", help="run also what has finished")
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--skip", nargs="+", choices=names, default=[], metavar="NAME", help="leave these out"
    )
    parser.add_argument("--out", type=Path, default=HERE.parent / "runs" / "bench")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "speed.md")
    parser.add_argument("--at-most", type=float, default=3600, help="seconds that one benchmark may take")
    options = parser.parse_args()
    entries = run_book(
        BENCHMARKS,
        options.out,
        is_quick=options.quick,
        is_again=options.again,
        only=options.only,
        skip=options.skip,
        has_gpu=gpu_is_here,
        at_most_seconds=options.at_most,
        after=lambda entries: write_page(entries, options.page),
    )
    write_page(entries, options.page)
    sys.stdout.write(f"\n{options.out / 'bench.json'}\n{options.page}\n")
    asked = [name for name in options.only or names if name not in options.skip]
    return int(any(entries[name].not_run for name in asked if name in entries))


if __name__ == "__main__":
    sys.exit(main())
