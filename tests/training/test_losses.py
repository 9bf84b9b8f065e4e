import math

import pytest
import torch
import torch.nn.functional as F

from alignscope.training.losses import (
    EmbeddedPairs,
    contrastive_loss,
    hard_negative_loss,
    own_foil_loss,
    sigmoid_loss,
)


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


def unit_rows(*counts):
    torch.manual_seed(1)
    return [F.normalize(torch.randn(count, 8), dim=-1) for count in counts]


def test_hard_negatives_by_hand():
    # one pair whose foil is orthogonal to it: right at 3, wrong at 0; the text has one image to choose from
    eye = torch.eye(2)
    pair = EmbeddedPairs(eye[:1], eye[:1], eye[1:])
    expected = math.log(1 + math.exp(-3.0)) / 2
    assert hard_negative_loss(pair, torch.tensor(3.0)).item() == pytest.approx(expected)
    # a neighbour orthogonal in image and caption, each one's foil equal to the other's caption:
    # image: right at 3, wrong 0, wrong 0, its own foil's copy of the right one 3
    neighbour = EmbeddedPairs(eye[1:], eye[1:], eye[:1])
    to_text = math.log(2 + 2 * math.exp(-3.0))
    to_image = math.log(1 + math.exp(-3.0))
    found = hard_negative_loss(pair, torch.tensor(3.0), neighbour)
    assert found.item() == pytest.approx((to_text + to_image) / 2)


def test_both_forms_of_hard_negatives_equal_a_plain_loop():
    images, texts, foils, more_images, more_texts, more_foils = unit_rows(4, 4, 4, 4, 4, 4)
    scale = 5.0

    def cost(query, offered, right):
        scores = [scale * float(query @ one) for one in offered]
        return math.log(sum(map(math.exp, scores))) - scores[right]

    pairs = EmbeddedPairs(images, texts, foils)
    own = [cost(images[i], [*texts, *foils], i) for i in range(4)]
    back = [cost(texts[i], list(images), i) for i in range(4)]
    assert hard_negative_loss(pairs, torch.tensor(scale)).item() == pytest.approx(
        (sum(own) + sum(back)) / 8, rel=1e-5
    )
    offered, seen = [*texts, *more_texts, *foils, *more_foils], [*images, *more_images]  # 16 texts, 8 images
    own = [cost(seen[i], offered, i) for i in range(8)]
    back = [cost(offered[i], seen, i) for i in range(8)]
    full = hard_negative_loss(pairs, torch.tensor(scale), EmbeddedPairs(more_images, more_texts, more_foils))
    assert full.item() == pytest.approx((sum(own) + sum(back)) / 16, rel=1e-5)


def test_pairwise_sigmoids_by_hand():
    eye = torch.eye(2)
    # per image: yes at 3 - 1 = 2, no at 0 - 1 = -1
    expected = math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-1.0))
    assert sigmoid_loss(eye, eye, torch.tensor(3.0), torch.tensor(-1.0)).item() == pytest.approx(expected)
    with_foil = sigmoid_loss(eye, eye, torch.tensor(3.0), torch.tensor(-1.0), eye[:1])
    # the foil is right for image 0 (at 2, a no) and wrong for image 1 (at -1, a no)
    more = (math.log(1 + math.exp(2.0)) + math.log(1 + math.exp(-1.0))) / 2
    assert with_foil.item() == pytest.approx(expected + more)


def test_pairwise_sigmoids_equal_a_plain_loop():
    images, texts, foils = unit_rows(5, 5, 7)
    scale, bias, total = 4.0, -2.0, 0.0
    for i, image in enumerate(images):
        for j, text in enumerate([*texts, *foils]):
            logit = scale * float(image @ text) + bias
            total += math.log1p(math.exp(-logit if i == j else logit))
    found = sigmoid_loss(images, texts, torch.tensor(scale), torch.tensor(bias), foils)
    assert found.item() == pytest.approx(total / 5, rel=1e-5)


def test_sigmoids_of_large_scores_stay_finite_with_a_gradient():
    (rows,) = unit_rows(4)
    images = rows.clone().requires_grad_()
    loss = sigmoid_loss(images, rows, torch.tensor(1e4), torch.tensor(-10.0))
    loss.backward()
    assert math.isfinite(loss.item())
    assert images.grad.isfinite().all()


OWN_ROWS = (0, 2, 2, 2, 5, 5)  # pairs 1, 3 and 4 have no foil


def own_rows(dtype=torch.float32):
    pairs = EmbeddedPairs(*(rows.to(dtype) for rows in unit_rows(6, 6, len(OWN_ROWS))))
    return pairs, torch.tensor(OWN_ROWS), torch.tensor(9.0, dtype=dtype)


def test_own_foils_equal_a_plain_loop():
    pairs, rows, scale = own_rows(torch.float64)
    total = 0.0
    for pair in range(6):
        own = [foil for foil, row in zip(pairs.foils, OWN_ROWS, strict=True) if row == pair]
        if own:
            scores = [float(scale * (pairs.images[pair] @ text)) for text in (pairs.texts[pair], *own)]
            total += math.log(sum(map(math.exp, scores))) - scores[0]
    assert total > 1
    assert own_foil_loss(pairs, rows, scale).item() == pytest.approx(total, rel=1e-12)


def test_the_gradient_of_own_foils_equals_finite_differences():
    pairs, rows, scale = own_rows(torch.float64)
    tensors = [part.clone().requires_grad_() for part in (pairs.images, pairs.texts, pairs.foils)]
    assert torch.autograd.gradcheck(lambda *parts: own_foil_loss(EmbeddedPairs(*parts), rows, scale), tensors)
    gradients = torch.autograd.grad(own_foil_loss(EmbeddedPairs(*tensors), rows, scale), tensors)
    for gradient in gradients[:2]:
        assert (gradient[[1, 3, 4]] == 0).all()
        assert (gradient[[0, 2, 5]].norm(dim=1) > 0).all()


def test_without_own_foils_nothing_is_lost_or_pulled():
    pairs, _, scale = own_rows()
    images = pairs.images.clone().requires_grad_()
    none = EmbeddedPairs(images, pairs.texts, pairs.foils[:0])
    loss = own_foil_loss(none, torch.zeros(0, dtype=torch.long), scale)
    assert loss.item() == 0.0
    loss.backward()
    assert (images.grad == 0).all()
    empty = EmbeddedPairs(*[pairs.foils[:0]] * 3)
    assert own_foil_loss(empty, torch.zeros(0, dtype=torch.long), scale).item() == 0.0
