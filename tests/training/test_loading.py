"""Batches follow from (seed, step, row): neither workers, processes nor a resumption change them."""

import io
import tarfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image as Pillow

from alignscope.data.images import ImageFolder
from alignscope.errors import BadData, BadInput, BadRecipe
from alignscope.language.replacements import Candidates
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Problem, Word
from alignscope.training import loading
from alignscope.training.loading import batches, steps_of
from alignscope.training.places import Place, PlacedSamples
from alignscope.training.samples import Batch
from alignscope.training.settings import Augmentation, NegativePlan, ShardData
from alignscope.training.streaming import open_stream

PHOTOS = Path(__file__).parents[2].parent / "shared" / "data" / "coco_images"
CROPS = Augmentation(scale=(0.3, 1.0))


@pytest.fixture(scope="module")
def model(tiny_clip_dir: Path):
    return open_model(str(tiny_clip_dir))


@pytest.fixture
def transform(model):
    return model.image_transform


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    image = Pillow.frombytes("RGB", (40, 30), Random(number).randbytes(3600))
    image.save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("images")
    for number in range(23):
        (directory / f"{number}.png").write_bytes(png(number))
    return directory


def samples(folder: Path, count: int = 23, **changes) -> PlacedSamples:
    places = tuple(
        Place(
            f"{n}.png",
            (f"a picture {n}", f"a photo {n}"),
            ((f"no picture {n}", f"nothing {n}"), (f"no photo {n}",)),
            tuple(other for other in (n - 1, n, n + 1) if 0 <= other < count and n % 5),
        )
        for n in range(count)
    )
    return PlacedSamples("files", "sha", places, ImageFolder(folder).image, 0, **changes)


def shard(tmp_path: Path, contents: list[bytes]) -> ShardData:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for number, content in enumerate(contents):
            for name, part in ((f"{number}.png", content), (f"{number}.txt", f"a picture {number}".encode())):
                header = tarfile.TarInfo(name)
                header.size = len(part)
                tar.addfile(header, io.BytesIO(part))
    return ShardData("shards", (str(tmp_path / "s.tar"),), buffer=8)


def joined(shares: list[Batch]) -> Batch:
    """The shares of all processes as one batch."""
    beside = [share.neighbours for share in shares]
    return Batch(
        torch.cat([share.pixels for share in shares]),
        *(sum((getattr(share, part) for share in shares), ()) for part in ("images", "captions", "foils")),
        joined(beside) if all(beside) else None,
        sum((share.problems for share in shares), ()),
        sum(share.tried for share in shares),
    )


def assert_same(one: Batch, other: Batch) -> None:
    assert torch.equal(one.pixels, other.pixels)
    parts = ("images", "captions", "foils", "problems", "tried")
    assert [getattr(one, part) for part in parts] == [getattr(other, part) for part in parts]
    assert (one.neighbours is None) == (other.neighbours is None)
    if one.neighbours is not None and other.neighbours is not None:
        assert_same(one.neighbours, other.neighbours)


FULL = NegativePlan("own", form="full")


@pytest.fixture(params=["places", "crops", "full", "broken", "stream", "broken stream"])
def opened(request, folder, transform, tmp_path):
    """A way to open the batches of a run, as rank, world and workers say."""
    kind, changes, source = request.param, {"augmentation": CROPS}, samples(folder)
    if kind == "places":
        changes = {"augmentation": None}
    elif kind == "full":
        changes["negatives"] = FULL
    elif kind == "broken":
        for number in range(23):
            (tmp_path / f"{number}.png").write_bytes(b"broken" if number % 4 == 0 else png(number))
        source, changes["negatives"] = samples(tmp_path), FULL
    elif "stream" in kind:
        broken = kind == "broken stream"
        contents = [b"broken" if broken and n % 4 == 0 else png(n) for n in range(23)]
        source = open_stream(shard(tmp_path, contents), seed=1)

    def opener(seed: int = 5, **shares):
        return batches(source, batch=4, seed=seed, steps=13, transform=transform, **changes, **shares)

    return opener


def test_a_run_is_the_same_again_and_from_any_step(opened):
    whole = list(opened()(0))
    assert len(whole) == opened().steps == 13
    for first in (0, 4, 5, 12, 13):
        again = list(opened()(first))
        assert len(again) == 13 - first
        for one, other in zip(again, whole[first:], strict=True):
            assert_same(one, other)
    other_seed = next(opened(seed=6)(0))
    assert not torch.equal(other_seed.pixels, whole[0].pixels)


@pytest.mark.parametrize("world", [2, 4])
def test_shares_of_processes_are_the_batch_of_one(opened, world):
    shares = [opened(rank=rank, world=world)(3) for rank in range(world)]
    for whole, *parts in zip(opened()(3), *shares, strict=True):
        assert all(len(part.images) == 4 // world for part in parts)
        together = joined(parts)
        assert Counter(together.problems) == Counter(whole.problems)
        assert_same(replace(together, problems=()), replace(whole, problems=()))


def test_workers_change_nothing(opened):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    for one, other in zip(opened(workers=2)(6), opened()(6), strict=True):
        assert_same(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_epoch_has_every_place_once_and_another_rest_each_time(folder, transform):
    source = samples(folder)
    loader = batches(source, batch=4, seed=0, steps=steps_of(source, epochs=40, batch=4), transform=transform)
    assert isinstance(loader.steps, int)
    assert loader.steps == 40 * 5
    found = list(loader(0))
    orders, seen = set(), Counter()
    for epoch in range(40):
        images = [key for batch in found[epoch * 5 : epoch * 5 + 5] for key in batch.images]
        assert len(set(images)) == 20
        orders.add(tuple(images))
        seen.update(images)
    assert len(orders) == 40
    assert set(seen) == {f"{n}.png" for n in range(23)}
    assert all(24 <= count <= 40 for count in seen.values())  # 40 * 20/23 = 34.8, sd 2.1
    captions = {text for batch in found for text in (caption.text for caption in batch.captions)}
    assert captions == {f"a {kind} {n}" for kind in ("picture", "photo") for n in range(23)}


def test_each_row_is_its_image_caption_and_foils(folder, transform, model):
    plan = NegativePlan("own", each=2)
    source = samples(folder)
    for batch in batches(source, batch=4, seed=0, steps=5, transform=transform, negatives=plan)(0):
        numbers = [key.partition(".")[0] for key in batch.images]
        assert torch.equal(batch.pixels, model.pixels([source.image(f"{number}.png") for number in numbers]))
        assert [caption.text.split()[2] for caption in batch.captions] == numbers
        wanted = Counter()
        for number, caption in zip(numbers, batch.captions, strict=True):
            photo = "photo" in caption.text
            wanted.update([f"no photo {number}"] if photo else [f"no picture {number}", f"nothing {number}"])
        assert Counter(batch.foils) == wanted
        assert batch.tried == 4
        assert batch.neighbours is None


def test_one_own_foil_is_drawn_by_chance(folder, transform):
    loader = batches(
        samples(folder), batch=4, seed=0, steps=60, transform=transform, negatives=NegativePlan("own")
    )
    foils = [foil for batch in loader(0) for foil in batch.foils]
    assert len(foils) == 240
    drawn = Counter(foil.split()[0] for foil in foils if "photo" not in foil)
    assert 40 < drawn["no"] < 80  # of about 120, sd 5.5
    assert 40 < drawn["nothing"] < 80


def test_similar_images_come_with_their_own_captions_and_foils(folder, transform, model):
    source = samples(folder)
    loader = batches(source, batch=10, seed=0, steps=8, transform=transform, negatives=FULL)
    both = set()
    for batch in loader(0):
        beside = batch.neighbours
        numbers = [int(key.partition(".")[0]) for key in batch.images]
        having = [n for n in numbers if n % 5]
        others = [int(key.partition(".")[0]) for key in beside.images]
        assert len(others) == len(having) < 10
        assert all(abs(one - other) == 1 for one, other in zip(having, others, strict=True))
        both.update(zip(having, others, strict=True))
        assert [caption.text.split()[2] for caption in beside.captions] == [str(n) for n in others]
        assert sorted(foil.split()[-1] for foil in beside.foils) == sorted(map(str, others))
        assert torch.equal(beside.pixels, model.pixels([source.image(key) for key in beside.images]))
        assert batch.tried == 10 + len(others)
    assert {(7, 6), (7, 8)} <= both


def test_no_similar_image_anywhere_is_an_empty_batch(folder, transform):
    source = samples(folder)
    alone = replace(source, places=tuple(replace(place, similar=()) for place in source.places))
    batch = next(batches(alone, batch=4, seed=0, steps=1, transform=transform, negatives=FULL)(0))
    assert batch.neighbours.pixels.shape == (0, 3, 32, 32)
    assert batch.neighbours.images == ()


WORDS = (Word("cat", 2, 5, "object"), Word("under", 6, 11, "relation"), Word("dog", 14, 17, "object"))
CAT = Caption("A cat under a dog", WORDS)
OTHERS = Candidates({"object": ("cow", "pig", "hen"), "relation": ("on", "near"), "attribute": ()})


@dataclass(frozen=True)
class Cats:
    """Places that all say the same, with words."""

    files: PlacedSamples
    name: str = "cats"
    sha: str = "sha"
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def draw(self, place: int, epoch: int):
        return replace(self.files.draw(place, epoch), caption=CAT)

    def image(self, key: str):
        return self.files.image(key)


def test_made_foils_are_drawn_among_the_kinds(folder, transform):
    plan = NegativePlan("made", kinds=("swap_object", "replace_relation"))
    given = {"batch": 5, "seed": 0, "steps": 40, "transform": transform, "candidates": OTHERS}
    loader = batches(Cats(samples(folder)), negatives=plan, **given)
    found = [batch.foils for batch in loader(0)]
    assert all(len(foils) == 5 for foils in found)
    drawn = Counter(foil for foils in found for foil in foils)
    assert set(drawn) == {"A dog under a cat", "A cat on a dog", "A cat near a dog"}
    assert 70 < drawn["A dog under a cat"] < 130  # of 200, sd 7
    first_epoch = {foil for foils in found[:4] for foil in foils}
    assert len(first_epoch) == 2  # within an epoch one draw per kind and caption
    both = batches(Cats(samples(folder)), negatives=replace(plan, each=2), **given)
    assert all(len(batch.foils) == 10 for batch in both(0))


def test_captions_of_a_stream_are_classed(tmp_path, transform):
    stream = open_stream(shard(tmp_path, [png(n) for n in range(9)]), seed=0)
    asked = []

    def classed(captions):
        asked.append(len(captions))
        return [replace(caption, words=(Word("picture", 2, 9, "object"),)) for caption in captions]

    plan = NegativePlan("made", kinds=("replace_object",))
    loader = batches(
        stream, batch=4, seed=0, steps=3, transform=transform, classed=classed, negatives=plan,
        candidates=OTHERS,
    )  # fmt: skip
    for batch in loader(0):
        assert [caption.words[0].text for caption in batch.captions] == ["picture"] * 4
        numbers = [caption.text.split()[2] for caption in batch.captions]
        assert [foil.split()[2] for foil in batch.foils] == numbers
        assert all(foil.split()[1] in ("cow", "pig", "hen") for foil in batch.foils)
    assert asked == [4, 4, 4]


def test_an_unreadable_image_is_replaced_by_another_place(tmp_path, transform):
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(b"" if number in (3, 11) else png(number))
    loader = batches(samples(tmp_path, 20), batch=5, seed=0, steps=12, transform=transform)
    found = list(loader(0))
    for epoch in range(3):
        told = [p for batch in found[epoch * 4 : epoch * 4 + 4] for p in batch.problems]
        assert {"3.png", "11.png"} <= {problem.item for problem in told}
        assert all("zero bytes" in problem.what and problem.action == "handled" for problem in told)
    for batch in found:
        assert len(batch.images) == len(set(batch.images)) == len(batch.pixels) == 5
        assert batch.tried == 5 + len(batch.problems)
        assert not {"3.png", "11.png"} & set(batch.images)
        assert [c.text.split()[2] for c in batch.captions] == [key.partition(".")[0] for key in batch.images]


def test_nothing_readable_is_an_error_that_names_one(tmp_path, transform):
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(b"nothing")
    loader = batches(samples(tmp_path, 20), batch=5, seed=0, steps=4, transform=transform)
    with pytest.raises(BadData, match=r"unreadable images one after another.*\.png"):
        next(loader(0))
    crops = batches(
        samples(tmp_path, 20), batch=5, seed=0, steps=4, transform=transform, augmentation=CROPS, workers=1
    )
    with pytest.raises(BadData, match="step 2: got 6 unreadable") as caught:
        next(crops(2))
    assert "Traceback" not in str(caught.value)


def test_problems_of_a_stream_are_told_by_one_process(tmp_path, transform):
    plan = shard(tmp_path, [png(n) for n in range(8)])
    with tarfile.open(tmp_path / "s.tar", "a") as tar:
        tar.addfile(tarfile.TarInfo("alone.png"))
    stream = open_stream(plan, seed=0)
    given = {"batch": 4, "seed": 0, "steps": 4, "transform": transform}
    shares = [list(batches(stream, rank=rank, world=2, **given)(0)) for rank in (0, 1)]
    assert sum(len(batch.problems) for batch in shares[0]) >= 1
    assert sum(len(batch.problems) for batch in shares[1]) == 0
    whole = list(batches(stream, **given)(0))
    assert [b.tried for b in whole] == [a.tried + b.tried for a, b in zip(*shares, strict=True)]


def test_pixels_are_kept_only_where_nothing_changes_them(folder, transform, monkeypatch):
    opened = []

    @dataclass(frozen=True)
    class Watched(Cats):
        def image(self, key: str):
            opened.append(key)
            return self.files.image(key)

    given = {"batch": 4, "seed": 0, "steps": 50, "transform": transform}
    kept = batches(Watched(samples(folder)), **given)
    first = list(kept(0))
    assert len(opened) == len(set(opened)) == 23
    again = list(kept(0))
    assert len(opened) == 23
    opened.clear()
    monkeypatch.setattr(loading, "CACHED_BYTES", 23 * 3 * 32 * 32 * 4 - 1)
    unkept = list(batches(Watched(samples(folder)), **given)(0))
    assert len(opened) == 200
    for one, two, three in zip(first, again, unkept, strict=True):
        assert_same(one, two)
        assert_same(one, three)
    opened.clear()
    crops = list(batches(Cats(samples(folder)), augmentation=CROPS, **given)(0))
    assert not torch.equal(crops[0].pixels, first[0].pixels)


def test_what_cannot_be_is_refused(folder, transform, tmp_path):
    source = samples(folder)
    given = {"batch": 4, "seed": 0, "steps": 4, "transform": transform}
    with pytest.raises(BadRecipe, match="23 samples for batches of 24"):
        batches(source, **{**given, "batch": 24})
    with pytest.raises(BadRecipe, match="divides evenly"):
        batches(source, world=3, **given)
    with pytest.raises(BadRecipe, match="without candidates"):
        batches(source, negatives=NegativePlan(), **given)
    with pytest.raises(BadInput, match="step 5"):
        next(batches(source, **given)(5))
    stream = open_stream(shard(tmp_path, [png(n) for n in range(3)]), seed=0)
    with pytest.raises(BadRecipe, match="full form"):
        batches(stream, negatives=FULL, **given)
    with pytest.raises(BadRecipe, match="length is not known"):
        steps_of(stream, epochs=1, batch=4)
    with pytest.raises(BadData, match="got 3 usable samples in epoch 0, which make no batch of 4"):
        next(batches(stream, **given)(0))


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the photographs of shared/data/coco_images")
def test_photographs_in_shards_and_files_give_the_same_pixels(tmp_path, transform, model):
    files = sorted(PHOTOS.glob("*.jpg"))[:8]
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for file in files:
            tar.add(file, file.name)
            header = tarfile.TarInfo(f"{file.stem}.txt")
            header.size = 4
            tar.addfile(header, io.BytesIO(b"text"))
    stream = open_stream(ShardData("shards", (f"{tmp_path}/*.tar",)), seed=0)
    batch = next(batches(stream, batch=8, seed=0, steps=1, transform=transform)(0))
    images = [ImageFolder(PHOTOS).image(key.partition("/")[2]) for key in batch.images]
    assert sorted(key.partition("/")[2] for key in batch.images) == [file.name for file in files]
    assert torch.equal(batch.pixels, model.pixels(images))
