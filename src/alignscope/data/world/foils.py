"""Foils with ground truth: a true statement changed in one way, and checked to be false of its scene."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from alignscope.data.world.grammar import Phrase, Statement, is_true, realise
from alignscope.data.world.scene import FINISHES, RELATIONS, SIZES, WorldScene
from alignscope.data.world.shapes import NOUNS
from alignscope.records import Foil


def foils(scene: WorldScene, statement: Statement, *, rng: random.Random) -> tuple[Foil, ...]:
    """One foil of each kind that the statement allows, in the order of `FOIL_KINDS`."""
    made = ((kind, false_statement(scene, statement, kind, rng=rng)) for kind in _CHANGES)
    wrong = ((kind, realise(change)) for kind, change in made if change is not None)
    return tuple(Foil(caption.text, kind, caption.words) for kind, caption in wrong)


def false_statement(
    scene: WorldScene, statement: Statement, kind: str, *, rng: random.Random
) -> Statement | None:
    """The statement changed in the way of `kind` and false of the scene; None where there is none."""
    candidates = list(_CHANGES[kind](scene, statement))
    while candidates:
        change = candidates.pop(int(rng.random() * len(candidates)))
        if not is_true(change, scene):
            return change
    return None


def _with(statement: Statement, place: int, phrase: Phrase) -> Statement:
    phrases = (*statement.phrases[:place], phrase, *statement.phrases[place + 1 :])
    return replace(statement, phrases=phrases)


def _absent(scene: WorldScene) -> list[str]:
    there = {thing.noun for thing in scene.objects}
    return [noun for noun in NOUNS if noun not in there]


def _replace_object(scene: WorldScene, statement: Statement) -> Iterator[Statement]:
    for place, phrase in enumerate(statement.phrases):
        for noun in _absent(scene):
            yield _with(statement, place, replace(phrase, noun=noun))


def _replace_attribute(scene: WorldScene, statement: Statement) -> Iterator[Statement]:
    for place, phrase in enumerate(statement.phrases):
        if phrase.finish is not None:
            for finish in FINISHES:
                if finish != phrase.finish:
                    yield _with(statement, place, replace(phrase, finish=finish))
        if phrase.size is not None:
            for size in SIZES:
                if size != phrase.size:
                    yield _with(statement, place, replace(phrase, size=size))


def _replace_relation(scene: WorldScene, statement: Statement) -> Iterator[Statement]:
    if statement.relation is not None:
        for relation in RELATIONS:
            if relation != statement.relation:
                yield replace(statement, relation=relation)


def _swap_object(scene: WorldScene, statement: Statement) -> Iterator[Statement]:
    """Two nouns change places, attributes stay; without any attribute it would be a swapped relation."""
    for i, j in _pairs(statement):
        first, second = statement.phrases[i], statement.phrases[j]
        if (first.finish, first.size) != (second.finish, second.size):
            changed = _with(statement, i, replace(first, noun=second.noun))
            yield _with(changed, j, replace(second, noun=first.noun))


def _swap_attribute(scene: WorldScene, statement: Statement) -> Iterator[Statement]:
    """All attributes of two nouns change places."""
    for i, j in _pairs(statement):
        first, second = statement.phrases[i], statement.phrases[j]
        if (first.finish, first.size) != (second.finish, second.size):
            changed = _with(statement, i, replace(first, finish=second.finish, size=second.size))
            yield _with(changed, j, replace(second, finish=first.finish, size=first.size))


def _swap_relation(scene: WorldScene, statement: Statement) -> Iterator[Statement]:
    """Whole noun phrases change places around the relation."""
    if statement.relation is not None:
        first, second, *others = statement.phrases
        yield replace(statement, phrases=(second, first, *others))


def _add_object(scene: WorldScene, statement: Statement) -> Iterator[Statement]:
    if statement.phrases:
        for noun in _absent(scene):
            yield replace(statement, phrases=(*statement.phrases, Phrase(noun)))


def _add_attribute(scene: WorldScene, statement: Statement) -> Iterator[Statement]:
    for place, phrase in enumerate(statement.phrases):
        if phrase.finish is None:
            for finish in FINISHES:
                yield _with(statement, place, replace(phrase, finish=finish))
        if phrase.size is None:
            for size in SIZES:
                yield _with(statement, place, replace(phrase, size=size))


def _pairs(statement: Statement) -> Iterator[tuple[int, int]]:
    """The pair a relation binds, else every pair of phrases."""
    count = len(statement.phrases)
    if statement.relation is not None:
        yield 0, 1
        return
    yield from ((i, j) for i in range(count) for j in range(i + 1, count))


_CHANGES: dict[str, Callable[[WorldScene, Statement], Iterator[Statement]]] = {
    "replace_object": _replace_object,
    "replace_attribute": _replace_attribute,
    "replace_relation": _replace_relation,
    "swap_object": _swap_object,
    "swap_attribute": _swap_attribute,
    "swap_relation": _swap_relation,
    "add_object": _add_object,
    "add_attribute": _add_attribute,
}
