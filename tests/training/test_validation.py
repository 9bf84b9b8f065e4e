"""Validation against plain loops over pairs, one at a time."""

import math
from dataclasses import replace

import pytest
import torch
from PIL import Image

from alignscope.attribution.options import Options
from alignscope.attribution.tokens import token_heats
from alignscope.attribution.words import merged
from alignscope.errors import BadData, BadImage
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Word
from alignscope.training.cae import Objective
from alignscope.training.plans import StepPlan
from alignscope.training.recipe import Register
from alignscope.training.samples import Sample, StreamedSample
from alignscope.training.settings import SceneData
from alignscope.training.sources import open_samples
from alignscope.training.validation import Held, held, validate

RICH = Register(0.9, 0.95, 0.3, 0.5, 0.9)


@pytest.fixture(scope="module")
def encoder():
    torch.set_num_threads(1)
    return open_model("tiny-clip")


@pytest.fixture(scope="module")
def samples():
    plan = SceneData("world", RICH, images=30, split="val", captions_per_image=2)
    return open_samples(plan, seed=0, needs_words=True, foil_kinds=("replace_object", "swap_attribute"))


@pytest.fixture(scope="module")
def data(samples):
    return held(samples, pairs=12, seed=3)


def test_the_pairs_are_drawn_by_the_seed_and_no_more_than_there_are(samples):
    chosen = [sample.image for sample in held(samples, pairs=12, seed=3).samples]
    assert chosen == [sample.image for sample in held(samples, pairs=12, seed=3).samples]
    assert chosen != [sample.image for sample in held(samples, pairs=12, seed=4).samples]
    assert (len(set(chosen)), chosen) == (12, sorted(chosen))
    assert len(held(samples, pairs=100, seed=3).samples) == 30


def test_recall_foils_and_loss_are_those_of_plain_loops(encoder, data):
    found = validate(encoder, data, StepPlan(), batch=6)
    images = encoder.encode_images([data.opener(sample.image) for sample in data.samples])
    texts = encoder.encode_texts([sample.caption.text for sample in data.samples])
    scores = (encoder.traits.scale * images @ texts.mT).tolist()
    columns = list(zip(*scores, strict=True))
    assert found.image_to_text == sum(row[i] == max(row) for i, row in enumerate(scores)) / 12
    assert found.text_to_image == sum(row[i] == max(row) for i, row in enumerate(columns)) / 12
    assert found.value == (found.image_to_text + found.text_to_image) / 2

    def cross_entropy(rows, size):
        return sum(math.log(sum(map(math.exp, row))) - row[place] for place, row in enumerate(rows)) / size

    halves = []
    for part in (slice(0, 6), slice(6, 12)):
        grid = [row[part] for row in scores[part]]
        halves.append((cross_entropy(grid, 6) + cross_entropy(list(zip(*grid, strict=True)), 6)) / 2)
    assert found.contrastive == pytest.approx(sum(halves) / 2, rel=1e-5)
    foils = [(place, foil) for place, sample in enumerate(data.samples) for foil in sample.foils]
    cosines = [(images[place] @ encoder.encode_texts([foil])[0]).item() for place, foil in foils]
    below = [
        cosine < scores[place][place] / encoder.traits.scale
        for cosine, (place, _) in zip(cosines, foils, strict=True)
    ]
    assert below
    assert found.foils == pytest.approx(sum(below) / len(below))


def test_attribution_and_gap_are_means_over_the_captions_with_both_sides(encoder, data):
    plain = Caption("a cat", (Word("a", 0, 1, "other"), Word("cat", 2, 5, "object")))
    mixed = Held((replace(data.samples[0], caption=plain), *data.samples[1:]), data.opener)
    objective = Objective(("gradcam",), unit="word")
    found = validate(encoder, mixed, StepPlan(objective=objective), batch=5)
    gaps = []
    for sample in mixed.samples[1:]:
        image = encoder.encode_images([mixed.opener(sample.image)])
        tokens = encoder.tokens([sample.caption.text])
        heats = token_heats(encoder, tokens, image, methods=("gradcam",), options=Options(normalize="none"))
        values = merged(encoder, tokens, heats["gradcam"], [sample.caption]).values[0].tolist()
        by_side = {True: [], False: []}
        for word, value in zip(sample.caption.words, values, strict=False):
            if word.word_class in ("object", "attribute", "relation"):
                by_side[word.word_class == "object"].append(value)
        if by_side[True] and by_side[False]:
            mean = {side: sum(some) / len(some) for side, some in by_side.items()}
            gaps.append(mean[True] - mean[False])
    assert len(gaps) >= 9
    assert found.gap["gradcam"] == pytest.approx(sum(gaps) / len(gaps), rel=1e-4)
    assert found.attribution["gradcam"] == pytest.approx(
        sum(max(gap, 0) for gap in gaps) / len(gaps), rel=1e-4
    )


def test_without_words_or_foils_there_is_nothing_to_measure(encoder, data):
    bare = tuple(Sample(sample.image, Caption(sample.caption.text)) for sample in data.samples)
    found = validate(encoder, Held(bare, data.opener), StepPlan(objective=Objective(("attention",))), batch=6)
    assert (found.gap, found.attribution, found.foils) == ({"attention": None}, {"attention": None}, None)


def test_looking_changes_nothing(encoder, data):
    encoder.model.train()
    before = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    state = torch.get_rng_state()
    validate(encoder, data, StepPlan(objective=Objective(("gradcam", "attention"))), batch=6)
    assert all(module.training for module in encoder.model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.model.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    encoder.model.eval()


def test_an_image_of_several_captions_is_seen_once_and_a_broken_one_is_a_problem(encoder, data):
    opened = []

    def opener(key):
        opened.append(key)
        if key == data.samples[0].image:
            raise BadImage(f"{key}: torn")
        return data.opener(key)

    again = replace(data.samples[1], caption=Caption("a dog"))
    found = validate(encoder, Held((*data.samples, again), opener), StepPlan(), batch=6)
    assert (found.pairs, len(opened), len(set(opened))) == (12, 12, 12)
    assert [problem.item for problem in found.problems] == [data.samples[0].image]
    assert found.numbers()["unreadable"] == 1
    assert set(found.numbers()["unreadable_images"]) == {data.samples[0].image}

    def torn(key):
        raise BadImage(f"{key}: torn")

    with pytest.raises(BadData, match="0 of 12 validation pairs"):
        validate(encoder, Held(data.samples, torn), StepPlan(), batch=6)


def test_pairs_of_a_stream_open_by_their_bytes(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (5, 4), "red").save(path)
    found = [StreamedSample(Sample("a", Caption("x")), path.read_bytes())]
    data = Held.of_stream(found, [Caption("a red box")])
    assert data.samples[0].caption.text == "a red box"
    assert data.opener("a").size == (5, 4)


def test_a_sigmoid_loss_is_validated_as_such(encoder, data):
    found = validate(encoder, data, StepPlan(loss="sigmoid"), batch=12)
    images = encoder.encode_images([data.opener(sample.image) for sample in data.samples])
    texts = encoder.encode_texts([sample.caption.text for sample in data.samples])
    logits = (encoder.traits.scale * images @ texts.mT).tolist()
    total = sum(
        math.log1p(math.exp(-value if i == j else value))
        for i, row in enumerate(logits)
        for j, value in enumerate(row)
    )
    assert found.contrastive == pytest.approx(total / 12, rel=1e-5)
