"""Pairs a program holds in its hands: images and captions as they are, no files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import final

from PIL.Image import Image

from alignscope.data.items import WordClasses, fault_of_text
from alignscope.errors import BadData
from alignscope.files import sha_of
from alignscope.records import Caption, Item, Problem


@final
class HeldPairs:
    """An `ItemSource` of (image, caption) pairs; items and images are called by their place.

    A caption may be a string, classed by `word_classes`, or a `Caption` with its own words.
    """

    name = "pairs"
    problems: tuple[Problem, ...] = ()

    def __init__(
        self, pairs: Sequence[tuple[Image, str | Caption]], *, word_classes: WordClasses | None = None
    ) -> None:
        for place, (_, caption) in enumerate(pairs):
            fault = fault_of_text(caption.text if isinstance(caption, Caption) else caption)
            if fault:
                raise BadData(f"caption {place} {fault}: pass pairs of an image and a text")
        texts = [caption for _, caption in pairs if isinstance(caption, str)]
        classed = iter(word_classes(texts) if word_classes and texts else map(Caption, texts))
        captions = [caption if isinstance(caption, Caption) else next(classed) for _, caption in pairs]
        self._images = {str(place): image for place, (image, _) in enumerate(pairs)}
        self.items = tuple(Item(str(place), str(place), caption) for place, caption in enumerate(captions))

    @property
    def sha(self) -> str:
        """Hash of captions, word classes and pixels."""
        pixels = [
            hashlib.sha256(image.convert("RGB").tobytes()).hexdigest() for image in self._images.values()
        ]
        return sha_of([[item.caption for item in self.items], pixels])

    def image(self, key: str) -> Image:
        """The image of a key."""
        return self._images[key]
