"""Captions side by side: what is counted is worked out by hand, what is lacking is unscored."""

import json
import shutil

import pytest

from alignscope.errors import BadInput, OutputExists
from alignscope.files import read_jsonl, read_parquet
from alignscope.language import arpa, ngrams
from alignscope.records import CaptionSurprise, GramCount, Measurement
from alignscope.studies.captions.texts import TextSettings, texts

OWN = ["a dog on the grass", "a cat near a cat", "two dogs", "a man with a dog on a bike"]
QUICK = TextSettings(draws=50, metrics=("BLEU-1", "CIDEr"))


def written(path, captions):
    rows = [{"image": f"{number}.png", "caption": text} for number, text in enumerate(captions)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def own(tmp_path):
    return written(tmp_path / "own.jsonl", OWN)


@pytest.fixture
def other(tmp_path):
    return written(tmp_path / "other.jsonl", ["dog dog dog dog", "", "sitting down", "!"])


def numbers(found):
    return {(one.measure, one.group): one for one in found.measurements}


def test_two_captioners_side_by_side(own, other, tmp_path):
    found = texts({"own": own, "other": other}, tmp_path / "out", references=own, corpus=own, settings=QUICK)
    got = numbers(found)
    length = got["caption length", "own | all"]
    assert (length.value, length.items, length.missing, length.unit) == (5.0, 4, 0, "words")
    assert got["caption length", "other | all"].value == 3.0
    assert got["caption length", "other | all"].missing == 2
    assert got["nouns per caption", "own | all"].value == (2 + 2 + 1 + 3) / 4
    assert got["unique nouns per caption", "own | all"].value == (2 + 1 + 1 + 3) / 4
    assert got["captions with a repeated noun", "other | all"].value == 0.5
    assert got["distinct-1 over all captions", "other | all"].value == 3 / 6
    assert got["distinct-3 within a caption", "other | all"].value == 0.5  # of the one that has three
    assert got["distinct-3 within a caption", "other | all"].missing == 3
    assert got["BLEU-1", "own | all"].value == pytest.approx(1)
    assert got["BLEU-1", "other | all"].missing == 2
    assert "own" in got["BLEU-1", "own | all"].signature
    assert got["pattern ratio, strict", "own | UNITER: NP+ REL NP+"].value == 0.5
    assert read_parquet(tmp_path / "out" / "measurements.parquet", Measurement) == list(found.measurements)
    assert found.words["other"][0].gram == "dog"
    assert found.words["other"][0].share == pytest.approx(4 / 6)
    grams = read_parquet(tmp_path / "out" / "captions" / "own" / "grams.parquet", GramCount)
    assert {(one.of, one.place, one.length) for one in grams} == {
        (of, place, n) for of in ("words", "tags") for place in ("anywhere", "start") for n in range(1, 6)
    }
    told = [(row["item"], row["what"]) for row in read_jsonl(tmp_path / "out" / "problems.jsonl")]
    assert ("1.png", "other: caption is empty") in told
    assert ("3.png", "other: no word in the caption") in told


def test_perplexity_is_that_of_all_captions_together(own, other, tmp_path):
    found = numbers(texts({"own": own, "other": other}, tmp_path / "out", corpus=own, settings=QUICK))
    model = ngrams.train(OWN)
    words = sum(len(text.split()) for text in OWN)
    log = sum(model.logprob(text) for text in OWN)  # natural, of words and ends
    assert found["perplexity", "own | all"].value == pytest.approx(2.718281828459045 ** (-log / (words + 4)))
    assert found["perplexity without sentence ends", "own | all"].value == pytest.approx(
        2.718281828459045 ** (-log / words)
    )
    assert found["words unknown to the language model", "own | all"].value == 0
    assert found["words unknown to the language model", "other | all"].value == 2 / 6
    kept = read_parquet(tmp_path / "out" / "captions" / "other" / "surprises.parquet", CaptionSurprise)
    assert [(one.words, one.oovs, one.reason) for one in kept] == [(4, 0, ""), (2, 2, ""), (0, 0, "no words")]
    arpa.write(tmp_path / "model.arpa", model)
    again = texts({"own": own}, tmp_path / "arpa", language_model=tmp_path / "model.arpa", settings=QUICK)
    assert numbers(again)["perplexity", "own | all"].value == pytest.approx(
        found["perplexity", "own | all"].value
    )


def test_what_lacks_its_material_is_unscored_and_never_zero(own, tmp_path):
    found = texts({"own": own}, tmp_path / "out", settings=QUICK)
    got = numbers(found)
    for measure, reason in (("perplexity", "--corpus or --arpa"), ("CIDEr", "give --references")):
        one = got[measure, "own | all"]
        assert (one.value, one.items, one.missing) == (None, 0, 4)
        assert reason in one.reason
    assert [p.subject for p in found.problems] == ["BLEU-1", "CIDEr"]


def test_references_of_other_images_are_none(own, tmp_path):
    strange = tmp_path / "strange.jsonl"
    strange.write_text('{"image": "x.png", "caption": "a dog"}\n')
    got = numbers(texts({"own": own}, tmp_path / "out", references=strange, settings=QUICK))
    assert got["BLEU-1", "own | all"].value is None
    assert got["BLEU-1", "own | all"].missing == 4


@pytest.mark.skipif(shutil.which("java") is not None, reason="Java is here: METEOR runs")
def test_without_java_meteor_is_unscored(own, tmp_path):
    settings = TextSettings(draws=50, metrics=("METEOR",))
    got = numbers(texts({"own": own}, tmp_path / "out", references=own, settings=settings))
    assert "Java" in got["METEOR", "own | all"].reason


def test_two_sources_of_a_language_model_are_one_too_many(own, tmp_path):
    with pytest.raises(BadInput, match="one of --corpus and --arpa"):
        texts({"own": own}, tmp_path / "out", corpus=own, language_model=own, settings=QUICK)


def test_another_run_is_not_overwritten(own, other, tmp_path):
    texts({"own": own}, tmp_path / "out", settings=QUICK)
    with pytest.raises(OutputExists, match="different data"):
        texts({"own": other}, tmp_path / "out", settings=QUICK, resume=True)
    texts({"own": other}, tmp_path / "out", settings=QUICK, overwrite=True)
