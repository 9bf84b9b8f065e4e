"""The world as tensors: pixels, token ids and which text belongs to which image."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Int, Int64, UInt8
from torch import Tensor

from alignscope.data.world import grammar
from alignscope.data.world.foils import false_statement
from alignscope.data.world.scene import WorldScene
from alignscope.data.world.world import World
from alignscope.records import Caption
from alignscope.training.recipe import Register, WorldData


@dataclass(frozen=True)
class Corpus:
    """Training pairs of one stage. Texts are rows of `ids`, shared by captions and foils."""

    ids: Int64[Tensor, "text token"]
    lengths: Int64[Tensor, " text"]
    captions: tuple[tuple[int, ...], ...]  # per image: rows of its captions
    foils: tuple[tuple[tuple[int, ...], ...], ...]  # per image and caption: rows of its foils


def pixels(world: World) -> UInt8[Tensor, "image channel height width"]:
    """All images of a world, channels first."""
    return torch.from_numpy(rearrange(world.pixels(), "image row column channel -> image channel row column"))


def keys(world: World) -> list[str]:
    """Per image the two nouns of its main relation, or all its nouns where it has none."""
    found = []
    for scene in world.scenes:
        places = (scene.main[0].subject, scene.main[0].target) if scene.main else range(len(scene.objects))
        found.append("+".join(sorted(scene.objects[place].noun for place in places)))
    return found


def texts(
    world: World, data: WorldData, register: Register, *, foils_each: int, kinds: Sequence[str]
) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Texts of `described`: per image its captions, and per caption its foils."""
    captions, wrong = described(world, data, register, foils_each=foils_each, kinds=kinds)
    return [[caption.text for caption in said] for said in captions], wrong


def described(
    world: World, data: WorldData, register: Register, *, foils_each: int, kinds: Sequence[str]
) -> tuple[list[list[Caption]], list[list[list[str]]]]:
    """Per image its captions in a register, and per caption `foils_each` foils of `kinds` in an order of chance."""
    manner = grammar.Register("training", **asdict(register))
    captions: list[list[Caption]] = []
    wrong: list[list[list[str]]] = []
    for number, scene in enumerate(world.scenes):
        rng = random.Random(f"{data.seed}/{number}/{register}")
        said = [grammar.describe(scene, manner, rng=rng) for _ in range(data.captions_per_image)]
        captions.append([grammar.realise(statement) for statement in said])
        wrong.append([_foils(scene, statement, foils_each, kinds, rng) for statement in said])
    return captions, wrong


def _foils(
    scene: WorldScene, statement: grammar.Statement, count: int, kinds: Sequence[str], rng: random.Random
) -> list[str]:
    found: list[str] = []
    for kind in rng.sample(kinds, len(kinds)):
        if len(found) == count:
            break
        change = false_statement(scene, statement, kind, rng=rng)
        if change is not None:
            found.append(grammar.realise(change).text)
    return found


def corpus(
    captions: Sequence[Sequence[str]],
    wrong: Sequence[Sequence[Sequence[str]]],
    tokenize: Callable[[Sequence[str]], tuple[Int64[Tensor, "text token"], Int64[Tensor, " text"]]],
) -> Corpus:
    """Tokenize every distinct text once."""
    rows: dict[str, int] = {}
    for said, foiled in zip(captions, wrong, strict=True):
        for text in said:
            rows.setdefault(text, len(rows))
        for foil in (text for some in foiled for text in some):
            rows.setdefault(foil, len(rows))
    ids, lengths = tokenize(list(rows))
    return Corpus(
        ids,
        lengths,
        tuple(tuple(rows[text] for text in said) for said in captions),
        tuple(tuple(tuple(rows[text] for text in some) for some in foiled) for foiled in wrong),
    )


def draw(
    corpus: Corpus, images: Int64[np.ndarray, " batch"], rng: np.random.Generator
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " foil"]]:
    """One caption per image with its foils, as rows of `corpus.ids`."""
    chosen: list[int] = []
    wrong: list[int] = []
    for image in images.tolist():
        place = int(rng.integers(len(corpus.captions[image])))
        chosen.append(corpus.captions[image][place])
        wrong += corpus.foils[image][place]
    return torch.tensor(chosen), torch.tensor(wrong, dtype=torch.int64)
