"""Images of the world have pictures beside what captioners see; images of regions alone have none."""

import base64
import io
from dataclasses import replace

from PIL import Image

from alignscope.data.world.render import render
from alignscope.data.world.world import World
from alignscope.studies.scenes.images import WorldImages, scene_images
from alignscope.studies.scenes.pictures import scene_pictures


def test_the_worlds_images_are_shown_as_they_are_drawn():
    images = scene_images(WorldImages(size=4, feature_width=3))
    first, second = list(images.sights)[:2]
    found = scene_pictures(images, [second, first])
    assert [one.image for one in found] == [second, first]
    shown = Image.open(io.BytesIO(base64.b64decode(found[1].png)))
    drawn = Image.fromarray(render(World("test", size=4).scene(first)))
    assert drawn.size == (found[1].width, found[1].height)
    step = shown.width // drawn.width  # small pictures are enlarged by whole steps
    assert shown.convert("RGB").resize(drawn.size, Image.Resampling.NEAREST).tobytes() == drawn.tobytes()
    assert shown.size == (step * drawn.width, step * drawn.height)


def test_regions_alone_and_unknown_images_have_no_picture():
    images = scene_images(WorldImages(size=2, feature_width=3))
    assert scene_pictures(replace(images, pictures={}), list(images.sights)) == []
    assert scene_pictures(images, ["nowhere"]) == []
