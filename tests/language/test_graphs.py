"""Scene graphs of sentences that a reader can draw."""

from __future__ import annotations

import pytest

pytest.importorskip("spacy", reason="needs the extra alignscope[language]")

from alignscope.language.graphs import scene_graphs

Drawn = tuple[dict[str, tuple[str, ...]], set[tuple[str, str, str]]]

CASES: dict[str, Drawn] = {
    "A man holds a pen and a cup.": (
        {"man": (), "pen": (), "cup": ()},
        {("man", "holds", "pen"), ("man", "holds", "cup")},
    ),
    "The cake is eaten by a small dog.": ({"cake": (), "dog": ("small",)}, {("dog", "eaten", "cake")}),
    "a red and white plane on a runway": (
        {"plane": ("red", "white"), "runway": ()},
        {("plane", "on", "runway")},
    ),
    "The shirt and hat are red.": ({"shirt": ("red",), "hat": ("red",)}, set()),
    "A man who is holding the bat": ({"man": (), "bat": ()}, {("man", "holding", "bat")}),
    "The cake that the man eats is big.": ({"cake": ("big",), "man": ()}, {("man", "eats", "cake")}),
    "There is a church at the end of the street.": (
        {"church": (), "street": ()},
        {("church", "at the end of", "street")},
    ),
    "a boy putting on a hat": ({"boy": (), "hat": ()}, {("boy", "putting on", "hat")}),
    "a circle to the left of a square": (
        {"circle": (), "square": ()},
        {("circle", "to the left of", "square")},
    ),
    "a man sitting on a bench reading a book": (
        {"man": (), "bench": (), "book": ()},
        {("man", "sitting on", "bench"), ("man", "reading", "book")},
    ),
    "A child riding a bike in the park": (
        {"child": (), "bike": (), "park": ()},
        {("child", "riding", "bike"), ("child", "in", "park")},
    ),
    "A tennis player with a multi-hued racket": (
        {"tennis player": (), "racket": ("multi-hued",)},
        {("tennis player", "with", "racket")},
    ),
    "A ship sailing in water": ({"ship": (), "water": ()}, {("ship", "in", "water")}),
    "A dog behind him": ({"dog": ()}, set()),
    "": ({}, set()),
}


@pytest.mark.parametrize(("text", "drawn"), CASES.items(), ids=[text or "nothing" for text in CASES])
def test_graph(text: str, drawn: Drawn) -> None:
    objects, relations = drawn
    [graph] = scene_graphs([text])
    assert {thing.noun: thing.attributes for thing in graph.objects} == objects
    assert {
        (graph.objects[r.subject].noun, r.name, graph.objects[r.target].noun) for r in graph.relations
    } == relations


def test_spans_are_where_the_names_are() -> None:
    texts = [text for text in CASES if text]
    graphs = scene_graphs(texts)
    assert sum(len(graph.relations) for graph in graphs) >= 10
    for text, graph in zip(texts, graphs, strict=True):
        for thing in graph.objects:
            assert thing.span is not None
            assert text[slice(*thing.span)] == thing.noun
        for relation in graph.relations:
            assert relation.span is not None
            assert text[slice(*relation.span)] == relation.name


def test_equal_nouns_stay_two_objects() -> None:
    [graph] = scene_graphs(["A red ball on a green ball"])
    assert [(thing.noun, thing.attributes) for thing in graph.objects] == [
        ("ball", ("red",)),
        ("ball", ("green",)),
    ]
    assert [(r.subject, r.name, r.target) for r in graph.relations] == [(0, "on", 1)]
