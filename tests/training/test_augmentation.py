"""Random resized crops against a plain copy of the published algorithm, and the model's own processor."""

import math
import pickle
from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image as Pillow

from alignscope.errors import Unsupported
from alignscope.models.zoo import open_model
from alignscope.training.augmentation import TrainingTransform, crop_box, random_crop
from alignscope.training.settings import Augmentation

PAPER = Augmentation()
WIDE = Augmentation(scale=(0.08, 1.0))


def picture(width: int, height: int) -> Pillow.Image:
    random = Random(f"{width}x{height}")
    return Pillow.frombytes("RGB", (width, height), random.randbytes(3 * width * height))


def published(width, height, augmentation, random):
    """The steps in their published order, as (left, top, across, down); None where the middle is taken."""
    for _ in range(10):
        target = width * height * random.uniform(augmentation.scale[0], augmentation.scale[1])
        logs = math.log(augmentation.ratio[0]), math.log(augmentation.ratio[1])
        aspect = math.exp(random.uniform(*logs))
        w = round((target * aspect) ** 0.5)
        h = round((target / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            x = random.randint(0, width - w)
            y = random.randint(0, height - h)
            return x, y, w, h
    return None


@pytest.mark.parametrize(
    ("size", "augmentation"), [((640, 480), PAPER), ((33, 70), WIDE), ((224, 224), WIDE)]
)
def test_a_crop_follows_the_published_steps(size, augmentation):
    compared = 0
    for seed in range(300):
        wanted = published(*size, augmentation, Random(seed))
        if wanted:
            box = crop_box(*size, augmentation, Random(seed))
            assert (box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1) == wanted
            compared += 1
    assert compared > 100


def test_areas_are_uniform_and_ratios_uniform_in_their_logarithm():
    boxes = [crop_box(1000, 1000, Augmentation((0.1, 0.5)), Random(seed)) for seed in range(4000)]
    areas = sorted((b.x2 - b.x1) * (b.y2 - b.y1) / 1e6 for b in boxes)
    logs = sorted(math.log((b.x2 - b.x1) / (b.y2 - b.y1)) for b in boxes)
    for values, low, high in ((areas, 0.1, 0.5), (logs, math.log(0.75), math.log(4 / 3))):
        for share in (0.1, 0.25, 0.5, 0.75, 0.9):  # of a uniform distribution, within 3 standard errors
            assert abs((values[int(4000 * share)] - low) / (high - low) - share) < 0.025
    lefts = sorted(b.x1 / (1000 - (b.x2 - b.x1)) for b in boxes)
    assert abs(lefts[2000] - 0.5) < 0.025


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((500, 20), (236, 0, 263, 20)), ((20, 500), (0, 236, 20, 263)), ((25, 20), (0, 0, 25, 20))],
)
def test_the_middle_is_taken_where_nothing_fits(size, wanted):
    never = Augmentation(scale=(30.0, 30.0))  # more than the whole image: ten tries fail
    box = crop_box(*size, never, Random(0))
    assert (box.x1, box.y1, box.x2, box.y2) == wanted


def test_a_crop_shows_what_its_box_holds():
    image = Pillow.new("RGB", (100, 50), "black")
    box = crop_box(100, 50, WIDE, Random(3))
    image.paste((255, 0, 0), (int(box.x1), int(box.y1), int(box.x2), int(box.y2)))
    cropped = random_crop(image, WIDE, Random(3), (16, 24))
    assert cropped.size == (24, 16)
    assert cropped.getpixel((12, 8)) == (255, 0, 0)
    inner = cropped.crop((2, 2, 22, 14))
    assert inner.getcolors() == [(20 * 12, (255, 0, 0))]


@pytest.fixture(params=["tiny_clip_dir", "tiny_siglip_dir", "tiny_align_dir", "tiny_chinese_clip_dir"])
def model(request):
    return open_model(str(request.getfixturevalue(request.param)))


def test_the_models_processor_leaves_a_crop_of_its_size_alone(model):
    transform = model.image_transform
    height, width = transform.size
    image = picture(width, height)
    assert torch.equal(transform.as_it_is(image), transform.pixels(image))
    assert torch.equal(transform.pixels(image)[None], model.pixels([image]))


def test_an_augmented_image_is_the_crop_normalised(model):
    image, transform = picture(61, 47), TrainingTransform(model.image_transform, WIDE)
    wanted = model.pixels([random_crop(image, WIDE, Random(5), model.image_transform.size)])[0]
    assert torch.equal(transform(image, Random(5)), wanted)
    assert not torch.equal(transform(image, Random(6)), wanted)
    plain = TrainingTransform(model.image_transform)
    assert torch.equal(plain(image, Random(5)), model.pixels([image])[0])


def test_a_transform_travels_without_the_model(model):
    transform = TrainingTransform(model.image_transform, WIDE)
    packed = pickle.dumps(transform)
    image = picture(40, 40)
    assert len(packed) < 10_000
    assert torch.equal(pickle.loads(packed)(image, Random(1)), transform(image, Random(1)))


def test_a_processor_that_keeps_proportions_is_refused(tiny_siglip2_dir: Path):
    with pytest.raises(Unsupported, match="own proportions"):
        _ = open_model(str(tiny_siglip2_dir)).image_transform.size
