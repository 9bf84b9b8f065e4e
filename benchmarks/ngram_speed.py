"""Times the trigram model beside `nltk.lm`: training and perplexity on the same captions, as ratios in one run.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/ngram_speed.py

Both get texts and cut them into the same words. NLTK's Kneser-Ney looks through all contexts for every word, so
its perplexity is timed on `--sample` captions and scaled to all; its Laplace smoothing, the least it can do,
is timed on all of them. Issue 7's bound, at least 30 times `nltk.lm` on 25,010 captions, names no smoothing: it is told
of the same model, Kneser-Ney, and Laplace, which neither discounts nor falls back, without a bound.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from figures import add_option, figure, tell
from nltk.lm import KneserNeyInterpolated, Laplace
from nltk.lm.api import LanguageModel
from nltk.lm.preprocessing import pad_both_ends, padded_everygram_pipeline
from nltk.util import ngrams as grams_of

from alignscope.language import katz, ngrams
from alignscope.language.perplexity import caption_scores, perplexity

ISSUE_CAPTIONS = 25_010
KARPATHY = Path(__file__).parents[2] / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def timed(train: Callable[[list[str]], ngrams.Model], captions: list[str]) -> tuple[float, float]:
    """Seconds of training and of perplexity."""
    start = time.perf_counter()
    model = train(captions)
    middle = time.perf_counter()
    perplexity(caption_scores(model, captions))
    return middle - start, time.perf_counter() - middle


def trained(model: LanguageModel, captions: list[str]) -> LanguageModel:
    model.fit(*padded_everygram_pipeline(3, [ngrams.words_of(caption) for caption in captions]))
    return model


def nltk_perplexity(model: LanguageModel, captions: list[str]) -> float:
    padded = (pad_both_ends(ngrams.words_of(caption), n=3) for caption in captions)
    return model.perplexity([gram for each in padded for gram in grams_of(each, 3)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=Path, default=KARPATHY, help="a list of {image, caption: [...]}")
    parser.add_argument("--first", type=int, help="captions, not all")
    parser.add_argument("--sample", type=int, default=20, help="captions that NLTK's Kneser-Ney scores")
    parser.add_argument("--repeats", type=int, default=3, help="of ours, the best counts")
    add_option(parser)
    options = parser.parse_args()
    rows = json.loads(options.captions.read_text(encoding="utf-8"))
    captions = [caption for row in rows for caption in row["caption"]][: options.first]
    found: dict[str, tuple[float, float]] = {}
    rounds: dict[str, list[tuple[float, float]]] = {}
    for name, train in (("Kneser-Ney", ngrams.train), ("Katz", katz.train)):
        rounds[name] = [timed(train, captions) for _ in range(options.repeats)]
        found[f"ours, {name}"] = min(rounds[name], key=sum)
    for name, made, asked in (
        ("Laplace", Laplace(3), captions),
        (
            f"Kneser-Ney (scaled from {options.sample} captions)",
            KneserNeyInterpolated(3),
            captions[:: len(captions) // options.sample],
        ),
    ):
        fitting = seconds(lambda made=made: trained(made, captions))
        scoring = seconds(lambda made=made, asked=asked: nltk_perplexity(made, asked))
        found[f"nltk, {name}"] = (fitting, scoring * len(captions) / len(asked))
    ours = sum(found["ours, Kneser-Ney"])
    sys.stdout.write(f"{len(captions)} captions{'training s':>39}  perplexity s  both / ours, Kneser-Ney\n")
    for name, (fitting, scoring) in found.items():
        sys.stdout.write(f"{name:44s}{fitting:10.2f}{scoring:14.2f}{(fitting + scoring) / ours:25.1f}\n")
    is_issues = len(captions) == ISSUE_CAPTIONS
    figures = []
    for name in [name for name in found if name.startswith("nltk")]:
        is_same = name.startswith("nltk, Kneser-Ney")
        ratios = [sum(found[name]) / sum(one) for one in rounds["Kneser-Ney"]]
        bound = f"the bound of issue 7, of {ISSUE_CAPTIONS:,}" if is_same else "a lesser model, no bound set"
        note = f"training and perplexity, {len(captions):,} captions; {bound}; NLTK timed once"
        wanted = 30 if is_same and is_issues else None
        figures.append(figure(f"{name} / ours, Kneser-Ney", ratios, at_least=wanted, note=note))
    tell(figures, options.json)


if __name__ == "__main__":
    main()
