"""The relevance rules against a worked case and the whole matrix."""

import torch

from alignscope.attribution.relevance import layer_relevance, readout_row, wide


def test_a_worked_case_of_two_tokens_and_two_heads() -> None:
    attention = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.25, 0.75]]]])
    gradient = torch.tensor([[[[0.0, 0.0], [2.0, -4.0]], [[0.0, 0.0], [-1.0, 2.0]]]])
    # head 0: (1, -2) -> (1, 0); head 1: (-0.25, 1.5) -> (0, 1.5); mean: (0.5, 0.75)
    layer = layer_relevance(attention, gradient)
    assert layer.tolist() == [[[0.0, 0.0], [0.5, 0.75]]]
    # two such layers: (I + E)(I + E), row 1: (0.5 + 0.5 * 1.75, 1.75 * 1.75) less the identity
    assert readout_row([layer, layer], torch.tensor([1])).tolist() == [[1.375, 2.0625]]


def test_the_order_of_the_layers_matters_and_is_first_to_last() -> None:
    first = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])  # token 1 hears token 0
    last = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])  # then token 2 hears token 1
    assert readout_row([first, last], torch.tensor([2])).tolist() == [[1.0, 1.0, 0.0]]
    assert readout_row([last, first], torch.tensor([2])).tolist() == [[0.0, 1.0, 0.0]]


def test_one_row_equals_that_row_of_the_whole_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    layers = [torch.rand(3, 5, 5, generator=generator, dtype=torch.float64) for _ in range(4)]
    readout = torch.tensor([4, 0, 2])
    rows = readout_row(layers, readout)
    for text, position in enumerate(readout.tolist()):
        whole = torch.eye(5, dtype=torch.float64)
        for layer in layers:
            whole = whole + layer[text] @ whole
        wanted = whole[position] - torch.eye(5, dtype=torch.float64)[position]
        torch.testing.assert_close(rows[text], wanted, rtol=1e-12, atol=1e-12)


def test_half_precision_is_multiplied_in_float32() -> None:
    attention = torch.full((1, 1, 1, 1), 0.3, dtype=torch.bfloat16)
    gradient = torch.full((1, 1, 1, 1), 1e-3, dtype=torch.bfloat16)
    found = layer_relevance(attention, gradient)
    assert found.dtype == torch.float32
    assert found.item() == attention.float().item() * gradient.float().item()
    assert wide(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
