"""Is the map right? Everything that is asked of the attributions of a sample of captions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from einops import einsum
from jaxtyping import Float
from torch import Tensor

from alignscope.attribution.attribute import attribute
from alignscope.attribution.faithfulness import faithfulness
from alignscope.attribution.options import DEFAULTS, Method, Options
from alignscope.attribution.patches import image_methods, patch_maps
from alignscope.evaluation.agreement import agreements, scrambled_agreement
from alignscope.evaluation.pointing import pointing
from alignscope.language.phrases import phrases
from alignscope.language.replacements import Candidates
from alignscope.models.protocols import DualEncoder
from alignscope.records import (
    Attribution,
    Faithfulness,
    Item,
    PatchMap,
    PhraseSimilarity,
    Pointing,
    Problem,
    ScoreCurve,
)
from alignscope.studies.parts import Found
from alignscope.studies.streams import Chunk


@dataclass(frozen=True)
class Plan:
    """What is attributed and how it is checked; all of it is in the run's identity."""

    methods: tuple[Method, ...]
    options: Options = DEFAULTS
    checked: int = 200  # captions, about, on which the maps are checked
    shown: int = 6  # captions, about, whose image maps are kept
    seed: int = 0
    draws: int = 2000  # bootstrap draws


@dataclass(frozen=True)
class Judge:
    """A plan with what it needs for one data set: shares of the captions, and the same model unlearned."""

    plan: Plan
    checked: float
    shown: float
    scrambled: DualEncoder

    @classmethod
    def of(cls, model: DualEncoder, plan: Plan, captions: int) -> Judge:
        """The judge of `captions` captions."""
        checked, shown = (min(1.0, wanted / max(1, captions)) for wanted in (plan.checked, plan.shown))
        return cls(plan, checked, min(shown, checked), model.scrambled(seed=plan.seed))

    def place(self, item: Item) -> float:
        """Where an item lies between 0 and 1, by its id and the seed alone."""
        digest = hashlib.sha256(f"{self.plan.seed}/{item.id}".encode(errors="surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def is_checked(self, item: Item) -> bool:
        """Whether an item is in the sample."""
        return self.place(item) < self.checked


def checks(
    model: DualEncoder,
    items: Sequence[Item],
    vectors: Float[Tensor, "item dim"],
    attributions: Sequence[Attribution],
    source: Chunk,
    judge: Judge,
    available: Candidates | None,
    batch_size: int,
) -> Found:
    """Faithfulness, agreement (of methods, and with scrambled weights), phrases and image maps."""
    plan = judge.plan
    faithful: list[Faithfulness] = []
    curves: list[ScoreCurve] = []
    problems: list[Problem] = []
    for one in faithfulness(
        model, items, vectors, attributions, methods=plan.methods, seed=plan.seed, batch_size=batch_size
    ):
        faithful += one.records
        curves += one.curves
        problems += one.problems
    unlearned = attribute(
        judge.scrambled,
        items,
        vectors,
        methods=plan.methods,
        options=plan.options,
        candidates=available,
        batch_size=batch_size,
    )
    scrambled = [one for batch in unlearned for one in batch.attributions]
    agreeing = [
        *agreements(attributions, methods=plan.methods),
        *scrambled_agreement(attributions, scrambled),
    ]
    return {
        "faithfulness": faithful,
        "curves": curves,
        "agreements": agreeing,
        "phrases": _similarities(model, items),
        "pointings": _pointings(model, items, source),
        "maps": _shown_maps(model, [item for item in items if judge.place(item) < judge.shown], source),
        "problems": problems,
    }


def _similarities(model: DualEncoder, items: Sequence[Item]) -> list[PhraseSimilarity]:
    """Cosine of every caption with each of its phrases encoded alone (paper B, fig. 3)."""
    said = [(item, phrase) for item in items for phrase in phrases(item.caption)]
    if not said:
        return []
    whole = model.encode_texts([item.caption.text for item, _ in said])
    alone = model.encode_texts([phrase.text for _, phrase in said])
    cosines = einsum(whole, alone, "phrase dim, phrase dim -> phrase").tolist()
    return [
        PhraseSimilarity(item.id, item.image, phrase.text, phrase.word_class, cosine)
        for (item, phrase), cosine in zip(said, cosines, strict=True)
    ]


def _pointings(model: DualEncoder, items: Sequence[Item], source: Chunk) -> list[Pointing]:
    """The pointing game on things whose boxes are known: where does the image tower look for "a NOUN"?"""
    things = [(item, thing) for item in items for thing in item.objects if thing.box is not None]
    texts = [f"a {thing.noun}" for _, thing in things]
    owners = [item for item, _ in things]
    found: list[Pointing] = []
    for method in image_methods(model):
        maps = patch_maps(model, owners, source.image, texts, method=method)
        for patch_map, (item, thing) in zip(maps, things, strict=True):
            boxes = [other.box for other in item.objects if other.noun == thing.noun and other.box]
            found.append(pointing(patch_map, boxes, f"a {thing.noun}"))
    return found


def _shown_maps(model: DualEncoder, items: Sequence[Item], source: Chunk) -> list[PatchMap]:
    texts = [item.caption.text for item in items]
    return [
        patch_map
        for method in image_methods(model)
        for patch_map in patch_maps(model, items, source.image, texts, method=method)
    ]
