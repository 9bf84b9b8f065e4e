import json
from pathlib import Path

import pytest

from alignscope.evaluation.java import has_java
from alignscope.evaluation.tokenisation import default_tokens, python_words, tokenised

KARPATHY = Path(__file__).parents[2].parent / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"
needs_java = pytest.mark.skipif(not has_java(), reason="no Java here")

CASES = {  # text: what the Java tokeniser gives of it
    "Can't park; doesn't, won't, they're.": "ca n't park does n't wo n't they 're",
    "the dogs' bowls and the dog's": "the dogs bowls and the dog 's",
    'a "stop sign" (broken)': "a stop sign -lrb- broken -rrb-",
    "hmm... what?! no!! wow?": "hmm what ?! no !! wow",
    "half-eaten - old -- new": "half-eaten old new",
    "a U.S army truck, a T.V. and Dr. X at N. Astor St.": "a u.s army truck a t.v. and dr. x at n. astor st.",
    "lying I. The step": "lying i the step",
    "1,000 dogs at 6:30 am, 1/2 off": "1,000 dogs at 6:30 am 1/2 off",
    "M&Ms and a & b": "m&m s and a & b",
    "one\ntwo\u2028three\r\nfour": "one two three four",
    "cannot gonna": "can not gon na",
    "it’s “nice” – really…": "it 's nice really",
    "a fork.A pipe": "a fork.a pipe",
    "café 日本": "café 日本",
    ".": "",
}


@pytest.mark.parametrize("text", CASES)
def test_words_without_java(text):
    assert tokenised([text], tokens="python").texts == (CASES[text],)


@needs_java
def test_words_with_java_line_for_line():
    found = tokenised([*CASES, "  ", "a dog"], tokens="stanford")
    assert found.reason == ""
    assert found.texts == (*CASES.values(), "", "a dog")


@needs_java
def test_both_agree_on_all_captions_of_the_karpathy_test_images():
    if not KARPATHY.exists():
        pytest.skip(f"{KARPATHY} is not here")
    texts = [text for row in json.loads(KARPATHY.read_text()) for text in row["caption"]]
    theirs = tokenised(texts, tokens="stanford").texts
    apart = [text for text, words in zip(texts, theirs, strict=True) if python_words(text) != words]
    assert len(texts) == 25_010
    assert apart == []


@needs_java
def test_the_java_words_are_pycocoevalcaps(capfd):
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    texts = [text for text in CASES if not {"\u2028", "\r"} & set(text)]
    found = PTBTokenizer().tokenize({place: [{"caption": text}] for place, text in enumerate(texts)})
    assert tuple(one for [one] in found.values()) == tokenised(texts, tokens="stanford").texts


def test_without_java_the_default_is_python_and_stanford_says_why_not(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert default_tokens() == "python"
    found = tokenised(["a dog"], tokens="stanford")
    assert found.texts == ()
    assert "Java" in found.reason


def test_a_tokeniser_that_loses_a_line_is_not_believed(monkeypatch, tmp_path):
    (tmp_path / "java").write_text("#!/bin/sh\necho a dog\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = tokenised(["a dog", "a cat"], tokens="stanford")
    assert (found.texts, found.reason) == ((), "the Java tokeniser gave 1 lines for 2")
