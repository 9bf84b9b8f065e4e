import importlib.util
import json
import math
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from alignscope.errors import BadData, MissingExtra, UnknownName
from alignscope.evaluation import caption_metrics as module
from alignscope.evaluation.caption_metrics import METRICS, caption_metrics
from alignscope.evaluation.java import has_java, jars
from alignscope.records import ImageCaption, Signature

KARPATHY = Path(__file__).parents[2].parent / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"
SIGNATURE = Signature("", "coco", "9f31c2", 0, 0, "tiny", "ab12", version="0.1.0")
NO_JAVA_NEEDED = tuple(metric for metric in METRICS if metric not in ("METEOR", "SPICE"))
CAPTIONS = [ImageCaption("1", "a dog runs"), ImageCaption("2", "a red kite flies")]
REFERENCES = [
    ImageCaption("1", "A dog sits."),
    ImageCaption("2", "A red kite flies!"),
    ImageCaption("2", "a kite"),
]


def measure(captions=CAPTIONS, references=REFERENCES, **options):
    options = {"metrics": NO_JAVA_NEEDED, "tokens": "python", "draws": 50} | options
    return caption_metrics(captions, references, signature=SIGNATURE, **options)


def number(found, metric):
    [one] = [each for each in found.numbers if each.measure == metric]
    return one


def values(found, metric):
    return [score.value for score in found.scores if score.metric == metric]


def real(images):
    """One caption of each real image, and its others as references; as pycocoevalcap wants them too."""
    if not KARPATHY.exists():
        pytest.skip(f"{KARPATHY} is not here")
    rows = json.loads(KARPATHY.read_text())[:images]
    captions = [ImageCaption(row["image"], row["caption"][0]) for row in rows]
    references = [ImageCaption(row["image"], text) for row in rows for text in row["caption"][1:]]
    words = [[module.tokenised(row["caption"], tokens="python").texts] for row in rows]
    wanted = {place: list(texts[1:]) for place, [texts] in enumerate(words)}
    candidates = {place: [texts[0]] for place, [texts] in enumerate(words)}
    return captions, references, wanted, candidates


def fake_java(monkeypatch, folder, script):
    """A `java` that runs this Python script."""
    program = folder / "java"
    program.write_text(f"#!{sys.executable}\nimport json, sys\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_real_captions_score_as_with_pycocoevalcap():
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    captions, references, wanted, candidates = real(400)
    found = measure(captions, references)
    published = {f"BLEU-{order + 1}": each for order, each in enumerate(
        zip(*Bleu().compute_score(wanted, candidates, verbose=0), strict=True)
    )}  # fmt: skip
    published |= {"ROUGE-L": Rouge().compute_score(wanted, candidates)}
    published |= {"CIDEr": Cider().compute_score(wanted, candidates)}
    for metric, (whole, each) in published.items():
        assert number(found, metric).value == pytest.approx(whole, abs=1e-12), metric
        np.testing.assert_allclose(values(found, metric), each, rtol=0, atol=1e-12, err_msg=metric)
        assert number(found, metric).items == number(found, metric).images == 400


@pytest.mark.skipif(not has_java(), reason="no Java here")
def test_meteor_of_real_captions_is_pycocoevalcaps():
    """Its number is no mean over captions: METEOR of the summed statistics."""
    from pycocoevalcap.meteor.meteor import Meteor

    captions, references, wanted, candidates = real(40)
    captions += [ImageCaption("whole", "a dog runs"), ImageCaption("none", "zyzzy")]
    references += [ImageCaption("whole", "a dog runs"), ImageCaption("none", "a kite")]
    wanted |= {"whole": ["a dog runs"], "none": ["a kite"]}
    candidates |= {"whole": ["a dog runs"], "none": ["zyzzy"]}
    program = Meteor()
    try:
        found = measure(captions, references, metrics=["METEOR"])
        whole, each = program.compute_score(wanted, candidates)
    finally:
        program.meteor_p.stdout.close()
        program.meteor_p.stderr.close()
    assert number(found, "METEOR").value == pytest.approx(whole, abs=1e-12)
    np.testing.assert_allclose(values(found, "METEOR"), each, rtol=0, atol=1e-12)
    assert each[-2:] == [1, 0]
    assert number(found, "METEOR").low < whole < number(found, "METEOR").high
    assert whole != pytest.approx(np.mean(each), abs=1e-3)


def test_bleu_worked_out_by_hand():
    found = measure()
    # 3 + 4 words, 2 + 4 in a reference; 2 + 3 pairs, 1 + 3 in a reference; no length penalty
    assert number(found, "BLEU-1").value == pytest.approx(6 / 7)
    assert number(found, "BLEU-2").value == pytest.approx(math.sqrt(6 / 7 * 4 / 5))
    assert values(found, "BLEU-2") == pytest.approx([math.sqrt(2 / 3 / 2), 1])


def test_bleu_of_a_short_caption_is_punished():
    references = [ImageCaption("1", "a dog runs"), ImageCaption("1", "a dog runs on the grass")]
    found = measure([ImageCaption("1", "a dog")], references, metrics=["BLEU-1"])
    assert number(found, "BLEU-1").value == pytest.approx(math.exp(1 - 3 / 2))
    assert number(found, "BLEU-1").reason == "one image: no interval"


def test_rouge_worked_out_by_hand():
    # "a dog" of 3 and 3 words; the second caption is its first reference
    assert values(measure(), "ROUGE-L") == pytest.approx([2 / 3, 1])
    assert number(measure(), "ROUGE-L").value == pytest.approx(5 / 6)


def test_bleus_interval_is_of_corpora_drawn_anew():
    from pycocoevalcap.bleu.bleu import Bleu

    captions, references, wanted, candidates = real(40)
    found = measure(captions, references, metrics=["BLEU-4", "ROUGE-L"], draws=200, seed=3)
    drawn = np.random.default_rng(3).integers(40, size=(200, 40))
    corpora = [
        Bleu().compute_score(
            {new: wanted[old] for new, old in enumerate(row)},
            {new: candidates[old] for new, old in enumerate(row)},
            verbose=0,
        )[0][3]
        for row in drawn.tolist()
    ]
    one = number(found, "BLEU-4")
    assert (one.low, one.high) == pytest.approx(np.quantile(corpora, [0.025, 0.975]), abs=1e-12)
    means = np.array(values(found, "ROUGE-L"))[drawn].mean(axis=1)
    one = number(found, "ROUGE-L")
    assert (one.low, one.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=1e-12)


def test_what_cannot_be_scored_says_why_and_is_counted():
    bad = [
        ImageCaption("3", "a cat"),
        ImageCaption("4", " \n"),
        ImageCaption("5", "..."),
        ImageCaption("6", "a cat"),
    ]
    references = [
        *REFERENCES,
        ImageCaption("4", "x"),
        ImageCaption("5", "x"),
        ImageCaption("6", "x"),
        ImageCaption("6", "!"),
    ]
    found, alone = measure([*bad[:2], *CAPTIONS, *bad[2:]], references), measure()
    for metric in NO_JAVA_NEEDED:
        assert number(found, metric).value == number(alone, metric).value
        assert (number(found, metric).items, number(found, metric).missing) == (2, 4)
        told = {s.image: s.reason for s in found.scores if s.metric == metric and s.value is None}
        assert told == {
            "3": "no references of this image",
            "4": "empty caption",
            "5": "no word in the caption '...'",
            "6": "no word in reference 2 of this image",
        }
        assert values(found, metric)[2:4] == values(alone, metric)


@pytest.mark.parametrize("captions", [[], [ImageCaption("1", "")], [ImageCaption("9", "a dog")]], ids=len)
def test_nothing_to_score_is_no_zero(captions):
    for one in measure(captions).numbers:
        assert (one.value, one.items, one.missing) == (None, 0, len(captions))
        assert one.reason == "no caption could be scored"


def test_one_repeated_token_is_scored():
    found = measure([ImageCaption("1", "dog " * 20), CAPTIONS[1]])
    for metric in NO_JAVA_NEEDED:
        assert 0 <= values(found, metric)[0] < 0.5
    assert values(found, "BLEU-1")[0] == pytest.approx(1 / 20)


def test_cider_of_one_image_has_no_weights():
    found = measure(CAPTIONS[:1])
    assert number(found, "CIDEr").value is None
    assert "one image" in number(found, "CIDEr").reason
    assert number(found, "BLEU-1").value == pytest.approx(2 / 3)


def test_an_image_twice_and_an_unknown_metric_are_refused():
    with pytest.raises(BadData, match="image '1' has 2 captions"):
        measure([*CAPTIONS, ImageCaption("1", "a cat")])
    with pytest.raises(UnknownName, match="BLEU-5"):
        measure(metrics=["BLEU-5"])


def test_the_signature_says_which_words_and_whose_code():
    assert number(measure(), "CIDEr").signature == (
        "CIDEr|method:tokens=python,pycocoevalcap=1.2|data:coco|sha:9f31c2|items:2|images:2|model:tiny|"
        "weights:ab12|dtype:float64|ties:none|seed:0|v:0.1.0"
    )


def test_only_what_is_asked_for_is_scored():
    found = measure(metrics=["CIDEr", "BLEU-4"])
    assert [one.measure for one in found.numbers] == ["CIDEr", "BLEU-4"]
    assert len(found.scores) == 4


def test_without_java_some_cells_are_unscored_and_the_words_are_pythons(monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = measure(metrics=METRICS, tokens=None)
    assert "tokens=python" in number(found, "CIDEr").signature
    assert number(found, "CIDEr").value == number(measure(), "CIDEr").value
    meteor = number(found, "METEOR")
    assert (meteor.value, meteor.items, meteor.missing) == (None, 0, 2)
    assert meteor.reason == "METEOR: no `java` on the PATH: install a Java runtime"
    assert values(found, "METEOR") == [None, None]
    assert {s.reason for s in found.scores if s.metric == "METEOR"} == {meteor.reason}
    asked = measure(metrics=METRICS, tokens="stanford")
    assert {one.value for one in asked.numbers} == {None}
    assert "no `java`" in number(asked, "BLEU-1").reason


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("sys.exit('Error: no memory\\nmore')", "METEOR: `java` ended with code 1: Error: no memory"),
        ("print('1.0 2.0')", "METEOR: its program gave something else than statistics of each caption"),
    ],
)
def test_a_meteor_that_fails_is_unscored(monkeypatch, tmp_path, script, reason):
    fake_java(monkeypatch, tmp_path, script)
    assert number(measure(metrics=["METEOR"]), "METEOR").reason == reason


def test_spice_without_its_parser_downloads_nothing(monkeypatch, tmp_path):
    (tmp_path / "spice" / "lib").mkdir(parents=True)
    monkeypatch.setattr(module, "jars", lambda: tmp_path)
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("it went for the network"))
    before = sorted(jars().rglob("*"))
    spice = number(measure(metrics=["SPICE"]), "SPICE")
    assert spice.value is None
    assert "stanford-corenlp-3.6.0.jar and stanford-corenlp-3.6.0-models.jar" in spice.reason
    assert "nothing is downloaded" in spice.reason
    assert sorted(jars().rglob("*")) == before
    assert not list(tmp_path.rglob("*.jar"))


WRITE = "rows = json.load(open(sys.argv[sys.argv.index('-jar') + 2]))\nout = open(sys.argv[sys.argv.index('-out') + 1], 'w')\n"


@pytest.mark.parametrize(
    ("script", "found", "reason"),
    [
        (
            "json.dump([{'image_id': r['image_id'], 'scores': {'All': {'f': len(r['refs']) / 4}}} for r in rows[::-1]], out)",
            [0.25, 0.5],
            "",
        ),
        (
            "json.dump([{'image_id': r['image_id'], 'scores': {'All': {'f': [0.5, None][r['image_id']]}}} for r in rows], out)",
            [0.5, None],
            "one image: no interval",
        ),
        ("out.write('[]')", [None, None], "SPICE: its program left no readable scores (KeyError)"),
        ("out.write('no')", [None, None], "SPICE: its program left no readable scores (JSONDecodeError)"),
        ("sys.exit('no model')", [None, None], "SPICE: `java` ended with code 1: no model"),
    ],
)
def test_spice_reads_its_program(monkeypatch, tmp_path, script, found, reason):
    (tmp_path / "spice" / "lib").mkdir(parents=True)
    for name in module.CORENLP:
        (tmp_path / "spice" / "lib" / name).touch()
    monkeypatch.setattr(module, "jars", lambda: tmp_path)
    fake_java(monkeypatch, tmp_path, WRITE + script)
    got = measure(metrics=["SPICE"])
    assert values(got, "SPICE") == found
    known = [value for value in found if value is not None]
    assert number(got, "SPICE").value == (pytest.approx(np.mean(known)) if known else None)
    assert number(got, "SPICE").missing == 2 - len(known)
    assert number(got, "SPICE").reason == reason


def test_a_missing_extra_is_the_pip_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'alignscope\[caption\]'"):
        measure()
