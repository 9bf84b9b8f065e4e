"""Self-critical training against hand-worked cases, and the gradient checks of the sheet (section 7, item 7)."""

import pytest
import torch

from alignscope.errors import BadInput
from alignscope.training.selfcritical import (
    over_greedy,
    over_the_others,
    self_critical_loss,
    token_divergence,
)

END = 0


def sampled(logits: torch.Tensor, ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of ids under one distribution for every place, and which places count."""
    rows = torch.tensor(ids)
    ended = (rows == END).cumsum(dim=1) - (rows == END).long()
    return logits.log_softmax(dim=-1)[rows], ended == 0


def test_the_loss_is_lucs_formula_in_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    logprobs = -torch.rand(4, 5, generator=generator)
    lengths = [5, 3, 1, 4]
    mask = torch.tensor([[place < length for place in range(5)] for length in lengths])
    advantages = [0.5, -1.0, 2.0, 0.0]
    total = sum(
        -logprobs[row, place].item() * advantages[row] for row in range(4) for place in range(lengths[row])
    )
    found = self_critical_loss(logprobs, mask, torch.tensor(advantages))
    assert found.item() == pytest.approx(total / sum(lengths), rel=1e-6)


def test_a_rewarded_token_becomes_likelier_and_an_unpaid_caption_moves_nothing() -> None:
    """Reward 1 for captions with token 3; the greedy caption has none."""
    logits = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    ids = [[3, END, END], [2, 1, END], [1, 3, END], [4, END, END]]
    logprobs, mask = sampled(logits, ids)
    rewards = torch.tensor([[1.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    advantages = over_greedy(rewards, torch.zeros(1, dtype=torch.float64))
    self_critical_loss(logprobs, mask, advantages.flatten()).backward()
    assert logits.grad is not None
    assert logits.grad[3] < 0, "its logit rises"
    assert logits.grad[[2, 4]].min() > 0
    logits.grad = None
    logprobs, mask = sampled(logits, ids)
    same = over_greedy(torch.full((1, 4), 0.7), torch.full((1,), 0.7)).flatten()
    self_critical_loss(logprobs, mask, same).backward()
    assert logits.grad.abs().max() == 0, "a sample that is paid as the greedy one has no gradient"


def test_the_end_counts_and_what_follows_does_not() -> None:
    logits = torch.zeros(4, requires_grad=True)
    logprobs, mask = sampled(logits, [[2, END, END]])
    assert mask.tolist() == [[True, True, False]]
    self_critical_loss(logprobs, mask, torch.ones(1)).backward()
    assert logits.grad is not None
    # two tokens of probability 1/4 each: d(-log p)/d logit = p - chosen, halved
    assert logits.grad.tolist() == pytest.approx([-0.25, 0.25, -0.25, 0.25])


def test_no_gradient_reaches_the_rewards() -> None:
    rewards = torch.ones(1, 2, requires_grad=True)
    logprobs = torch.full((2, 1), -1.0, requires_grad=True)
    self_critical_loss(logprobs, torch.ones(2, 1).bool(), rewards.flatten()).backward()
    assert rewards.grad is None


def test_the_others_are_the_baseline_by_hand() -> None:
    found = over_the_others(torch.tensor([[0.0, 3.0], [1.0, 1.0]]))
    assert found.tolist() == [[-3.0, 3.0], [0.0, 0.0]]
    with pytest.raises(BadInput, match="2 or more"):
        over_the_others(torch.ones(3, 1))


def test_divergence_is_zero_at_the_start_and_the_mean_over_counted_tokens() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -9.0]])
    mask = torch.tensor([[True, True, False]])
    assert token_divergence(logprobs, logprobs, mask).item() == 0
    start = torch.tensor([[-2.0, -4.0, 0.0]])
    assert token_divergence(logprobs, start, mask).item() == pytest.approx(1.5)
