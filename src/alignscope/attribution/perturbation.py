"""Heats of words by what the score loses without them (paper B's PB, eq. 9).

A word's heat is the score of the caption minus the score of the caption with that word replaced, averaged
over the draws; the image is not trained through. Works from texts and scores alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from alignscope.attribution.options import DEFAULTS, Options
from alignscope.attribution.words import Heats, Unheard, merged
from alignscope.errors import BadInput
from alignscope.language.replacements import Candidates, Perturbed, left_out, replaced
from alignscope.models.protocols import DualEncoder
from alignscope.records import Caption

BATCH = 256


def perturbation(
    model: DualEncoder,
    captions: Sequence[Caption],
    image_embeddings: Float[Tensor, "caption dim"],
    *,
    candidates: Candidates | None = None,
    options: Options = DEFAULTS,
    create_graph: bool = False,
) -> Heats:
    """Score lost without each word, in the unit of the score; negative where a word harms.

    `replace` needs `candidates` and speaks of object, attribute, relation and scene words; leave-one-out
    of every word. Words beyond the context window are not heard, as in the other methods. Every distinct
    text is encoded once, texts of like length together.
    """
    if options.variant == "replace" and candidates is None:
        raise BadInput(
            "perturbation by replacement needs candidates: build them from captions, or leave words out"
        )
    planned, unheard = [], []
    for row, caption in enumerate(captions):
        if options.variant == "replace":
            assert candidates is not None
            changes, alone = replaced(caption, candidates, draws=options.draws, seed=options.seed)
            classes = [caption.words[place].word_class for place in alone]
            unheard += [
                Unheard(row, place, f"not replaced: no other {word_class} among the candidates")
                for place, word_class in zip(alone, classes, strict=True)
            ]
        else:
            changes = left_out(caption)
        planned += [(row, change) for change in changes]
    tokens = model.tokens([caption.text for caption in captions])
    inside = merged(model, tokens, torch.zeros(tokens.ids.shape), captions)
    planned = [(row, change) for row, change in planned if inside.heard[row, change.word]]
    unheard = [*inside.unheard, *(one for one in unheard if inside.heard[one.caption, one.word])]
    values, heard = _drops(model, captions, image_embeddings, planned, inside.heard.shape[1], create_graph)
    return Heats(values, heard, tuple(unheard))


def _drops(
    model: DualEncoder,
    captions: Sequence[Caption],
    image_embeddings: Float[Tensor, "caption dim"],
    planned: Sequence[tuple[int, Perturbed]],
    words: int,
    create_graph: bool,
) -> tuple[Tensor, Tensor]:
    """Mean drop per word, and which words have one."""
    texts = [caption.text for caption in captions] + [change.text for _, change in planned]
    vectors = _encoded(model, texts, create_graph=create_graph)
    rows = torch.tensor([*range(len(captions)), *(row for row, _ in planned)], device=vectors.device)
    images = image_embeddings.detach().to(vectors)[rows]
    scores = model.traits.scale * einsum(vectors, images, "text dim, text dim -> text")
    full, changed = scores[: len(captions)], scores[len(captions) :]
    rows = rows[len(captions) :]
    places = rows * words + torch.tensor([change.word for _, change in planned], device=rows.device).long()
    sums = scores.new_zeros(len(captions) * words).index_add(0, places, full[rows] - changed)
    counts = torch.bincount(places, minlength=len(captions) * words)
    values = (sums / counts.clamp(min=1)).reshape(len(captions), words)
    return values, (counts > 0).reshape(len(captions), words).cpu()


def _encoded(model: DualEncoder, texts: Sequence[str], *, create_graph: bool) -> Float[Tensor, "text dim"]:
    """Embeddings of texts, each distinct one computed once; on the graph where they are trained through."""
    if not create_graph:
        return model.encode_texts(texts, batch_size=BATCH)
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    place = {text: at for at, text in enumerate(distinct)}
    batches = [
        model.embed_tokens(model.tokens(distinct[start : start + BATCH]))
        for start in range(0, len(distinct), BATCH)
    ]
    return torch.cat(batches)[[place[text] for text in texts]]
