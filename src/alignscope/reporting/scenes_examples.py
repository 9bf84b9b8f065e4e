"""Images whose captions a page of scene captioners shows, before and after objects are taken away (paper C, Figs. 1, 2, 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alignscope.records import Ablated
from alignscope.reporting.page import Embedded, embedded
from alignscope.reporting.run import read_rows
from alignscope.reporting.scenes_numbers import CAPTIONERS, SCENE, Study, sets_of

SHOWN_IMAGES = 6
READING = "image"


@dataclass(frozen=True)
class Said:
    """What a captioner wrote of an image with and without objects."""

    captioner: str
    before: str
    after: str
    is_changed: bool


@dataclass(frozen=True)
class Example:
    """An image, what was taken away, and both captioners' captions."""

    image: str
    scene: str
    objects: str
    picture: Embedded | None
    said: tuple[Said, ...]


def shown_images(directory: Path, images: str) -> tuple[str, ...]:
    """The images of a set that the page of a study shows, so that the study can write their pictures first."""
    seed = min((int(p.name[5:]) for p in directory.glob("seed-*") if p.name[5:].isdigit()), default=0)
    path = directory / f"seed-{seed}" / "ablation" / "images" / images / "captions" / f"{SCENE}.parquet"
    return tuple(one.image for one in chosen(read_rows(path, Ablated)))


def chosen(rows: list[Ablated]) -> list[Ablated]:
    """Rows to show: of each scene the image that lost most objects, changed and unchanged captions in turn."""
    mine = sorted((r for r in rows if r.reading == READING), key=lambda r: (-r.count, r.image))
    first: dict[tuple[bool, str], Ablated] = {}
    seen: set[str] = set()
    for row in mine:
        if row.image not in seen and (row.is_changed, row.scene) not in first:
            first[row.is_changed, row.scene] = row
            seen.add(row.image)
    changed, same = ([row for key, row in first.items() if key[0] is kind] for kind in (True, False))
    half = SHOWN_IMAGES // 2
    picked = [*changed[:half], *same[: SHOWN_IMAGES - len(changed[:half])]]
    return [*picked, *changed[half : half + SHOWN_IMAGES - len(picked)]]


def examples_of(study: Study) -> tuple[Example, ...]:
    """Examples of the first seed and the first set of images; without pictures where the study wrote none."""
    if not sets_of(study):
        return ()
    images = sets_of(study)[0]
    found = {name: study.captions.get((study.seeds[0], images, name), ()) for name in CAPTIONERS}
    by_key = {
        name: {(r.image, r.count): r for r in rows if r.reading == READING} for name, rows in found.items()
    }
    pictures = {one.image: one for one in study.run.pictures}
    made = []
    for row in chosen(list(found[SCENE])):
        picture = pictures.get(row.image)
        said = [_said(by_key[name], row, says) for name, says in CAPTIONERS.items()]
        made.append(
            Example(
                row.image,
                row.scene,
                row.objects.replace("|", ", "),
                embedded(picture.png) if picture else None,
                tuple(one for one in said if one is not None),
            )
        )
    return tuple(made)


def _said(rows: Mapping[tuple[str, int], Ablated], like: Ablated, says: str) -> Said | None:
    row = rows.get((like.image, like.count))
    return None if row is None else Said(says, row.before, row.after, row.is_changed)
