"""The attention LSTM and the Transformer, against plain recomputations and torch's own layers."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from trainable_captioners import REGIONS, WORDS, captioner, features, seeded, sights

from alignscope.errors import BadData, Unsupported
from alignscope.models.captioners.captioner_loading import open_captioner, save_captioner
from alignscope.models.captioners.protocol import Features
from alignscope.models.captioners.transformer import waves
from alignscope.records import Regions


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def plain_lstm(state, name, x, h, c):
    """Gates in torch's order: input, forget, candidate, output."""
    z = state[f"{name}.weight_ih"] @ x + state[f"{name}.bias_ih"]
    z = z + state[f"{name}.weight_hh"] @ h + state[f"{name}.bias_hh"]
    i, f, g, o = np.split(z, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def plain_attention_lstm(model, regions, words):
    """Log-probabilities of the words and the end, and where it looked, by Anderson et al. 2018, eq. 1-6."""
    state = {key: tensor.double().numpy() for key, tensor in model.state_dict().items()}
    h1 = c1 = h2 = c2 = np.zeros(len(state["embed.weight"][0]))
    found, maps, before = [], [], 0
    for word in [*words, 0]:
        x = np.concatenate([h2, regions.mean(axis=0), state["embed.weight"][before]])
        h1, c1 = plain_lstm(state, "look", x, h1, c1)
        energies = [
            state["weigh.weight"][0] @ np.tanh(state["of_region.weight"] @ v + state["of_state.weight"] @ h1)
            for v in regions
        ]
        weights = softmax(np.array(energies))
        seen = sum(weight * v for weight, v in zip(weights, regions, strict=True))
        h2, c2 = plain_lstm(state, "write", np.concatenate([seen, h1]), h2, c2)
        chances = softmax(state["logit.weight"] @ h2 + state["logit.bias"])
        found.append(np.log(chances[word]))
        maps.append(weights)
        before = word
    return found, maps


def test_the_attention_lstm_equals_its_plain_recomputation():
    made = captioner("attention-lstm", scale=0.7, dtype=torch.float64)
    ids = torch.tensor([[2, 5, 0, 0], [0, 0, 0, 0], [1, 1, 4, 0]])
    batch = features(made)
    got, maps = made.logprob(batch, ids).detach(), made.attention(batch, ids).detach()
    for row, (seen, words) in enumerate(zip(sights(made.name), ([2, 5], [], [1, 1, 4]), strict=True)):
        want, looked = plain_attention_lstm(made.model, seen.astype(float), words)
        np.testing.assert_allclose(got[row, : len(want)], want, rtol=0, atol=1e-12)
        np.testing.assert_allclose(maps[row, : len(want), : len(seen)], looked, rtol=0, atol=1e-12)


def copied(target: nn.Module, source: nn.Module, names: dict[str, str], mine: dict[str, str]) -> None:
    """Weights of one of our layers in a layer of torch."""
    state = source.state_dict()
    found = {theirs: state[ours] for theirs, ours in names.items()}
    for theirs, ours in mine.items():
        parts = [f"{ours}.{part}" for part in ("query", "key", "value")]
        for kind in ("weight", "bias"):
            found[f"{theirs}.in_proj_{kind}"] = torch.cat([state[f"{part}.{kind}"] for part in parts])
            found[f"{theirs}.out_proj.{kind}"] = state[f"{ours}.out.{kind}"]
    target.load_state_dict(found)


def pairs(**names: str) -> dict[str, str]:
    return {f"{a}.{kind}": f"{b}.{kind}" for a, b in names.items() for kind in ("weight", "bias")}


def test_the_transformer_equals_layers_of_torch():
    made = captioner("transformer", scale=0.6, dtype=torch.float64)
    model, batch = made.model, features(made)
    words = torch.randint(0, len(WORDS), (3, 5), generator=seeded())
    sizes = {"d_model": 6, "nhead": 2, "dim_feedforward": 7, "dropout": 0.0, "norm_first": True}
    absent = ~batch.present
    states = model.see(batch.values).relu()
    for layer in model.encoder:
        other = nn.TransformerEncoderLayer(**sizes, batch_first=True, dtype=torch.float64)
        names = pairs(linear1="mlp.0", linear2="mlp.3", norm1="norms.0", norm2="norms.1")
        copied(other, layer, names, {"self_attn": "attention"})
        states = other(states, src_key_padding_mask=absent)
    states = model.norms[0](states)
    angles = [[place / 10000 ** (unit / 3) for unit in range(3)] for place in range(5)]
    places = torch.tensor([[*np.sin(row), *np.cos(row)] for row in angles], dtype=torch.float64)
    text = model.embed(words) * 6**0.5 + places
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    for layer in model.decoder:
        other = nn.TransformerDecoderLayer(**sizes, batch_first=True, dtype=torch.float64)
        names = pairs(linear1="mlp.0", linear2="mlp.3", norm1="norms.0", norm2="norms.1", norm3="norms.2")
        copied(other, layer, names, {"self_attn": "words", "multihead_attn": "image"})
        text = other(text, states, tgt_mask=causal, memory_key_padding_mask=absent)
    want = model.logit(model.norms[1](text))
    got = model.advance(words, model.begin(batch)).logits
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


def test_positions_go_on_from_where_they_were():
    like = torch.zeros(1, 1, 5, dtype=torch.float64)
    torch.testing.assert_close(waves(0, 7, like)[4:], waves(4, 3, like), rtol=0, atol=0)
    assert waves(0, 7, like).shape == (7, 5)


@pytest.mark.parametrize("kind", REGIONS)
class TestRegionCaptioners:
    def test_attention_is_over_the_regions_there_are_and_has_a_graph(self, kind):
        made = captioner(kind, dtype=torch.float64)
        batch, ids = features(made), WORDS.ids(["a cat", "red", ""])
        maps = made.attention(batch, ids)
        assert maps.shape[:2] == ids.shape
        assert maps.shape[2:] == ((2, 2, 4) if kind == "transformer" else (4,))
        torch.testing.assert_close(maps.sum(dim=-1), torch.ones_like(maps[..., 0]))
        for image, count in enumerate((2, 3, 4)):
            assert (maps[image, ..., :count] > 0).all()
            assert (maps[image, ..., count:] == 0).all()
        assert maps.requires_grad

    def test_padding_changes_nothing(self, kind):
        made = captioner(kind, dtype=torch.float64)
        ids = WORDS.ids(["a cat", "red", ""])
        together = made.logprob(features(made), ids)
        for row, seen in enumerate(sights(kind)):
            alone = made.logprob(made.features([seen]), ids[row : row + 1])
            torch.testing.assert_close(together[row], alone[0], rtol=0, atol=1e-10)
        batch = features(made)
        noise = torch.where(batch.present[..., None], batch.values, 7.0)
        torch.testing.assert_close(made.logprob(Features(noise, batch.present), ids), together)

    def test_the_order_of_regions_changes_nothing(self, kind):
        made = captioner(kind, dtype=torch.float64)
        ids, (seen,) = WORDS.ids(["a cat"]), sights(kind)[2:]
        got = made.logprob(made.features([seen[[2, 0, 3, 1]]]), ids)
        torch.testing.assert_close(got, made.logprob(made.features([seen]), ids), rtol=0, atol=1e-10)

    def test_records_of_regions_are_read_as_their_features(self, kind):
        made, array = captioner(kind), sights(kind)[1]
        boxes = np.array([[0, 0, 2, 2]] * 3, np.float32)
        got = made.features([Regions("x", 4, 4, boxes, array), array])
        assert torch.equal(got.values[0], got.values[1])
        assert got.present.all()
        wrong = Regions("x", 4, 4, boxes, array[:, :4])
        with pytest.raises(BadData, match="regions of 'x': got features of width 4, the model takes width 5"):
            made.features([wrong])

    @pytest.mark.parametrize(
        ("sight", "error", "said"),
        [
            (np.zeros(5, np.float32), BadData, r"\(5,\), wanted"),
            (np.zeros((0, 5), np.float32), BadData, r"\(0, 5\), wanted floating numbers \(1, 5\)"),
            (np.full((2, 5), np.inf, np.float32), BadData, "not finite"),
            (Image.new("RGB", (4, 4)), Unsupported, "takes regions"),
        ],
    )
    def test_what_it_cannot_see_is_refused(self, kind, sight, error, said):
        with pytest.raises(error, match=said):
            captioner(kind).features([sight])

    def test_saving_and_opening_changes_nothing(self, kind, tmp_path):
        made = captioner(kind)
        save_captioner(made, tmp_path)
        opened = open_captioner(tmp_path)
        ids = WORDS.ids(["a cat", "red", ""])
        torch.testing.assert_close(
            opened.logprob(features(made), ids), made.logprob(features(made), ids), rtol=0, atol=0
        )
        assert opened.fingerprint == made.fingerprint


def test_a_captioner_without_attention_says_so():
    made = captioner("fc")
    with pytest.raises(Unsupported, match="FcCaptioner gives no attention"):
        made.attention(features(made), WORDS.ids(["a", "a", "a"]))
