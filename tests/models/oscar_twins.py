"""Small Oscars with random weights that are far from flat, what they see, and their plain recomputation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.oscar_loading import fresh_oscar
from alignscope.records import Label, Labelled, Regions

WORDS = ["a", "dog", "cat", "near", "red", "table"]
SIZES: dict[str, Any] = {
    **{"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    **{"visual_feat_dim": 5, "max_position_embeddings": 32},
    **{"caption_length": 20, "text_length": 28, "max_regions": 4},
}


def oscar(*, std: float = 0.3, dtype: torch.dtype = torch.float64, **sizes: Any) -> AutoregressiveCaptioner:
    made = fresh_oscar({**SIZES, **sizes}, WORDS, seed=0, name="tiny-oscar")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.model.parameters():
            noise = std * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise if parameter.ndim > 1 else parameter + noise)
    made.model.to(dtype)
    return made


def regions(number: int = 0, count: int = 3, **changes: Any) -> Regions:
    random = np.random.default_rng(number)
    corners = random.uniform(0, 40, size=(count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 40, size=(count, 2))], axis=1)
    values = random.normal(size=(count, 5)).astype(np.float32)
    return Regions(f"image-{number}", 90, 80, boxes.astype(np.float32), values, **changes)


def sight(number: int = 0, names: str = "dog table dog", count: int = 3, **changes: Any) -> Labelled:
    labels = tuple(Label(name) for name in names.split())
    return Labelled(regions(number, count), labels, **changes)


def mixed() -> list[Labelled]:
    """Different numbers of labels and regions; one image has no label."""
    return [sight(0), sight(1, "red", 1), sight(2, "", 2), sight(3, "toad", 4)]


def plain_states(made: AutoregressiveCaptioner, seen: Labelled, caption: list[int]) -> tuple[Tensor, Tensor]:
    """States and attention (layer, head, n, n) over [caption | labels | regions] with the whole mask at once.

    Written from sheet C.2 with loops and numpy-like arithmetic alone; the caption is a lower triangle.
    """
    state, config = made.model.state_dict(), made.model.config
    tokenizer = made.speller.tokenizer

    def dense(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-12).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    labels = tokenizer(" ".join(label.name for label in seen.labels), add_special_tokens=False)["input_ids"]
    labels = [*labels, tokenizer.sep_token_id] if labels else []
    table = "bert.embeddings."
    rows = []
    for place, token, kind in [
        *((place, token, 0) for place, token in enumerate(caption)),
        *((config.caption_length + place, token, 1) for place, token in enumerate(labels)),
    ]:
        row = state[f"{table}word_embeddings.weight"][token]
        row = row + state[f"{table}position_embeddings.weight"][place]
        rows.append(norm(row + state[f"{table}token_type_embeddings.weight"][kind], f"{table}LayerNorm"))
    box, size = seen.regions.boxes, (seen.regions.width, seen.regions.height)
    for (x1, y1, x2, y2), feature in zip(box.tolist(), seen.regions.features, strict=True):
        place = [x1 / size[0], y1 / size[1], x2 / size[0], y2 / size[1]]
        place += [(x2 - x1) / size[0], (y2 - y1) / size[1]]
        row = dense(torch.tensor([*feature.tolist(), *place], dtype=torch.float64), "bert.img_embedding")
        rows.append(norm(row, "bert.LayerNorm") if "bert.LayerNorm.weight" in state else row)
    x, count = torch.stack(rows), len(caption)
    mask = torch.ones(len(x), len(x))
    for query in range(len(x)):
        for key in range(count):
            mask[query, key] = float(query < count and key <= query)
    heads, dim = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    every = []
    for number in range(config.num_hidden_layers):
        name = f"bert.encoder.layer.{number}"
        q, k, v = (dense(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        found, maps = [], []
        for head in range(heads):
            part = slice(head * dim, (head + 1) * dim)
            logits = q[:, part] @ k[:, part].T / math.sqrt(dim) + (1 - mask) * -1e9
            maps.append(logits.softmax(-1))
            found.append(maps[-1] @ v[:, part])
        every.append(torch.stack(maps))
        x = norm(
            x + dense(torch.cat(found, -1), f"{name}.attention.output.dense"),
            f"{name}.attention.output.LayerNorm",
        )
        wide = dense(x, f"{name}.intermediate.dense")
        wide = wide * 0.5 * (1 + torch.erf(wide / math.sqrt(2)))
        x = norm(x + dense(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return x, torch.stack(every)


def plain_logits(made: AutoregressiveCaptioner, states: Tensor) -> Tensor:
    state, head = made.model.state_dict(), "cls.predictions"
    x = states @ state[f"{head}.transform.dense.weight"].T + state[f"{head}.transform.dense.bias"]
    x = x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-12).sqrt()
    x = x * state[f"{head}.transform.LayerNorm.weight"] + state[f"{head}.transform.LayerNorm.bias"]
    return x @ state["bert.embeddings.word_embeddings.weight"].T + state[f"{head}.bias"]


def plain_logprob(made: AutoregressiveCaptioner, seen: Labelled, words: list[int]) -> list[float]:
    """log P of each token, each from a whole forward over [CLS] words before it [MASK] (sheet C.2)."""
    tokenizer, found = made.speller.tokenizer, []
    for place, token in enumerate(words):
        caption = [tokenizer.cls_token_id, *words[:place], tokenizer.mask_token_id]
        states, _ = plain_states(made, seen, caption)
        found.append(plain_logits(made, states[place + 1]).log_softmax(-1)[token].item())
    return found
