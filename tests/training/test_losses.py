import math

import pytest
import torch
import torch.nn.functional as F

from alignscope.training.losses import contrastive_loss


def test_one_pair_alone_costs_nothing():
    one = F.normalize(torch.randn(1, 4), dim=-1)
    assert contrastive_loss(one, one, torch.tensor(10.0)).item() == pytest.approx(0.0)


def test_two_orthogonal_pairs_by_hand():
    eye = torch.eye(2)
    expected = math.log(1 + math.exp(-3.0))  # right at 3, wrong at 0
    assert contrastive_loss(eye, eye, torch.tensor(3.0)).item() == pytest.approx(expected)


def test_it_equals_a_plain_loop_with_foils():
    torch.manual_seed(0)
    images, texts, foils = (F.normalize(torch.randn(n, 8), dim=-1) for n in (5, 5, 3))
    scale = 7.0

    def cost(query, candidates, right):
        scores = [scale * float(query @ candidate) for candidate in candidates]
        return math.log(sum(map(math.exp, scores))) - scores[right]

    to_text = sum(cost(images[i], [*texts, *foils], i) for i in range(5)) / 5
    to_image = sum(cost(texts[i], list(images), i) for i in range(5)) / 5
    found = contrastive_loss(images, texts, torch.tensor(scale), foils)
    assert found.item() == pytest.approx((to_text + to_image) / 2, rel=1e-5)
