"""One image and caption under several models side by side: words and image shaded under each method (paper B, fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from alignscope.errors import BadData
from alignscope.records import PatchMap, WordHeat
from alignscope.reporting.captions import ShadedCaption, shaded_caption
from alignscope.reporting.overlays import encoded, overlay, resized
from alignscope.reporting.page import Embedded, embedded, render, write_page
from alignscope.reporting.run import HEATS, MAPS, read_heats, read_maps, read_settings
from alignscope.reporting.wording import method_order

SIZE = 384  # of the longer side of every picture, in pixels
UNITS = {
    "cosine": "scale x cosine + bias",
    "match": "log-odds of a match",
    "likelihood": "mean log-likelihood of a token",
    "information": "mean log-likelihood of a token, minus that without the image",
    "yes": "log-odds of yes",
}
"""What scores are, by `Traits.score`."""


@dataclass(frozen=True)
class Column:
    """One model: its score, the caption shaded under each method, the image under each that gives a map."""

    name: str
    fingerprint: str
    score: float | None
    unit: str  # of the score; "" where the run does not say it
    captions: tuple[tuple[str, ShadedCaption], ...]
    maps: tuple[tuple[str, Embedded], ...]


@dataclass(frozen=True)
class Page:
    """Everything the template shows."""

    caption: str
    image: Embedded
    methods: tuple[str, ...]
    image_methods: tuple[str, ...]
    columns: tuple[Column, ...]


def pair_page(directory: Path) -> Path:
    """Write directory/report.html from the files beside it, whole or not at all; returns its path."""
    return write_page(directory / "report.html", render("pair.html", page_of(directory)))


def page_of(directory: Path) -> Page:
    """Read a pair's directory and draw its maps."""
    pair = read_settings(directory / "pair.json")
    heats, maps = read_heats(directory / HEATS), read_maps(directory / MAPS)
    try:
        with Image.open(directory / "image.png") as file:
            image = file.convert("RGB")
    except OSError as error:
        raise BadData(f"{directory / 'image.png'} cannot be read ({error}); make the pair again") from None
    try:
        caption, models = str(pair["caption"]), [dict(model) for model in pair["models"]]
        columns = tuple(_column(model, caption, image, heats, maps) for model in models)
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(
            f"{directory / 'pair.json'}: wanted a caption and models with name, fingerprint and score ({error!r}); "
            "make the pair again"
        ) from None
    return Page(
        caption=caption,
        image=embedded(encoded(resized(image, SIZE))),
        methods=tuple(sorted({heat.method for heat in heats}, key=method_order)),
        image_methods=tuple(sorted({patches.method for patches in maps}, key=method_order)),
        columns=columns,
    )


def _column(
    model: Mapping[str, Any],
    caption: str,
    image: Image.Image,
    heats: Sequence[WordHeat],
    maps: Sequence[PatchMap],
) -> Column:
    by_method: dict[str, list[WordHeat]] = {}
    for heat in heats:
        if heat.item == model["name"]:
            by_method.setdefault(heat.method, []).append(heat)
    found = sorted((m for m in maps if m.item == model["name"]), key=lambda m: method_order(m.method))
    return Column(
        name=str(model["name"]),
        fingerprint=str(model["fingerprint"]),
        score=model["score"],
        unit=UNITS.get(str(model.get("unit")), ""),
        captions=tuple(
            (name, shaded_caption(by_method[name], caption)) for name in sorted(by_method, key=method_order)
        ),
        maps=tuple((patches.method, embedded(overlay(image, patches, size=SIZE))) for patches in found),
    )
