"""Heats of words by what the score loses without them (paper B's PB, eq. 9).

A word's heat is the score of the caption minus the score of the caption with that word replaced, averaged
over the draws; the image is not trained through. Works from texts and scores alone, so for every model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from operator import itemgetter

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignscope.attribution.options import DEFAULTS, Options
from alignscope.attribution.scores import ImageSide, as_dual, check_images, possible_scores
from alignscope.attribution.tokens import TextPass
from alignscope.attribution.words import Heats, Unheard, merged
from alignscope.errors import BadInput, Unsupported
from alignscope.language.replacements import Candidates, Perturbed, left_out, replaced
from alignscope.models.protocols import DualEncoder, PairScorer, Picture, Tokens
from alignscope.records import Caption

BATCH = 256
UNSCORED = "not heard: the caption or one with the word changed has no score (too long, or no finite number)"
Choice = Callable[[Caption, Sequence[int]], Collection[int]]
"""Of a caption's words that can be perturbed, by their places, those that are."""


def perturbation(
    model: PairScorer,
    captions: Sequence[Caption],
    images: ImageSide,
    *,
    candidates: Candidates | None = None,
    options: Options = DEFAULTS,
    create_graph: bool = False,
    choice: Choice | None = None,
    forward: TextPass | None = None,
) -> Heats:
    """Score lost without each word, in the unit of the score; negative where a word harms.

    `replace` needs `candidates` and speaks of object, attribute, relation and scene words; leave-one-out
    of every word; a `choice` narrows them down. Words beyond the context window are not heard, as in the
    other methods. From embeddings every distinct text is encoded once, texts of like length together; the
    captions themselves not at all where a `forward` of them is given. From pictures every text is scored
    once with its own, those of one picture side by side, and nothing can be trained through.
    """
    check_images(images, len(captions), of="captions")
    if not isinstance(images, Tensor) and (create_graph or forward):
        raise Unsupported(
            f"perturbation of {model.name} from pictures has scores alone: only embeddings of a dual encoder "
            "can be trained through, or go on from a forward"
        )
    if options.variant == "replace" and candidates is None:
        raise BadInput(
            "perturbation by replacement needs candidates: build them from captions, or leave words out"
        )
    planned, unheard = _planned(captions, candidates, options)
    tokens = forward.tokens if forward else model.tokens([caption.text for caption in captions])
    inside = merged(model, tokens, torch.zeros(tokens.ids.shape), captions)
    planned = [(row, change) for row, change in planned if inside.heard[row, change.word]]
    unheard = [*inside.unheard, *(one for one in unheard if inside.heard[one.caption, one.word])]
    if choice:
        planned = _narrowed(captions, planned, choice)
    rows = [*range(len(captions)), *(row for row, _ in planned)]
    texts = [*(caption.text for caption in captions), *(change.text for _, change in planned)]
    places = [(row, change.word) for row, change in planned]
    if isinstance(images, Tensor):
        scores = _from_embeddings(as_dual(model), images, rows, texts, forward, create_graph=create_graph)
        return Heats(*_drops(scores, places, inside.heard.shape), tuple(unheard))
    values, heard = _drops(_from_pictures(model, images, rows, texts), places, inside.heard.shape)
    is_odd = ~values.isfinite()
    unheard += [Unheard(row, word, UNSCORED) for row, word in is_odd.nonzero().tolist()]
    return Heats(values.masked_fill(is_odd, 0.0), heard & ~is_odd, tuple(unheard))


def _planned(
    captions: Sequence[Caption], candidates: Candidates | None, options: Options
) -> tuple[list[tuple[int, Perturbed]], list[Unheard]]:
    """Every perturbation with the row of its caption, and the words that have none."""
    planned: list[tuple[int, Perturbed]] = []
    unheard: list[Unheard] = []
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
    return planned, unheard


def _from_embeddings(
    model: DualEncoder,
    images: Float[Tensor, "caption dim"],
    rows: Sequence[int],
    texts: Sequence[str],
    forward: TextPass | None,
    *,
    create_graph: bool,
) -> Float[Tensor, " text"]:
    """The score of each text with the image of its row; the captions, which come first, may have a forward."""
    if forward:
        assert forward.embeddings is not None
        full = forward.embeddings if create_graph else forward.embeddings.detach().cpu()
        others = texts[len(full) :]
        changed = _encoded(model, others, create_graph=create_graph) if others else full[:0]
        vectors = torch.cat([full, changed])
    else:
        vectors = _encoded(model, texts, create_graph=create_graph)
    pictured = images.detach().to(vectors)[torch.tensor(rows, device=vectors.device).long()]
    return model.traits.scale * einsum(vectors, pictured, "text dim, text dim -> text")


def _from_pictures(
    model: PairScorer, images: Sequence[Picture], rows: Sequence[int], texts: Sequence[str]
) -> Float[Tensor, " text"]:
    """The score of each text with the image of its row; equal pairs once, texts of one picture side by side.

    NaN where a text is too long for a model that cuts none.
    """
    opened = [images[row] for row in range(len(images))]
    first: dict[int, int] = {}  # row of each picture, known by identity: captions may share one
    for row, picture in enumerate(opened):
        first.setdefault(id(picture), row)
    wanted = [(first[id(opened[row])], text) for row, text in zip(rows, texts, strict=True)]
    pairs = sorted(dict.fromkeys(wanted), key=itemgetter(0))
    scores, _ = possible_scores(model, [opened[row] for row, _ in pairs], [text for _, text in pairs])
    found = dict(zip(pairs, scores.tolist(), strict=True))
    return torch.tensor([found[pair] for pair in wanted])


def _narrowed(
    captions: Sequence[Caption], planned: Sequence[tuple[int, Perturbed]], choice: Choice
) -> list[tuple[int, Perturbed]]:
    """The perturbations of the words that are chosen."""
    places: dict[int, dict[int, None]] = {}  # of each caption, in order and each once
    for row, change in planned:
        places.setdefault(row, {})[change.word] = None
    chosen = {(row, place) for row, own in places.items() for place in choice(captions[row], list(own))}
    return [(row, change) for row, change in planned if (row, change.word) in chosen]


def _drops(
    scores: Float[Tensor, " text"], places: Sequence[tuple[int, int]], shape: tuple[int, int]
) -> tuple[Float[Tensor, "caption word"], Bool[Tensor, "caption word"]]:
    """Mean drop per word, and which words have one.

    `scores` are of the captions and then of the perturbed ones, whose caption and word are `places`.
    """
    captions, words = shape
    row, word = torch.tensor(places, device=scores.device).long().reshape(-1, 2).unbind(dim=1)
    full, changed = scores[:captions], scores[captions:]
    flat = row * words + word
    sums = scores.new_zeros(captions * words).index_add(0, flat, full[row] - changed)
    counts = torch.bincount(flat, minlength=captions * words)
    values = (sums / counts.clamp(min=1)).reshape(captions, words)
    return values, (counts > 0).reshape(captions, words).cpu()


def _encoded(model: DualEncoder, texts: Sequence[str], *, create_graph: bool) -> Float[Tensor, "text dim"]:
    """Embeddings of texts, each distinct one computed once; on the graph where they are trained through."""
    if not create_graph:
        return model.encode_texts(texts, batch_size=BATCH)
    distinct = list(dict.fromkeys(texts))
    place = {text: at for at, text in enumerate(distinct)}
    tokens = model.tokens(distinct)
    order = tokens.mask.sum(dim=-1).argsort(stable=True)
    batches = [
        model.embed_tokens(_rows(tokens, rows, is_trimmed=model.traits.trims_padding))
        for rows in order.split(BATCH)
    ]
    back = order.argsort()[torch.tensor([place[text] for text in texts])]
    return torch.cat(batches)[back]


def _rows(tokens: Tokens, rows: Int[Tensor, " row"], *, is_trimmed: bool) -> Tokens:
    """Some texts of a batch, without the padding that all of them have."""
    mask = tokens.mask[rows]
    width = int(mask.sum(dim=-1).max()) if is_trimmed else mask.shape[1]
    chosen = rows.tolist()
    return Tokens(
        tokens.ids[rows, :width],
        mask[:, :width],
        tokens.readout[rows],
        tuple(tokens.offsets[row][:width] for row in chosen),
        tuple(tokens.lengths[row] for row in chosen),
        tuple(tokens.unheard[row] for row in chosen) if tokens.unheard else (),
    )
