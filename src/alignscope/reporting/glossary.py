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
        "How much the score leans on a word, by the method named; the pieces of a word are added up. "
        "It shows where the score comes from, not whether it is right.",
    ),
    Entry(
        "Attention (method)",
        "The mean, over heads and layers, of the attention that the text’s readout token pays to a word. "
        "It asks nothing of the image.",
    ),
    Entry(
        "GradCAM (method)",
        "Attention weighted by how the score reacts to it, passed on from layer to layer (Chefer et al. "
        "2021); the heats of a caption add up to 1.",
    ),
    Entry(
        "Gradient (method)",
        "The size of the score’s derivative by a word’s embedding, made into shares by a softmax over the "
        "caption.",
    ),
    Entry(
        "Perturbation (method)",
        "How far the score falls, on average, when a word is replaced by another of its class (or taken "
        "away). Below zero, the score rises.",
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
        "Object above relation",
        "The share of captions whose object words are on average hotter than their relation words. Captions "
        "without both are left out. Attributes likewise.",
    ),
    Entry(
        "Deletion, insertion",
        "Area under the score while words leave (come) hottest first, from 0 for the empty text to 1 for the "
        "whole caption. A right map has low deletion and high insertion.",
    ),
    Entry(
        "Comprehensiveness, sufficiency",
        "How far the score falls without the hottest words (high is right), and with the hottest words alone "
        "(low is right), in the score’s own unit (ERASER).",
    ),
    Entry(
        "Gain over random",
        "How much better a map’s order of words does than a random order, signed so that above zero is "
        "better. If the interval holds zero, the map is not shown to know anything.",
    ),
    Entry(
        "Agreement",
        "Spearman correlation of two methods’ heats over the words of one caption, averaged over captions: "
        "1 is the same order, 0 no relation.",
    ),
    Entry(
        "Scrambled weights",
        "The same method on the model with its weights shuffled. A map that stays about the same "
        "(correlation 0.5 or more) does not show what the model learnt.",
    ),
    Entry(
        "Pointing game",
        "The share of phrases for which the hottest place of the image lies on the thing they name. A place is "
        "a patch; of a model of regions, a cell of a fine grid with the heat of the regions that cover it. "
        "Chance is what a random place would hit.",
    ),
    Entry(
        "Phrase similarity",
        "Cosine of a caption’s embedding with one of its phrases encoded alone. Low for relations means that "
        "the embedding keeps little of them.",
    ),
    Entry(
        "Accuracy by ratio",
        "Accuracy over the choices whose caption’s relation words have at most so much heat per heat of its "
        "object words: does hearing relations help?",
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

BENCHMARK_GLOSSARY = (
    Entry(
        "By the authors’ rule",
        "Counted as the benchmark’s authors count: their average, their rule for ties, what they leave out. "
        "This is the number to set beside published ones.",
    ),
    Entry(
        "Accuracy (ours)",
        "The share of items whose right options all score strictly higher than the wrong ones, in float32. "
        "A tie is wrong; the rows below count ties as half and as right.",
    ),
    Entry(
        "Micro, macro",
        "Micro: every item counts once. Macro: every subset (or group) counts once, however many items it has.",
    ),
    Entry(
        "Interval",
        "Bootstrap over images, so that items of one image count as one draw.",
    ),
    Entry(
        "Baseline",
        "What is reached without looking at the image. Where it comes near the model, the benchmark does not "
        "show that the model used the image.",
    ),
    Entry(
        "Margin",
        "The lowest score of a right option less the highest score of a wrong one. Zero is a tie.",
    ),
    Entry(
        "Missing",
        "Items whose image, text or score could not be had. They are in no number and are named below.",
    ),
)
