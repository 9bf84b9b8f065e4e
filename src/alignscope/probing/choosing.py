"""Captions of one image by several captioners, put side by side for a model to choose from (paper A, Table 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignscope.errors import BadInput
from alignscope.records import ForcedChoice, ImageCaption, Problem


def forced_choices(
    captions: Mapping[str, Sequence[ImageCaption]],
) -> tuple[list[ForcedChoice], list[Problem]]:
    """One choice per image that every source captions, sources in their order; other images are unscored.

    Equal captions stay: a model that chooses one of them has not told their sources apart.
    """
    if len(captions) < 2:
        raise BadInput(f"got captions of {', '.join(captions) or 'nobody'}, wanted at least two sources")
    texts: dict[str, dict[str, str]] = {}
    for source, own in captions.items():
        for caption in own:
            said = texts.setdefault(caption.image, {})
            if source in said:
                raise BadInput(f"got two captions of {caption.image!r} by {source}, wanted one per image")
            said[source] = caption.text
    choices, problems = [], []
    for image, said in texts.items():
        absent = [source for source in captions if source not in said]
        if absent:
            problems.append(Problem(image, ", ".join(absent), "no caption of this image", "unscored"))
        else:
            choices.append(ForcedChoice(image, tuple(captions), tuple(said[source] for source in captions)))
    return choices, problems
