"""Images of a tower that stands still: the embeddings of the tower itself, once, whatever the processes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from alignscope.errors import BadImage
from alignscope.files import read_jsonl
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.zoo import open_model
from alignscope.records import Caption
from alignscope.training import finetune as loop
from alignscope.training import frozen, step
from alignscope.training.engine import Engine
from alignscope.training.finetune import finetune
from alignscope.training.frozen import frozen_images
from alignscope.training.metrics import nobody
from alignscope.training.pairs import open_pairs
from alignscope.training.places import Place, PlacedSamples
from alignscope.training.recipe import Register
from alignscope.training.samples import Batch
from alignscope.training.settings import AttributionPlan, Augmentation, FineTuning, NegativePlan, SceneData

RUN = FineTuning(
    "frozen",
    "tiny-clip",
    SceneData("world", Register(0.9, 0.95, 0.3, 0.5, 0.9), images=24, captions_per_image=2),
    batch=8,
    steps=7,
    learning_rate=1e-3,
    warmup=1,
    log_every=1,
    trains="text",
    attribution=AttributionPlan(weight=1.0),
    negatives=NegativePlan(form="own"),
)


@pytest.fixture
def clip(tiny_clip_dir: Path) -> TransformersDualEncoder:
    torch.set_num_threads(1)
    return open_model(tiny_clip_dir)


def picture(key: str) -> Image.Image:
    if key == "7":
        raise BadImage("7 is broken")
    draw = torch.Generator().manual_seed(int(key))
    pixels = torch.randint(0, 256, (40, 30, 3), generator=draw, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def source() -> PlacedSamples:
    """20 images of which the last comes twice; 7 cannot be read."""
    return PlacedSamples("some", "sha", tuple(Place(f"{min(n, 19)}", ("a",)) for n in range(21)), picture, 0)


def test_they_are_the_tower_s_own(clip: TransformersDualEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "CHUNK", 8)
    found = frozen_images(clip, source(), Engine(cpu=True))
    assert list(found) == [f"{n}" for n in range(20) if n != 7]
    for key, row in found.items():
        with torch.no_grad():
            wanted = clip.embed_pixels(clip.pixels([picture(key)]))[0]
        assert torch.allclose(row, wanted, atol=1e-6), key
    assert not any(row.requires_grad for row in found.values())


def test_the_processes_change_no_bit(clip: TransformersDualEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "CHUNK", 4)
    engine = Engine(cpu=True)
    alone = frozen_images(clip, source(), engine)
    for world in (2, 3, 7):  # of the last some have no chunk
        shares: list[list[torch.Tensor]] = []
        monkeypatch.setattr(Engine, "world", property(lambda _, world=world: world))
        for rank in range(world):
            given: list[torch.Tensor] = []

            def total(_: Engine, values: torch.Tensor, given: list[torch.Tensor] = given) -> torch.Tensor:
                given.append(values)
                return values

            monkeypatch.setattr(Engine, "rank", property(lambda _, rank=rank: rank))
            monkeypatch.setattr(Engine, "total", total)
            frozen_images(clip, source(), engine)
            shares.append(given)
        rows, there = (sum(parts) for parts in zip(*shares, strict=True))
        assert there.tolist() == [float(n != 7) for n in range(20)]  # each made once
        assert all(torch.equal(rows[int(key)], row) for key, row in alone.items())


def test_a_run_with_them_is_the_run_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    made = []

    def counted(*given: object, **options: object) -> object:
        made.append(frozen_images(*given, **options))
        return made[-1]

    monkeypatch.setattr(loop, "frozen_images", counted)
    finetune(RUN, tmp_path / "with")
    assert [len(found) for found in made] == [24]
    monkeypatch.setattr(loop, "frozen_of", lambda *_: None)
    finetune(RUN, tmp_path / "without")
    one, other = (
        [row["loss"] for row in read_jsonl(tmp_path / name / "metrics.jsonl")] for name in ("with", "without")
    )
    assert len(one) == 7
    assert one == pytest.approx(other, rel=1e-5)
    assert abs(one[0] - one[-1]) > 1e-3


@pytest.mark.parametrize(
    "changes",
    [{"trains": "both"}, {"augmentation": Augmentation()}, {"steps": 5}],
    ids=["both", "crops", "short"],
)
def test_images_that_change_or_come_once_are_not_kept(
    clip: TransformersDualEncoder, changes: dict[str, object]
) -> None:
    run, engine = replace(RUN, **changes), Engine(cpu=True)
    pairs = open_pairs(run, clip.image_transform, engine, workers=0, watch=nobody)
    assert loop.frozen_of(run, clip, pairs, engine, nobody) is None


def test_an_image_that_can_be_read_only_later_is_embedded_then(clip: TransformersDualEncoder) -> None:
    made = frozen_images(clip, source(), Engine(cpu=True))
    assert "7" not in made
    pixels = torch.randn(2, 3, 32, 32)
    part = Batch(pixels, ("0", "7"), (Caption("a"), Caption("b")))
    with torch.no_grad():
        found = step._frozen(clip, part, made)
        torch.testing.assert_close(found, torch.stack([made["0"], clip.embed_pixels(pixels[1:])[0]]))
