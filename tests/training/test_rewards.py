"""Rewards of captions: each distinct pair scored once, in the space that paper A reports."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from alignscope.data.world.world import World
from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models.zoo import open_model
from alignscope.training.rewards import Measured, Mixed, ScorerReward

WORLD = World("test", size=4)
TEXTS = [item.caption.text for item in WORLD.items]


@pytest.fixture(scope="module")
def clip() -> Any:
    return open_model("tiny-clip")


@pytest.fixture(scope="module")
def uniter() -> Any:
    return open_model("tiny-uniter")


def regions() -> Sequence[Any]:
    return [WORLD.regions(scene.id, width=256) for scene in WORLD.scenes]


def test_a_matching_head_pays_its_probability(uniter: Any) -> None:
    seen = regions()
    reward = ScorerReward(uniter, seen)
    paid = reward([2, 0, 2], [TEXTS[2], TEXTS[1], TEXTS[0]])
    odds = [uniter.score([seen[i]], [t]).item() for i, t in ((2, TEXTS[2]), (0, TEXTS[1]), (2, TEXTS[0]))]
    assert paid.tolist() == pytest.approx([1 / (1 + 2.718281828459045**-o) for o in odds], abs=1e-5)
    assert reward.space == "probability"
    raw = ScorerReward(uniter, seen, space="score", scale=2.0)
    assert raw([2], [TEXTS[2]]).item() == pytest.approx(2 * odds[0], abs=1e-4)


def test_a_dual_encoder_pays_its_cosine(clip: Any) -> None:
    images = [WORLD.image(scene.id) for scene in WORLD.scenes]
    reward = ScorerReward(clip, images)
    rows, texts = clip.encode_images(images), clip.encode_texts(TEXTS)
    paid = reward([0, 1, 3], [TEXTS[1], TEXTS[1], TEXTS[0]])
    wanted = [rows[0] @ texts[1], rows[1] @ texts[1], rows[3] @ texts[0]]
    assert paid.tolist() == pytest.approx([each.item() for each in wanted], abs=1e-5)


def test_every_distinct_pair_is_scored_once(uniter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    score = type(uniter).score

    def counted(self: Any, images: Sequence[Any], texts: Sequence[str]) -> torch.Tensor:
        asked.append(len(texts))
        return score(self, images, texts)

    monkeypatch.setattr(type(uniter), "score", counted)
    reward = ScorerReward(uniter, regions())
    paid = reward([1, 1, 0, 1], [TEXTS[0], TEXTS[0], TEXTS[0], TEXTS[1]])
    assert asked == [3]
    assert paid[0] == paid[1]


def test_a_mixture_is_the_weighted_sum() -> None:
    length = Measured("length", lambda images, texts: [float(len(text.split())) for text in texts])
    place = Measured("place", lambda images, texts: list(map(float, images)))
    mixed = Mixed(((0.5, length), (2.0, place)))
    assert mixed([3, 0], ["a b", "c"]).tolist() == [7.0, 0.5]
    assert mixed.name == "0.5 length + 2 place"


def test_what_cannot_be_is_refused(clip: Any, uniter: Any) -> None:
    with pytest.raises(Unsupported, match="no probability"):
        ScorerReward(clip, [], space="probability")
    with pytest.raises(BadInput, match="scale"):
        ScorerReward(uniter, regions(), scale=0.0)
    with pytest.raises(LengthMismatch, match="2 captions for 1 images"):
        ScorerReward(uniter, regions())([0], ["a", "b"])
    with pytest.raises(BadInput, match="takes pixels"):
        ScorerReward(clip, regions())
