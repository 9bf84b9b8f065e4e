"""One call for every method: word heats of captions for the images beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from alignscope.attribution.options import DEFAULTS, Method, Options
from alignscope.attribution.perturbation import perturbation
from alignscope.attribution.tokens import require, token_heats
from alignscope.attribution.words import Heats, merged
from alignscope.errors import BadInput, LengthMismatch
from alignscope.language.replacements import Candidates
from alignscope.models.protocols import DualEncoder, Progress
from alignscope.records import Attribution, Caption, Item, Problem, WordHeat


@dataclass(frozen=True)
class Attributed:
    """The attributions of some items, and what could not be attributed and why."""

    attributions: tuple[Attribution, ...]
    problems: tuple[Problem, ...]


def heats(
    model: DualEncoder,
    captions: Sequence[Caption],
    image_embeddings: Float[Tensor, "caption dim"],
    *,
    methods: Sequence[Method] = ("gradcam",),
    options: Options = DEFAULTS,
    candidates: Candidates | None = None,
    create_graph: bool = False,
) -> Mapping[Method, Heats]:
    """Heats of every word of every caption under each method, normalised as the options say.

    `candidates` are the words that `perturbation` may put in another's place. With `create_graph` the
    heats can be trained through; this is the function that losses and records share.
    """
    require(model, methods)
    inside = [method for method in methods if method != "perturbation"]
    found: dict[Method, Heats] = {}
    if inside:
        tokens = model.tokens([caption.text for caption in captions])
        of_tokens = token_heats(
            model, tokens, image_embeddings, methods=inside, options=options, create_graph=create_graph
        )
        found = {method: merged(model, tokens, heat, captions) for method, heat in of_tokens.items()}
    if "perturbation" in methods:
        found["perturbation"] = perturbation(
            model,
            captions,
            image_embeddings,
            candidates=candidates,
            options=options,
            create_graph=create_graph,
        )
    return {m: normalised(found[m]) if options.sums_to_one(m) else found[m] for m in methods}


def normalised(heat: Heats) -> Heats:
    """Heats divided by their sum in each caption; a caption whose sum is not above 0 keeps its own."""
    total = heat.values.sum(dim=-1, keepdim=True)
    return Heats(heat.values / torch.where(total > 0, total, 1.0), heat.heard, heat.unheard)


def attribute(
    model: DualEncoder,
    items: Sequence[Item],
    image_embeddings: Float[Tensor, "item dim"],
    *,
    methods: Sequence[Method] = ("gradcam",),
    options: Options = DEFAULTS,
    candidates: Candidates | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Iterator[Attributed]:
    """Attributions of every item's caption for its own image, batch by batch, in the order of the items.

    `image_embeddings` has one row per item. What has no heat is a problem with its reason, never a 0.
    Captions of like length belong in one batch: padding costs time and changes nothing.
    """
    if len(image_embeddings) != len(items):
        raise LengthMismatch(
            f"{len(image_embeddings)} image embeddings for {len(items)} items: wanted one row per item; "
            "repeat the rows of images that have several"
        )
    if batch_size < 1:
        raise BadInput(f"got a batch size of {batch_size}, wanted 1 or more")
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        found = heats(
            model,
            [item.caption for item in batch],
            image_embeddings[start : start + batch_size],
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
