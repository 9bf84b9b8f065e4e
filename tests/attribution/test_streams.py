"""The rules of two streams: worked by hand, against a plain loop in numpy, and where they are the rule of one."""

import numpy as np
import pytest
import torch
from torch import Tensor

from alignscope.attribution.relevance import readout_row
from alignscope.attribution.streams import Step, normalised, propagated, start
from alignscope.errors import BadInput

TWO = torch.ones(1, 2).bool()


def matrix(*rows: list[float]) -> Tensor:
    return torch.tensor([rows])


def test_one_self_attention_layer_adds_its_own_map() -> None:
    """R_tt = I + E I, R_ti = 0 + E 0."""
    step = Step("text", "text", 0, matrix([0.25, 0.5], [0.0, 1.0]))
    after = propagated([step], TWO, TWO)
    assert after.text_text.tolist() == [[[1.25, 0.5], [0.0, 2.0]]]
    assert not after.text_image.any()
    assert not after.image_text.any()
    assert torch.equal(after.image_image, torch.eye(2)[None])


def test_both_directions_of_one_block_start_from_before_it() -> None:
    """Worked by hand. First the text's own attention, E = [[0, 1], [0, 0]]:

        R_tt = I + E = [[1, 1], [0, 1]]; the rest as at the start.

    Then one block of both crossings. N(R_tt): row 0 heard [0, 1], sum 1, so [[1, 1], [0, 1]]; N(R_ii) = I.

    Text to image, C = [[0.5, 0], [0, 0.25]]:
        R_ti = 0 + N(R_tt)^T C N(R_ii) = [[1, 0], [1, 1]] C = [[0.5, 0], [0.5, 0.25]]
        R_tt = [[1, 1], [0, 1]] + C R_it, and R_it before the block is 0: unchanged.
    Image to text, D = [[0, 1], [2, 0]]:
        R_it = 0 + N(R_ii)^T D N(R_tt) = D [[1, 1], [0, 1]] = [[0, 1], [2, 2]]
        R_ii = I + D R_ti, and R_ti before the block is 0: unchanged.
    """
    own = Step("text", "text", 0, matrix([0.0, 1.0], [0.0, 0.0]))
    to_image = Step("text", "image", 1, matrix([0.5, 0.0], [0.0, 0.25]))
    to_text = Step("image", "text", 1, matrix([0.0, 1.0], [2.0, 0.0]))
    after = propagated([own, to_image, to_text], TWO, TWO)
    assert after.text_text.tolist() == [[[1.0, 1.0], [0.0, 1.0]]]
    assert after.text_image.tolist() == [[[0.5, 0.0], [0.5, 0.25]]]
    assert after.image_text.tolist() == [[[0.0, 1.0], [2.0, 2.0]]]
    assert torch.equal(after.image_image, torch.eye(2)[None])
    swapped = propagated([own, to_text, to_image], TWO, TWO)  # side by side: no order between them
    assert all(torch.equal(after.of(*key), swapped.of(*key)) for key in PAIRS)


PAIRS = [("text", "text"), ("text", "image"), ("image", "text"), ("image", "image")]


def test_a_crossing_after_another_hears_what_came_back() -> None:
    """As above without the text's own attention, but the image looks first and the text one block later.

    R_it = D = [[0, 1], [2, 0]]; then, with C = [[0.5, 0], [0, 0.25]],
    R_tt = I + C R_it = [[1, 0.5], [0.5, 1]] and R_ti = C.
    """
    to_text = Step("image", "text", 0, matrix([0.0, 1.0], [2.0, 0.0]))
    to_image = Step("text", "image", 1, matrix([0.5, 0.0], [0.0, 0.25]))
    after = propagated([to_text, to_image], TWO, TWO)
    assert after.text_text.tolist() == [[[1.0, 0.5], [0.5, 1.0]]]
    assert after.text_image.tolist() == to_image.relevance.tolist()
    assert after.image_text.tolist() == to_text.relevance.tolist()


def test_order_matters_and_is_checked() -> None:
    generator = torch.Generator().manual_seed(0)
    own, cross = (torch.rand(1, 2, 2, generator=generator) for _ in range(2))
    first = propagated([Step("text", "text", 0, own), Step("text", "image", 1, cross)], TWO, TWO)
    last = propagated([Step("text", "image", 0, cross), Step("text", "text", 1, own)], TWO, TWO)
    assert not torch.allclose(first.text_image, last.text_image)
    with pytest.raises(BadInput, match=r"blocks \[1, 0\]"):
        propagated([Step("text", "text", 1, own), Step("text", "image", 0, cross)], TWO, TWO)


def plain(layers: list[tuple[str, str, np.ndarray]], blocks: list[int], tokens: int, regions: int) -> dict:
    """The equations written out, one pair, scalar loops, in float64."""
    size = {"t": tokens, "i": regions}
    state = {a + b: np.eye(size[a]) if a == b else np.zeros((size[a], size[b])) for a in "ti" for b in "ti"}

    def bar(matrix: np.ndarray) -> np.ndarray:
        result = np.eye(len(matrix))
        for row in range(len(matrix)):
            heard = [matrix[row, column] - float(row == column) for column in range(len(matrix))]
            for column in range(len(matrix)):
                if sum(heard) > 0:
                    result[row, column] += heard[column] / sum(heard)
        return result

    def times(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        result = np.zeros((left.shape[0], right.shape[1]))
        for i in range(left.shape[0]):
            for j in range(right.shape[1]):
                for k in range(left.shape[1]):
                    result[i, j] += left[i, k] * right[k, j]
        return result

    for block in sorted(set(blocks)):
        old = {name: value.copy() for name, value in state.items()}
        for (s, k, attention), own_block in zip(layers, blocks, strict=True):
            if own_block != block:
                continue
            q = "i" if s == "t" else "t"
            if s == k:  # eq. 6 and 7
                state[s + s] += times(attention, old[s + s])
                state[s + q] += times(attention, old[s + q])
            else:  # eq. 10 and 11
                state[s + q] += times(times(bar(old[s + s]).T, attention), bar(old[q + q]))
                state[s + s] += times(attention, old[q + s])
    return state


def lxmert_like(generator: torch.Generator, tokens: int, regions: int, pairs: int) -> list[Step]:
    """Two layers of either stream, then two cross layers with both directions and own attention after."""
    size = {"text": tokens, "image": regions}
    route = [("text", "text"), ("image", "image")] * 2
    steps = list(enumerate(route))
    for layer in range(2):
        at = len(route) + 3 * layer
        steps += [(at, ("text", "image")), (at, ("image", "text"))]
        steps += [(at + 1, ("text", "text")), (at + 2, ("image", "image"))]
    draw = lambda q, k: torch.rand(pairs, size[q], size[k], generator=generator, dtype=torch.float64)  # noqa: E731
    return [Step(q, k, block, draw(q, k) / 4) for block, (q, k) in steps]  # type: ignore[arg-type]


def test_two_layers_are_what_the_equations_give_one_pair_at_a_time() -> None:
    steps = lxmert_like(torch.Generator().manual_seed(1), tokens=4, regions=3, pairs=2)
    after = propagated(steps, torch.ones(2, 4).bool(), torch.ones(2, 3).bool())
    for pair in range(2):
        layers = [(step.query[0], step.key[0], step.relevance[pair].numpy()) for step in steps]
        wanted = plain(layers, [step.block for step in steps], 4, 3)
        for query, key in PAIRS:
            got = after.of(query, key)[pair].numpy()
            np.testing.assert_allclose(got, wanted[query[0] + key[0]], rtol=0, atol=1e-12)


def test_padding_neither_hears_nor_is_heard() -> None:
    """Real positions are as without padding, whatever the padding's maps hold."""
    steps = lxmert_like(torch.Generator().manual_seed(2), tokens=5, regions=6, pairs=1)
    text, image = torch.tensor([[1, 1, 1, 0, 0]]).bool(), torch.tensor([[1, 1, 0, 1, 0, 0]]).bool()
    real = {"text": text[0], "image": image[0]}
    cut = [Step(s.query, s.key, s.block, s.relevance[:, real[s.query]][:, :, real[s.key]]) for s in steps]
    padded = propagated(steps, text, image)
    bare = propagated(cut, torch.ones(1, 3).bool(), torch.ones(1, 3).bool())
    for query, key in PAIRS:
        got = padded.of(query, key)
        assert torch.allclose(got[:, real[query]][:, :, real[key]], bare.of(query, key), atol=1e-13)
    assert not padded.text_image[:, ~text[0]].any()
    assert not padded.text_image[:, :, ~image[0]].any()


def test_one_stream_alone_is_the_plain_rule() -> None:
    generator = torch.Generator().manual_seed(3)
    layers = [torch.rand(2, 5, 5, generator=generator) for _ in range(3)]
    steps = [Step("text", "text", block, layer) for block, layer in enumerate(layers)]
    after = propagated(steps, torch.ones(2, 5).bool(), torch.ones(2, 1).bool())
    readout = torch.tensor([0, 3])
    row = after.text_text[torch.arange(2), readout] - torch.eye(5)[readout]
    assert torch.allclose(row, readout_row(layers, readout), atol=1e-6)


def test_rows_that_heard_nothing_pass_gradients_without_nan() -> None:
    relevance = torch.eye(2)[None].clone().requires_grad_()
    normalised(relevance).sum().backward()
    assert relevance.grad is not None
    assert relevance.grad.isfinite().all()


def test_at_the_start_all_hear_themselves() -> None:
    at_first = start(TWO, torch.ones(1, 3).bool(), torch.float64)
    assert at_first.image_image.dtype == torch.float64
    assert torch.equal(at_first.image_image[0], torch.eye(3, dtype=torch.float64))
    assert at_first.image_text.shape == (1, 3, 2)
