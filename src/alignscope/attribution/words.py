"""Token heats to word heats: the pieces of a word, found by character offsets, are added up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from alignscope.attribution.gradcam import Layers, token_heats
from alignscope.errors import BadInput, LengthMismatch
from alignscope.models.protocols import DualEncoder, Progress, Tokens
from alignscope.records import Attribution, Item, Problem, Word, WordHeat

Normalize = Literal["sum"]


@dataclass(frozen=True)
class Attributed:
    """The attributions of some items, and what could not be attributed and why."""

    attributions: tuple[Attribution, ...]
    problems: tuple[Problem, ...]


def attribute(
    model: DualEncoder,
    items: Sequence[Item],
    image_embeddings: Float[Tensor, "item dim"],
    *,
    batch_size: int = 64,
    layers: Layers = "all",
    normalize: Normalize | None = "sum",
    progress: Progress | None = None,
) -> Iterator[Attributed]:
    """GradCAM of every item's caption for its own image, batch by batch, in the order of the items.

    `image_embeddings` has one row per item. Captions whose words nobody tagged are unscored.
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
        tokens = model.tokens([item.caption.text for item in batch])
        heats = token_heats(model, tokens, image_embeddings[start : start + batch_size], layers=layers)
        yield word_heats(model, tokens, heats, batch, normalize=normalize)
        if progress is not None:
            progress(start + len(batch), len(items))


def word_heats(
    model: DualEncoder,
    tokens: Tokens,
    heats: Float[Tensor, "text token"],
    items: Sequence[Item],
    *,
    method: str = "gradcam",
    normalize: Normalize | None = "sum",
) -> Attributed:
    """Heats of the classed words of each item's caption; with `normalize` they add up to 1 per caption.

    A word is unscored where the model does not hear it: beyond the context window, or (causal towers)
    after the position the embedding is read from. It is left out and reported, never given a 0.
    """
    attributions, problems = [], []
    rows = zip(tokens.offsets, tokens.readout.tolist(), heats.tolist(), items, strict=True)
    for spans, readout, row, item in rows:
        last = readout if model.traits.is_causal else len(row)
        owners = pieces(spans[:last], item.caption.words)
        heard = {position: sum(row[token] for token in own) for position, own in enumerate(owners) if own}
        problems += _unheard(item, heard, model.traits.context_length)
        total = sum(heard.values()) if normalize == "sum" else 1.0
        if heard and total == 0:
            problems.append(
                Problem(item.id, item.caption.text, f"{method}: every word has heat 0", "unscored")
            )
        elif heard:
            words = tuple(_word_heat(item, at, heat / total) for at, heat in heard.items())
            attributions.append(Attribution(item.id, item.image, item.caption.text, method, words))
    return Attributed(tuple(attributions), tuple(problems))


def pieces(spans: Sequence[tuple[int, int]], words: Sequence[Word]) -> list[list[int]]:
    """For each word the tokens that spell it: a token belongs to the word it shares most characters with.

    >>> words = [Word("a", 0, 1, "other"), Word("street lamp", 2, 13, "object")]
    >>> pieces([(0, 0), (0, 1), (2, 8), (9, 11), (11, 13), (13, 14)], words)
    [[1], [2, 3, 4]]
    """
    owners: list[list[int]] = [[] for _ in words]
    for token, (start, end) in enumerate(spans):
        shared = [min(end, word.end) - max(start, word.start) for word in words]
        if shared and max(shared) > 0:
            owners[shared.index(max(shared))].append(token)
    return owners


def _word_heat(item: Item, position: int, heat: float) -> WordHeat:
    word = item.caption.words[position]
    return WordHeat(item.id, item.image, position, word.text, word.start, word.end, word.word_class, heat)


def _unheard(item: Item, heard: dict[int, float], context_length: int) -> list[Problem]:
    words = item.caption.words
    if not words:
        return [Problem(item.id, item.caption.text, "no tagged words to attribute to", "unscored")]
    return [
        Problem(
            item.id,
            word.text,
            f"word {position} is not heard: beyond the {context_length} tokens of context or the text's end",
            "unscored",
        )
        for position, word in enumerate(words)
        if position not in heard
    ]
