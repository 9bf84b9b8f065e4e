"""Forced choices: every source of every image, in order."""

import pytest

from alignscope.errors import BadInput
from alignscope.probing.choosing import forced_choices
from alignscope.records import ForcedChoice, ImageCaption


def test_images_that_every_source_captions():
    captions = {
        "CE": [ImageCaption("1", "a dog"), ImageCaption("2", "a cat")],
        "UNITER": [ImageCaption("3", "a cow"), ImageCaption("1", "a dog dog")],
    }
    choices, problems = forced_choices(captions)
    assert choices == [ForcedChoice("1", ("CE", "UNITER"), ("a dog", "a dog dog"))]
    assert [(one.item, one.subject, one.action) for one in problems] == [
        ("2", "UNITER", "unscored"),
        ("3", "CE", "unscored"),
    ]


def test_one_source_and_two_captions_of_an_image_are_refused():
    with pytest.raises(BadInput, match="at least two sources"):
        forced_choices({"CE": []})
    twice = [ImageCaption("1", "a"), ImageCaption("1", "b")]
    with pytest.raises(BadInput, match="two captions of '1' by CE"):
        forced_choices({"CE": twice, "UNITER": []})
