"""Ablated captions for a terminal."""

from alignscope.records import Measurement
from alignscope.reporting.ablation_tables import ablation_text


def number(measure, group, value, **more):
    return Measurement(measure, group, value, None, None, 9, 9, **more)


def rows(*counts):
    return [
        number("captions changed", f"A | test | image | m={count}", 0.25) for count in (*counts, "all")
    ] + [number("images without objects", f"images | test | image | m={counts[0]}", 9.0, unit="items")]


def test_all_numbers_of_objects_together_are_told_where_there_are_several():
    assert "m=all" not in ablation_text(rows(1), [])
    assert "m=1" in ablation_text(rows(1), [])
    assert "m=all" in ablation_text(rows(1, 2), [])


def test_how_many_images_were_captioned_without_objects():
    assert "images captioned without them" in ablation_text(rows(1), [])
