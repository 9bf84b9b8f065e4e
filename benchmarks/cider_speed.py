"""Times our CIDEr-D beside pycocoevalcap's on the captions of the Karpathy test images, as a ratio.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/cider_speed.py

The first caption of each image is scored against its others. pycocoevalcap counts document frequencies
with every call, so both are timed with the counting; the training loop counts once, so ours is also timed
without, and on batches of 50 samples of 10 images as in self-critical training.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from figures import add_option, figure, tell
from pycocoevalcap.cider.cider import Cider as Published

from alignscope.data.coco import read_captions
from alignscope.evaluation.cider import Cider
from alignscope.evaluation.tokenisation import python_words

KARPATHY = Path(__file__).parents[2] / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"


def seconds(run: Callable[[], object], *, repeats: int) -> list[float]:
    """Of each of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captions", type=Path, nargs="?", default=KARPATHY)
    parser.add_argument("--repeats", type=int, default=3)
    add_option(parser)
    given = parser.parse_args()
    images = read_captions(given.captions).images
    words = [[python_words(text).split() for text in image.captions] for image in images]
    vocabulary: dict[str, int] = {}
    ids = [[[vocabulary.setdefault(word, len(vocabulary)) for word in row] for row in rows] for rows in words]
    candidates, references = [rows[0] for rows in ids], [rows[1:] for rows in ids]
    texts = {place: [" ".join(map(str, row))] for place, row in enumerate(candidates)}
    wanted = {place: [" ".join(map(str, row)) for row in rows] for place, rows in enumerate(references)}
    cider = Cider.of(references)
    samples, groups = (
        [candidates[place % 500] for place in range(2500)],
        [references[p // 5] for p in range(2500)],
    )

    def batches() -> None:
        for start in range(0, 2500, 50):
            cider.scores(samples[start : start + 50], groups[start : start + 50])

    apart = np.abs(Published().compute_score(wanted, texts)[1] - cider.scores(candidates, references)).max()
    published = seconds(lambda: Published().compute_score(wanted, texts), repeats=given.repeats)
    counting = seconds(lambda: Cider.of(references).scores(candidates, references), repeats=given.repeats)
    counted = seconds(lambda: cider.scores(candidates, references), repeats=given.repeats)
    training = min(seconds(batches, repeats=given.repeats))
    theirs, whole, scoring = min(published), min(counting), min(counted)
    out = sys.stdout.write
    out(f"{len(candidates)} captions, {sum(map(len, references))} references, apart by at most {apart:.1e}\n")
    out(f"pycocoevalcap            {theirs:6.2f} s {len(candidates) / theirs:9.0f} captions/s\n")
    for name, time_taken in (("ours, with counting", whole), ("ours, counted before", scoring)):
        rate = len(candidates) / time_taken
        out(f"{name:24} {time_taken:6.2f} s {rate:9.0f} captions/s {theirs / time_taken:6.1f} x\n")
    out(f"ours, batches of 50      {training:6.2f} s {2500 / training:9.0f} captions/s\n")
    note = f"{len(candidates):,} captions; scores apart by at most {apart:.0e}"
    found = [
        figure(name, [slow / fast for slow, fast in zip(published, ours, strict=True)], note=note)
        for name, ours in (
            ("pycocoevalcap / ours, with counting", counting),
            ("pycocoevalcap / ours, counted before", counted),
        )
    ]
    tell(found, given.json)


if __name__ == "__main__":
    main()
