"""Times the analyses of 5,000 captions, tagging apart from counting, patterns and mining, on one core.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/pattern_speed.py [--captions coco_test_1.json] [--number 5000]

Also prints what the captions are like (paper A, Table 4: captions of a captioner trained with cross-entropy have 9.5
words, 3.4 nouns, 3.2 distinct ones). `--number 25010` takes every reference of the Karpathy test split; with fewer,
images take turns: the first caption of each, then the second.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from figures import add_option, figure, tell

from alignscope.data.coco import read_captions
from alignscope.language.pipeline import parser_name
from alignscope.probing.captions import tagged_captions
from alignscope.probing.counts import averages, counted
from alignscope.probing.mining import as_patterns, mined_patterns
from alignscope.probing.ngrams import distinct, gram_counts
from alignscope.probing.patterns import pattern_fits, pattern_ratios
from alignscope.records import ImageCaption, Signature

COCO = Path(__file__).parents[2] / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"
ISSUE_CAPTIONS, ISSUE_SECONDS = 5000, 30.0
Result = TypeVar("Result")


def timed(what: str, run: Callable[[], Result]) -> Result:
    """The result, its time written out."""
    start = time.perf_counter()
    result = run()
    sys.stdout.write(f"{what:46}{time.perf_counter() - start:8.2f} s\n")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=Path, default=COCO)
    parser.add_argument("--number", type=int, default=5000)
    add_option(parser)
    asked = parser.parse_args()
    images = read_captions(asked.captions).images
    turns = range(max(len(one.captions) for one in images))
    captions = [
        ImageCaption(one.image, one.captions[turn])
        for turn in turns
        for one in images
        if turn < len(one.captions)
    ][: asked.number]
    signature = Signature("", asked.captions.stem, "", 0, 0, parser_name(), "")
    list(tagged_captions(captions[:10]))  # loads the tagger
    start = time.perf_counter()
    sys.stdout.write(f"{len(captions)} captions of {len({one.image for one in captions})} images\n")
    tagged = timed("tagging", lambda: tagged_captions(captions))
    analysed = time.perf_counter()
    counts, _ = timed("counts", lambda: counted(tagged))
    means = timed("averages with intervals", lambda: averages(counts, signature=signature))
    timed(
        "n-grams of words and tags, n = 1..5, and openings",
        lambda: [
            gram_counts(tagged, n, of=of, place=place)
            for n in range(1, 6)
            for of in ("words", "tags")
            for place in ("anywhere", "start")
        ],
    )
    timed("distinct-1, -2 with intervals", lambda: [distinct(tagged, n, signature=signature) for n in (1, 2)])
    mined, _ = timed("mining", lambda: mined_patterns(tagged))
    fits, _ = timed("the paper's patterns", lambda: pattern_fits(tagged))
    timed("mined patterns", lambda: pattern_fits(tagged, as_patterns(mined)))
    ratios = timed("ratios with intervals", lambda: pattern_ratios(fits, signature=signature))
    end = time.perf_counter()
    sys.stdout.write(f"analysis {end - analysed:.2f} s, with tagging {end - start:.2f} s\n\n")
    for one in means:
        sys.stdout.write(f"{one.measure:32}{one.value:8.3f} [{one.low:.3f}, {one.high:.3f}] {one.unit}\n")
    for one in ratios:
        sys.stdout.write(f"{one.value:6.1%} {one.measure:26}{one.group}\n")
    for pattern in mined:
        sys.stdout.write(f"{pattern.share:6.1%}  {pattern.prefix} {pattern.body}  ({pattern.example})\n")
    bound = 1.0 if len(captions) == ISSUE_CAPTIONS else None
    found = [
        figure(
            f"{name} / {ISSUE_SECONDS:.0f} s", [taken / ISSUE_SECONDS], at_most=bound, note=f"{taken:.1f} s"
        )
        for name, taken in (
            (f"patterns of {len(captions):,} captions, tagging and all", end - start),
            (f"patterns of {len(captions):,} captions, tagged before", end - analysed),
        )
    ]
    tell(found, asked.json)


if __name__ == "__main__":
    main()
