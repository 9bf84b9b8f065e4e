"""A measure of captions of your own, which is also a reward: how many of its words a caption shares."""

from __future__ import annotations

from collections.abc import Sequence


def word_overlap(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float | None]:
    """F1 of a caption's words against the nearest of its references; None where there is no reference."""
    return [
        max((_overlap(caption.split(), each.split()) for each in of_image), default=None)
        for caption, of_image in zip(captions, references, strict=True)
    ]


def _overlap(words: Sequence[str], reference: Sequence[str]) -> float:
    shared = len({*words} & {*reference})
    return 2 * shared / ((len({*words}) + len({*reference})) or 1)
