"""Self-critical sequence training: what a sampled caption is paid above the model's own greedy one.

Rennie et al. 2017, as Luo's code has it (sheet A.3): r_i = R(sample_i) - R(greedy), for every token of the sample
alike; the loss is -sum log p(token) r / number of tokens, the end token among them. Paper A's equation 2 is its
expectation up to that division.
"""

from __future__ import annotations

import torch
from einops import reduce, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from alignscope.errors import BadInput


def self_critical_loss(
    logprobs: Float[Tensor, "caption token"],
    mask: Bool[Tensor, "caption token"],
    advantages: Float[Tensor, " caption"],
) -> Float[Tensor, ""]:
    """-sum of log p(token) times the caption's advantage over all tokens that count, divided by how many they are.

    >>> self_critical_loss(torch.tensor([[-1.0, -2.0]]), torch.tensor([[True, False]]), torch.tensor([0.5]))
    tensor(0.5000)
    """
    counted = mask.to(logprobs)
    paid = reduce(logprobs * counted, "caption token -> caption", "sum") * advantages.detach().to(logprobs)
    return -paid.sum() / counted.sum()


def over_greedy(
    rewards: Float[Tensor, "image sample"], greedy: Float[Tensor, " image"]
) -> Float[Tensor, "image sample"]:
    """What each sample is paid above the greedy caption of its image."""
    return rewards - repeat(greedy, "image -> image 1")


def over_the_others(rewards: Float[Tensor, "image sample"]) -> Float[Tensor, "image sample"]:
    """What each sample is paid above the mean of its image's other samples (Luo 2020).

    >>> over_the_others(torch.tensor([[1.0, 2.0, 6.0]]))
    tensor([[-3.0000, -1.5000,  4.5000]])
    """
    samples = rewards.shape[1]
    if samples < 2:
        raise BadInput(f"got {samples} samples per image, wanted 2 or more for a baseline of the others")
    total = reduce(rewards, "image sample -> image 1", "sum")
    return rewards - (total - rewards) / (samples - 1)


def token_divergence(
    logprobs: Float[Tensor, "caption token"],
    at_start: Float[Tensor, "caption token"],
    mask: Bool[Tensor, "caption token"],
) -> Float[Tensor, ""]:
    """Mean over sampled tokens of log p - log p of the model at the start: an estimate of KL(now || start) per token."""
    counted = mask.to(logprobs)
    with torch.no_grad():
        return ((logprobs - at_start) * counted).sum() / counted.sum()
