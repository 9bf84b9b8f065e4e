"""What the measures mean, two lines each; the page prints them."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """A word and its meaning."""

    word: str
    meaning: str


GLOSSARY = (
    Entry(
        "Foil",
        "A caption that is wrong about the image in one known way: a word replaced, two words "
        "swapped, or something added. The kind says which.",
    ),
    Entry(
        "Accuracy",
        "The share of choices in which the right caption scores strictly higher than the foil. "
        "Ties count as wrong unless the signature says otherwise; guessing gives 50 %.",
    ),
    Entry(
        "Interval",
        "Bootstrap over images, so that captions of one image count as one draw. If it holds "
        "50 %, the model cannot be told from guessing on this kind.",
    ),
    Entry(
        "Heat",
        "How much the score leans on a word, by GradCAM on the text tower's attention; the pieces of "
        "a word are added up. It shows where the score comes from, not whether it is right.",
    ),
    Entry(
        "Heat gap",
        "Mean heat of object words minus mean heat of words of another class (rest: attributes and "
        "relations). Above zero, objects weigh more.",
    ),
    Entry(
        "Object above rest",
        "The share of captions whose object words are on average hotter than their attribute and "
        "relation words. Captions without both are left out.",
    ),
    Entry(
        "Score drop",
        "How far the score of image and caption falls when some words are replaced: nouns by wrong "
        "nouns, or as many other words at random.",
    ),
    Entry(
        "Drop gap",
        "The drop after wrong nouns minus the drop after random other words. Above zero, the "
        "score depends on nouns more than on the rest. The ratio divides instead.",
    ),
    Entry(
        "Recall@k",
        "The share of queries whose right answer is among the k best of all candidates. A tie "
        "with a wrong candidate counts against the model.",
    ),
    Entry(
        "Unscored",
        "Could not be measured, for the reason given. It is left out of every mean and counted under missing.",
    ),
)
