"""One small grammar in several registers: statements about scenes, and the captions that say them.

A statement is what is claimed (noun phrases, perhaps a relation between the first two, perhaps the
scene); a caption is its wording. Foils change statements, so they are as fluent as captions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

from alignscope.data.world.scene import CONVERSES, FINISHES, SCENES, SIZES, WorldObject, WorldScene
from alignscope.data.world.shapes import NOUNS
from alignscope.records import Caption, Word, WordClass


@dataclass(frozen=True)
class Register:
    """How much of a scene a text of this kind names, as probabilities.

    `finish` and `size` are drawn for each noun phrase on their own; `object_rate` is the chance of
    each object to be mentioned (never none); `only_scene` leaves all objects out.
    """

    name: str
    attribute_rate: float
    relation_rate: float
    scene_rate: float
    size_rate: float = 0.3
    object_rate: float = 0.8
    only_scene: bool = False


WEB = Register(
    "web", attribute_rate=0.03, relation_rate=0.02, scene_rate=0.3, size_rate=0.02, object_rate=0.75
)
RICH = Register("rich", attribute_rate=0.9, relation_rate=0.9, scene_rate=0.1, size_rate=0.4, object_rate=0.9)
SCENE = Register("scene", attribute_rate=0.0, relation_rate=0.0, scene_rate=1.0, only_scene=True)

OPENINGS: tuple[str, ...] = ("", "", "there is", "a picture of", "a photo of", "here is", "we see")
RELATION_WORDINGS: dict[str, tuple[str, ...]] = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "inside": ("inside", "within"),
    "touching": ("touching", "against"),
    "pulling": ("pulling", "towing"),
}
SCENE_PHRASES: dict[str, str] = {
    "beach": "on the",
    "forest": "in the",
    "street": "on the",
    "kitchen": "in the",
    "snow": "in the",
    "night": "at",
    "desert": "in the",
    "garden": "in the",
}
SCENE_OPENINGS: tuple[str, ...] = (
    "the picture is taken",
    "the photo was taken",
    "this picture is taken",
    "this is a place",
    "this was taken",
    "a picture taken",
    "a photo taken",
)


@dataclass(frozen=True)
class Phrase:
    """A noun with the attributes that are said of it."""

    noun: str
    finish: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Statement:
    """What a caption claims: phrases that are different things, and a relation of the first to the second.

    `opening`, `wording` and `has_copula` only choose words.
    """

    phrases: tuple[Phrase, ...]
    relation: str | None = None
    scene: str | None = None
    opening: str = ""
    wording: int = 0
    has_copula: bool = False


def _grammar_words() -> tuple[str, ...]:
    phrases = [*OPENINGS, *SCENE_OPENINGS, *SCENE_PHRASES.values()]
    phrases += [wording for wordings in RELATION_WORDINGS.values() for wording in wordings]
    words = {word for phrase in phrases for word in phrase.split()}
    return tuple(sorted(words | {"a", "and", "also", "is", *NOUNS, *FINISHES, *SIZES, *SCENES}))


GRAMMAR_WORDS: tuple[str, ...] = _grammar_words()


def _spoken(statement: Statement) -> Iterator[tuple[str, WordClass]]:
    """The words of a statement in order, each with its class."""
    for word in statement.opening.split():
        yield word, "other"
    for place, phrase in enumerate(statement.phrases):
        if place == 1 and statement.relation is not None:
            if statement.has_copula:
                yield "is", "other"
            wordings = RELATION_WORDINGS[statement.relation]
            for word in wordings[statement.wording % len(wordings)].split():
                yield word, "relation"
        elif place:
            yield "and", "other"
            if statement.relation is not None:
                yield "also", "other"
        yield "a", "other"
        if phrase.size is not None:
            yield phrase.size, "attribute"
        if phrase.finish is not None:
            yield phrase.finish, "attribute"
        yield phrase.noun, "object"
    if statement.scene is not None:
        for word in SCENE_PHRASES[statement.scene].split():
            yield word, "other"
        yield statement.scene, "scene"


def realise(statement: Statement) -> Caption:
    """The caption of a statement, every word with its class and character span.

    >>> ball, box = Phrase("ball", finish="striped"), Phrase("box", size="large")
    >>> realise(Statement((ball, box), relation="left of", scene="night")).text
    'a striped ball left of a large box at night'
    """
    words: list[Word] = []
    start = 0
    for text, word_class in _spoken(statement):
        words.append(Word(text, start, start + len(text), word_class))
        start += len(text) + 1
    return Caption(" ".join(word.text for word in words), tuple(words))


def describe(scene: WorldScene, register: Register, *, rng: random.Random) -> Statement:
    """A true statement about a scene in the manner of a register."""
    if register.only_scene:
        return Statement((), scene=scene.scene, opening=_one(SCENE_OPENINGS, rng))
    relation = None
    if scene.main and rng.random() < register.relation_rate:
        fact = scene.main[int(rng.random() * len(scene.main))]
        relation, subject, target = fact.name, fact.subject, fact.target
        if relation in CONVERSES and rng.random() < 0.5:
            relation, subject, target = CONVERSES[relation], target, subject
        named = [subject, target]
    else:
        named = [int(rng.random() * len(scene.objects))]
    rest = [place for place in range(len(scene.objects)) if place not in named]
    rng.shuffle(rest)
    if relation is None:
        named += [place for place in rest if rng.random() < register.object_rate]
    elif rest and rng.random() < register.object_rate * 0.3:
        named.append(rest[0])
    has_scene = scene.has_background and rng.random() < register.scene_rate
    opening = _one(OPENINGS, rng)
    return Statement(
        phrases=tuple(_phrase(scene.objects[place], register, rng) for place in named),
        relation=relation,
        scene=scene.scene if has_scene else None,
        opening=opening,
        wording=int(rng.random() * 2),
        has_copula=relation is not None and opening == "" and rng.random() < 0.5,
    )


def captions(scene: WorldScene, register: Register, *, rng: random.Random, n: int = 5) -> tuple[Caption, ...]:
    """`n` captions of a scene in one register, worded on their own."""
    return tuple(realise(describe(scene, register, rng=rng)) for _ in range(n))


def _one(choices: tuple[str, ...], rng: random.Random) -> str:
    return choices[int(rng.random() * len(choices))]


def _phrase(thing: WorldObject, register: Register, rng: random.Random) -> Phrase:
    return Phrase(
        thing.noun,
        finish=thing.finish if rng.random() < register.attribute_rate else None,
        size=thing.size if rng.random() < register.size_rate else None,
    )


def fits(phrase: Phrase, thing: WorldObject) -> bool:
    """Whether a phrase may be said of an object."""
    return (
        phrase.noun == thing.noun
        and phrase.finish in (None, thing.finish)
        and phrase.size in (None, thing.size)
    )


def is_true(statement: Statement, scene: WorldScene) -> bool:
    """Whether different objects of the scene make all of a statement true."""
    if statement.scene not in (None, scene.scene):
        return False
    places = range(len(scene.objects))
    for chosen in permutations(places, len(statement.phrases)):
        if not all(fits(p, scene.objects[i]) for p, i in zip(statement.phrases, chosen, strict=True)):
            continue
        if statement.relation is None or (chosen[0], statement.relation, chosen[1]) in scene.facts:
            return True
    return False
