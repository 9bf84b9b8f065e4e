"""What is inside Oscar: the facts of its mask (sheet C.2), against a plain recomputation of the whole sequence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oscar_twins import mixed, oscar, plain_states, sight
from torch import Tensor

from alignscope.errors import BadInput
from alignscope.models.captioners.inside import Inside

CAPTIONS = ["a dog near a table", "", "red toad", "cat"]


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got.double(), want.double(), rtol=0, atol=1e-6)


def below(found: Inside) -> Tensor:
    """Attention among labels and regions."""
    rows = torch.tensor([kind not in ("caption", "padding") for kind in found.kinds])
    rows[: len(rows) - size_below(found)] = False
    return found.attention[:, :, rows][..., rows]


def size_below(found: Inside) -> int:
    """Positions from the first label or region on."""
    first = next(place for place, kind in enumerate(found.kinds) if kind in ("label", "region", "padding"))
    return len(found.kinds) - first


def test_labels_and_regions_equal_the_whole_sequence_computed_plainly():
    made, images = oscar(), mixed()
    for image, found in zip(images, made.inside(images), strict=True):
        states, maps = plain_states(made, image, [2, 5, 6, 3])
        close(found.states, states[4:])
        close(found.attention, maps[..., 4:, 4:])


def test_with_a_caption_its_rows_come_first_and_look_down_and_to_the_left():
    made, images = oscar(), mixed()
    for image, text, found in zip(images, CAPTIONS, made.inside(images, texts=CAPTIONS), strict=True):
        ids = [2, *made.vocabulary.ids([text])[0].tolist()]
        states, maps = plain_states(made, image, ids)
        close(found.states, states)
        close(found.attention.nan_to_num(0), maps)
        assert found.kinds[0] == found.kinds[len(ids) - 1] == "special"
        assert found.kinds[1 : len(ids) - 1] == ("caption",) * (len(ids) - 2)
        assert found.units[: len(ids)] == (-1, *range(len(ids) - 2), -1)
        hidden = found.attention.isnan()
        above, down = torch.ones(len(ids), len(ids), dtype=torch.bool).triu(1), len(found.kinds) - len(ids)
        assert torch.equal(hidden[0, 0, : len(ids), : len(ids)], above)  # row t does not see t + 1
        assert hidden[:, :, len(ids) :, : len(ids)].all()
        assert not hidden[..., len(ids) :].any()
        assert down == size_below(found)


def test_no_caption_changes_labels_and_regions():
    made, image = oscar(), sight()
    bare = made.inside([image])[0]
    for found in made.inside([image] * 4, texts=CAPTIONS):
        size = len(bare.kinds)
        assert found.kinds[-size:] == bare.kinds
        assert found.units[-size:] == bare.units
        assert torch.equal(found.states[-size:], bare.states)
        assert torch.equal(found.attention[..., -size:, -size:], bare.attention)


def test_every_row_sums_to_one():
    made = oscar(dtype=torch.float32)
    for found in [*made.inside(mixed()), *made.inside(mixed(), texts=CAPTIONS)]:
        sums = found.attention.nansum(dim=-1)
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)


def test_units_tell_the_label_of_every_piece():
    (found,) = oscar().inside([sight(0, "dog toad red", 2)])
    assert found.kinds == ("label",) * 6 + ("special",) + ("region",) * 2
    assert found.units == (0, 1, 1, 1, 1, 2, -1, 0, 1)
    assert found.attention.shape == (3, 2, 9, 9)
    assert found.states.dtype == found.attention.dtype == torch.float32


def test_ablated_places_keep_their_position_and_nothing_looks_at_them():
    """Equal to a sequence without those places in which the others keep their positions."""
    made = oscar()
    whole = sight(0, "dog red table", 3)
    (found,) = made.inside(
        [sight(0, "dog red table", 3, without_labels=frozenset({1}), without_regions=frozenset({0}))]
    )
    assert found.kinds == ("label", "padding", "label", "special", "padding", "region", "region")
    assert found.units == (0, -1, 2, -1, -1, 1, 2)
    gone = torch.tensor([kind == "padding" for kind in found.kinds])
    assert found.attention[:, :, gone].isnan().all()
    assert found.attention[..., gone].isnan().all()
    left = found.attention[:, :, ~gone][..., ~gone]
    torch.testing.assert_close(left.sum(-1), torch.ones_like(left.sum(-1)), rtol=0, atol=1e-5)
    # the plain network reads the image without the second label, whose place is then taken away by hand
    features = made.features([whole])
    keep = [0, 2, 3]
    states = made.model.bert.embed(features.labels[:, keep], torch.tensor([[20, 22, 23]]), segment=1)
    states = torch.cat([states, made.model.bert.see(features.values[:, 1:])], dim=1)
    for layer in made.model.bert.encoder["layer"]:
        states = layer(states, torch.ones(1, 5, dtype=torch.bool))
    close(found.states[~gone], states[0].detach())


def test_what_ablated_places_held_changes_no_caption():
    made = oscar()
    gone = {"without_labels": frozenset({1}), "without_regions": frozenset({0})}
    first = sight(0, "dog red table", 3, **gone)
    other = sight(0, "dog cat table", 3, **gone)
    other.regions.features[0] = 9.0
    other.regions.boxes[0] = (1, 1, 2, 2)
    assert made.write([first], beams=3) == made.write([other], beams=3)
    whole = made.write([sight(0, "dog red table", 3)], beams=3)
    assert whole != made.write([first], beams=3)
    without = frozenset(range(3))
    bare = made.write([sight(0, "dog red table", 3, without_labels=without, without_regions=without)])
    assert np.isfinite(bare[0].confidence)


def test_hooks_are_gone_also_after_an_error():
    made = oscar()
    made.inside([sight()])
    with pytest.raises(BadInput, match="captions of 32 tokens"):
        made.inside([sight()], texts=["a " * 30])
    modules = [layer.attention.self.dropout for layer in made.model.bert.encoder["layer"]]
    assert all(not module._forward_pre_hooks for module in modules)


def test_inside_leaves_training_as_it_was():
    made = oscar()
    made.model.train()
    one, other = made.inside([sight()] * 2)
    assert torch.equal(one.attention, other.attention)
    assert made.model.training
    assert made.model.bert.dropout.training
