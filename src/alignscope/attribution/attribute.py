"""One call for every method: word heats of captions for the images beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from PIL.Image import Image
from torch import Tensor

from alignscope.attribution.cross import cross_heats
from alignscope.attribution.options import DEFAULTS, Method, Options
from alignscope.attribution.perturbation import perturbation
from alignscope.attribution.scores import ImageSide, as_dual, check_images
from alignscope.attribution.tokens import require, token_heats
from alignscope.attribution.words import Heats, merged
from alignscope.errors import BadInput
from alignscope.language.replacements import Candidates
from alignscope.models.protocols import CrossEncoder, PairScorer, Progress, Tokens
from alignscope.records import Attribution, Caption, Item, Problem, WordHeat


@dataclass(frozen=True)
class Attributed:
    """The attributions of some items, and what could not be attributed and why."""

    attributions: tuple[Attribution, ...]
    problems: tuple[Problem, ...]


def heats(
    model: PairScorer,
    captions: Sequence[Caption],
    images: ImageSide,
    *,
    methods: Sequence[Method] = ("gradcam",),
    options: Options = DEFAULTS,
    candidates: Candidates | None = None,
    create_graph: bool = False,
) -> Mapping[Method, Heats]:
    """Heats of every word of every caption under each method, normalised as the options say.

    `images` has one per caption: pictures, or a dual encoder's embeddings. `candidates` are the words that
    `perturbation` may put in another's place. With `create_graph` the heats can be trained through
    (perturbation only from embeddings); this is the function that losses and records share.
    """
    require(model, methods)
    check_images(images, len(captions), of="captions")
    if not isinstance(images, Tensor):
        images = [images[row] for row in range(len(images))]  # opened once for all methods
        if model.traits.family == "dual":
            images = as_dual(model).encode_images(cast(Sequence[Image], images))
    inside = [method for method in methods if method != "perturbation"]
    found: dict[Method, Heats] = {}
    if inside:
        tokens, of_tokens = _inside(model, captions, images, inside, options, create_graph)
        found = {method: merged(model, tokens, heat, captions) for method, heat in of_tokens.items()}
    if "perturbation" in methods:
        found["perturbation"] = perturbation(
            model,
            captions,
            images,
            candidates=candidates,
            options=options,
            create_graph=create_graph,
        )
    return {m: normalised(found[m]) if options.sums_to_one(m) else found[m] for m in methods}


def _inside(
    model: PairScorer,
    captions: Sequence[Caption],
    images: ImageSide,
    methods: Sequence[Method],
    options: Options,
    create_graph: bool,
) -> tuple[Tokens, Mapping[Method, Tensor]]:
    """The captions' tokens and their heats under the methods that look inside the model."""
    texts = [caption.text for caption in captions]
    if isinstance(images, Tensor):
        dual = as_dual(model)
        tokens = dual.tokens(texts)
        return tokens, token_heats(
            dual, tokens, images, methods=methods, options=options, create_graph=create_graph
        )
    cross = cast(CrossEncoder, model)  # what is no dual encoder and names such methods reads pairs
    inputs = cross.inputs(images, texts)
    found = cross_heats(cross, inputs, methods=methods, options=options, create_graph=create_graph)
    return inputs.tokens, found.tokens


def normalised(heat: Heats) -> Heats:
    """Heats divided by their sum in each caption; a caption whose sum is not above 0 keeps its own."""
    total = heat.values.sum(dim=-1, keepdim=True)
    return Heats(heat.values / torch.where(total > 0, total, 1.0), heat.heard, heat.unheard)


def attribute(
    model: PairScorer,
    items: Sequence[Item],
    images: ImageSide,
    *,
    methods: Sequence[Method] = ("gradcam",),
    options: Options = DEFAULTS,
    candidates: Candidates | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Iterator[Attributed]:
    """Attributions of every item's caption for its own image, batch by batch, in the order of the items.

    `images` has one per item, pictures or a dual encoder's embeddings; pictures are opened a batch at a
    time. What has no heat is a problem with its reason, never a 0. Captions of like length belong in one
    batch: padding costs time and changes nothing.
    """
    check_images(images, len(items), of="items")
    if batch_size < 1:
        raise BadInput(f"got a batch size of {batch_size}, wanted 1 or more")
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        found = heats(
            model,
            [item.caption for item in batch],
            images[start : start + batch_size],
            methods=methods,
            options=options,
            candidates=candidates,
        )
        parts = [_recorded(method, heat, batch, options) for method, heat in found.items()]
        yield Attributed(
            tuple(one for part in parts for one in part.attributions),
            tuple(dict.fromkeys(one for part in parts for one in part.problems)),
        )
        if progress is not None:
            progress(start + len(batch), len(items))


def _recorded(method: Method, heat: Heats, items: Sequence[Item], options: Options) -> Attributed:
    """A method's heats as records; what is left out is a problem of its item."""
    attributions, problems = [], []
    for one in heat.unheard:
        item = items[one.caption]
        word = item.caption.words[one.word]
        problems.append(Problem(item.id, word.text, f"word {one.word} {one.why}", "unscored"))
    for item, row, is_heard in zip(items, heat.values.tolist(), heat.heard.tolist(), strict=True):
        words = tuple(
            WordHeat(item.id, item.image, at, w.text, w.start, w.end, w.word_class, row[at], method)
            for at, w in enumerate(item.caption.words)
            if is_heard[at]
        )
        why = _unusable(item, words, sums_to_one=options.sums_to_one(method))
        if why:
            problems.append(Problem(item.id, item.caption.text, f"{method}: {why}", "unscored"))
        elif words:
            attributions.append(Attribution(item.id, item.image, item.caption.text, method, words))
    return Attributed(tuple(attributions), tuple(problems))


def _unusable(item: Item, words: Sequence[WordHeat], *, sums_to_one: bool) -> str:
    if not item.caption.words:
        return "no tagged words to attribute to"
    if words and all(word.heat == 0 for word in words):
        return "every word has heat 0"
    if sums_to_one and words and sum(word.heat for word in words) <= 0:
        return "the heats do not add up to more than 0, so they cannot be shares"
    return ""
