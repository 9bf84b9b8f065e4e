"""Samples of the built-in world per CPU-second: sampled, rendered, and captioned five times.

OMP_NUM_THREADS=1 python benchmarks/world_speed.py
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from itertools import pairwise

from figures import add_option, figure, tell

from alignscope.data.world.foils import foils
from alignscope.data.world.grammar import RICH, WEB, captions, describe
from alignscope.data.world.regions import regions
from alignscope.data.world.render import render_all
from alignscope.data.world.scene import SPLITS, sample_scenes

FLOOR = 2000  # samples per CPU-second, rendered and captioned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4000, help="scenes")
    parser.add_argument("--rounds", type=int, default=3)
    add_option(parser)
    options = parser.parse_args()
    count, rounds, found = options.count, options.rounds, []
    render_all(sample_scenes(2000, seed=1, split="train"))  # fill the caches of sprites
    rng = random.Random(0)
    say = sys.stdout.write
    say(f"per CPU-second, {count} scenes, best of {rounds} rounds\n")
    say(f"{'split':<8}{'sampled':>10}{'rendered':>10}{'captioned':>11}{'all three':>11}\n")
    for split in SPLITS:
        best: list[float] | None = None
        shares = []
        for round_ in range(rounds):
            marks = [time.process_time()]
            scenes = sample_scenes(count, seed=10 + round_, split=split)
            marks.append(time.process_time())
            render_all(scenes)
            marks.append(time.process_time())
            for scene in scenes:
                captions(scene, WEB if round_ % 2 else RICH, rng=rng, n=5)
            marks.append(time.process_time())
            spent = [b - a for a, b in pairwise(marks)]
            shares.append(count / sum(spent) / FLOOR)
            best = spent if best is None else min(best, spent, key=sum)
        assert best is not None
        rates = [count / seconds for seconds in (*best, sum(best))]
        name = f"samples per CPU-second, {split} / {FLOOR:,}"
        found.append(figure(name, shares, at_least=1, note=f"best {rates[-1]:,.0f}/s, five captions each"))
        say(f"{split:<8}{rates[0]:>10,.0f}{rates[1]:>10,.0f}{rates[2]:>11,.0f}{rates[3]:>11,.0f}\n")
    start = time.process_time()
    for scene in scenes:
        foils(scene, describe(scene, RICH, rng=rng), rng=rng)
    say(f"statements with all foils: {count / (time.process_time() - start):,.0f} scenes\n")
    start = time.process_time()
    for scene in scenes[:200]:
        regions(scene)
    say(f"8 regions with 2048 features: {200 / (time.process_time() - start):,.0f} scenes\n")
    tell(found, options.json)


if __name__ == "__main__":
    main()
