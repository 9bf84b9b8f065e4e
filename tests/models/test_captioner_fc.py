"""The FC captioner against a plain recomputation in numpy, its key table, and published files."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from trainable_captioners import WORDS, captioner, features, seeded, sights
from transformers import ViTConfig

from alignscope.errors import BadData, BadInput, CheckpointError, CheckpointMismatch, Unsupported
from alignscope.models.captioners.captioner_loading import (
    captioner_of,
    fresh_captioner,
    open_captioner,
    save_captioner,
)
from alignscope.models.captioners.fc import FcCaptioner, FcConfig

KEYS = {  # reference/papers.md, table 4.9
    "embed.weight": (9488, 512),
    "fc_embed.weight": (512, 2048),
    "fc_embed.bias": (512,),
    "logit.weight": (9488, 512),
    "logit.bias": (9488,),
    "_core.i2h.weight": (2560, 512),
    "_core.i2h.bias": (2560,),
    "_core.h2h.weight": (2560, 512),
    "_core.h2h.bias": (2560,),
}
OLD = {"fc_embed.": "img_embed.", "_core.": "core."}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def plain_step(state, x, h, c):
    """One step of the cell, number by number."""
    size = len(h)
    z = np.zeros(5 * size)
    for row in range(5 * size):
        z[row] = state["_core.i2h.bias"][row] + state["_core.h2h.bias"][row]
        for column in range(size):
            z[row] += state["_core.i2h.weight"][row, column] * x[column]
            z[row] += state["_core.h2h.weight"][row, column] * h[column]
    new_h, new_c = np.zeros(size), np.zeros(size)
    for unit in range(size):
        into, forget, out = (sigmoid(z[part * size + unit]) for part in range(3))
        candidate = max(z[3 * size + unit], z[4 * size + unit])
        new_c[unit] = forget * c[unit] + into * candidate
        new_h[unit] = out * np.tanh(new_c[unit])
    return new_h, new_c


def plain_logprob(model, feature, words, *, image_at_every_step=False):
    """log P of each word and of the end, one after another."""
    state = {key: tensor.double().numpy() for key, tensor in model.state_dict().items()}
    image = state["fc_embed.weight"] @ feature + state["fc_embed.bias"]
    h, c = plain_step(state, image, np.zeros(len(image)), np.zeros(len(image)))
    found, before = [], 0
    for word in [*words, 0]:
        x = state["embed.weight"][before] + (image if image_at_every_step else 0)
        h, c = plain_step(state, x, h, c)
        logits = state["logit.weight"] @ h + state["logit.bias"]
        found.append(logits[word] - np.log(np.exp(logits).sum()))
        before = word
    return found


def test_the_published_sizes_have_the_keys_and_parameters_of_the_sheet():
    model = FcCaptioner(FcConfig())
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == KEYS
    assert sum(parameter.numel() for parameter in model.parameters()) == 13_400_848


@pytest.mark.parametrize("kind", ["fc", "fc-for-small-worlds"])
def test_logprob_equals_the_plain_recomputation(kind):
    made = captioner(kind, dtype=torch.float64)
    captions = [[2, 5], [], [1, 1, 4]]
    ids = torch.tensor([[2, 5, 0, 0], [0, 0, 0, 0], [1, 1, 4, 0]])
    got = made.logprob(features(made), ids)
    for row, (feature, words) in enumerate(zip(sights(kind), captions, strict=True)):
        want = plain_logprob(
            made.model, feature.astype(float), words, image_at_every_step=kind == "fc-for-small-worlds"
        )
        np.testing.assert_allclose(got[row, : len(want)].detach(), want, rtol=0, atol=1e-12)
        assert (got[row, len(want) :] == 0).all()


@pytest.mark.parametrize("kind", ["fc", "fc-for-small-worlds"])
def test_words_are_read_alike_from_a_large_vocabulary_and_a_small_one(kind, monkeypatch):
    """A vocabulary larger than all captions is not read ahead; values and gradients are the same."""
    made = captioner(kind, dtype=torch.float64)
    ids, found = torch.tensor([[2, 5, 0, 0], [0, 0, 0, 0], [1, 1, 4, 0]]), []
    for words in (10, 1):
        monkeypatch.setattr("alignscope.models.captioners.fc.WORDS", words)
        assert bool(made.model.begin(features(made)).shared) == (words == 10)
        made.model.zero_grad(set_to_none=True)
        logprobs = made.logprob(features(made), ids)
        logprobs.sum().backward()
        found.append([logprobs.detach(), *(p.grad.clone() for p in made.model.parameters())])
    for ahead, one_by_one in zip(*found, strict=True):
        assert ahead.any()
        torch.testing.assert_close(ahead, one_by_one, rtol=0, atol=1e-12)


def test_the_variant_for_small_worlds_begins_with_an_open_forget_gate_and_nothing_else_differs():
    published, small = (
        fresh_captioner(
            FcConfig(vocab_size=len(WORDS), hidden_size=6, feature_width=5, **options),
            WORDS,
            seed=3,
            name="x",
        ).model.state_dict()
        for options in ({}, {"image_at_every_step": True, "forget_bias": 1.0})
    )
    for key, tensor in published.items():
        added = small[key] - tensor
        if key == "_core.i2h.bias":
            assert added[6:12].tolist() == pytest.approx([1.0] * 6)
            added[6:12] = 0
        assert not added.any()


def test_dropout_falls_on_what_predicts_and_not_on_what_goes_on():
    made = captioner("fc", dtype=torch.float64)
    state, words = made.model.begin(features(made)), torch.tensor([[0, 2, 3]] * 3)
    kept = made.model.advance(words, state)
    made.model.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = made.model.advance(words, made.model.begin(features(made)))
    for got, want in zip(dropped.kept, kept.kept, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert (dropped.logits != kept.logits).any()
    # logits = W (mask 2 h) + b with a mask of its own per row and token
    back, bias = made.model.logit.weight.pinverse().mT, made.model.logit.bias
    share = ((dropped.logits - bias) @ back / ((kept.logits - bias) @ back)).detach()
    torch.testing.assert_close(share, share.round(), rtol=0, atol=1e-6)
    assert set(share.round().flatten().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("names", ["newfc", "fc"])
@pytest.mark.parametrize("wrap", [False, True])
def test_published_files_load_with_their_vocabulary(tmp_path, names, wrap):
    made = captioner("fc")
    state = made.model.state_dict()
    if names == "fc":
        for new, old in OLD.items():
            state = {key.replace(new, old) if key.startswith(new) else key: t for key, t in state.items()}
        assert "img_embed.weight" in state
        assert "core.i2h.bias" in state
    torch.save({"state_dict": state} if wrap else dict(state), tmp_path / "model-best.pth")
    numbered = {str(index): word for index, word in enumerate(WORDS.words, start=1)}
    (tmp_path / "infos.json").write_text(json.dumps({"ix_to_word": numbered}))
    opened = open_captioner(tmp_path / "model-best.pth", vocabulary=tmp_path / "infos.json")
    ids = WORDS.ids(["a red dog", "a cat", "dog"])
    torch.testing.assert_close(
        opened.logprob(features(opened), ids), made.logprob(features(made), ids), rtol=0, atol=0
    )
    assert opened.vocabulary == WORDS
    assert opened.name == "model-best"
    assert not opened.model.training


def test_published_files_that_do_not_fit_say_so(tmp_path):
    state, path = captioner("fc").model.state_dict(), tmp_path / "model.pth"
    WORDS.save(tmp_path / "words.json")
    (tmp_path / "fewer.json").write_text('{"words": ["a", "UNK"]}')
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="name its vocabulary"):
        open_captioner(path)
    with pytest.raises(CheckpointMismatch, match="6 words in the weights and 2 in the vocabulary"):
        open_captioner(path, vocabulary=tmp_path / "fewer.json")
    torch.save({**state, "ctx2att.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointMismatch, match=r"1 left over \(ctx2att.weight\)"):
        open_captioner(path, vocabulary=tmp_path / "words.json")
    torch.save({"att_embed.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointMismatch, match=r"model.pth: got keys such as att_embed.weight"):
        open_captioner(path, vocabulary=tmp_path / "words.json")


def test_saving_and_opening_changes_nothing(tmp_path):
    made = captioner("fc")
    save_captioner(made, tmp_path / "saved")
    assert {file.name for file in (tmp_path / "saved").iterdir()} == {
        *("config.json", "model.safetensors", "vocabulary.json")
    }
    opened = open_captioner(tmp_path / "saved")
    assert opened.fingerprint == made.fingerprint
    with torch.no_grad():
        opened.model.logit.bias[0] += 1
    assert opened.fingerprint != made.fingerprint
    other = captioner_of(made.model, type(WORDS)([*reversed(WORDS.words)]), name="x")
    assert other.fingerprint != made.fingerprint


def test_the_same_seed_gives_the_same_weights_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    one, two, three = (
        fresh_captioner(FcConfig(vocab_size=len(WORDS), hidden_size=6), WORDS, seed=seed, name="x")
        for seed in (0, 0, 1)
    )
    assert one.fingerprint == two.fingerprint != three.fingerprint
    assert torch.equal(before, torch.get_rng_state())


def test_a_vocabulary_of_another_size_is_refused():
    with pytest.raises(CheckpointMismatch, match="x: got 9 words in the weights and 6 in the vocabulary"):
        fresh_captioner(FcConfig(vocab_size=10, hidden_size=4), WORDS, seed=0, name="x")


@pytest.mark.parametrize(
    ("sight", "error", "said"),
    [
        (np.zeros(4, np.float32), BadData, r"float32 \(4,\), wanted floating numbers \(5,\)"),
        (np.zeros((2, 5), np.float32), BadData, r"\(2, 5\), wanted"),
        (np.zeros(5, int), BadData, "array of int64"),
        (np.full(5, np.nan, np.float32), BadData, "not finite"),
        (Image.new("RGB", (4, 4)), Unsupported, "image 0 is Image, FcCaptioner takes one vector"),
    ],
)
def test_what_it_cannot_see_is_refused(sight, error, said):
    made = captioner("fc")
    with pytest.raises(error, match=said):
        made.features([sight])


def test_gradients_of_logprob_equal_finite_differences():
    made = captioner("fc", dtype=torch.float64)
    batch, ids = features(made), torch.tensor([[2, 5, 0], [0, 0, 0], [1, 1, 4]])
    weights = torch.rand(ids.shape, generator=seeded(), dtype=torch.float64)

    def total():
        return (made.logprob(batch, ids) * weights).sum()

    total().backward()
    for name, parameter in made.model.named_parameters():
        direction = torch.randn(parameter.shape, generator=seeded(7), dtype=torch.float64)
        with torch.no_grad():
            parameter += 1e-6 * direction
            up = total()
            parameter -= 2e-6 * direction
            down = total()
            parameter += 1e-6 * direction
        along = (parameter.grad * direction).sum()
        assert along.item() == pytest.approx((up - down).item() / 2e-6, rel=1e-6, abs=1e-8), name


def test_incomplete_directories_and_strange_configurations_are_refused(tmp_path):
    with pytest.raises(BadInput, match="got a ViTConfig, wanted the configuration of a captioner: FcConfig"):
        fresh_captioner(ViTConfig(), WORDS, seed=0, name="x")
    with pytest.raises(CheckpointError, match="wanted a captioner: FcCaptioner"):
        open_captioner(tmp_path)
    save_captioner(captioner("fc"), tmp_path)
    (tmp_path / "vocabulary.json").rename(tmp_path / "words.json")
    with pytest.raises(BadData, match=r"vocabulary\.json: got no readable JSON"):
        open_captioner(tmp_path)
    assert open_captioner(tmp_path, vocabulary=tmp_path / "words.json").vocabulary == WORDS
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="its weights cannot be loaded"):
        open_captioner(tmp_path, vocabulary=tmp_path / "words.json")


def test_a_reward_for_one_word_makes_it_likelier():
    """Policy gradient by the protocol alone (reference/papers.md, section 7, item 7)."""
    made = captioner("fc", scale=0.3, dtype=torch.float64)
    batch, generator = features(made), seeded()
    optimizer = torch.optim.Adam(made.model.parameters(), lr=0.05)
    shares = []
    for _ in range(30):
        drawn = made.generate(batch, how="sample", count=20, max_length=4, generator=generator)
        reward = (drawn.ids == 2).any(dim=-1).double()
        shares.append(reward.mean().item())
        advantage = reward - reward.mean()
        loss = -(drawn.logprobs * advantage[:, None]).sum() / drawn.mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(shares[-5:]) / 5 > 0.9
    assert sum(shares[:3]) / 3 < 0.6
