import numpy as np
import pytest
import torch

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.retrieval import IMAGE_TO_TEXT, TEXT_TO_IMAGE, ranks, recall
from alignscope.records import Rank, Signature

SIGNATURE = Signature("", "pairs", "9f31c2", 0, 0, "tiny-clip", "ab12", version="0.1.0")


def slow_ranks(images, texts, owner):
    """Ranks and ties from one cosine at a time, by definition."""

    def cosine(a, b):
        return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))

    def rank(right, wrong):
        best = max(right)
        return 1 + sum(s >= best for s in wrong), sum(s == best for s in wrong)

    found = []
    for i, image in enumerate(images):
        scores = [cosine(image, text) for text in texts]
        right = [s for s, o in zip(scores, owner, strict=True) if o == i]
        found.append(rank(right, [s for s, o in zip(scores, owner, strict=True) if o != i]))
    for text, o in zip(texts, owner, strict=True):
        scores = [cosine(image, text) for image in images]
        found.append(rank([scores[o]], [s for i, s in enumerate(scores) if i != o]))
    return found


@pytest.mark.parametrize("block", [1, 3, 512])
def test_ranks_match_a_plain_loop_with_ties(block):
    """Signed axes of different lengths: every cosine is exactly -1, 0 or 1, so ties abound."""
    generator = np.random.default_rng(0)

    def axes(count):
        return np.eye(3)[generator.integers(3, size=count)] * generator.choice(
            [-2.0, 1.0, 4.0], size=(count, 1)
        )

    ties = 0
    for _ in range(20):
        images, texts = axes(7), axes(16)
        owner = [*range(7), *generator.integers(7, size=9).tolist()]
        found = ranks(torch.tensor(images), torch.tensor(texts), owner, list("abcdefg"), block=block)
        assert [(rank.rank, rank.ties) for rank in found] == slow_ranks(images, texts, owner)
        ties += sum(rank.ties for rank in found)
    assert ties > 500


@pytest.mark.parametrize("block", [1, 4, 512])
def test_ranks_match_a_plain_loop_on_continuous_embeddings(block):
    generator = np.random.default_rng(1)
    images, texts = generator.normal(size=(11, 6)), generator.normal(size=(30, 6))
    owner = [*range(11), *generator.integers(11, size=19).tolist()]
    found = ranks(
        torch.tensor(images), 5 * torch.tensor(texts), owner, [str(i) for i in range(11)], block=block
    )
    assert [(rank.rank, rank.ties) for rank in found] == slow_ranks(images, texts, owner)


def test_a_case_worked_out_by_hand():
    images = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    texts = torch.tensor([[0.0, 1.0], [3.0, 1.0], [1.0, 2.0]])  # the first two describe image 0
    assert ranks(images, texts, [0, 0, 1], ["cat", "dog"]) == [
        Rank("cat", "cat", IMAGE_TO_TEXT, 1, 0, 3),  # its second caption is the nearest
        Rank("dog", "dog", IMAGE_TO_TEXT, 2, 0, 3),  # the cat's first caption is nearer
        Rank("cat#0", "cat", TEXT_TO_IMAGE, 2, 0, 2),
        Rank("cat#1", "cat", TEXT_TO_IMAGE, 1, 0, 2),
        Rank("dog#0", "dog", TEXT_TO_IMAGE, 1, 0, 2),
    ]


def test_a_model_that_says_the_same_of_everything_comes_last():
    found = ranks(torch.ones(4, 3), torch.ones(8, 3), [0, 0, 1, 1, 2, 2, 3, 3], list("abcd"))
    assert {(r.direction, r.rank, r.ties, r.candidates) for r in found} == {
        (IMAGE_TO_TEXT, 7, 6, 8),
        (TEXT_TO_IMAGE, 4, 3, 4),
    }


def test_the_same_words_for_two_images_tie_exactly():
    """Many columns, so that a matrix product may round equal columns differently."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(37, 512, generator=generator)
    distinct = images + 0.1 * torch.randn(37, 512, generator=generator)
    distinct[30] = distinct[3]  # image 30's caption is image 3's, word for word
    found = ranks(images, distinct, list(range(37)), [str(i) for i in range(37)])
    by_query = {(rank.direction, rank.query): rank for rank in found}
    assert (by_query[IMAGE_TO_TEXT, "3"].rank, by_query[IMAGE_TO_TEXT, "3"].ties) == (2, 1)
    assert by_query[IMAGE_TO_TEXT, "30"].ties == 1
    assert by_query[TEXT_TO_IMAGE, "3#0"].rank == 1
    assert by_query[IMAGE_TO_TEXT, "4"].rank == 1


def test_the_same_words_twice_for_one_image_are_no_tie():
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = ranks(torch.eye(2), texts, [0, 0, 1], ["a", "b"], text_keys=["x", "y", "z"])
    assert [(r.query, r.rank, r.ties) for r in found] == [
        ("a", 1, 0),
        ("b", 1, 0),
        ("x", 1, 0),
        ("y", 1, 0),
        ("z", 1, 0),
    ]


def test_recall_worked_out_by_hand():
    found = [
        Rank("a", "a", IMAGE_TO_TEXT, 1, 0, 20),
        Rank("b", "b", IMAGE_TO_TEXT, 3, 2, 20),  # only ties keep it from being first
        Rank("c", "c", IMAGE_TO_TEXT, 7, 1, 20),
        Rank("d", "d", IMAGE_TO_TEXT, 20, 0, 20),
        Rank("a#0", "a", TEXT_TO_IMAGE, 2, 0, 4),
        Rank("b#0", "b", TEXT_TO_IMAGE, 1, 0, 4),
    ]
    numbers = recall(found, signature=SIGNATURE, missing={IMAGE_TO_TEXT: 2})
    table = {(number.group, number.measure): number for number in numbers}
    assert len(table) == len(numbers) == 6
    first, fifth, tenth = (table[IMAGE_TO_TEXT, f"recall@{k}"] for k in (1, 5, 10))
    assert (first.value, fifth.value, tenth.value) == (0.25, 0.5, 0.75)
    assert (first.ties, fifth.ties, tenth.ties) == (1, 0, 0)
    assert (first.items, first.images, first.missing) == (4, 4, 2)
    assert first.signature.startswith("recall@1|data:pairs|sha:9f31c2|items:4|images:4|")
    assert "|ties:worst|" in first.signature
    assert table[TEXT_TO_IMAGE, "recall@1"].value == 0.5
    trivial = table[TEXT_TO_IMAGE, "recall@5"]
    assert (trivial.value, trivial.missing) == (None, 2)
    assert trivial.reason == "5 takes in all of 4 candidates"


def test_recall_clusters_on_images():
    copies = [Rank(str(i), f"image {i % 2}", TEXT_TO_IMAGE, 1 + i % 2, 0, 50) for i in range(100)]
    number = recall(copies, signature=SIGNATURE, ks=(1,))[1]
    assert (number.value, number.low, number.high) == (0.5, 0.0, 1.0)


def test_bad_input_says_what_to_do():
    eye = torch.eye(2)
    with pytest.raises(LengthMismatch, match="1 keys for 2 images"):
        ranks(eye, eye, [0, 1], ["a"])
    with pytest.raises(BadData, match="holds positions in `images`"):
        ranks(eye, eye, [0, 2], ["a", "b"])
    with pytest.raises(BadData, match="1 images have no caption \\(first: 'b'\\): leave them out"):
        ranks(eye, eye, [0, 0], ["a", "b"])
    with pytest.raises(BadData, match="1 text embeddings are zero or not finite \\(first: 1\\)"):
        ranks(eye, torch.tensor([[1.0, 0.0], [0.0, torch.nan]]), [0, 1], ["a", "b"])
