"""Edited captions for the question "do wrong nouns hurt more than other random words?"."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from alignscope.language.edits import random_other_words, wrong_nouns
from alignscope.records import Item, Problem


@dataclass(frozen=True)
class Edit:
    """One edited caption of an item: what was replaced, and how many words."""

    item: Item
    sort: str  # "wrong nouns" or "random other words"
    draw: int
    edited: str
    count: int


def plan_edits(items: Sequence[Item], *, draws: int, seed: int) -> tuple[list[Edit], list[Problem]]:
    """`draws` captions with wrong nouns and as many with their own nouns but other random words.

    Words come from the items' own captions (Ma et al. 2022, section 4.4, leave the vocabularies open):
    a wrong noun is one that is not known to be true of the image, a random word is never a noun.
    """
    nouns: Counter[str] = Counter()
    others: Counter[str] = Counter()
    present: dict[str, set[str]] = {}
    for item in items:
        own = present.setdefault(item.image, set())
        own.update(item.present_nouns)
        for word in item.caption.words:
            is_noun = word.word_class == "object"
            (nouns if is_noun else others)[word.text.lower()] += 1
            if is_noun:
                own.add(word.text.lower())
    fillers = sorted(word for word in set(others) - set(nouns) if any(map(str.isalpha, word)))
    edits: list[Edit] = []
    problems: list[Problem] = []
    for item in items:
        wrong = sorted(set(nouns) - present[item.image])
        if item.caption.words and not (wrong and fillers):
            what = "no other words in the data to edit the caption with"
            problems.append(Problem(item.id, item.caption.text, what, "unscored"))
            continue
        rng = random.Random(f"{seed}/{item.id}")
        for draw in range(draws):
            edits.append(Edit(item, "wrong nouns", draw, *wrong_nouns(item.caption, wrong, rng)))
            changed = random_other_words(item.caption, fillers, rng)
            edits.append(Edit(item, "random other words", draw, *changed))
    return [edit for edit in edits if edit.count], problems
