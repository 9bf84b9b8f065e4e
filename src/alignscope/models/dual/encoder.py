"""Dual encoders of transformers, of every family in `families`, behind the `DualEncoder` protocol."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, final

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models import taps
from alignscope.models.dual import vision
from alignscope.models.dual.families import family
from alignscope.models.dual.texts import TEXT_SIDES, check_texts, token_rules, tokenise
from alignscope.models.fingerprint import fingerprint
from alignscope.models.protocols import Picture, Progress, Tokens, Traits
from alignscope.records import Box

Thing = TypeVar("Thing")
BATCH = 64
"""Pictures that a score opens at a time."""


@final
class TransformersDualEncoder:
    """A transformers model with one embedding per image and per text, a tokenizer and an image processor.

    The model is kept as its authors wrote it: train it outside, this wrapper follows its weights.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Any,
        *,
        name: str,
    ) -> None:
        text_type = model.config.text_config.model_type
        if text_type not in TEXT_SIDES:
            raise Unsupported(
                f"no text tower of type '{text_type}' is known, only {', '.join(TEXT_SIDES)}: "
                "add a line to TEXT_SIDES in models/dual/texts.py"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self._name = name
        self._rules = token_rules(TEXT_SIDES[text_type], model.config.text_config, tokenizer)
        self._family = family(model.config.model_type)
        self.width: int = model.get_submodule(self._family.width).out_features  # numbers of an embedding

    @property
    def name(self) -> str:
        return self._name

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def fingerprint(self) -> str:
        """Hash of weights, preprocessing and tokenizer."""
        return fingerprint(self.model, self.tokenizer, self.image_processor, self._rules)

    @property
    def traits(self) -> Traits:
        side, text = self._rules.side, self.model.config.text_config
        scale = self._family.scale_of(wide(self.model.get_parameter(self._family.scale).detach())).item()
        bias = self.model.get_parameter(self._family.bias).item() if self._family.bias else 0.0
        return Traits(
            family="dual",
            unit="patch",
            grid=patch_grid(self.model.config.vision_config),
            context_length=self._rules.context_length,
            activation=text.hidden_act,
            readout=side.readout,
            is_causal=side.is_causal,
            trims_padding=not side.reads_padding,
            attributions=("attention", "gradcam", "gradient", "perturbation"),
            scale=scale,
            bias=bias,
            image_readout=vision.image_readout(self.model),
        )

    @property
    def image_transform(self) -> vision.ImageTransform:
        """How images become pixels, without the model: for worker processes."""
        return vision.ImageTransform(self.image_processor)

    def score(self, images: Sequence[Picture], texts: Sequence[str]) -> Float[Tensor, " pair"]:
        """How well each text fits the image at the same place: scale * cosine + bias, in float32."""
        if len(images) != len(texts):
            raise LengthMismatch(
                f"{len(texts)} texts for {len(images)} images: `score` takes them one to one; "
                "for every combination call `score_grid`"
            )
        traits, vectors = self.traits, [torch.zeros(0, self.width)]
        for start in range(0, len(images), BATCH):
            part = range(start, min(start + BATCH, len(images)))
            vectors.append(self._encode_pictures([images[row] for row in part]))
        pairs = einsum(torch.cat(vectors), self.encode_texts(texts), "pair dim, pair dim -> pair")
        return traits.scale * pairs + traits.bias

    def _encode_pictures(self, pictures: Sequence[Picture]) -> Float[Tensor, "image dim"]:
        shown = [picture for picture in pictures if isinstance(picture, Image)]
        if len(shown) != len(pictures):
            raise BadInput(f"got regions of a detector, {self.name} takes PIL images")
        return self.encode_images(shown)

    def score_grid(self, images: Sequence[Image], texts: Sequence[str]) -> Float[Tensor, "image text"]:
        """Every image against every text, in float32."""
        traits = self.traits
        return traits.scale * (self.encode_images(images) @ self.encode_texts(texts).mT) + traits.bias

    def encode_images(
        self, images: Sequence[Image], *, batch_size: int = 64, progress: Progress | None = None
    ) -> Float[Tensor, "image dim"]:
        """Normalised embeddings; an image object that comes again is computed once."""
        first = {id(image): image for image in images}
        rows = {key: row for row, key in enumerate(first)}

        def embed(batch: Sequence[Image]) -> Float[Tensor, "image dim"]:
            return self._embed_inputs(self.image_transform.inputs(batch))

        unique = self._in_batches(list(first.values()), embed, batch_size, progress)
        return unique[[rows[id(image)] for image in images]]

    def encode_texts(
        self, texts: Sequence[str], *, batch_size: int = 256, progress: Progress | None = None
    ) -> Float[Tensor, "text dim"]:
        """Normalised embeddings; texts of like many tokens go together.

        Texts with the same tokens (equal after truncation, say) are computed once, so that they tie
        exactly instead of differing by rounding.
        """
        check_texts(texts)
        distinct = sorted(set(texts))
        tokens = self.tokens(distinct)
        first: dict[tuple[int, ...], int] = {}
        unique: list[str] = []
        rows: dict[str, int] = {}
        read = zip(tokens.mask.sum(dim=-1).tolist(), distinct, tokens.ids.tolist(), strict=True)
        for _, text, ids in sorted(read):
            if tuple(ids) not in first:
                first[tuple(ids)] = len(unique)
                unique.append(text)
            rows[text] = first[tuple(ids)]

        def embed(batch: Sequence[str]) -> Float[Tensor, "text dim"]:
            return self.embed_tokens(self.tokens(batch))

        embeddings = self._in_batches(unique, embed, batch_size, progress)
        return embeddings[[rows[text] for text in texts]]

    def pixels(self, images: Sequence[Image]) -> Float[Tensor, "image channel height width"]:
        """Images as the vision tower takes them, by the model's own processor; any mode of bytes, any size."""
        inputs = self.image_transform.inputs(images)
        if inputs.keys() != {"pixel_values"}:
            raise Unsupported(
                f"{self.name} sees every image in its own proportions, which is {', '.join(inputs)} "
                "and not one tensor of pixels: call `encode_images`"
            )
        return inputs["pixel_values"]

    def embed_pixels(self, pixels: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image dim"]:
        """Normalised embeddings on the model's device, with a graph when gradients are on."""
        return self._embed_inputs({"pixel_values": pixels})

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """A padded batch; texts longer than the context are cut, `Tokens.lengths` says which."""
        return tokenise(texts, self.tokenizer, self._rules)

    def embed_tokens(self, tokens: Tokens) -> Float[Tensor, "text dim"]:
        """Normalised embeddings on the model's device, with a graph when gradients are on."""
        ids = tokens.ids.to(self.device)
        mask = None if self._rules.side.reads_padding else tokens.mask.to(self.device)
        features = self.model.get_text_features(input_ids=ids, attention_mask=mask)
        return F.normalize(wide(features.pooler_output), dim=-1)

    def evaluating(self) -> AbstractContextManager[None]:
        """Within the `with` there is no dropout; every module is as it was afterwards."""
        return evaluating(self.model)

    @contextmanager
    def text_attention(self) -> Iterator[list[Tensor]]:
        """Within the `with`, each text-tower forward appends one map (text, head, token, token) per layer."""
        tower = self.model.text_model
        path, layers = self._rules.side.attention, tower.config.num_hidden_layers
        modules = [tower.get_submodule(path.format(i=i)) for i in range(layers)]
        with taps.eager(tower), taps.attention(modules) as maps:
            yield maps

    def text_inputs(self) -> AbstractContextManager[list[Tensor]]:
        """Within the `with`, each text-tower forward appends the token embeddings that enter it."""
        return taps.embeddings(self.model.text_model.get_input_embeddings())

    def scrambled(self, *, seed: int) -> TransformersDualEncoder:
        """A copy whose weights are shuffled within each tensor; tokenizer and image processor are shared."""
        model = copy.deepcopy(self.model)
        shuffle(model, seed=seed)
        return TransformersDualEncoder(
            model, self.tokenizer, self.image_processor, name=f"{self.name}-scrambled"
        )

    def image_attention(self) -> AbstractContextManager[list[Tensor]]:
        """Within the `with`, each image-tower forward appends its maps, of the pooling last."""
        return vision.image_attention(self.model)

    def view(self, width: int, height: int) -> Box:
        """The part of an image of this size that the model sees, in the image's pixels."""
        return vision.view(self.image_processor, width, height)

    def _embed_inputs(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "image dim"]:
        number = next(self.model.vision_model.parameters()).dtype
        placed = {
            name: tensor.to(self.device, number if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in inputs.items()
        }
        return F.normalize(wide(self.model.get_image_features(**placed).pooler_output), dim=-1)

    def _in_batches(
        self,
        things: Sequence[Thing],
        embed: Callable[[Sequence[Thing]], Tensor],
        batch_size: int,
        progress: Progress | None,
    ) -> Float[Tensor, "thing dim"]:
        """Embeddings of all things, on the CPU, without a graph, in evaluation mode."""
        rows, done = [torch.zeros(0, self.width)], 0
        with torch.no_grad(), evaluating(self.model):
            for start in range(0, len(things), batch_size):
                batch = things[start : start + batch_size]
                rows.append(embed(batch).float().cpu())
                done += len(batch)
                if progress is not None:
                    progress(done, len(things))
        return torch.cat(rows[1:] or rows)


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Dropout is off while the `with` lasts; a tower that was frozen in evaluation mode stays there after it."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def shuffle(model: PreTrainedModel, *, seed: int) -> None:
    """Shuffle the numbers of every floating tensor among themselves, in place.

    The score's scale and bias are single numbers, so they stay.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, tensor in sorted(model.state_dict().items()):
            if tensor.is_floating_point():
                order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
                tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))


def wide(values: Tensor) -> Tensor:
    """The values in float32, or as they are where they are finer."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def patch_grid(vision: Any) -> tuple[int, int] | None:
    """Rows and columns of patches; None for towers without fixed patches."""
    size, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    if size is None or patch is None:
        return None
    (height, width), (down, across) = ((n, n) if isinstance(n, int) else n for n in (size, patch))
    return height // down, width // across
