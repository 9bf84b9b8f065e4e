"""Oscar's network: the published sizes, the mask, incremental reading, captions and their confidence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oscar_twins import mixed, oscar, plain_logits, plain_logprob, plain_states, regions, sight
from PIL import Image

from alignscope.errors import BadData, BadInput, LengthMismatch, Unsupported
from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner, confidences
from alignscope.models.captioners.inside import SeenInside
from alignscope.models.captioners.oscar import OscarForCaptioning
from alignscope.models.captioners.protocol import Captioner, Features
from alignscope.models.cross.oscar import OscarConfig
from alignscope.records import Label, Labelled
from alignscope.records.captions import Box

HIDDEN, INNER, ROWS = 768, 3072, 30522
SQUARE, VECTOR = [HIDDEN, HIDDEN], [HIDDEN]
LAYER = {
    **{f"attention.self.{part}.weight": SQUARE for part in ("query", "key", "value")},
    **{f"attention.self.{part}.bias": VECTOR for part in ("query", "key", "value")},
    **{"attention.output.dense.weight": SQUARE, "attention.output.dense.bias": VECTOR},
    **{
        f"{name}.LayerNorm.{part}": VECTOR
        for name in ("attention.output", "output")
        for part in ("weight", "bias")
    },
    **{"intermediate.dense.weight": [INNER, HIDDEN], "intermediate.dense.bias": [INNER]},
    **{"output.dense.weight": [HIDDEN, INNER], "output.dense.bias": VECTOR},
}
TABLE = {
    "bert.embeddings.word_embeddings.weight": [ROWS, HIDDEN],
    "bert.embeddings.position_embeddings.weight": [512, HIDDEN],
    "bert.embeddings.token_type_embeddings.weight": [2, HIDDEN],
    **{f"bert.embeddings.LayerNorm.{part}": VECTOR for part in ("weight", "bias")},
    **{f"bert.encoder.layer.{n}.{key}": shape for n in range(12) for key, shape in LAYER.items()},
    **{"bert.pooler.dense.weight": SQUARE, "bert.pooler.dense.bias": VECTOR},
    **{"bert.img_embedding.weight": [HIDDEN, 2054], "bert.img_embedding.bias": VECTOR},
    **{"bert.LayerNorm.weight": VECTOR, "bert.LayerNorm.bias": VECTOR},
    "cls.predictions.bias": [ROWS],
    **{"cls.predictions.transform.dense.weight": SQUARE, "cls.predictions.transform.dense.bias": VECTOR},
    **{f"cls.predictions.transform.LayerNorm.{part}": VECTOR for part in ("weight", "bias")},
    "cls.predictions.decoder.weight": [ROWS, HIDDEN],
}
"""reference/papers.md, 4.6."""


def test_keys_shapes_and_parameters_are_the_published_ones():
    with torch.device("meta"):
        model = OscarForCaptioning(OscarConfig())
    assert {key: [*tensor.shape] for key, tensor in model.state_dict().items()} == TABLE
    assert len(TABLE) == 209
    assert sum(parameter.numel() for parameter in model.parameters()) == 111_684_666
    assert model.bert.LayerNorm.eps == 1e-12


def test_without_the_image_norm_two_keys_are_gone():
    with torch.device("meta"):
        model = OscarForCaptioning(OscarConfig(has_image_norm=False))
    assert {*TABLE} - {*model.state_dict()} == {"bert.LayerNorm.weight", "bert.LayerNorm.bias"}


@pytest.mark.parametrize("has_norm", [True, False])
def test_logprob_equals_whole_forwards_over_every_prefix_and_a_mask(has_norm: bool):
    made, images = oscar(has_image_norm=has_norm), mixed()
    ids = made.vocabulary.ids(["a dog near toad", "", "red table", "a"])
    with torch.no_grad(), made.evaluating():
        got = made.logprob(made.features(images), ids)
    for row, (image, tokens) in enumerate(zip(images, ids.tolist(), strict=True)):
        words = tokens[: tokens.index(made.vocabulary.end) + 1]
        assert got[row, : len(words)].tolist() == pytest.approx(plain_logprob(made, image, words), abs=1e-7)
        assert not got[row, len(words) :].any()
    assert got.std() > 0.1


def test_reading_at_once_is_reading_one_by_one():
    made = oscar()
    state = made.speller.begin(made.features(mixed()))
    words = torch.tensor([[2, 5, 6, 7]] * 4)
    whole = made.speller.advance(words, state)
    found = []
    for place in range(4):
        state = made.speller.advance(words[:, place : place + 1], state)
        found.append(state.logits)
    torch.testing.assert_close(torch.cat(found, dim=1), whole.logits, rtol=0, atol=1e-12)
    for one, other in zip(state.kept, whole.kept, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("how", ["greedy", "beam"])
def test_logprobs_of_what_is_written_are_those_of_teacher_forcing(how: str):
    made = oscar()
    features = made.features(mixed())
    with torch.no_grad(), made.evaluating():
        found = made.generate(features, how=how, beams=5, is_length_normalised=True, max_length=7)
        forced = made.logprob(features, found.ids)
    torch.testing.assert_close(found.logprobs.double(), forced, rtol=0, atol=1e-6)
    assert len({*found.texts}) > 1


def test_greedy_takes_the_likeliest_word_of_a_whole_forward():
    made, image = oscar(), sight()
    tokenizer, words = made.speller.tokenizer, []
    for _ in range(5):
        caption = [tokenizer.cls_token_id, *words, tokenizer.mask_token_id]
        words.append(int(plain_logits(made, plain_states(made, image, caption)[0][len(words) + 1]).argmax()))
        if words[-1] == made.vocabulary.end:
            break
    with torch.no_grad(), made.evaluating():
        got = made.generate(made.features([image]), max_length=5)
    assert got.ids[0].tolist() == words


def test_the_forward_of_training_sees_masked_places_and_what_is_before_them():
    made, images = oscar(), mixed()[:2]
    ids = torch.tensor([[2, 5, 4, 7, 3], [2, 4, 3, 0, 0]])
    mask = torch.tensor([[True] * 5, [True, True, True, False, False]])
    with torch.no_grad(), made.evaluating():
        logits = made.model(ids, mask, made.features(images))
        again = made.model(ids, mask, made.features(images[::-1]), torch.tensor([1, 0]))
    for row, count in ((0, 5), (1, 3)):
        states, _ = plain_states(made, images[row], ids[row, :count].tolist())
        wanted = plain_logits(made, states[:count])
        torch.testing.assert_close(logits[row, :count], wanted, rtol=0, atol=1e-7)
    torch.testing.assert_close(again[mask], logits[mask], rtol=0, atol=1e-12)


def test_a_caption_place_does_not_see_the_next():
    made, batch = oscar(), [sight()]
    with torch.no_grad(), made.evaluating():
        features, mask = made.features(batch), torch.ones(1, 4, dtype=torch.bool)
        one = made.model(torch.tensor([[2, 5, 6, 3]]), mask, features)
        other = made.model(torch.tensor([[2, 5, 9, 7]]), mask, features)
    assert torch.equal(one[:, :2], other[:, :2])
    assert (one[:, 2:] - other[:, 2:]).abs().amax() > 0.01


def test_logprob_has_a_gradient_through_labels_and_regions():
    made = oscar()
    ids = made.vocabulary.ids(["a dog", "red"])
    made.logprob(made.features(mixed()[:2]), ids).sum().backward()
    for name in ("bert.img_embedding.weight", "bert.embeddings.word_embeddings.weight"):
        assert made.model.get_parameter(name).grad.abs().sum() > 0
    weight = made.model.get_parameter("bert.encoder.layer.0.attention.self.query.weight")
    slope, step = weight.grad[0, 0].item(), 1e-5
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[0, 0] += sign * step
            values.append(made.logprob(made.features(mixed()[:2]), ids).sum().item())
            weight[0, 0] -= sign * step
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


def test_neither_batch_nor_padding_changes_anything():
    made, images = oscar(), mixed()
    ids = made.vocabulary.ids(["a dog near"] * 4)
    with torch.no_grad(), made.evaluating():
        together = made.logprob(made.features(images), ids)
        alone = torch.cat([made.logprob(made.features([image]), ids[:1]) for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-7)
    assert [w.text for w in made.write(images)] == [made.write([image])[0].text for image in images]


def test_it_is_a_captioner_that_is_seen_inside():
    made = oscar()
    assert isinstance(made, Captioner)
    assert isinstance(made, SeenInside)


def test_nothing_is_random_without_a_generator():
    made, images = oscar(dtype=torch.float32), mixed()
    before = torch.get_rng_state()
    first, second = made.write(images), made.write(images)
    made.write(images, beams=3)
    made.inside(images)
    assert first == second
    assert torch.equal(before, torch.get_rng_state())
    drawn = [
        made.generate(
            made.features(images),
            how="sample",
            count=3,
            max_length=8,
            generator=torch.Generator().manual_seed(7),
        )
        for _ in range(2)
    ]
    assert torch.equal(drawn[0].ids, drawn[1].ids)
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(BadInput, match="got no generator"):
        made.generate(made.features(images), how="sample", max_length=8)


def test_confidence_by_hand():
    halves = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0.1, 1.0]]).log()
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert confidences(halves, mask).tolist() == pytest.approx([0.5, 0.3])


def constant(**chances: float) -> AutoregressiveCaptioner:
    """An Oscar that gives these words these probabilities at every step, and all others the rest evenly."""
    made = oscar()
    words = made.speller.tokenizer.get_vocab()
    rest = (1 - sum(chances.values())) / (len(words) - len(chances))
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.zero_()
        for word, chance in chances.items():
            made.model.cls["predictions"].bias[words[word]] = math.log(chance / rest)
    return made


def test_greedy_and_beam_have_the_confidence_of_the_official_script():
    """A word of p = .5 for ever, cut at 5 with the start: 3 words stay, 4 log-probabilities are in the mean."""
    made = constant(dog=0.5)
    for beams in (1, 5):
        (found,) = made.write([sight()], beams=beams, max_length=5)
        assert found.text == "dog dog dog"
        assert found.confidence == pytest.approx(0.5)


def test_beams_are_compared_by_the_mean_as_the_official_script_does():
    """By the sum the empty caption would win: log .3 > 4 log .6."""
    made = constant(**{"dog": 0.6, "[SEP]": 0.3})
    (found,) = made.write([sight()], beams=5, max_length=5)
    assert found.text == "dog dog dog"
    assert found.confidence == pytest.approx(0.6)


@pytest.mark.parametrize("beams", [1, 5])
def test_confidence_is_the_mean_over_words_and_end(beams: int):
    """Against plain recomputation of what was written; the beam never has less of it than greedy."""
    made, images = oscar(), mixed()
    greedy = made.write(images, max_length=8)
    found = made.write(images, beams=beams, max_length=8)
    with torch.no_grad(), made.evaluating():
        how = {"how": "beam", "beams": beams, "is_length_normalised": True} if beams > 1 else {}
        told = made.generate(made.features(images), max_length=7, **how)
    ended = 0
    for row, image in enumerate(images):
        words = told.ids[row][told.mask[row]].tolist()
        wanted = math.exp(np.mean(plain_logprob(made, image, words)))
        assert found[row].confidence == pytest.approx(wanted, rel=1e-5)
        if words[-1] == made.vocabulary.end:
            ended += 1
            assert found[row].text == told.texts[row]
        if beams > 1:
            assert found[row].confidence >= greedy[row].confidence - 1e-9


def test_a_beam_as_wide_as_all_captions_finds_the_best_mean_of_all():
    made = oscar()
    ids = [[3], *([word, 3] for word in range(len(made.vocabulary)) if word != 3)]
    image = sight()
    means = {tuple(row): np.mean(plain_logprob(made, image, row)) for row in ids}
    (found,) = made.write([image], beams=len(made.vocabulary), max_length=3)
    every = dict(means)
    for first in range(len(made.vocabulary)):
        if first != 3:
            one = plain_logprob(made, image, [first, 3])[0]
            states, _ = plain_states(made, image, [2, first, made.speller.tokenizer.mask_token_id])
            rest = plain_logits(made, states[2]).log_softmax(-1)
            every[(first, "cut")] = (one + rest.max().item()) / 2
    assert math.log(found.confidence) == pytest.approx(max(every.values()), abs=1e-6)


def test_tags_of_plain_regions_are_labels_with_their_boxes():
    made = oscar()
    tagged = regions(0, 3, tags=("dog", "", "toad"))
    boxes = [Box(*map(float, box)) for box in tagged.boxes]
    labels = tuple(Label(name, box) for name, box in zip(("dog", "", "toad"), boxes, strict=True))
    got, wanted = made.features([tagged]), made.features([Labelled(tagged, labels)])
    assert torch.equal(got.labels, wanted.labels)
    assert got.units == wanted.units == ((0, 2, 2, 2, 2, -1),)  # a toad is spelled: it is no word of the twin
    assert got.cuts == ("",)


def test_an_image_without_labels_has_no_text_of_labels():
    made = oscar()
    features = made.features([regions()])
    assert features.labels.shape == (1, 0)
    assert features.units == ((),)
    assert made.write([regions()])[0].confidence > 0
    assert made.inside([regions()])[0].kinds == ("region",) * 3


def test_ablated_places_are_padding_and_zeros_where_they_were():
    made = oscar()
    whole, features = (
        made.features([sight(**changes)])
        for changes in ({}, {"without_labels": frozenset({1}), "without_regions": frozenset({0, 2})})
    )
    assert features.labels.tolist() == [[whole.labels[0, 0], 0, *whole.labels[0, 2:]]]
    assert features.named.tolist() == [[True, False, True, True]]
    assert features.units == whole.units
    assert features.present.tolist() == [[False, True, False]]
    assert not features.values[0, [0, 2]].any()
    assert torch.equal(features.values[0, 1], whole.values[0, 1])


def test_the_rooms_cut_labels_and_regions_and_say_so():
    made = oscar()
    features = made.features([sight(0, "dog cat red table near a dog cat red", 6), sight(1)])
    assert features.labels.shape == (2, 8)  # 28 - 20 with the end
    assert features.units[0] == (0, 1, 2, 3, 4, 5, 6, -1)
    assert features.labels[0, -1] == made.vocabulary.end
    assert features.regions == (4, 3)
    assert features.cuts == ("image-0: no room for 2 of 9 pieces of labels and 2 of 6 regions", "")


@pytest.mark.parametrize(
    ("seen", "error", "message"),
    [
        (Image.new("RGB", (8, 8)), Unsupported, "image 0 is Image, Oscar takes regions with labels"),
        (np.zeros((2, 5), np.float32), Unsupported, "image 0 is ndarray"),
        (Labelled(regions(), (Label("a\ud800"),)), BadData, "half a character"),
        (sight(without_labels=frozenset({3})), BadData, "place 3 of ablated labels, wanted 0 to 2"),
        (sight(without_regions=frozenset({-1})), BadData, "place -1 of ablated regions"),
    ],
    ids=["pixels", "array", "half a character", "label beyond", "region beyond"],
)
def test_what_it_cannot_see_is_said(seen: object, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        oscar().features([seen])


def test_regions_of_another_width_and_features_of_another_model_are_refused():
    made = oscar(visual_feat_dim=6)
    with pytest.raises(BadData, match="features of width 5, the model takes width 6"):
        made.features([sight()])
    with pytest.raises(BadInput, match="got Features, wanted what this captioner's `features` gives"):
        made.generate(Features(torch.zeros(1, 2, 11)), max_length=8)


def test_captions_beyond_their_slot_are_refused():
    made = oscar()
    features = made.features([sight()])
    with pytest.raises(BadInput, match="captions of 20 tokens, wanted 1 to 19"):
        made.generate(features, max_length=20)
    with pytest.raises(BadInput, match=r"captions of 21 tokens.*begin at position 20"):
        made.model(torch.zeros(1, 21, dtype=torch.long), torch.ones(1, 21, dtype=torch.bool), features)
    with pytest.raises(BadInput, match="caption_length of 28, wanted 2 to 27"):
        oscar(caption_length=28)
    with pytest.raises(LengthMismatch, match="1 texts for 2 images"):
        made.inside([sight(), sight()], texts=["a"])


def test_no_images_are_no_captions():
    made = oscar()
    assert made.write([]) == []
    assert made.inside([]) == []
    assert len(made.features([])) == 0
