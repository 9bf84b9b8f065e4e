"""The self-check of matching heads, on scorers whose scores are known and on pairs of the world."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from PIL import Image

from alignscope.data.world.world import World
from alignscope.errors import BadInput, CalibrationError, LengthMismatch
from alignscope.models.protocols import Traits
from alignscope.records import Signature
from alignscope.studies.calibration import calibrated, calibration_pairs, doubts

SIGNATURE = Signature("accuracy", "toys", "9f31c2", 5, 4, "toy", "ab12")
TRAITS = Traits(
    *("cross", "patch", None, 20, "gelu", "first", False, True, (), 1.0), score="match", match_index=1
)


class Toy:
    """Scores the number in a picture of one pixel with a text by a rule."""

    name = "toy"
    fingerprint = "ab12"

    def __init__(self, rule, **traits):
        self.rule, self.traits, self.calls = rule, replace(TRAITS, **traits), []

    def score(self, images, texts):
        pairs = [(str(image.getpixel((0, 0))), text) for image, text in zip(images, texts, strict=True)]
        self.calls += pairs
        return torch.tensor([float(self.rule(*pair)) for pair in pairs])

    def tokens(self, texts):
        raise NotImplementedError

    def evaluating(self):
        return nullcontext()

    def scrambled(self, *, seed):
        return self


def fits(image, text):
    return image == text.removeprefix("text of ")


def pairs_of(count):
    pictures = [Image.new("L", (1, 1), number) for number in range(count)]
    return pictures, [f"text of {number}" for number in range(count)]


def test_pairs_are_a_derangement_of_distinct_images_and_texts():
    items = [(f"{n % 50}.png", f"Text {n % 90}") for n in range(400)]  # many captions, many shared
    texts_of = {}
    for image, text in items:
        texts_of.setdefault(image, set()).add(text.casefold())
    items = [*items, *((f"own {n}", f"caption  {n}") for n in range(30)), ("own 3", "CAPTION 3")]
    found = calibration_pairs(items, seed=0)
    images, texts = zip(*found, strict=True)
    assert len(set(images)) == len(images) == 30  # the first fifty share every text
    for image, other in zip(images, [*texts[1:], texts[0]], strict=True):
        assert other.casefold() not in texts_of.get(image, ())
        assert (image, other) not in items


def test_draws_are_seeded_and_know_no_order():
    items = [(item.image, item.caption.text) for item in World("test", size=120).items]
    found = calibration_pairs(items, seed=3)
    assert len(found) == 64
    assert set(found) <= set(items)
    assert found == calibration_pairs(reversed(items), seed=3) == calibration_pairs(iter(items), seed=3)
    assert found != calibration_pairs(items, seed=4)
    assert len(calibration_pairs(items, seed=3, wanted=10)) == 10
    many = [(str(n), f"text {n}") for n in range(5000)]
    assert calibration_pairs(many, seed=0) == calibration_pairs(many[::-1], seed=0)


def test_each_picture_meets_its_own_text_and_the_next_one():
    model = Toy(fits)
    images, texts = pairs_of(40)
    found = calibrated(model, images, texts, signature=SIGNATURE)
    assert (found.value, found.items, found.images, found.missing) == (1.0, 40, 40, 0)
    assert found.signature.startswith("calibration AUC|data:toys|sha:9f31c2|items:40|images:40|")
    assert "ties:half" in found.signature
    assert doubts(found) == []
    wanted = [(str(n), text) for n in range(40) for text in (texts[n], texts[(n + 1) % 40])]
    assert model.calls == wanted


def test_a_flipped_head_is_refused_by_name():
    images, texts = pairs_of(40)
    with pytest.raises(CalibrationError, match=r"toy on toys: AUC 0\.000 \[0\.000, 0\.000\] over 40") as told:
        calibrated(Toy(lambda *pair: -fits(*pair)), images, texts, signature=SIGNATURE)
    assert "flip match index? --match-index 0" in str(told.value)
    assert "--no-calibration" in str(told.value)
    with pytest.raises(CalibrationError, match="--match-index 1"):
        calibrated(Toy(lambda *pair: -fits(*pair), match_index=0), images, texts, signature=SIGNATURE)
    with pytest.raises(CalibrationError, match="one logit"):
        calibrated(Toy(lambda *pair: -fits(*pair), match_index=None), images, texts, signature=SIGNATURE)
    found = calibrated(Toy(lambda *pair: -fits(*pair), score="yes"), images, texts, signature=SIGNATURE)
    assert found.value == 0.0


def luck(seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(200, generator=generator).tolist()
    return lambda image, text: drawn[int(image) * 2 + (not fits(image, text))]


def test_where_the_check_is_all_there_is_to_do_nothing_goes_on_without_it():
    images, texts = pairs_of(64)
    told = []
    for rule in (lambda *pair: -fits(*pair), *map(luck, range(12))):
        try:
            calibrated(Toy(rule), images, texts, signature=SIGNATURE, skippable=False)
        except CalibrationError as error:
            told.append(str(error))
    assert "--match-index 0" in told[0]
    assert len(told) >= 4
    assert not any("--no-calibration" in each for each in told)


def test_a_model_of_luck_is_refused_or_doubted_never_told_to_flip():
    images, texts = pairs_of(64)
    refused = doubted = 0
    for seed in range(12):
        try:
            found = calibrated(Toy(luck(seed)), images, texts, signature=SIGNATURE)
        except CalibrationError as error:
            refused += "cannot tell matched from shuffled pairs on these data" in str(error)
        else:
            (problem,) = doubts(found) or [None]
            doubted += problem is not None and "hardly tells" in problem.what
            assert problem is None or (problem.action, problem.subject) == ("handled", "calibration AUC")
    assert refused >= 3
    assert doubted >= 3
    assert refused + doubted >= 10
    constant = calibrated(Toy(lambda *pair: 0), images, texts, signature=SIGNATURE)
    assert (constant.value, constant.ties) == (0.5, 64 * 64)
    assert "hardly tells" in doubts(constant)[0].what


def test_too_few_pairs_are_not_checked_and_few_are_said():
    none = calibrated(Toy(fits), *pairs_of(7), signature=SIGNATURE)
    assert (none.value, none.items, none.missing) == (None, 0, 7)
    assert "not checked" in none.reason
    assert [problem.what for problem in doubts(none)] == [none.reason]
    assert calibrated(Toy(fits), [], [], signature=SIGNATURE).value is None
    few = calibrated(Toy(fits), *pairs_of(12), signature=SIGNATURE)
    assert few.value == 1.0
    assert "12 pairs, wanted 32" in doubts(few)[0].what
    with pytest.raises(CalibrationError, match="flip match index"):
        calibrated(Toy(lambda *pair: -fits(*pair)), *pairs_of(8), signature=SIGNATURE)


def test_scores_that_are_not_finite_are_left_out():
    rule = lambda image, text: float("nan") if image == "3" else fits(image, text)  # noqa: E731
    found = calibrated(Toy(rule), *pairs_of(40), signature=SIGNATURE)
    assert (found.value, found.items, found.missing) == (1.0, 39, 1)
    rule = lambda image, text: float("nan") if int(image) > 6 else fits(image, text)  # noqa: E731
    assert "7 pairs" in calibrated(Toy(rule), *pairs_of(40), signature=SIGNATURE).reason


def test_wrong_pairs_are_refused():
    with pytest.raises(LengthMismatch, match="2 texts for 1 pictures"):
        calibrated(Toy(fits), pairs_of(1)[0], ["a", "b"], signature=SIGNATURE)
    with pytest.raises(BadInput, match="equal texts side by side"):
        calibrated(Toy(fits), pairs_of(2)[0], ["x", "x"], signature=SIGNATURE)
