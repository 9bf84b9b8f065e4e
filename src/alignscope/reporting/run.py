"""A run's directory read back into records; files that are absent are remembered, not guessed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from alignscope.errors import BadData
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import (
    Box,
    Choice,
    EditedScore,
    Example,
    Measurement,
    PatchMap,
    Picture,
    Point,
    Problem,
    Rank,
    WordHeat,
)
from alignscope.reporting.faults import Faults, counted

Record = TypeVar("Record")

MEASUREMENTS = "measurements.parquet"
CHOICES = "choices.parquet"
HEATS = "heats.parquet"
EDITS = "edits.parquet"
RANKS = "ranks.parquet"
PROBLEMS = "problems.jsonl"
SCORES = "scores.parquet"
BASELINES = "baselines.parquet"
EXAMPLES = "examples.jsonl"
POINTS = "points.parquet"
MAPS = "maps.jsonl"
PICTURES = "pictures.jsonl"
THUMBNAILS = "thumbnails"  # a folder
FILES = (MEASUREMENTS, CHOICES, HEATS, EDITS, RANKS, PROBLEMS, EXAMPLES)  # said to be absent where they are


@dataclass(frozen=True)
class Run:
    """What a verb wrote: run.json as it is, the records, and which files were absent."""

    settings: Mapping[str, Any]
    measurements: list[Measurement]
    choices: list[Choice]
    heats: list[WordHeat]  # of some captions where there are very many
    edits: list[EditedScore]
    ranks: list[Rank]
    problems: Faults
    examples: list[Example]
    points: list[Point]
    maps: list[PatchMap]
    pictures: list[Picture]
    thumbnails: frozenset[str]  # names of the files in the folder beside the page
    absent: tuple[str, ...]

    def setting(self, *path: str) -> Any:
        """A value of run.json, or else of the identity in it, by its path; None where it is not there."""
        for under in (path, ("identity", *path)):
            value: Any = self.settings
            for name in under:
                value = value.get(name) if isinstance(value, Mapping) else None
            if value is not None:
                return value
        return None


def read_run(directory: Path, wanted: Collection[str] = FILES) -> Run:
    """Read a run's directory; only run.json must be there, files in `wanted` are said to be absent."""
    settings = read_settings(directory / "run.json")
    examples, maps = read_rows(directory / EXAMPLES, Example), read_maps(directory / MAPS)
    shown = {example.item for example in examples} | {patches.item for patches in maps}
    return Run(
        settings,
        measurements=read_rows(directory / MEASUREMENTS, Measurement),
        choices=read_rows(directory / CHOICES, Choice),
        heats=read_heats(directory / HEATS, shown),
        edits=read_rows(directory / EDITS, EditedScore),
        ranks=read_rows(directory / RANKS, Rank),
        problems=counted(_read(directory / PROBLEMS, Problem)),
        examples=examples,
        points=read_rows(directory / POINTS, Point),
        maps=maps,
        pictures=read_rows(directory / PICTURES, Picture),
        thumbnails=frozenset(path.name for path in (directory / THUMBNAILS).glob("*.jpg")),
        absent=tuple(name for name in wanted if not (directory / name).exists()),
    )


def thumbnail_name(image: str) -> str:
    """The file of an image's thumbnail: nothing of the image's own name can lead out of the folder.

    >>> thumbnail_name("../a.png")
    'b2dbf4209096c70e.jpg'
    """
    return hashlib.sha256(image.encode(errors="surrogatepass")).hexdigest()[:16] + ".jpg"


def read_settings(path: Path) -> Mapping[str, Any]:
    """The JSON object that says what a directory holds."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BadData(
            f"no {path.name} in {path.parent}: a report is made from what `alignscope audit`, `attribute`, `evaluate`, "
            "`inspect` or `reproduce` wrote"
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path}: not JSON ({error}); run it again") from None
    if not isinstance(settings, dict):
        raise BadData(f"{path}: got {type(settings).__name__}, wanted an object; run it again")
    return settings


def read_heats(path: Path, first: Collection[str] = (), *, most: int = 2000) -> list[WordHeat]:
    """Word heats of a Parquet file, none where it is absent.

    Of more than `most` captions, those in `first` and some spread evenly are read, so that a page's
    memory does not grow with the captions.
    """
    if not path.exists():
        return []
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            found: dict[str, None] = {}
            for batch in file.iter_batches(columns=["item"]):
                found.update(dict.fromkeys(batch["item"].unique().to_pylist()))
            items = list(found)
            if len(items) > most:
                kept = pa.array({*first, *items[:: len(items) // most]})
                parts = (batch.filter(pc.is_in(batch["item"], kept)) for batch in file.iter_batches())
                return [WordHeat(**row) for part in parts for row in part.to_pylist()]
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise BadData(f"{path}: not a Parquet file of WordHeat records ({error}); run it again") from None
    return read_rows(path, WordHeat)


def read_maps(path: Path) -> list[PatchMap]:
    """Patch maps of a JSONL file, none where it is absent."""
    rows = read_jsonl(path) if path.exists() else ()
    try:
        return [PatchMap(**{**r, "heats": tuple(r["heats"]), "view": Box(**r["view"])}) for r in rows]
    except (TypeError, KeyError) as error:
        raise BadData(f"{path}: not rows of PatchMap ({error}); run it again") from None


def read_rows(path: Path, record: type[Record]) -> list[Record]:
    """The records of a file, none where it is absent."""
    return list(_read(path, record))


def _read(path: Path, record: type[Record]) -> Iterator[Record]:
    """The records of a file one by one, none where it is absent."""
    if not path.exists():
        return
    import pyarrow as pa

    names = {column.name for column in dataclasses.fields(record)}  # type: ignore[arg-type]
    try:
        if path.suffix == ".parquet":
            yield from read_parquet(path, record)
            return
        for row in read_jsonl(path):
            yield record(**{name: value for name, value in row.items() if name in names})
    except (pa.ArrowException, TypeError, AttributeError) as error:
        raise BadData(f"{path}: not rows of {record.__name__} ({error}); run it again") from None
