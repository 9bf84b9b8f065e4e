"""Is the map right? Everything that is asked of the attributions of a sample of captions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from einops import einsum
from PIL.Image import Image

from alignscope.attribution.attribute import attribute
from alignscope.attribution.faithfulness import faithfulness
from alignscope.attribution.options import DEFAULTS, Method, Options
from alignscope.attribution.patches import image_methods, patch_maps
from alignscope.attribution.scores import ImageSide
from alignscope.errors import BadInput
from alignscope.evaluation.agreement import agreements, scrambled_agreement
from alignscope.evaluation.pointing import pointing
from alignscope.language.phrases import phrases
from alignscope.language.replacements import Candidates
from alignscope.models.protocols import PairScorer, is_dual
from alignscope.models.protocols import Picture as Seeable
from alignscope.records import (
    DRAWS,
    Attribution,
    Faithfulness,
    Item,
    PatchMap,
    PhraseSimilarity,
    Picture,
    Pointing,
    Problem,
    ScoreCurve,
)
from alignscope.studies.auditing.examples import shown_png
from alignscope.studies.auditing.parts import Found
from alignscope.studies.embeddings import ImageRows, Seen


@dataclass(frozen=True)
class Plan:
    """What is attributed and how it is checked; all of it is in the run's identity."""

    methods: tuple[Method, ...]
    options: Options = DEFAULTS
    checked: int = 200  # captions, about, on which the maps are checked
    shown: int = 6  # of those, captions whose image maps are kept
    scrambles: int = 5  # of the weights, for the sanity check
    seed: int = 0
    draws: int = DRAWS  # bootstrap draws

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise BadInput(f"seed is {self.seed}, wanted 0 or more")


def sampled(items: Iterable[Item], *, wanted: int, of: int, seed: int) -> list[Item]:
    """About `wanted` of `of` items, chosen by their ids and the seed alone, whatever comes in which order."""
    return [item for item in items if _place(item, seed) * of < wanted]


def _place(item: Item, seed: int) -> float:
    """Where an item lies between 0 and 1."""
    digest = hashlib.sha256(f"{seed}/{item.id}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def checks(
    model: PairScorer,
    items: Sequence[Item],
    images: ImageRows,
    image_of: Callable[[str], Image],
    plan: Plan,
    available: Candidates | None,
    batch_size: int,
) -> Found:
    """Faithfulness, agreement (of methods, and with scrambled weights), phrases and image maps of items.

    `images` are what the model sees, `image_of` opens what a page shows.
    """
    vectors = images[[item.image for item in items]]
    picture_of = images.opened if isinstance(images, Seen) else image_of
    attributions = _attributions(model, items, vectors, plan, available, batch_size)
    faithful: list[Faithfulness] = []
    curves: list[ScoreCurve] = []
    problems: list[Problem] = []
    if plan.methods:
        for one in faithfulness(
            model, items, vectors, attributions, methods=plan.methods, seed=plan.seed, batch_size=batch_size
        ):
            faithful += one.records
            curves += one.curves
            problems += one.problems
    agreeing = agreements(attributions, methods=plan.methods)
    for scramble in range(plan.scrambles if items else 0):
        unlearned = model.scrambled(seed=plan.seed + scramble)
        scrambled = _attributions(unlearned, items, vectors, plan, available, batch_size)
        agreeing += scrambled_agreement(attributions, scrambled, scramble=scramble)
    shown = items[: plan.shown] if image_methods(model) else []
    return {
        "faithfulness": faithful,
        "curves": curves,
        "agreements": agreeing,
        "phrases": _similarities(model, items),
        "pointings": _pointings(model, items, picture_of),
        "maps": _shown_maps(model, shown, picture_of),
        "pictures": [_picture(key, image_of(key)) for key in dict.fromkeys(item.image for item in shown)],
        "problems": problems,
    }


def _attributions(
    model: PairScorer,
    items: Sequence[Item],
    vectors: ImageSide,
    plan: Plan,
    available: Candidates | None,
    batch_size: int,
) -> list[Attribution]:
    batches = attribute(
        model,
        items,
        vectors,
        methods=plan.methods,
        options=plan.options,
        candidates=available,
        batch_size=batch_size,
    )
    return [one for batch in batches for one in batch.attributions]


def _similarities(model: PairScorer, items: Sequence[Item]) -> list[PhraseSimilarity]:
    """Cosine of every caption with each of its phrases encoded alone (paper B, fig. 3)."""
    said = [(item, phrase) for item in items for phrase in phrases(item.caption)]
    if not said or not is_dual(model):
        return []
    whole = model.encode_texts([item.caption.text for item, _ in said])
    alone = model.encode_texts([phrase.text for _, phrase in said])
    cosines = einsum(whole, alone, "phrase dim, phrase dim -> phrase").tolist()
    return [
        PhraseSimilarity(item.id, item.image, phrase.text, phrase.word_class, cosine)
        for (item, phrase), cosine in zip(said, cosines, strict=True)
    ]


def _pointings(
    model: PairScorer, items: Sequence[Item], picture_of: Callable[[str], Seeable]
) -> list[Pointing]:
    """The pointing game on things whose boxes are known: where does the image tower look for "a NOUN"?"""
    things = [(item, thing) for item in items for thing in item.objects if thing.box is not None]
    texts = [f"a {thing.noun}" for _, thing in things]
    owners = [item for item, _ in things]
    found: list[Pointing] = []
    for method in image_methods(model):
        maps = patch_maps(model, owners, picture_of, texts, method=method)
        for patch_map, (item, thing) in zip(maps, things, strict=True):
            boxes = [other.box for other in item.objects if other.noun == thing.noun and other.box]
            found.append(pointing(patch_map, boxes, f"a {thing.noun}"))
    return found


def _shown_maps(
    model: PairScorer, items: Sequence[Item], picture_of: Callable[[str], Seeable]
) -> list[PatchMap]:
    texts = [item.caption.text for item in items]
    return [
        patch_map
        for method in image_methods(model)
        for patch_map in patch_maps(model, items, picture_of, texts, method=method)
    ]


def _picture(key: str, image: Image) -> Picture:
    return Picture(key, *image.size, shown_png(image))
