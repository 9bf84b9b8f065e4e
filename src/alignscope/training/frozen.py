"""Embeddings of the images of a tower that stands still, made once for the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor

from alignscope.errors import BadImage
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.training.engine import Engine
from alignscope.training.metrics import Seen, Watch, nobody
from alignscope.training.places import PlacedSamples

CHUNK = 64
"""Images embedded together: always the same ones, so that a resumed run has the same bits."""


def frozen_images(
    encoder: TransformersDualEncoder, samples: PlacedSamples, engine: Engine, *, watch: Watch = nobody
) -> Mapping[str, Tensor]:
    """The embedding of every image by key, on the model's device; every process makes its share of chunks.

    What cannot be read is absent: the loader puts another pair in its place.
    """
    keys = list(dict.fromkeys(place.image for place in samples.places))
    rows = torch.zeros(len(keys), encoder.width, device=engine.device)
    found = torch.zeros(len(keys), dtype=torch.float64, device=engine.device)
    for start in range(0, len(keys), CHUNK):
        if start // CHUNK % engine.world != engine.rank:
            continue
        pixels, at = [], []
        for number, key in enumerate(keys[start : start + CHUNK], start=start):
            with suppress(BadImage):
                pixels.append(encoder.image_transform.pixels(samples.image(key)))
                at.append(number)
        if at:
            with torch.no_grad(), encoder.evaluating(), engine.autocast():
                rows[at] = encoder.embed_pixels(torch.stack(pixels)).float()
            found[at] = 1
        watch(Seen("images", min(start + CHUNK, len(keys)), len(keys)))
    rows, found = engine.total(rows), engine.total(found)
    return {key: row for key, row, is_there in zip(keys, rows, found.tolist(), strict=True) if is_there}
