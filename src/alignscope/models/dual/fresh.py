"""New CLIP models of any size, from nothing but numbers and a text corpus."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer, PreTrainedModel

from alignscope.errors import LengthMismatch
from alignscope.models.weights import save_tokenizer

SPECIAL = ("<|startoftext|>", "<|endoftext|>")
END_OF_WORD = "</w>"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def fresh_clip(
    *,
    image: dict[str, int],
    text: dict[str, int],
    image_size: int,
    patch_size: int,
    embedding: int,
    context_length: int,
    activation: str,
    words: Sequence[str],
    seed: int,
) -> tuple[CLIPModel, Any, Any]:
    """A randomly initialised `CLIPModel`, a tokenizer that knows `words` and an image processor.

    `image` and `text` give `width`, `layers`, `heads`, `mlp` of the towers. The same seed gives the
    same weights on one machine.
    """
    tokenizer = word_tokenizer(words, context_length=context_length)
    sizes = {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads"}
    sizes["mlp"] = "intermediate_size"
    config = CLIPConfig(
        text_config={
            **{sizes[name]: value for name, value in text.items()},
            "vocab_size": len(tokenizer),
            "max_position_embeddings": context_length,
            "hidden_act": activation,
            "projection_dim": embedding,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            **{sizes[name]: value for name, value in image.items()},
            "image_size": image_size,
            "patch_size": patch_size,
            "hidden_act": activation,
            "projection_dim": embedding,
        },
        projection_dim=embedding,
    )
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": image_size},
        crop_size={"height": image_size, "width": image_size},
        image_mean=list(CLIP_MEAN),
        image_std=list(CLIP_STD),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    return model, tokenizer, processor


def word_tokenizer(words: Sequence[str], *, context_length: int) -> Any:
    """CLIP's byte-pair tokenizer in which each of `words` is one token, and any other text some pieces.

    Merges are written down word by word, each after those it needs, so the same words always give the
    same ids; the trainer of `tokenizers` breaks ties by chance.
    """
    letters = sorted(ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    for word in words:
        pieces = [*word[:-1], word[-1] + END_OF_WORD]
        for left, right in merges:
            pieces = _merged(pieces, left, right)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = _merged(pieces, *merges[-1])
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *(a + b for a, b in merges)]
    vocabulary = {token: place for place, token in enumerate(dict.fromkeys([*SPECIAL, *tokens]))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=context_length)


def _merged(pieces: list[str], left: str, right: str) -> list[str]:
    out: list[str] = []
    for piece in pieces:
        if out and out[-1] == left and piece == right:
            out[-1] = left + right
        else:
            out.append(piece)
    return out


def fresh_text_tower(model: CLIPModel, *, seed: int) -> None:
    """Draw new weights for the text tower, its projection and the logit scale; the image tower stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = CLIPModel(copy.deepcopy(model.config))
    kept = {n: t for n, t in model.state_dict().items() if n.startswith(("vision_model.", "visual_"))}
    model.load_state_dict({**new.state_dict(), **kept})


def embed_pixels(
    model: CLIPModel, pixels: UInt8[Tensor, "image channel height width"]
) -> Float[Tensor, "image dim"]:
    """Normalised image embeddings of raw pixels of the model's own size, with a graph."""
    mean, std = (torch.tensor(v, device=pixels.device)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    output = model.get_image_features(pixel_values=(pixels / 255 - mean) / std)
    return F.normalize(output.pooler_output, dim=-1)


def embed_ids(model: CLIPModel, ids: Int64[Tensor, "text token"]) -> Float[Tensor, "text dim"]:
    """Normalised text embeddings of padded ids, with a graph; padding follows the end token, unseen."""
    return F.normalize(model.get_text_features(input_ids=ids).pooler_output, dim=-1)


def token_ids(
    tokenizer: Any, texts: Sequence[str]
) -> tuple[Int64[Tensor, "text token"], Int64[Tensor, " text"]]:
    """Ids padded to the longest text, and each text's number of tokens; too long a text is an error."""
    rows = tokenizer(list(texts))["input_ids"]
    longest = max(map(len, rows))
    if longest > tokenizer.model_max_length:
        raise LengthMismatch(
            f"a text of {longest} tokens for a context of {tokenizer.model_max_length}: "
            f"enlarge context_length in the recipe ({max(texts, key=len)!r})"
        )
    padded = [row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows]
    return torch.tensor(padded), torch.tensor([len(row) for row in rows])


def save(model: PreTrainedModel, tokenizer: Any, processor: Any, directory: Path) -> None:
    """Write a directory that the model's own `from_pretrained` and `AutoProcessor` read."""
    model.save_pretrained(directory)
    save_tokenizer(tokenizer, directory)
    processor.save_pretrained(directory)
