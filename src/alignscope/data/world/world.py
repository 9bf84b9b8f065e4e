"""The world as a data set: items with foils, pixels, captions and scene graphs of one split."""

from __future__ import annotations

import hashlib
import random
from functools import cached_property
from typing import cast, final

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from alignscope.data.world.foils import foils
from alignscope.data.world.grammar import RICH, Register, Statement, captions, describe, realise
from alignscope.data.world.render import render, render_all
from alignscope.data.world.scene import SPLITS, Split, WorldScene, sample_scenes
from alignscope.errors import BadInput, UnknownName
from alignscope.files import sha_of
from alignscope.records import FOIL_KINDS, Caption, Foil, Item, Problem, Regions, SceneGraph, SceneObject
from alignscope.registry import did_you_mean

_DRAWS = 8  # statements tried per item in search of one that allows every kind of foil


@final
class World:
    """One split of the built-in world; item i depends on split, seed and register, not on `size`.

    >>> world = World("test", size=2)
    >>> world.items[0].image, len(world.items), world.name
    ('test-0-000000', 2, 'world-test')
    """

    def __init__(
        self, split: str = "test", *, size: int = 500, seed: int = 0, register: Register = RICH
    ) -> None:
        if split not in SPLITS:
            raise UnknownName(f"no split named '{split}': {did_you_mean(split, list(SPLITS))}")
        if size < 1:
            raise BadInput(f"size {size}: a world has at least one scene; give size=1 or more")
        self.split = cast(Split, split)
        self.size = size
        self.seed = seed
        self.register = register
        self.name = f"world-{split}"

    @cached_property
    def scenes(self) -> tuple[WorldScene, ...]:
        """Scenes in order, with full ground truth."""
        return tuple(sample_scenes(self.size, seed=self.seed, split=self.split))

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """One item per scene: a caption in the world's register with all foils it allows."""
        return tuple(
            _item(scene, self.register, random.Random(f"items {scene.id} {self.register}"))
            for scene in self.scenes
        )

    @cached_property
    def sha(self) -> str:
        """Hash of captions, foils and pixels."""
        texts = [[item.id, item.caption.text, [f.text for f in item.foils]] for item in self.items]
        return sha_of([texts, _digest(self.pixels())])

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Nothing is ever wrong in here."""
        return ()

    @cached_property
    def _by_id(self) -> dict[str, WorldScene]:
        return {scene.id: scene for scene in self.scenes}

    def scene(self, key: str) -> WorldScene:
        """The scene with this id."""
        if key not in self._by_id:
            raise UnknownName(
                f"no scene '{key}' in {self.name}: {did_you_mean(key, list(self._by_id)[:200])}"
            )
        return self._by_id[key]

    def image(self, key: str) -> Image.Image:
        """The picture of one scene."""
        return Image.fromarray(render(self.scene(key)))

    def regions(self, key: str, *, width: int) -> Regions:
        """The regions of one scene, with features of this width."""
        from alignscope.data.world.regions import regions

        return regions(self.scene(key), width=width)

    def pixels(self) -> UInt8[np.ndarray, "scene 64 64 3"]:
        """All pictures, in the order of `scenes`."""
        return render_all(self.scenes)

    def captions(self, register: Register, n: int = 5) -> tuple[tuple[Caption, ...], ...]:
        """`n` captions per scene in a register."""
        return tuple(
            captions(scene, register, rng=random.Random(f"captions {scene.id} {register}"), n=n)
            for scene in self.scenes
        )

    def scene_graph(self, key: str) -> SceneGraph:
        """What is in a scene: objects with attributes and boxes, and all relations that hold."""
        scene = self.scene(key)
        return SceneGraph(_things(scene), scene.relations)


def _digest(pixels: UInt8[np.ndarray, "scene 64 64 3"]) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _things(scene: WorldScene) -> tuple[SceneObject, ...]:
    return tuple(SceneObject(o.noun, (o.size, o.finish), o.box) for o in scene.objects)


def _item(scene: WorldScene, register: Register, rng: random.Random) -> Item:
    """The statement of a few draws that allows the most kinds of foil, the first among equals."""
    best: tuple[Statement, tuple[Foil, ...]] | None = None
    for _ in range(_DRAWS):
        statement = describe(scene, register, rng=rng)
        wrong = foils(scene, statement, rng=rng)
        if best is None or len(wrong) > len(best[1]):
            best = statement, wrong
        if len(best[1]) == len(FOIL_KINDS):
            break
    assert best is not None
    present = tuple(thing.noun for thing in scene.objects)
    return Item(scene.id, scene.id, realise(best[0]), best[1], present, _things(scene))
