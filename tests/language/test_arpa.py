"""ARPA files: there and back to the digit, read by KenLM as by us, and refused by line when they are wrong."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path

import pytest

from alignscope.errors import BadData
from alignscope.language import arpa, katz, ngrams
from alignscope.language.perplexity import caption_scores, perplexity

KARPATHY = Path(__file__).parents[2].parent / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"
CAPTIONS = [
    "A dog runs on the grass.",
    "a dog and a cat on the sofa",
    "The cat sleeps",
    "Two dogs run",
    "a dog",
]
SMOOTHINGS = {
    "Kneser-Ney": ngrams.train,
    "modified": functools.partial(ngrams.train, modified=True),
    "Katz": katz.train,
    "Katz, all kept": functools.partial(katz.train, gtmin=(1,)),
}
GOOD = r"""A model written by hand; text before the data is passed over.

\data\
ngram 1=5
ngram 2=2

\1-grams:
-99	<s>	-0.5
-0.5	</s>
-1	<unk>
-0.25	a	-0.125
-0.75	dog	0.0625

\2-grams:
-0.1	<s> a
-0.2	a dog

\end\
what follows is passed over too
"""


@functools.cache
def karpathy() -> list[str]:
    if not KARPATHY.exists():
        pytest.skip(f"{KARPATHY} is not here")
    rows = json.loads(KARPATHY.read_text(encoding="utf-8"))
    return [caption for row in rows for caption in row["caption"]]


def shuffled(captions: list[str]) -> list[str]:
    """The same words of each caption in an order drawn by chance."""
    draw = random.Random(0)
    words = [ngrams.words_of(caption) for caption in captions]
    return [" ".join(draw.sample(each, k=len(each))) for each in words]


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_there_and_back_every_number_is_the_same(tmp_path: Path, smoothing: str, order: int):
    model = SMOOTHINGS[smoothing](CAPTIONS, order)
    arpa.write(tmp_path / "once.arpa", model)
    back = arpa.read(tmp_path / "once.arpa")
    assert back == model
    arpa.write(tmp_path / "twice.arpa", back)
    assert (tmp_path / "once.arpa").read_bytes() == (tmp_path / "twice.arpa").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["once.arpa", "twice.arpa"]


def test_a_model_written_by_hand(tmp_path: Path):
    (tmp_path / "hand.arpa").write_text(GOOD, encoding="utf-8")
    model = arpa.read(tmp_path / "hand.arpa")
    assert model.order == 2
    assert model.vocabulary == {"a", "dog", "</s>"}
    assert model.logprobs10(["a", "dog"]) == pytest.approx([-0.1, -0.2, 0.0625 - 0.5])
    assert model.logprobs10(["dog", "a", "zebra"]) == pytest.approx(
        [-0.5 - 0.75, 0.0625 - 0.25, -0.125 - 1, -0.5]
    )


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("\\data\\", "", r"no line \\data\\"),
        ("ngram 1=5\nngram 2=2\n", "", r":5: got '\\1-grams:', wanted 'ngram 1='"),
        ("ngram 1=5\n", "", ":4: got 'ngram 2=2', wanted the number of 1-grams"),
        ("ngram 2=2", "ngram 2=2\nngram 3=1", r":19: got '\\end\\', wanted the section \\3-grams:"),
        ("\\end\\", "\\3-grams:\n\\end\\", r":18: got '\\3-grams:', wanted \\end\\ after 2"),
        ("\\1-grams:", "\\2-grams:", r":7: got '\\2-grams:', wanted the section \\1-grams:"),
        ("ngram 1=5", "ngram 1=6", ":14: got 5 1-grams, wanted the 6"),
        ("ngram 2=2", "ngram 2=1", ":18: got 2 2-grams, wanted the 1"),
        ("-0.2\ta dog\n", "", ":17: got 1 2-grams, wanted the 2"),
        ("\\end\\\nwhat follows is passed over too\n", "", r"got the end of the file, wanted \\end\\"),
        ("-0.25\ta", "0.25\ta", ":11: got the logarithm 0.25"),
        ("-0.25\ta", "nan\ta", ":11: got 'nan', wanted a finite number"),
        ("-0.25\ta", "-inf\ta", ":11: got '-inf', wanted a finite number"),
        ("-0.25\ta", "x\ta", ":11: got 'x', wanted a finite number"),
        ("a\t-0.125", "a\tx", ":11: got 'x', wanted a finite number"),
        ("-0.25\ta", "-0.25\tdog", ":12: got 'dog' a second time"),
        ("-0.2\ta dog", "-0.2\t<s> a", ":16: got '<s> a' a second time"),
        ("-0.2\ta dog", "-0.2\ta cat", ":16: got 'cat', wanted words of the 1-grams"),
        ("-0.2\ta dog", "-0.2\ta", ":16: got .* wanted a logarithm, 2 words and no weight"),
        ("-0.2\ta dog", "-0.2\ta dog\t-0.1", ":16: got .* wanted a logarithm, 2 words and no weight"),
        ("a\t-0.125", "a b c", ":11: got .* wanted a logarithm, 1 words and at most one weight"),
        ("</s>", "<end>", "got no </s>"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, was: str, now: str, message: str):
    assert was in GOOD
    (tmp_path / "bad.arpa").write_text(GOOD.replace(was, now, 1), encoding="utf-8")
    with pytest.raises(BadData, match=message) as caught:
        arpa.read(tmp_path / "bad.arpa")
    assert "bad.arpa" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "binary.arpa").write_bytes(b"\xff\xfe\x00\x01")
    for name, message in (("binary.arpa", "not UTF-8"), ("none.arpa", "No such file")):
        with pytest.raises(BadData, match=message):
            arpa.read(tmp_path / name)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_kenlm_reads_the_same(tmp_path: Path, smoothing: str):
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed")
    captions = karpathy()
    model = SMOOTHINGS[smoothing](captions[12505:17505])
    arpa.write(tmp_path / "model.arpa", model)
    theirs = kenlm.Model(str(tmp_path / "model.arpa"))
    asked = captions[:500] + shuffled(captions[:500]) + ["zebra qwerty a man qwerty", "qwerty", "a a a a a"]
    unknown = 0
    for text in asked:
        words = ngrams.words_of(text)
        each = list(theirs.full_scores(" ".join(words)))
        assert len(each) == len(words) + 1, "the end of the sentence counts"
        assert model.logprobs10(words) == pytest.approx([score for score, _, _ in each], abs=2e-6)
        assert [not model.knows(word) for word in words] == [is_unknown for _, _, is_unknown in each[:-1]]
        unknown += sum(is_unknown for _, _, is_unknown in each)
    assert unknown > 100
    whole = perplexity(caption_scores(model, asked, unknown="score"))
    total = sum(theirs.score(" ".join(ngrams.words_of(text))) for text in asked)
    assert whole.ppl == pytest.approx(10 ** (-total / (whole.words + whole.sentences)), rel=1e-6)
