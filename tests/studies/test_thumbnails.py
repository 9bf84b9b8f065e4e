"""Thumbnails lie beside an audit's page under names that no image chooses; what does not open has none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from alignscope.errors import BadImage, UnwritableOutput
from alignscope.records import Item, Problem
from alignscope.studies.auditing.thumbnails import write_thumbnails


@dataclass
class Album:
    images: dict[str, Image.Image]
    name: str = "album"
    sha: str = ""
    items: tuple[Item, ...] = ()
    problems: tuple[Problem, ...] = ()
    opened: int = 0

    def image(self, key: str) -> Image.Image:
        self.opened += 1
        if key not in self.images:
            raise BadImage(f"{key} is gone")
        return self.images[key]


def name_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16] + ".jpg"


def test_each_image_once_small_and_in_the_folder(tmp_path: Path) -> None:
    wide = Image.new("RGBA", (900, 300), "red")
    album = Album({"../../wide": wide, "/etc/small": Image.new("L", (20, 10))})
    write_thumbnails(album, ["../../wide", "gone", "/etc/small", "../../wide"], tmp_path)
    found = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.*")}
    assert set(found) == {f"thumbnails/{name_of('../../wide')}", f"thumbnails/{name_of('/etc/small')}"}
    with Image.open(found[f"thumbnails/{name_of('../../wide')}"]) as made:
        assert (made.format, made.size) == ("JPEG", (128, 43))
        assert made.getpixel((64, 20)) == pytest.approx((254, 0, 0), abs=3)
    assert (wide.size, wide.mode) == ((900, 300), "RGBA")
    opened = album.opened
    write_thumbnails(album, ["../../wide", "/etc/small"], tmp_path)  # a run that is gone on with
    assert album.opened == opened


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").touch()
    with pytest.raises(UnwritableOutput, match="thumbnails cannot be made"):
        write_thumbnails(Album({}), [], tmp_path)
