"""Cross-encoders of transformers behind the `CrossEncoder` protocol; what differs between them is a `Family`."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models import taps
from alignscope.models.catalogue import ALL
from alignscope.models.cross.pixels import view
from alignscope.models.dual.encoder import evaluating, shuffle, wide
from alignscope.models.dual.texts import TextSide, check_texts, token_rules, tokenise
from alignscope.models.fingerprint import tokenizer_facts, whole
from alignscope.models.protocols import AttentionMap, PairInputs, Picture, Stream, Tokens, Traits
from alignscope.records import Box, Regions

Calls = tuple[tuple[Stream, Stream], ...]
"""What each call of a module in one forward attends from and to."""
FIRST_TOKEN = TextSide(attention="", readout="first", is_causal=False, reads_padding=False)
BATCH = 32


@dataclass(frozen=True)
class Site:
    """A module that attention probabilities enter, by its path in the model.

    `order` gives, for so many positions, the model's place of each of ours (text, then image) where it differs.
    """

    path: str
    calls: Calls
    order: Callable[[int], Int[Tensor, " position"]] | None = None


def one_stream(path: str) -> Callable[[Any], list[Site]]:
    """The sites of a model whose every layer looks at text and image together: layer i's probabilities enter `path`."""
    return lambda config: [
        Site(path.format(i=i), (("joint", "joint"),)) for i in range(config.num_hidden_layers)
    ]


@dataclass(frozen=True)
class Family:
    """What a cross-encoder of one architecture does differently from the others.

    `sites` are in the order in which they run; their places are the blocks of the maps. `inputs` takes the
    model, its image processor (None for regions), the pictures and the tokens, and derives the position
    vectors of regions. `prepare` changes a text before its tokens are found and keeps its length, so that
    offsets stay those of the text as given. `match` gives the head's two logits, of which
    `match_index` says "match", or the one logit of each pair where `match_index` is None. `token_table` is
    the path of the token embeddings where transformers does not give them.
    """

    model_class: str  # "module:class"
    unit: Literal["patch", "region"]
    sites: Callable[[Any], list[Site]]
    inputs: Callable[[PreTrainedModel, Any, Sequence[Any], Tokens], PairInputs]
    match: Callable[[PreTrainedModel, PairInputs], Tensor]
    text_config: Callable[[Any], Any] = lambda config: config
    grid: Callable[[Any], tuple[int, int] | None] = lambda config: None
    match_index: int | None = 1
    feature_width: Callable[[Any], int | None] = lambda config: None  # of regions, by the configuration
    prepare: Callable[[str], str] = lambda text: text
    text_side: TextSide = FIRST_TOKEN
    token_table: str | None = None
    attributions: tuple[str, ...] = ALL
    reads_labels: bool = False  # `inputs` takes the tokenizer in place of an image processor


@final
class TransformersCrossEncoder:
    """A transformers model with a matching head, its tokenizer and, where it takes pixels, its image processor."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Any | None,
        family: Family,
        *,
        name: str,
        match_index: int | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.family = family
        self._name = name
        self._index = family.match_index if match_index is None else match_index
        if (self._index is None) != (family.match_index is None) or self._index not in (None, 0, 1):
            wanted = "none: its head has one logit" if family.match_index is None else "0 or 1"
            raise BadInput(f"got match index {match_index} for {name}, wanted {wanted}")
        self._rules = token_rules(family.text_side, family.text_config(model.config), tokenizer)

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        """Sha256 over weights, configuration, tokenizer and preprocessing."""
        images = json.loads(self.image_processor.to_json_string()) if self.image_processor else {}
        context = self._rules.context_length
        return whole(self.model, tokenizer_facts(self.tokenizer), context, images, self._index)

    @property
    def traits(self) -> Traits:
        return Traits(
            family="cross",
            unit=self.family.unit,
            grid=self.family.grid(self.model.config),
            context_length=self._rules.context_length,
            activation=self.family.text_config(self.model.config).hidden_act,
            readout="first",
            is_causal=False,
            trims_padding=True,
            attributions=self.family.attributions,
            scale=1.0,
            score="match",
            match_index=self._index,
            feature_width=self.family.feature_width(self.model.config),
        )

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """The texts as the model reads them; those longer than the context are cut."""
        check_texts(texts)
        return tokenise([self.family.prepare(text) for text in texts], self.tokenizer, self._rules)

    def scrambled(self, *, seed: int) -> TransformersCrossEncoder:
        """A copy whose weights are shuffled within each tensor."""
        model = copy.deepcopy(self.model)
        shuffle(model, seed=seed)
        parts = (self.tokenizer, self.image_processor, self.family)
        return TransformersCrossEncoder(model, *parts, name=f"{self.name}-scrambled", match_index=self._index)

    def score(self, images: Sequence[Picture], texts: Sequence[str]) -> Float[Tensor, " pair"]:
        """How well each text fits the image at the same place: the logit of the matching head, on the CPU."""
        check_counts(images, texts)
        with torch.no_grad(), evaluating(self.model):
            starts = range(0, len(texts), BATCH)
            scores = [self._score_from(start, images, texts).float().cpu() for start in starts]
        return torch.cat([torch.zeros(0), *scores])

    def _score_from(
        self, start: int, images: Sequence[Picture], texts: Sequence[str]
    ) -> Float[Tensor, " pair"]:
        """Scores of a batch whose pictures are opened here, once, and let go on return."""
        part = range(start, min(start + BATCH, len(texts)))
        opened = [images[row] for row in part]
        check_pictures(self.family.unit, opened, first=start)
        return self.match(self.inputs(opened, [texts[row] for row in part]))

    def inputs(self, images: Sequence[Picture], texts: Sequence[str]) -> PairInputs:
        """A batch of pairs; texts longer than the context are cut, `Tokens.lengths` says which."""
        check_counts(images, texts)
        check_pictures(self.family.unit, images)
        reader = self.tokenizer if self.family.reads_labels else self.image_processor
        return self.family.inputs(self.model, reader, images, self.tokens(texts))

    def match(self, inputs: PairInputs) -> Float[Tensor, " pair"]:
        """The matching logit on the model's device, at least float32, with a graph when gradients are on."""
        logits = wide(self.family.match(self.model, inputs))
        if self._index is not None:
            logits = logits[:, self._index] - logits[:, 1 - self._index]
        return logits

    def evaluating(self) -> AbstractContextManager[None]:
        """Within the `with` there is no dropout; every module is as it was afterwards."""
        return evaluating(self.model)

    def view(self, width: int, height: int) -> Box:
        """The part of an image of this size that the model sees: all of it where a detector saw it."""
        if self.image_processor is None:
            return Box(0, 0, width, height)
        return view(self.image_processor, width, height)

    @contextmanager
    def pair_attention(self) -> Iterator[list[AttentionMap]]:
        """Within the `with`, each `match` appends every attention map, in the order of the calls."""
        sites = self.family.sites(self.model.config)
        if not sites:
            raise Unsupported(
                f"{self.name} gives no attention maps, only {', '.join(self.family.attributions)}"
            )
        maps: list[AttentionMap] = []
        with ExitStack() as hooks:
            for block, site in enumerate(sites):
                hook = keeping(maps, block, site)
                module = self.model.get_submodule(site.path)
                hooks.callback(module.register_forward_pre_hook(hook).remove)
            yield maps

    @contextmanager
    def text_inputs(self) -> Iterator[list[Tensor]]:
        """Within the `with`, each `match` appends the token embeddings that enter the model.

        Attention runs step by step inside: fused attention has no second derivative to train through.
        """
        path = self.family.token_table
        table = self.model.get_submodule(path) if path else self.model.get_input_embeddings()
        with ExitStack() as hooks:
            if self.model.config._attn_implementation != "eager":
                hooks.enter_context(taps.eager(self.model))
            found = hooks.enter_context(taps.embeddings(table))
            # BLIP adds the positions in place, which a leaf does not allow: it gets a copy
            copies = table.register_forward_hook(lambda module, inputs, output: output.clone())
            hooks.callback(copies.remove)
            yield found


def keeping(
    maps: list[AttentionMap], block: int, site: Site
) -> Callable[[Any, tuple[Any, ...]], tuple[Tensor]]:
    """A pre-hook that keeps what enters a module, named by which call of a forward it is."""
    done = 0

    def keep(module: Any, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        nonlocal done
        query, key = site.calls[done % len(site.calls)]
        done += 1
        probabilities = inputs[0]
        if torch.is_grad_enabled() and not probabilities.requires_grad:  # frozen weights over an image alone
            probabilities = probabilities.detach().requires_grad_()
        if site.order is None:
            maps.append(AttentionMap(query, key, block, probabilities))
            return (probabilities,)
        # The model goes on with what is kept, put back in its own order: a copy would have no gradient.
        order = site.order(probabilities.shape[-1]).to(probabilities.device)
        ours = probabilities[..., order, :][..., order]
        maps.append(AttentionMap(query, key, block, ours))
        back = order.argsort()
        return (ours[..., back, :][..., back],)

    return keep


def check_counts(images: Sequence[Picture], texts: Sequence[str]) -> None:
    """One picture per text."""
    if len(images) != len(texts):
        raise LengthMismatch(
            f"{len(texts)} texts for {len(images)} images: a cross-encoder takes them one to one; "
            "repeat what comes several times"
        )


def check_pictures(unit: str, images: Sequence[Picture], *, first: int = 0) -> None:
    """Each of the kind the model takes; `first` is the place of the first of them."""
    for position, image in enumerate(images, start=first):
        if isinstance(image, Regions) != (unit == "region"):
            wanted, do = "a PIL image", "give the image itself, or a model of regions"
            if unit == "region":
                wanted = "`Regions` of a detector"
                do = "give those of the image, such as data.regionfiles.open_regions(file)[name]"
            raise BadInput(f"image {position} is {type(image).__name__}, the model takes {wanted}: {do}")
