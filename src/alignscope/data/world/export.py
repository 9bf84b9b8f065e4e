"""The world as ordinary files: PNG images, COCO-style JSON, audit pairs and region TSV.

DIR/images/<scene>.png
DIR/annotations/captions.json, instances.json   as COCO's, with finish and size as `attributes`
DIR/pairs.jsonl                                  captions with foils, for `audit --pairs`
DIR/scenes.jsonl                                 scene graph and scene label of each image
DIR/regions/regions.tsv                          with its vocabularies beside it
DIR/world.json                                   what was exported
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from alignscope.data.pairs import write_pairs
from alignscope.data.regionfiles.tsv import write_region_tsv
from alignscope.data.world.grammar import RICH, Register
from alignscope.data.world.regions import regions_of
from alignscope.data.world.render import render
from alignscope.data.world.scene import SIDE
from alignscope.data.world.shapes import NOUNS
from alignscope.data.world.world import World
from alignscope.errors import OutputExists, UnwritableOutput
from alignscope.files import as_row, write_json, write_jsonl
from alignscope.records import Item

IMAGES, ANNOTATIONS, REGIONS = "images", "annotations", "regions"
PAIRS_FILE, MARK = "pairs.jsonl", "world.json"


def export(
    world: World,
    directory: Path,
    *,
    overwrite: bool = False,
    register: Register = RICH,
    captions_per_image: int = 5,
    regions_per_image: int = 8,
    region_width: int = 2048,
) -> None:
    """Write a world to `directory` so that the ordinary readers give it back.

    A non-empty directory is refused; `overwrite` replaces an earlier export and touches nothing else.
    """
    _claim(directory, overwrite=overwrite)
    for scene in world.scenes:
        Image.fromarray(render(scene)).save(directory / IMAGES / file_name(scene.id))
    write_json(directory / ANNOTATIONS / "captions.json", _captions(world, register, captions_per_image))
    write_json(directory / ANNOTATIONS / "instances.json", _instances(world))
    write_pairs(directory / PAIRS_FILE, (_with_file(item) for item in world.items))
    write_jsonl(directory / "scenes.jsonl", _scenes(world))
    write_region_tsv(
        directory / REGIONS / "regions.tsv", regions_of(world, count=regions_per_image, width=region_width)
    )
    write_json(
        directory / MARK,
        {
            "is_finished": True,
            "name": world.name,
            "split": world.split,
            "size": world.size,
            "seed": world.seed,
            "register": register.name,
            "sha": world.sha,
        },
    )


def file_name(scene: str) -> str:
    """The image file of a scene."""
    return f"{scene}.png"


def _claim(directory: Path, *, overwrite: bool) -> None:
    """Make the folders; refuse what is not empty, and with `overwrite` clear an earlier export."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            if not overwrite:
                raise OutputExists(
                    f"{directory} is not empty: give another directory, or --overwrite to replace an export"
                )
            if not (directory / MARK).is_file():
                raise OutputExists(
                    f"{directory} is not empty and holds no exported world ({MARK}): nothing there is "
                    "replaced; give another directory"
                )
            for folder, pattern in ((IMAGES, "*.png"), (ANNOTATIONS, "*.json"), (REGIONS, "*")):
                for old in (directory / folder).glob(pattern):
                    old.unlink()
        for folder in (IMAGES, ANNOTATIONS, REGIONS):
            (directory / folder).mkdir(exist_ok=True)
        write_json(directory / MARK, {"is_finished": False})
    except OSError as error:
        raise UnwritableOutput(
            f"cannot write to {directory} ({error.strerror}): give another directory"
        ) from None


def _with_file(item: Item) -> Item:
    return replace(item, image=file_name(item.image))


def _images(world: World) -> list[dict[str, Any]]:
    return [
        {"id": number, "file_name": file_name(scene.id), "width": SIDE, "height": SIDE}
        for number, scene in enumerate(world.scenes, start=1)
    ]


def _captions(world: World, register: Register, captions_per_image: int) -> dict[str, Any]:
    texts = [
        (number, caption.text)
        for number, captions in enumerate(world.captions(register, captions_per_image), start=1)
        for caption in captions
    ]
    return {
        "info": {"description": world.name},
        "images": _images(world),
        "annotations": [
            {"id": count, "image_id": number, "caption": text}
            for count, (number, text) in enumerate(texts, start=1)
        ],
    }


def _instances(world: World) -> dict[str, Any]:
    things = [(number, o) for number, scene in enumerate(world.scenes, start=1) for o in scene.objects]
    annotations = []
    for count, (number, thing) in enumerate(things, start=1):
        box = thing.box
        width, height = box.x2 - box.x1, box.y2 - box.y1
        annotations.append(
            {
                "id": count,
                "image_id": number,
                "category_id": NOUNS.index(thing.noun) + 1,
                "bbox": [box.x1, box.y1, width, height],
                "area": width * height,
                "iscrowd": 0,
                "attributes": [thing.size, thing.finish],
            }
        )
    categories = [
        {"id": place, "name": noun, "supercategory": "thing"} for place, noun in enumerate(NOUNS, 1)
    ]
    return {
        "info": {"description": world.name},
        "images": _images(world),
        "annotations": annotations,
        "categories": categories,
    }


def _scenes(world: World) -> Iterator[dict[str, Any]]:
    for scene in world.scenes:
        yield {
            "image": file_name(scene.id),
            "scene": scene.scene,
            "has_background": scene.has_background,
            "graph": as_row(world.scene_graph(scene.id)),
        }
