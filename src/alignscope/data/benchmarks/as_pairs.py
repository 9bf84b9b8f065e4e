"""Benchmarks that ask for the right caption of an image, as pairs for an audit."""

from __future__ import annotations

from pathlib import Path

from alignscope.data.benchmarks.facts import Benchmark
from alignscope.data.benchmarks.sugarcrepe import KINDS
from alignscope.data.items import is_same_text
from alignscope.data.pairs import PairLines
from alignscope.errors import BadInput
from alignscope.records import Caption, Foil, Item, Problem


def as_pairs(benchmark: Benchmark, annotations: Path) -> PairLines:
    """Items whose foils have the known kind of their subset (SugarCrepe's), else its name.

    Pairs show whole images and foils that differ from the caption: what does not fit is a problem.
    """
    if benchmark.asks != "caption":
        raise BadInput(
            f"{benchmark.name} asks for the right {benchmark.asks}, but pairs are one image with its caption "
            "and wrong ones: use a benchmark that asks for the right caption, such as sugarcrepe"
        )
    items: list[Item] = []
    problems: list[Problem] = []
    for one in benchmark.read(annotations):
        if isinstance(one, Problem):
            problems.append(one)
            continue
        (image,) = one.images
        caption, *wrong = one.texts
        foils = [text for text in wrong if not is_same_text(text, caption)]
        if len(foils) < len(wrong):
            problems.append(Problem(one.id, image.key, "a foil is the caption itself", "unscored"))
        if image.crop is not None:
            problems.append(
                Problem(one.id, image.key, "shows a part of an image, pairs show all", "unscored")
            )
        elif foils:
            kind = KINDS.get(one.subset, one.subset)
            items.append(Item(one.id, image.key, Caption(caption), tuple(Foil(text, kind) for text in foils)))
    return PairLines(tuple(items), tuple(problems))
