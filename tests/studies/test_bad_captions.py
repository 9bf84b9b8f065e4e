"""Captions that cannot be used, through every probe: each is unscored with a reason, and counted."""

import json

import pytest

from alignscope.data.world.grammar import WEB
from alignscope.data.world.world import World
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.zoo import open_model
from alignscope.records import TextScore
from alignscope.studies.captions.probed_texts import Settings
from alignscope.studies.captions.probes import probe
from alignscope.studies.captions.texts import TextSettings, texts

WORLD = World("test", size=12)
SCENES = [scene.id for scene in WORLD.scenes]
GOOD = {scene.id: said[0].text for scene, said in zip(WORLD.scenes, WORLD.captions(WEB, 1), strict=True)}
EMPTY, BLANK, REPEATED, NOUNLESS, ONE_NOUN, UNTOLD = (SCENES[n] for n in (0, 6, 1, 2, 3, 7))
UNKNOWN = ("test-0-999999", "strange.png")  # of which one looks like a scene's
BAD = {
    **{image: text for image, text in GOOD.items() if image not in SCENES[4:6]},
    **{
        EMPTY: "",
        BLANK: "  ",
        REPEATED: "moon " * 7 + "moon",
        NOUNLESS: "on the left of",
        ONE_NOUN: "a moon",
    },
    **dict.fromkeys(UNKNOWN, "a moon near a box"),
}
SETTINGS = Settings(draws=20, replacements=1, more_than=0, counts=(2, 3))


def written(path, rows):
    path.write_text("".join(json.dumps({"image": i, "caption": c}) + "\n" for i, c in rows))
    return path


@pytest.fixture(scope="module")
def model():
    return open_model("tiny-clip")


@pytest.fixture
def files(tmp_path):
    """Captions good and bad; references, none of `UNTOLD`, and of the fourth scene with a single noun."""
    told = [(s, one.text) for s, said in zip(SCENES, WORLD.captions(WEB, 5), strict=True) for one in said]
    return {
        "bad": written(tmp_path / "bad.jsonl", BAD.items()),
        "good": written(tmp_path / "good.jsonl", GOOD.items()),
        "references": written(
            tmp_path / "references.jsonl",
            [*((i, c) for i, c in told if i not in (UNTOLD, ONE_NOUN)), (ONE_NOUN, "a moon")],
        ),
    }


def numbers(found):
    return {(one.measure, one.group): one for one in found.measurements}


def reasons(found):
    """Why, by image; who is to blame stands before a colon."""
    rows = [row for row in read_jsonl(found.directory / "problems.jsonl") if row["action"] == "unscored"]
    assert len(rows) == len(found.problems) - sum(one.action != "unscored" for one in found.problems)
    return {(row["item"], row["what"].removeprefix("bad: ").removeprefix("m: ")) for row in rows}


UNSEEN = {(image, "unknown image: no scene of the world") for image in UNKNOWN}
VOID = {(EMPTY, "caption is empty"), (BLANK, "caption is empty")}


def test_a_look_at_texts_counts_what_it_cannot_read(files, tmp_path):
    found = texts(
        {"bad": files["bad"]},
        tmp_path / "out",
        references=files["references"],
        corpus=files["good"],
        settings=TextSettings(draws=20, metrics=("BLEU-1", "CIDEr")),
    )
    got, written_rows = numbers(found), len(BAD)
    assert (got["caption length", "bad | all"].items, got["caption length", "bad | all"].missing) == (10, 2)
    assert got["captions with a repeated noun", "bad | all"].value >= 1 / 10
    assert got["unique nouns per caption", "bad | all"].value < got["nouns per caption", "bad | all"].value
    assert got["perplexity", "bad | all"].missing == 2
    for metric in ("BLEU-1", "CIDEr"):
        one = got[metric, "bad | all"]
        assert (one.items, one.missing) == (written_rows - 5, 5), (
            "two empty, two unknown, one without references"
        )
    untold = {(image, "no references of this image") for image in (*UNKNOWN, UNTOLD)}
    assert reasons(found) == VOID | untold


def test_the_matrix_scores_the_rest(files, model, tmp_path):
    found = probe("matrix", {"bad": files["bad"], "good": files["good"]}, {"m": model}, tmp_path / "out",
                  settings=SETTINGS)  # fmt: skip
    got = numbers(found)
    assert (got["score", "m | bad | captions"].items, got["score", "m | bad | captions"].missing) == (8, 4)
    assert got["score", "m | good | captions"].missing == 0
    assert reasons(found) == VOID | UNSEEN
    scores = read_parquet(tmp_path / "out" / "scores.parquet", TextScore)
    unscored = {(one.image, one.reason) for one in scores if one.score is None}
    assert unscored == {(image, "image not scored") for image in UNKNOWN}
    assert REPEATED in {one.image for one in scores if one.source == "bad" and one.score is not None}


def test_a_choice_wants_captions_of_everybody(files, model, tmp_path):
    found = probe("choice", {"bad": files["bad"], "good": files["good"]}, {"m": model}, tmp_path / "out",
                  settings=SETTINGS)  # fmt: skip
    one = numbers(found)["chosen", "m | good | captions"]
    assert (one.items, one.missing) == (8, 6), "of 14 images two are unknown, two empty, two without"
    absent = {(image, "no caption of this image") for image in (*UNKNOWN, EMPTY, BLANK, *SCENES[4:6])}
    assert reasons(found) == VOID | UNSEEN | absent


def test_replacements_want_words_and_references(files, model, tmp_path):
    found = probe("replacements", {"bad": files["bad"]}, {"m": model}, tmp_path / "out",
                  references=files["references"], settings=SETTINGS)  # fmt: skip
    got = numbers(found)
    lost = {"wrong nouns": {NOUNLESS}, "random other words": {REPEATED}}
    for kind, own in lost.items():
        one = got["score", f"m | bad | {kind}"]
        gone = {EMPTY, BLANK, UNTOLD, *UNKNOWN, *own}
        assert (one.items, one.missing) == (len(BAD) - len(gone), len(gone)), kind
    untold = {(image, "no reference of the image") for image in (UNTOLD, *UNKNOWN)}
    wordless = {
        (image, f"{kind}: no word to replace in the caption") for kind, own in lost.items() for image in own
    }
    assert reasons(found) == VOID | UNSEEN | untold | wordless


def test_templates_want_a_noun(files, model, tmp_path):
    found = probe("templates", {"bad": files["bad"]}, {"m": model}, tmp_path / "out", settings=SETTINGS)
    one = numbers(found)["score", "m | bad | UNITER"]
    assert (one.items, one.missing) == (7, 5)
    assert reasons(found) == VOID | UNSEEN | {(NOUNLESS, "no noun in the caption")}
    made = {(s.image, s.name): s.text for s in read_parquet(tmp_path / "out" / "scores.parquet", TextScore)}
    assert made[REPEATED, "UNITER"] == made[ONE_NOUN, "UNITER"], "a noun said again is one noun"


def test_numbers_of_nouns_want_enough_of_them(files, model, tmp_path):
    found = probe("nouns", {"bad": files["references"]}, {"m": model}, tmp_path / "out", settings=SETTINGS)
    few = dict(reasons(found))
    assert few[ONE_NOUN] == "1 noun in the references, wanted 3"
    one = numbers(found)["score", "m | bad | UNITER | k=2"]
    assert one.items + one.missing == 11, "images of the references"
    assert one.missing == len(few)
