"""The world as Oscar and VinVL read it: regions with labels of another detector, and captions of its scenes.

Captions are in the manner of HL's scene axis (Cafagna et al. 2023): where a picture is taken and never what is
in it; for captions that name things the grammar has registers.
"""

from __future__ import annotations

import random
from dataclasses import replace

from alignscope.data.world.grammar import GRAMMAR_WORDS, SCENE_PHRASES
from alignscope.data.world.regions import regions
from alignscope.data.world.scene import WorldScene
from alignscope.records import Label, Labelled

A_PLACE: dict[str, str] = {
    "beach": "on a beach",
    "forest": "in a forest",
    "street": "on a street",
    "kitchen": "in a kitchen",
    "snow": "in snow",
    "night": "at night",
    "desert": "in a desert",
    "garden": "in a garden",
}
"""Each scene as a place among others; `SCENE_PHRASES` has it as the one that is known."""
NAMES: dict[str, str] = {
    scene: scene if scene in ("snow", "night") else f"a {scene}" for scene in SCENE_PHRASES
}
THIS_ONE, ANY_ONE, NAME = "<the>", "<a>", "<name>"
FRAMES: tuple[str, ...] = (
    THIS_ONE,
    ANY_ONE,
    f"the picture is taken {ANY_ONE}",
    f"the picture was taken {THIS_ONE}",
    f"the photo is taken {THIS_ONE}",
    f"it is {ANY_ONE}",
    f"this is {NAME}",
)


def labelled(scene: WorldScene, width: int = 256, has_background: bool | None = None) -> Labelled:
    """The regions of a scene, distractors among them, and its labels.

    With `has_background` the picture is drawn with the cue of its scene or without, all else as it is.
    """
    if has_background is not None:
        scene = replace(scene, has_background=has_background)
    return Labelled(regions(scene, width=width), labels(scene))


def labels(scene: WorldScene) -> tuple[Label, ...]:
    """The nouns of a scene's objects with their boxes, nothing of distractors; nothing is drawn for them.

    They stand in an order of their own that the scene's id decides.
    """
    rng = random.Random(f"labels {scene.id}")
    found = [Label(thing.noun, thing.box, 0.5 + 0.5 * rng.random()) for thing in scene.objects]
    rng.shuffle(found)
    return tuple(found)


def scene_captions(scene: WorldScene, rng: random.Random, n: int = 3) -> tuple[str, ...]:
    """`n` captions that say where a picture is taken, also where no cue of it is to be seen."""
    return tuple(_placed(FRAMES[int(rng.random() * len(FRAMES))], scene.scene) for _ in range(n))


def _placed(frame: str, scene: str) -> str:
    """A frame with its place filled in.

    >>> [_placed(frame, "night") for frame in FRAMES[2:4]], _placed(FRAMES[-1], "kitchen")
    (['the picture is taken at night', 'the picture was taken at night'], 'this is a kitchen')
    """
    known = f"{SCENE_PHRASES[scene]} {scene}"
    return frame.replace(THIS_ONE, known).replace(ANY_ONE, A_PLACE[scene]).replace(NAME, NAMES[scene])


def _words() -> tuple[str, ...]:
    texts = [_placed(frame, scene) for frame in FRAMES for scene in NAMES]
    return tuple(sorted({*GRAMMAR_WORDS, *(word for text in texts for word in text.split())}))


WORDS: tuple[str, ...] = _words()
"""Every word that captions and labels of the world can have."""
