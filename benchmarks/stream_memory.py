"""Peak memory of `alignscope attribute` as the number of captions grows, each size in a process of its own.

    python benchmarks/stream_memory.py --sizes 1000 10000 --method gradcam

Pairs are captions of the built-in world, numbered so that each is distinct, over 50 of its pictures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import add_option, figure, tell

from alignscope.data.world.world import World

IMAGES = 50
RUN = """
import resource, sys
from alignscope.cli import app
try:
    app()
except SystemExit as end:
    assert not end.code, end.code
sys.stderr.write(f"\\npeak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\\n")
"""


def write_pairs(directory: Path, captions: int) -> Path:
    """A file of that many distinct pairs."""
    world = World("test", size=IMAGES)
    for item in world.items:
        world.image(item.image).save(directory / f"{item.image}.png")
    path = directory / f"pairs{captions}.jsonl"
    with path.open("w") as file:
        for number in range(captions):
            item = world.items[number // 5 % IMAGES]
            row = {"image": f"{item.image}.png", "caption": f"{item.caption.text} {number}"}
            file.write(json.dumps(row) + "\n")
    return path


def main() -> None:
    """Print peak memory and time per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--method", nargs="+", default=["gradcam"])
    add_option(parser)
    options = parser.parse_args()
    peaks = []
    methods = [word for method in options.method for word in ("--method", method)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for size in options.sizes:
            pairs = write_pairs(directory, size)
            where = ["--pairs", str(pairs), "--images", name, "--out", str(directory / f"run{size}")]
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", RUN, "attribute", "tiny-clip", *where, *methods],
                capture_output=True,
                text=True,
                check=True,
            )
            peak = int(done.stderr.split("peak ")[-1]) / 1024
            peaks.append(peak)
            seconds = time.perf_counter() - start
            sys.stdout.write(f"{size} captions: peak {peak:.0f} MiB, {seconds:.0f} s\n")
    first, last = options.sizes[0], options.sizes[-1]
    name = f"peak memory of {last:,} captions / of {first:,}"
    note = f"{peaks[-1]:.0f} and {peaks[0]:.0f} MiB; {', '.join(options.method)}"
    tell([figure(name, [peaks[-1] / peaks[0]], note=note)], options.json)


if __name__ == "__main__":
    main()
