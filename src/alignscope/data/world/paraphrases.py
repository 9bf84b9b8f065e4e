"""Sentences of the grammar read back, and the same said otherwise.

A paraphrase turns the relation round where it has a converse ("a ball left of a box", "a box to the right of a
ball"), tells things in the opposite order where there is no relation, and takes another wording and opening. Its
words and their order differ from the sentence's more than a foil's do.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace

from alignscope.data.world.grammar import (
    OPENINGS,
    RELATION_WORDINGS,
    SCENE_PHRASES,
    Phrase,
    Statement,
    realise,
)
from alignscope.data.world.scene import CONVERSES, FINISHES, SIZES
from alignscope.data.world.shapes import NOUNS

_WORDINGS = {
    words: (name, place) for name, found in RELATION_WORDINGS.items() for place, words in enumerate(found)
}
_THING = rf"a (?:(?:{'|'.join(SIZES)}) )?(?:(?:{'|'.join(FINISHES)}) )?(?:{'|'.join(NOUNS)})"
_SENTENCE = re.compile(
    rf"(?:(?P<opening>{'|'.join(filter(None, OPENINGS))}) )?(?P<first>{_THING})"
    rf"(?: (?P<copula>is )?(?P<relation>{'|'.join(_WORDINGS)}) (?P<second>{_THING}))?"
    rf"(?P<others>(?: and (?:also )?{_THING})*)"
    rf"(?: (?:{'|'.join(f'{words} {scene}' for scene, words in SCENE_PHRASES.items())}))?"
)


def understood(text: str) -> Statement | None:
    """The statement that `realise` says so; None where the text is no sentence about things.

    >>> understood("a striped ball is under a large box at night")
    Statement(phrases=(Phrase(noun='ball', finish='striped', size=None), Phrase(noun='box', finish=None, size='large')), relation='below', scene='night', opening='', wording=1, has_copula=True)
    """
    found = _SENTENCE.fullmatch(text)
    if found is None:
        return None
    things = [found["first"], found["second"], *re.findall(_THING, found["others"])]
    relation, wording = _WORDINGS.get(found["relation"], (None, 0))
    last = text.split()[-1]
    statement = Statement(
        tuple(_phrase(thing) for thing in things if thing),
        relation=relation,
        scene=last if last in SCENE_PHRASES else None,
        opening=found["opening"] or "",
        wording=wording,
        has_copula=found["copula"] is not None,
    )
    return statement if realise(statement).text == text else None


def paraphrase(statement: Statement, *, rng: random.Random) -> Statement:
    """A statement that is true of the same scenes, in other words.

    >>> said = understood("a ball left of a box and also a tent")
    >>> realise(paraphrase(said, rng=random.Random(1))).text
    'there is a box to the right of a ball and also a tent'
    """
    phrases, relation = statement.phrases, statement.relation
    if relation is None:
        phrases = phrases[::-1]
    elif relation in CONVERSES:
        first, second, *others = phrases
        phrases, relation = (second, first, *others), CONVERSES[relation]
    others_said = [opening for opening in dict.fromkeys(OPENINGS) if opening != statement.opening]
    return replace(
        statement,
        phrases=phrases,
        relation=relation,
        opening=others_said[int(rng.random() * len(others_said))],
        wording=1 - statement.wording,
        has_copula=False,
    )


def _phrase(thing: str) -> Phrase:
    said = thing.split()
    finish = next((word for word in said if word in FINISHES), None)
    return Phrase(said[-1], finish=finish, size=next((word for word in said if word in SIZES), None))
