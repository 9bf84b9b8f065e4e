import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.cider import Cider
from alignscope.evaluation.tokenisation import python_words

KARPATHY = Path(__file__).parents[2].parent / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"
DOGS = [[["a", "dog", "runs"], ["a", "brown", "dog"]], [["a", "red", "kite"]]]


def real(images, start=0):
    """Candidate and other references of real images: one caption of each against its others."""
    if not KARPATHY.exists():
        pytest.skip(f"{KARPATHY} is not here")
    rows = json.loads(KARPATHY.read_text())[start : start + images]
    words = [[python_words(caption).split() for caption in row["caption"]] for row in rows]
    return [group[0] for group in words], [group[1:] for group in words]


def plain(candidate, references, frequency, images):
    """CIDEr-D written down as in the paper with the clipping, one candidate at a time."""

    def vectors(row):
        grams = [Counter(zip(*(row[i:] for i in range(n)), strict=False)) for n in (1, 2, 3, 4)]
        return [
            {g: tf * (math.log(images) - math.log(max(1, frequency[g]))) for g, tf in each.items()}
            for each in grams
        ]

    total = 0.0
    for reference in references:
        for ours, theirs in zip(vectors(candidate), vectors(reference), strict=True):
            norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
            dot = sum(min(ours[g], theirs[g]) * theirs[g] for g in ours.keys() & theirs.keys())
            apart = max(0, len(candidate) - 1) - max(0, len(reference) - 1)
            total += math.exp(-(apart**2) / 72) * (dot / norms if norms else 0)
    return 10 * total / 4 / len(references)


def frequencies(groups):
    return Counter(
        gram
        for group in groups
        for gram in {
            tuple(row[i : i + n]) for row in group for n in (1, 2, 3, 4) for i in range(len(row) - n + 1)
        }
    )


def test_real_captions_score_as_with_pycocoevalcap():
    from pycocoevalcap.cider.cider import Cider as Published

    candidates, references = real(1500)
    texts = {place: [" ".join(row)] for place, row in enumerate(candidates)}
    wanted = {place: [" ".join(row) for row in group] for place, group in enumerate(references)}
    _, theirs = Published().compute_score(wanted, texts)
    ours = Cider.of(references).scores(candidates, references)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    assert 0.5 < ours.mean() < 1.5


def test_frequencies_of_other_images_score_as_written_down_plainly():
    """Also with words the training references do not know, and several candidates of one image."""
    _, training = real(700)
    candidates, references = real(40, start=1000)
    candidates += [[*row[::-1], "zyzzy", "zyzzy"] for row in candidates]
    references += references
    frequency = frequencies(training)
    wanted = [plain(row, group, frequency, 700) for row, group in zip(candidates, references, strict=True)]
    found = Cider.of(training).scores(candidates, references)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


def test_frequencies_given_once_are_pycocoevalcaps():
    """Its scorer with its table and number of images set from elsewhere."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    _, training = real(300)
    candidates, references = real(30, start=1000)
    scorer = CiderScorer()
    for row, group in zip(candidates, references, strict=True):
        scorer += (" ".join(row), [" ".join(each) for each in group])
    scorer.document_frequency.update(frequencies(training))
    scorer.crefs += [[]] * (300 - 30)  # it takes log(number of images) from here
    np.testing.assert_allclose(
        Cider.of(training).scores(candidates, references), scorer.compute_cider(), rtol=0, atol=1e-9
    )


def test_a_case_worked_out_by_hand():
    """ "a" is in both images (weight 0), all else in one of two (log 2): cosines are of counts."""
    candidate = ["a", "dog", "dog"]
    one = 10 * (1 / math.sqrt(2 * 2 * 2)) / 4  # vs "a dog runs": dog clipped to 1 of 2; norms 2 and sqrt 2
    two_of_bigrams = 10 * (1 / 2) / 4  # "a dog"
    # vs "a dog runs": unigrams 1/(2 sqrt 2), bigrams 1/2, no trigram in common, no 4-gram at all
    found = Cider.of(DOGS).scores([candidate], [[DOGS[0][0]]])
    assert found[0] == pytest.approx(one + two_of_bigrams, abs=1e-12)


def test_a_caption_of_four_words_against_itself_is_ten():
    references = [[["a", "dog", "runs", "fast"]], [["some", "kites"]]]
    assert Cider.of(references).scores([references[0][0]], references[:1])[0] == pytest.approx(10)


def test_length_is_punished_by_the_gaussian():
    references = [[["dog"]], [["kite"]]]
    longer = ["dog", *["dog"] * 6]  # 6 bigrams more; unigram cosine is min(7, 1) * 1 / (7 * 1)
    found = Cider.of(references).scores([longer], references[:1])[0]
    assert found == pytest.approx(10 / 4 * math.exp(-36 / 72) / 7)


def test_a_repeated_token_and_an_empty_candidate_and_nothing_at_all():
    cider = Cider.of(DOGS)
    found = cider.scores([["dog"] * 20, [], ["unknown"]], [DOGS[0]] * 3)
    assert np.isfinite(found).all()
    assert 0 < found[0] < 1
    assert found[1:].tolist() == [0, 0]
    assert cider.scores([[]], [[[]]]).tolist() == [0]
    assert cider.scores([], []).shape == (0,)


def test_ids_score_as_words_do():
    candidates, references = real(300)
    number = {word: 7 * place for place, word in enumerate({w for g in references for r in g for w in r})}
    number |= {
        word: -1 - place for place, word in enumerate({w for r in candidates for w in r} - number.keys())
    }
    ids = [[number[word] for word in row] for row in candidates]
    groups = [[[number[word] for word in row] for row in group] for group in references]
    wanted = Cider.of(references).scores(candidates, references)
    np.testing.assert_allclose(Cider.of(groups).scores(ids, groups), wanted, rtol=0, atol=1e-12)


def test_the_end_counts_as_a_token_and_what_follows_is_not_read():
    references = [[[5, 6, 0], [5, 7, 8, 0]], [[9, 6, 0]]]
    padded = [[[*row, 0, 0] for row in group] for group in references]
    candidates = [[5, 6, 0, 3, 3], [5, 6, 7]]
    with_end = Cider.of(padded, end=0).scores(candidates, padded)
    np.testing.assert_allclose(with_end, Cider.of(references).scores([[5, 6, 0], [5, 6, 7]], references))
    without = Cider.of([[row[:-1] for row in group] for group in references])
    assert with_end[0] != pytest.approx(without.scores([[5, 6]], [[[5, 6], [5, 7, 8]]])[0])


def test_groups_of_the_same_object_and_equal_copies_score_alike():
    candidates, references = real(20)
    cider = Cider.of(references)
    shared = cider.scores(candidates * 2, [references[0]] * 40)
    copied = cider.scores(candidates * 2, [[list(row) for row in references[0]] for _ in range(40)])
    np.testing.assert_array_equal(shared, copied)


def test_chunks_leave_no_trace(monkeypatch):
    candidates, references = real(50)
    whole = Cider.of(references)
    monkeypatch.setattr("alignscope.evaluation.cider.CHUNK", 7)
    parts = Cider.of(references)
    np.testing.assert_allclose(
        parts.scores(candidates, references), whole.scores(candidates, references), rtol=1e-14
    )
    assert frequencies(references).total() == parts.frequencies.sum() == whole.frequencies.sum()


@pytest.mark.parametrize("as_ids", [False, True])
def test_frequencies_on_file_score_as_those_counted(tmp_path, as_ids):
    candidates, references = real(100)
    if as_ids:
        number = {word: place for place, word in enumerate({w for g in references for r in g for w in r})}
        references = [[[number[word] for word in row] for row in group] for group in references]
        candidates = [[number.get(word, 99_999) for word in row] for row in candidates]
    cider = Cider.of(references, end=0 if as_ids else None)
    cider.write(tmp_path / "df.json")
    again = Cider.read(tmp_path / "df.json")
    assert again.end == cider.end
    np.testing.assert_allclose(again.scores(candidates, references), cider.scores(candidates, references))
    table = json.loads((tmp_path / "df.json").read_text())["document_frequency"]
    if not as_ids:
        assert table == {" ".join(gram): count for gram, count in frequencies(references).items()}


GOOD = {"images": 3, "tokens": "ids", "end": 0, "document_frequency": {"1 2": 2, "0": 3}}


def test_a_converted_table_is_read(tmp_path):
    (tmp_path / "df.json").write_text(json.dumps(GOOD))
    cider = Cider.read(tmp_path / "df.json")
    found = cider.scores([[1, 2, 0]], [[[1, 2, 5, 0]]])
    wanted = plain([1, 2, 0], [[1, 2, 5, 0]], Counter({(1, 2): 2, (0,): 3}), 3)
    assert found[0] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"images": 0},
        {"tokens": "letters"},
        {"document_frequency": {"1": 4}},
        {"document_frequency": {"1": 0}},
        {"document_frequency": {"1": 1.5}},
        {"document_frequency": {"a": 1}},
        {"document_frequency": {"1 2 3 4 5": 1}},
        {"document_frequency": {"": 1}},
        {"document_frequency": {}},
        {"document_frequency": []},
        {"end": [0]},
    ],
    ids=str,
)
def test_a_wrong_file_is_refused(tmp_path, change):
    (tmp_path / "df.json").write_text(json.dumps(GOOD | change))
    with pytest.raises(BadData, match=r"df\.json"):
        Cider.read(tmp_path / "df.json")


@pytest.mark.parametrize(
    ("candidates", "references", "error", "says"),
    [
        ([["a"]], [], LengthMismatch, "1 candidates for 0"),
        ([["a"], ["b"]], [[["a"]], []], BadData, "candidate 1 has no references"),
        (["a dog"], [[["a"]]], BadData, "sequence of words"),
        ([["a"]], [["a dog"]], BadData, "sequence of words"),
        ([[1, 2]], [[["a"]]], BadData, "sequence of words"),
    ],
)
def test_what_cannot_be_scored_is_refused(candidates, references, error, says):
    with pytest.raises(error, match=says):
        Cider.of(DOGS).scores(candidates, references)


@pytest.mark.parametrize("references", [[], [[]], [[["a"]], []], [[[]]]])
def test_no_references_are_refused(references):
    with pytest.raises(BadData, match="references"):
        Cider.of(references)


def test_more_tokens_than_fit_are_refused():
    with pytest.raises(BadData, match="65537 different tokens"):
        Cider.of([[list(range(65_537))]])
    largest = [[list(range(65_535))], [[65_534, 65_533]]]
    assert Cider.of(largest).scores([[65_534, 65_533]], [[[65_534, 65_533]]])[0] == pytest.approx(2.5)


def test_a_token_with_a_space_is_not_written(tmp_path):
    with pytest.raises(BadData, match="space"):
        Cider.of([[["ice cream"]]]).write(tmp_path / "df.json")
