"""A newcomer's path, each command timed: clone, set-up, an audit, an audit of an own CLIP directory, a repaired one.

    python benchmarks/newcomer.py --out /tmp/newcomer [--size 1000] [--processes 2]

The own CLIP is what a user has, a directory that `transformers` wrote (here with tiny-clip's weights), and own pairs are
captions and wrong captions of images in a folder. The commands are those of README and docs/index.md. It says how long
things take on this machine, not how fast they are, so it is no part of `make bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def steps(out: Path, *, size: int, processes: int) -> list[tuple[str, str]]:
    """What is done, and the command, run in the clone."""
    scope, whole = ".venv/bin/alignscope", f"--size {size}"
    own = f"{out}/my-clip"
    return [
        ("set up", "make install"),
        ("what works here", f"{scope} doctor"),
        ("audit the built-in model", f"{scope} audit tiny-clip {whole} --out {out}/demo"),
        ("(an own CLIP directory)", f"cp -r src/alignscope/models/pretrained/tiny-clip {own}"),
        ("(own images and pairs)", f"{scope} world export {out}/my-data --size 200"),
        ("audit the own CLIP", f"{scope} audit {own} {whole} --out {out}/before"),
        (
            "audit it on own pairs",
            f"{scope} audit {own} --pairs {out}/my-data/pairs.jsonl --images {out}/my-data/images --out {out}/own",
        ),
        ("repair it", f"{scope} train recipes/world-repair.toml --set model={own} --out {out}/repaired"),
        ("audit the repaired one", f"{scope} audit {out}/repaired/model {whole} --out {out}/after"),
        ("compare the two", f"{scope} compare {out}/before {out}/after"),
        ("both on one page", f"{scope} report {out}/before {out}/after --out {out}/compared.html"),
        ("give it to open_clip", f"{scope} export {out}/repaired/model --out {out}/open_clip"),
        (
            "all three papers, quick",
            f"{scope} reproduce all --quick --processes {processes} --out {out}/papers",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--size", type=int, default=1000, help="scenes of an audit")
    parser.add_argument(
        "--processes", type=int, default=2, help="of `reproduce all`; other commands use as many threads"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    out = given.out.resolve()
    environment = os.environ | {"OMP_NUM_THREADS": str(given.processes)}
    lines = [("clone", f"git clone --quiet {ROOT} {out}/clone", ROOT)]
    lines += [
        (what, command, out / "clone")
        for what, command in steps(out, size=given.size, processes=given.processes)
    ]
    told = []
    for what, command, where in lines:
        begun = time.perf_counter()
        done = subprocess.run(command, shell=True, cwd=where, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - begun
        told.append({"what": what, "command": command, "seconds": round(seconds, 1), "exit": done.returncode})
        (out / "newcomer.json").write_text(json.dumps(told, indent=1))
        sys.stdout.write(f"{seconds:8.1f} s  {what}: {command}\n")
        sys.stdout.flush()
        if done.returncode:
            sys.exit(f"that failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        (out / f"{len(told):02d}.txt").write_text(done.stdout)
    sys.stdout.write(f"{sum(one['seconds'] for one in told):8.1f} s  in all\n")


if __name__ == "__main__":
    main()
