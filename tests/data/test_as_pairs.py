"""Benchmarks as pairs: foils by subset, and what pairs cannot hold."""

from dataclasses import replace
from pathlib import Path

import pytest

from alignscope.data.benchmarks.as_pairs import as_pairs
from alignscope.data.benchmarks.sugarcrepe import SUGARCREPE
from alignscope.errors import BadInput
from alignscope.records import Box, Caption, Foil, Item, Problem, Question, Shown

SHOWN = Shown("1.jpg")
CROPPED = Shown("2.jpg", Box(0, 0, 4, 4))
READ = (
    Question("order/1", "order", "order", (SHOWN,), ("a b c", "c b a", "a  b c", "b a c")),
    Problem("order/2", "x.json: 2", "`caption` is empty", "unscored"),
    Question("order/3", "order", "order", (CROPPED,), ("a cat", "a dog")),
    Question("swap_att/4", "swap_att", "swap_att", (SHOWN,), ("red cat", "cat red")),
    Question("order/5", "order", "order", (SHOWN,), ("a cat", "a cat")),
)


def test_foils_have_the_kind_of_their_subset_and_the_rest_is_told():
    pairs = as_pairs(replace(SUGARCREPE, read=lambda path: iter(READ)), Path("anywhere"))
    assert pairs.items == (
        Item("order/1", "1.jpg", Caption("a b c"), (Foil("c b a", "order"), Foil("b a c", "order"))),
        Item("swap_att/4", "1.jpg", Caption("red cat"), (Foil("cat red", "swap_attribute"),)),
    )
    assert pairs.problems == (
        Problem("order/1", "1.jpg", "a foil is the caption itself", "unscored"),
        READ[1],
        Problem("order/3", "2.jpg", "shows a part of an image, pairs show all", "unscored"),
        Problem("order/5", "1.jpg", "a foil is the caption itself", "unscored"),
    )


def test_benchmarks_that_ask_something_else_are_refused():
    with pytest.raises(BadInput, match="asks for the right image, but pairs are one image with its caption"):
        as_pairs(replace(SUGARCREPE, asks="image"), Path("anywhere"))
