"""The world behind a folder that `alignscope world export` wrote: what its files do not hold can be asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import final

from PIL.Image import Image

from alignscope.data.items import read_json
from alignscope.data.world.export import MARK
from alignscope.data.world.world import World
from alignscope.errors import BadData
from alignscope.records import Regions


@final
class ExportedWorld:
    """Images and regions of an export's scenes, by the names of their files."""

    def __init__(self, directory: Path) -> None:
        facts = read_json(directory / MARK, wanted="what `alignscope world export` writes last")
        try:
            self.world = World(facts["split"], size=facts["size"], seed=facts["seed"])
            is_same = self.world.sha == facts["sha"]
        except (KeyError, TypeError):
            is_same = False
        if not is_same:
            raise BadData(
                f"{directory}: got a world that this version does not draw again; export it anew, or give "
                "its regions as a file (--regions)"
            )

    def image(self, key: str) -> Image:
        """The picture of a scene, drawn again."""
        return self.world.image(Path(key).stem)

    def regions(self, key: str, *, width: int) -> Regions:
        """The regions of a scene, with features of this width."""
        return self.world.regions(Path(key).stem, width=width)


def exported_world(path: Path | None) -> ExportedWorld | None:
    """The world whose export `path` is; None where it is none."""
    return ExportedWorld(path) if path is not None and (path / MARK).is_file() else None
