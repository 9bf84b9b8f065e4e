"""Faithfulness on a bag of words whose scores a person can add up, and against a plain loop on tiny-clip."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
import torch

import alignscope
from alignscope.attribution.attribute import attribute
from alignscope.attribution.faithfulness import RANDOM, faithfulness
from alignscope.attribution.options import Options
from alignscope.errors import BadInput, LengthMismatch
from alignscope.models.protocols import DualEncoder, Tokens, Traits
from alignscope.records import Attribution, Caption, Item, Word, WordHeat

VOCABULARY = ["the", "big", "red", "dog", "runs"]
WEIGHTS = {"the": 3.0, "big": 1.0, "red": 2.0, "dog": 4.0, "runs": 1.0}
RIGHT = {"big": 0.2, "red": 0.5, "dog": 0.9, "runs": 0.1}
SCALE, BIAS = 2.0, -5.0


class Bag:
    """Scores a text by the summed weights of its words: one orthogonal embedding per word, not normalised."""

    name = fingerprint = "bag"

    def __init__(self, context_length: int = 9) -> None:
        self.traits = Traits(
            "dual", "patch", None, context_length, "gelu", "end", False, True, (), SCALE, BIAS
        )
        self.encoded: list[str] = []

    def encode_texts(self, texts, *, batch_size=256, progress=None):
        self.encoded += texts
        return torch.tensor([[float(t.split().count(word)) for word in VOCABULARY] for t in texts])

    def tokens(self, texts):
        ids = torch.zeros(len(texts), 1, dtype=torch.long)
        return Tokens(ids, ids, ids[:, 0], ((),) * len(texts), tuple(len(t.split()) for t in texts))

    def _unused(self, *arguments, **options):
        raise AssertionError("faithfulness has no need of this")

    score = encode_images = score_grid = pixels = embed_pixels = embed_tokens = _unused
    text_attention = text_inputs = image_attention = view = scrambled = evaluating = _unused


def item_of(text: str = "the big red dog runs", name: str = "1") -> Item:
    words, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        words.append(Word(word, start, start + len(word), "other"))
        start += len(word)
    return Item(name, f"image {name}", Caption(text, tuple(words)))


def attributed(item: Item, method: str, heats: dict[str, float]) -> Attribution:
    words = tuple(
        WordHeat(item.id, item.image, at, w.text, w.start, w.end, w.word_class, heats[w.text], method)
        for at, w in enumerate(item.caption.words)
        if w.text in heats
    )
    return Attribution(item.id, item.image, item.caption.text, method, words)


def images(*weights: dict[str, float]) -> torch.Tensor:
    return torch.tensor([[weight[word] for word in VOCABULARY] for weight in weights])


def judged(items, image_embeddings, attributions, *, model=None, **options):
    parts = list(faithfulness(model or Bag(), items, image_embeddings, attributions, **options))
    return [
        [one for part in parts for one in getattr(part, name)] for name in ("records", "curves", "problems")
    ]


def one_item(**heats: dict[str, float]):
    item = item_of()
    records, curves, problems = judged(
        [item], images(WEIGHTS), [attributed(item, method, heat) for method, heat in heats.items()]
    )
    assert problems == []
    return (
        {record.method: record for record in records},
        {(curve.method, curve.kind): curve.values for curve in curves},
    )


def test_the_fake_is_a_dual_encoder():
    assert isinstance(Bag(), DualEncoder)


def test_the_right_order_worked_out_by_hand():
    records, curves = one_item(right=RIGHT)
    # "the" is not ranked and stays: its 3 are in every score. Ranked: dog 4, red 2, big 1, runs 1.
    right = records["right"]
    assert (right.item, right.image, right.words) == ("1", "image 1", 4)
    assert (right.full, right.empty) == (2 * 11 - 5, 2 * 3 - 5)
    assert curves["right", "deletion"] == (1.0, 0.5, 0.25, 0.125, 0.0)
    assert curves["right", "insertion"] == (0.0, 0.5, 0.75, 0.875, 1.0)
    assert right.deletion == (0.5 + 0.5 + 0.25 + 0.125) / 4
    assert right.insertion == (0.5 + 0.75 + 0.875 + 0.5) / 4
    # 20 % of four words is one word, 50 % are two; scores are twice the weights
    assert right.comprehensiveness == (2 * 4 + 2 * 6) / 2
    assert right.sufficiency == (2 * 4 + 2 * 2) / 2


def test_the_reversed_order_is_worse_by_every_measure():
    records, curves = one_item(right=RIGHT, reversed={word: -heat for word, heat in RIGHT.items()})
    reverse = records["reversed"]
    assert curves["reversed", "deletion"] == (1.0, 0.875, 0.75, 0.5, 0.0)
    assert reverse.deletion == (0.5 + 0.875 + 0.75 + 0.5) / 4
    assert reverse.insertion == (0.125 + 0.25 + 0.5 + 0.5) / 4
    assert reverse.comprehensiveness == (2 * 1 + 2 * 2) / 2
    assert reverse.sufficiency == (2 * 7 + 2 * 6) / 2


def test_random_orders_lie_between_and_amount_to_a_straight_line():
    items = [item_of(name=str(number)) for number in range(400)]
    attributions = [attributed(item, "right", RIGHT) for item in items]
    records, curves, _ = judged(items, images(*[WEIGHTS] * 400), attributions)
    drawn = [record for record in records if record.method == RANDOM]
    assert {record.deletion for record in drawn} > {0.34375, 0.65625}, "every order comes in 400"
    assert all(0.34375 <= record.deletion <= 0.65625 for record in drawn)
    assert fmean(record.deletion for record in drawn) == pytest.approx(0.5, abs=0.01)
    assert fmean(record.insertion for record in drawn) == pytest.approx(0.5, abs=0.01)
    assert fmean(record.comprehensiveness for record in drawn) == pytest.approx(2 * 8 * 1.5 / 4, abs=0.3)
    last = [curve.values for curve in curves if (curve.method, curve.kind) == (RANDOM, "insertion")]
    assert np.mean(last, axis=0) == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.03)


def test_only_words_of_every_method_are_ranked():
    everything = {**RIGHT, "the": 7.0}
    records, _ = one_item(all=everything, some={"red": 1.0, "dog": 2.0, "the": 0.0})
    # the, red, dog: big and runs stay in the text
    assert {record.words for record in records.values()} == {3}
    assert records["all"].empty == 2 * (1 + 1) - 5
    assert records["all"].deletion == pytest.approx((0.5 + 6 / 9 + 2 / 9) / 3)  # the, dog, red
    assert records["some"].deletion == pytest.approx((0.5 + 5 / 9 + 3 / 9) / 3)  # dog, red, the


def test_equal_heats_stand_in_the_random_order():
    records, curves = one_item(flat=dict.fromkeys(RIGHT, 0.25))
    assert curves["flat", "deletion"] == curves[RANDOM, "deletion"]
    assert records["flat"].sufficiency == records[RANDOM].sufficiency


def test_seed_changes_the_random_order_alone_and_parts_change_nothing():
    items = [item_of(name=str(number)) for number in range(12)]
    attributions = [attributed(item, "right", RIGHT) for item in items]
    pixels = images(*[WEIGHTS] * 12)
    whole = judged(items, pixels, attributions)
    assert judged(items, pixels, attributions, batch_size=5) == whole
    assert judged(items[3:5], pixels[3:5], attributions)[0] == whole[0][6:10]
    other = judged(items, pixels, attributions, seed=1)[0]
    same = [one == two for one, two in zip(whole[0], other, strict=True)]
    assert all(same[::2])
    assert not all(same[1::2])


def test_every_distinct_text_is_encoded_once():
    model, items = Bag(), [item_of(name="1"), item_of(name="2")]
    attributions = [attributed(item, method, RIGHT) for item in items for method in ("a", "b")]
    judged(items, images(WEIGHTS, WEIGHTS), attributions, model=model)
    assert len(model.encoded) == len(set(model.encoded)) <= 16
    assert "the big red dog runs" in model.encoded


def test_progress_is_told_after_every_batch():
    told = []
    items = [item_of(name=str(number)) for number in range(3)]
    attributions = [attributed(item, "right", RIGHT) for item in items]
    judged(
        items, images(*[WEIGHTS] * 3), attributions, batch_size=2, progress=lambda *done: told.append(done)
    )
    assert told == [(2, 3), (3, 3)]


LEFT_OUT = {
    "one word": ({"dog": 1.0}, WEIGHTS, "fewer than 2 words that every method attributes (right)"),
    "no gain": (RIGHT, dict.fromkeys(VOCABULARY, 0.0), "add 0 to the score of -5"),
    "too little": (RIGHT, {**dict.fromkeys(VOCABULARY, 0.0), "dog": 0.009}, "add 0.018 to the score"),
    "a loss": (RIGHT, {word: -weight for word, weight in WEIGHTS.items()}, "add -16 to the score"),
    "not finite": (RIGHT, {**WEIGHTS, "red": math.nan}, "not finite"),
}


@pytest.mark.parametrize(("heats", "weights", "why"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_an_item_without_a_curve_is_left_out_with_a_reason(heats, weights, why):
    item, good = item_of(), item_of(name="good")
    attributions = [attributed(item, "right", heats), attributed(good, "right", RIGHT)]
    records, curves, [problem] = judged([item, good], images(weights, WEIGHTS), attributions)
    assert {one.item for one in records} == {one.item for one in curves} == {"good"}
    assert (problem.item, problem.subject, problem.action) == ("1", item.caption.text, "unscored")
    assert problem.what.startswith("faithfulness: ")
    assert why in problem.what


def test_an_item_that_a_named_method_lacks_is_left_out():
    item = item_of()
    records, _, [problem] = judged(
        [item], images(WEIGHTS), [attributed(item, "right", RIGHT)], methods=("right", "gradcam")
    )
    assert records == []
    assert "(right, gradcam)" in problem.what


def test_words_beyond_the_context_never_enter_it():
    item = item_of()
    attributions = [attributed(item, "right", RIGHT)]
    _, _, [problem] = judged([item], images(WEIGHTS), attributions, model=Bag(context_length=4))
    assert "beyond the context" in problem.what
    assert judged([item], images(WEIGHTS), attributions, model=Bag(context_length=5))[2] == []


def test_what_does_not_fit_together_is_refused():
    item = item_of()
    right = attributed(item, "right", RIGHT)
    with pytest.raises(LengthMismatch, match="2 image embeddings for 1 items"):
        judged([item], images(WEIGHTS, WEIGHTS), [right])
    with pytest.raises(BadInput, match="batch size of 0"):
        judged([item], images(WEIGHTS), [right], batch_size=0)
    with pytest.raises(BadInput, match="wanted one or more"):
        judged([item], images(WEIGHTS), [])
    with pytest.raises(BadInput, match="none of them called 'random'"):
        judged([item], images(WEIGHTS), [attributed(item, RANDOM, RIGHT)])
    with pytest.raises(BadInput, match="the caption is 'runs the big red dog'"):
        judged([item_of("runs the big red dog")], images(WEIGHTS), [right])


def test_tiny_clip_equals_a_plain_loop_over_whole_texts():
    model, world = alignscope.model("tiny-clip"), alignscope.World("test", size=6)
    pictures = [world.image(item.image) for item in world.items]
    embeddings = model.encode_images(pictures)
    options = Options(temperature=100.0)  # at 1 the gradient's softmax leaves nearly all words at 0
    parts = attribute(model, world.items, embeddings, methods=("attention", "gradient"), options=options)
    attributions = [one for part in parts for one in part.attributions]
    records, _, problems = judged(world.items, embeddings, attributions, model=model)
    found = {(record.item, record.method): record for record in records}
    assert len(found) == 6 * 3
    assert problems == []
    for item, picture in zip(world.items, pictures, strict=True):
        for one in attributions:
            if one.item == item.id:
                slow = slowly(model, picture, one)
                fast = found[item.id, one.method]
                assert [getattr(fast, name) for name in slow] == pytest.approx(list(slow.values()), abs=1e-4)


def slowly(model, picture, attribution: Attribution) -> dict[str, float]:
    """One text at a time; every word of these captions is ranked, and words are all there is in them."""
    said = attribution.text.split()
    assert [word.word for word in attribution.words] == said
    assert len({word.heat for word in attribution.words}) == len(said), "ties would be broken otherwise here"
    order = [word.position for word in sorted(attribution.words, key=lambda word: -word.heat)]

    def score(kept) -> float:
        return model.score([picture], [" ".join(said[at] for at in sorted(kept))]).item()

    leaving = np.array([score(order[count:]) for count in range(len(said) + 1)])
    coming = np.array([score(order[:count]) for count in range(len(said) + 1)])
    full, empty, step = leaving[0], coming[0], 1 / len(said)
    few = [-(-len(said) // 5), -(-len(said) // 2)]
    return {
        "full": full,
        "empty": empty,
        "deletion": np.trapezoid((leaving - empty) / (full - empty), dx=step),
        "insertion": np.trapezoid((coming - empty) / (full - empty), dx=step),
        "comprehensiveness": np.mean([full - leaving[count] for count in few]),
        "sufficiency": np.mean([full - coming[count] for count in few]),
    }
