"""The audit as users call it: names and paths in, a finished run out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

from alignscope.data.pairs import PairFile
from alignscope.data.world.world import World
from alignscope.errors import BadInput
from alignscope.language.cache import default_directory
from alignscope.language.classes import word_classes
from alignscope.language.pipeline import parser_name
from alignscope.models.protocols import DualEncoder
from alignscope.models.zoo import open_model
from alignscope.records import ItemSource
from alignscope.studies.audit import Audit, Settings
from alignscope.studies.audit import audit as run
from alignscope.studies.embeddings import Progress


def audit(
    model: str | DualEncoder,
    *,
    pairs: Path | str | None = None,
    images: Path | str | None = None,
    out: Path | str = "runs/audit",
    size: int = 1000,
    device: str = "cpu",
    dtype: str = "float32",
    batch_size: int = 64,
    seed: int = 0,
    layers: Literal["all", "last"] = "all",
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Audit:
    """Audit a model on the built-in world, or on `pairs` (a JSONL file) with `images` (a folder).

    `model` is a name, a local directory, a hub id or a `DualEncoder`. Writes run.json, records and
    report.html under `out`. Raises `BadInput` and its kin with what to do about it.
    """
    source: ItemSource
    if pairs is None:
        if images is not None:
            raise BadInput("got --images without --pairs: give both, or neither for the built-in world")
        source, parser = World("test", size=size), None
    else:
        if images is None:
            raise BadInput("got --pairs without --images: give the folder that the image names refer to")
        tagger = partial(word_classes, cache=default_directory())
        source = PairFile(Path(pairs), Path(images), word_classes=tagger)
        parser = parser_name()
    encoder = open_model(model, device=device, dtype=dtype) if isinstance(model, str) else model
    return run(
        encoder,
        source,
        Path(out),
        settings=Settings(seed=seed, layers=layers),
        dtype=dtype,
        parser=parser,
        batch_size=batch_size,
        resume=resume,
        overwrite=overwrite,
        command=command,
        progress=progress,
    )
