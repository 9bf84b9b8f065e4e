"""What the other rooms may ask of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeGuard, runtime_checkable

from jaxtyping import Float, Int
from PIL.Image import Image
from torch import Tensor

from alignscope.records import Box, Regions

Progress = Callable[[int, int], None]
"""Told after every batch: how many are done, of how many."""

Baseline = Literal["no image", "blank image"]


@dataclass(frozen=True)
class Traits:
    """Facts about a model that other rooms decide by; nobody looks at its name instead."""

    family: Literal["dual", "cross", "captioner"]
    unit: Literal["patch", "region"]  # a model of regions takes `Regions`, one of patches takes pixels
    grid: tuple[int, int] | None  # rows, columns of patches; None where the unit is a region or sizes vary
    context_length: int  # tokens, specials included
    activation: str  # of the text tower: "quick_gelu", "gelu", ...
    readout: Literal["end", "last", "first", "pooled"]  # where the text embedding is read
    is_causal: bool  # the text tower looks to the left only
    trims_padding: bool  # leaving padding away changes no text embedding
    attributions: tuple[str, ...]  # methods this model can give, of its text side
    scale: float  # of a dual encoder: score = scale * cosine + bias
    bias: float = 0.0
    image_readout: Literal["first", "pooled", "features"] | None = None
    """Where the image embedding is read: at a first token before the patches, by a last attention that
    pools the patches, or from convolution features; None where no image map can be made."""
    score: Literal["cosine", "match", "likelihood", "information", "yes"] = "cosine"
    """What a score is: scale * cosine + bias; the log-odds of a matching head (paper A reports 100 times
    their sigmoid; of a head with one logit that logit); the mean log-likelihood of the text's tokens; the
    same minus that without the image; the log-odds of "yes" to a question."""
    match_index: int | None = None
    """Which of the two logits of a matching head says that text and image belong together."""
    feature_width: int | None = None  # of the regions a model takes
    baseline: Baseline | None = None
    """What `information` takes for "without the image"."""
    template: str | None = None  # of a generative model: what is said around a text, or asked about it
    cuts: bool = True
    """A text beyond the context is cut; otherwise `score` raises `NoRoom` when it has scored the others."""


@dataclass(frozen=True)
class Tokens:
    """A padded batch of texts. Character offsets are into the original strings, half-open;
    special and padding tokens have (0, 0)."""

    ids: Int[Tensor, "text token"]
    mask: Int[Tensor, "text token"]  # 1 on real tokens (specials included)
    readout: Int[Tensor, " text"]  # position the text embedding is read from
    offsets: tuple[tuple[tuple[int, int], ...], ...]
    lengths: tuple[int, ...]  # tokens before truncation, specials included
    unheard: tuple[int, ...] = ()  # tokens a causal tower never hears: an unknown one ended the text early

    def truncated(self, context_length: int) -> tuple[bool, ...]:
        """Which texts lost words."""
        return tuple(length > context_length for length in self.lengths)


Picture = Image | Regions
"""What a model sees; `Traits.unit` says which of the two."""


@runtime_checkable
class PairScorer(Protocol):
    """Anything that says how well a text fits an image."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...  # hash of weights, preprocessing and tokenizer
    @property
    def traits(self) -> Traits: ...

    def score(self, images: Sequence[Picture], texts: Sequence[str]) -> Float[Tensor, " pair"]:
        """One score per pair, float32, on the CPU; neither order, batch nor padding changes it.

        Any sequence of pictures will do: they are taken a batch at a time, so it may open them as asked."""
        ...

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """The texts as the model reads them, padded; `Tokens.lengths` says which were cut."""
        ...

    def evaluating(self) -> AbstractContextManager[None]:
        """Within the `with` there is no dropout; every module is as it was afterwards."""
        ...

    def scrambled(self, *, seed: int) -> PairScorer:
        """A copy whose weights are shuffled within each tensor: the same model, nothing learned
        (Adebayo et al. 2018, sanity checks)."""
        ...


@runtime_checkable
class DualEncoder(PairScorer, Protocol):
    """A pair scorer with one embedding per image and one per text, compared by cosine.

    Embeddings are normalised, float32, on the CPU and without a graph.
    """

    def encode_images(
        self, images: Sequence[Image], *, batch_size: int = 64, progress: Progress | None = None
    ) -> Float[Tensor, "image dim"]: ...
    def encode_texts(
        self, texts: Sequence[str], *, batch_size: int = 256, progress: Progress | None = None
    ) -> Float[Tensor, "text dim"]: ...
    def score_grid(self, images: Sequence[Image], texts: Sequence[str]) -> Float[Tensor, "image text"]: ...

    def pixels(self, images: Sequence[Image]) -> Float[Tensor, "image channel height width"]:
        """What `embed_pixels` takes; Unsupported where images keep their own proportions."""
        ...

    def embed_pixels(self, pixels: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image dim"]:
        """Normalised embeddings on the model's device, with a graph when gradients are on."""
        ...

    def embed_tokens(self, tokens: Tokens) -> Float[Tensor, "text dim"]:
        """Normalised embeddings on the model's device, with a graph when gradients are on."""
        ...

    def text_attention(self) -> AbstractContextManager[list[Tensor]]:
        """Within the `with`, each text-tower forward appends one map per layer, in order:
        softmax probabilities (text, head, token, token) that are part of the graph.
        The tower runs its eager path inside and is as it was afterwards, also after an error."""
        ...

    def text_inputs(self) -> AbstractContextManager[list[Tensor]]:
        """Within the `with`, each text-tower forward appends the token embeddings that enter it,
        (text, token, dim), part of the graph even where the weights are frozen."""
        ...

    def image_attention(self) -> AbstractContextManager[list[Tensor]]:
        """As `text_attention`, of the image tower: maps (image, head, query, key) in order; where the
        patches are pooled by attention, the pooling's map (image, head, 1, patch) comes last. For
        convolution towers the one entry is the last features (image, channel, row, column)."""
        ...

    def view(self, width: int, height: int) -> Box:
        """The part of an image of this size that the model sees, in the image's pixels."""
        ...

    def scrambled(self, *, seed: int) -> DualEncoder: ...


Stream = Literal["text", "image", "joint"]


def is_dual(model: PairScorer) -> TypeGuard[DualEncoder]:
    """Whether images and texts have embeddings of their own: by traits, since `isinstance` would ask for the
    fingerprint, which reads all weights."""
    return model.traits.family == "dual"


@dataclass(frozen=True, eq=False)
class PairInputs:
    """A batch of pairs as a cross-encoder takes them, and what its positions stand for.

    `images` holds pixels (channel, height, width) or features (region, width), one per pair and without
    padding; `positions` are the model's own vectors of where each region lies, empty where there are none.
    `units` says for each position of the image stream which patch (row by row) or region it stands for, -1
    where none: a class token, padding.
    """

    tokens: Tokens
    images: tuple[Float[Tensor, "..."], ...]
    positions: tuple[Float[Tensor, "_ _"], ...]
    units: Int[Tensor, "pair position"]
    counts: tuple[int, ...]  # patches or regions of each image
    grids: tuple[tuple[int, int] | None, ...]  # rows, columns of patches; None where units are regions
    labels: tuple[Int[Tensor, " _"], ...] = ()  # pieces of labels read before the regions, of models that do
    cuts: tuple[str, ...] = ()  # what of each image such a model has no room for, "" where all has


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Softmax probabilities of one attention, part of the graph.

    Positions of the joint stream are those of the text and then those of the image. Maps of one `block`
    run side by side: none of them sees what another made. Blocks count up in the order of the forward.
    """

    query: Stream
    key: Stream
    block: int
    probabilities: Float[Tensor, "pair head query key"]


@runtime_checkable
class CrossEncoder(PairScorer, Protocol):
    """A pair scorer that reads image and text together, so that neither has an embedding of its own.

    Pairs of a batch do not meet, and padding changes no score.
    """

    def inputs(self, images: Sequence[Picture], texts: Sequence[str]) -> PairInputs: ...
    def match(self, inputs: PairInputs) -> Float[Tensor, " pair"]:
        """The score on the model's device, with a graph when gradients are on."""
        ...

    def pair_attention(self) -> AbstractContextManager[list[AttentionMap]]:
        """Within the `with`, each `match` appends every attention map, in the order of the calls; also
        those that the score does not depend on. No hook is left afterwards, also after an error."""
        ...

    def text_inputs(self) -> AbstractContextManager[list[Tensor]]:
        """Within the `with`, each `match` appends the token embeddings that enter the model,
        (pair, token, dim), part of the graph even where the weights are frozen."""
        ...

    def view(self, width: int, height: int) -> Box:
        """The part of an image of this size that the model sees, in the image's pixels."""
        ...
