"""Which choices a report shows, with their pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence

from PIL.Image import Image, Resampling

from alignscope.evaluation.choices import in_table_order
from alignscope.records import Choice, Example, ItemSource

SHOWN_PIXELS = 256


def examples(choices: Sequence[Choice], source: ItemSource, *, per_kind: int = 2) -> Iterator[Example]:
    """Per kind of foil the plainest failure and the plainest success, another of either where one lacks."""
    for kind in in_table_order([choice.kind for choice in choices]):
        by_margin = sorted(
            (choice for choice in choices if choice.kind == kind),
            key=lambda choice: (choice.caption_score - choice.foil_score, choice.item),
        )
        ends = [by_margin[i // 2] if i % 2 == 0 else by_margin[-1 - i // 2] for i in range(len(by_margin))]
        for choice in ends[:per_kind]:
            yield Example(
                choice.item,
                choice.image,
                choice.kind,
                choice.caption,
                choice.foil,
                choice.caption_score,
                choice.foil_score,
                shown_png(source.image(choice.image)),
            )


def shown_png(image: Image) -> str:
    """Base64 PNG at most 256 pixels wide or high; small pictures are enlarged by whole steps."""
    longest = max(image.size)
    if longest * 2 <= SHOWN_PIXELS:
        step = SHOWN_PIXELS // longest
        image = image.resize((image.width * step, image.height * step), Resampling.NEAREST)
    else:
        image = image.copy()
        image.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
