"""Word classes of whole sources: parsed once, counted as a plain loop counts, gathered as replacements."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from alignscope.data.coco import read_captions
from alignscope.errors import BadData
from alignscope.language import cache
from alignscope.language.classes import word_classes
from alignscope.language.replacements import candidates
from alignscope.records import Caption, Word
from alignscope.training import worded as module
from alignscope.training.places import Place, PlacedSamples, packed
from alignscope.training.worded import candidates_of, classed, coverage, worded

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"


def samples(*captions: list[Caption]) -> PlacedSamples:
    places = tuple(
        Place(
            f"{number}.png",
            tuple(caption.text for caption in some),
            words=tuple(map(packed, some)) if some[0].words else (),
        )
        for number, some in enumerate(captions)
    )
    return PlacedSamples("held", "0", places, str, 0)  # type: ignore[arg-type]


def tagged(text: str, **classes: str) -> Caption:
    spans = [(text.index(word), text.index(word) + len(word)) for word in text.split()]
    return Caption(
        text,
        tuple(Word(text[a:b], a, b, classes.get(text[a:b], "other")) for a, b in spans),  # type: ignore[arg-type]
    )


def refuses(texts: Sequence[str]) -> Iterator[object]:
    assert not texts, f"parsed {len(texts)} texts"
    return iter(())


def test_captions_with_words_keep_them(tmp_path: Path):
    own = tagged("a red dog", dog="relation")  # no parser says so
    found = classed([own, Caption("a red dog"), own], cache=tmp_path)
    assert found[0] is found[2] is own
    assert [word.word_class for word in found[1].words] == ["other", "attribute", "object"]
    assert classed([], cache=tmp_path / "new") == []
    assert not (tmp_path / "new").exists()


def test_texts_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    drawn = samples(
        [Caption("A dog sits on a mat."), Caption("Two cats.")], [Caption("..."), Caption("A dog.")]
    )
    told: list[tuple[str, int, int]] = []
    first = worded(drawn, cache=tmp_path, progress=lambda *step: told.append(step))
    assert told == [("word classes", 2, 4), ("word classes", 4, 4)]
    texts = [caption.text for caption in drawn.captions()]
    assert list(first.captions()) == word_classes(texts)
    assert first.draw(0, 3).caption in word_classes(texts[:2])
    monkeypatch.setattr("alignscope.language.classes.parsed", refuses)
    assert worded(drawn, cache=tmp_path) == first
    assert worded(first, cache=tmp_path / "none") is first
    with pytest.raises(AssertionError, match="parsed 2 texts"):
        worded(drawn, cache=tmp_path / "other")


def test_the_default_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALIGNSCOPE_CACHE", str(tmp_path))
    worded(samples([Caption("A dog.")]))
    assert (tmp_path / cache.FILE).is_file()


def test_the_hash_speaks_of_the_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain = samples([Caption("A dog.")])
    first = worded(plain, cache=tmp_path)
    assert first.sha not in (plain.sha, "")
    monkeypatch.setattr(
        module, "word_classes", lambda texts, cache: [tagged(text, A="object") for text in texts]
    )
    assert worded(plain, cache=tmp_path).sha != first.sha


def test_coverage_counted_by_hand():
    found = coverage(
        [
            tagged("red dog", red="attribute", dog="object"),
            tagged("dog on mat", dog="object", on="relation", mat="object"),
            tagged("dog cat", dog="object", cat="object"),
            tagged("on top", on="relation"),
            tagged("oh well"),
        ]
    )
    assert (found.captions, found.with_objects, found.with_attributes, found.with_relations) == (5, 3, 1, 2)
    assert found.with_both == 2
    assert found.words_per_caption == {
        "object": 1.0, "attribute": 0.2, "relation": 0.4, "scene": 0.0, "other": 0.6,
    }  # fmt: skip
    assert found.shares() == {"valid": 0.4, "objects": 0.6, "attributes": 0.2, "relations": 0.4}
    with pytest.raises(BadData, match="no captions"):
        coverage([])


def test_candidates_of_frequent_words():
    often = [tagged("red dog on mat", red="attribute", dog="object", on="relation", mat="object")] * 5
    other = [tagged("blue cat", blue="attribute", cat="object"), tagged("oh")]
    found = candidates_of(samples(often, other).captions, name="few")
    assert found.candidates.words == {
        "object": ("dog", "mat"),  # cat came once
        "attribute": ("blue", "red"),  # with one frequent word all are taken
        "relation": ("on",),  # there is no other
        "scene": (),
    }
    [problem] = found.problems
    assert (problem.item, problem.subject, problem.action) == ("few", "attribute", "handled")
    assert problem.what == "1 attribute words come 5 times or more: all 2 are taken as replacements"


@pytest.mark.skipif(not REAL.is_file(), reason=f"needs {REAL}")
def test_real_captions(tmp_path: Path):
    images = read_captions(REAL).images[:200]
    drawn = samples(*([Caption(text) for text in one.captions] for one in images))
    found = worded(drawn, cache=tmp_path)
    captions = list(found.captions())
    rows = json.loads(REAL.read_text())[:200]
    assert [caption.text for caption in captions] == [text for row in rows for text in row["caption"]]
    counted = coverage(captions)
    classes = [{word.word_class for word in caption.words} for caption in captions]
    both = sum("object" in some and bool(some & {"attribute", "relation"}) for some in classes)
    assert (counted.captions, counted.with_both) == (len(captions), both)
    assert counted.with_objects > 950
    assert 300 < counted.with_attributes < 900
    counts = Counter((word.word_class, word.text.lower()) for one in captions for word in one.words)
    words = candidates_of(found.captions, name=found.name).candidates.words
    assert len(words["object"]) > 100
    for kind in ("object", "attribute", "relation"):
        assert set(words[kind]) == {text for (its, text), n in counts.items() if its == kind and n >= 5}
    assert len(candidates(captions).words["object"]) > len(words["object"])
