"""Do captions survive that informative objects are taken away? Before and after, by captioners (paper C, section 6).

Every image is opened once, tagged, cut by every reading and number of objects, and each of its versions captioned once.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, final

import alignscope
from alignscope.errors import BadData, BadInput
from alignscope.files import read_jsonl, sha_of, write_json, write_jsonl, write_parquet
from alignscope.models.captioners.inside import SeenInside, Written
from alignscope.probing.ablating import ablated
from alignscope.records import (
    DRAWS,
    Ablated,
    Association,
    GroupTest,
    Labelled,
    Measurement,
    Point,
    Problem,
    RegionTag,
    Signature,
    TagCoverage,
)
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.output import RUN, claimed
from alignscope.studies.scenes.ablated_images import (
    CutImages,
    Cuts,
    check_boxes,
    check_captioners,
    cut_images,
    cut_off,
    in_both,
    reference_associations,
)
from alignscope.studies.scenes.ablation_numbers import (
    AblatedSet,
    ablation_numbers,
    ablation_points,
    ablation_tests,
)
from alignscope.studies.scenes.images import NamedObjects, SceneImages, fitting
from alignscope.studies.store import batches

Key = tuple[str, str]  # an image, and the objects that are gone


@final
@dataclass(frozen=True)
class AblationSettings:
    """What an ablation does; all of it is in the run's identity."""

    cuts: Cuts = field(default_factory=Cuts)
    beams: int = 1
    max_length: int = 20
    seed: int = 0
    draws: int = DRAWS  # of the bootstrap


@final
@dataclass(frozen=True)
class AblationStudy:
    """A finished ablation; groups of measurements begin with a captioner, two of them, or "images"."""

    directory: Path
    measurements: tuple[Measurement, ...]
    tests: tuple[GroupTest, ...]
    problems: tuple[Problem, ...]


def ablation(
    models: Mapping[str, SeenInside],
    sets: Mapping[str, SceneImages],
    reference: NamedObjects,
    out: Path,
    *,
    settings: AblationSettings = AblationSettings(),
    batch_size: int = 64,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> AblationStudy:
    """Captions of every set of images by every captioner, with and without objects; run.json and records under `out`.

    `reference` are the images of which is learned what objects tell of scenes, best none of those ablated.
    """
    clock, started = Clock(), datetime.datetime.now(datetime.UTC)
    sets = {name: fitting(images, models.values()) for name, images in sets.items()}
    _check(models, sets, settings)
    identity = _identity(models, sets, reference, settings)
    with claimed(out, identity, resume=resume, overwrite=overwrite) as work:
        told, problems = reference_associations(reference, settings.cuts)
        write_parquet(out / "associations.parquet", told, Association)
        clock.lap("reference")
        found: dict[str, AblatedSet] = {}
        for name, images in sets.items():
            kept = {
                model: _Captions(work / f"{len(found)}-{number}", one, settings, batch_size)
                for number, (model, one) in enumerate(models.items())
            }
            found[name] = _captioned(
                images, told, kept, settings.cuts, out / "images" / name, batch_size, progress
            )
            clock.lap(f"captions of {name}")
        signed = {name: _signature(name, images, settings) for name, images in sets.items()}
        how: dict[str, Any] = {"signed": signed, "draws": settings.draws, "seed": settings.seed}
        numbers = ablation_numbers(models, found, settings.cuts, **how)
        tests = ablation_tests(found, settings.cuts)
        problems += [
            replace(p, subject=f"{name} | {p.subject}") for name in sets for p in found[name].problems
        ]
        problems += [*dict.fromkeys(reference.problems), *in_both(reference, sets.values())]
        notes = dict.fromkeys(note for images in sets.values() for note in images.notes())
        problems += [Problem("", "images", note, "handled") for note in notes]
        write_parquet(out / "measurements.parquet", numbers, Measurement)
        write_parquet(out / "tests.parquet", tests, GroupTest)
        write_parquet(out / "points.parquet", ablation_points(found), Point)
        write_jsonl(out / "problems.jsonl", problems)
        run: dict[str, Any] = {**identity, "identity": identity, "finished": True, "command": command}
        run |= {"images": {name: len(one) for name, one in sets.items()}, "reference": reference.name}
        run |= {"started": started.isoformat(timespec="seconds"), "seconds": clock.laps}
        write_json(out / RUN, run)
        return AblationStudy(out, tuple(numbers), tuple(tests), tuple(problems))


@final
class _Captions:
    """Captions of one captioner, kept a batch at a time, so that a stopped run goes on."""

    def __init__(self, folder: Path, model: SeenInside, settings: AblationSettings, batch_size: int) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self.model, self._settings, self._size = folder, model, settings, batch_size
        self._found: dict[Key, Written] = {}
        for path in sorted(folder.glob("*.jsonl")):
            for row in read_jsonl(path):
                self._found[row["image"], row["without"]] = Written(row["text"], row["confidence"])

    def of(self, asked: Mapping[Key, Labelled]) -> dict[Key, Written]:
        """The captions of some images, written where they are not there."""
        for some in batches([key for key in asked if key not in self._found], self._size):
            new = self.model.write(
                [asked[key] for key in some],
                beams=self._settings.beams,
                max_length=self._settings.max_length,
            )
            for (image, _), one in zip(some, new, strict=True):
                if not math.isfinite(one.confidence):
                    raise BadData(
                        f"{self.model.name}: got a confidence of {one.confidence} in its caption of {image}, wanted "
                        "a number: look at its weights, and at the features of this image"
                    )
            rows = [
                {"image": image, "without": gone, "text": one.text, "confidence": one.confidence}
                for (image, gone), one in zip(some, new, strict=True)
            ]
            number = len(list(self._folder.glob("*.jsonl")))
            write_jsonl(self._folder / f"{number:06d}.jsonl", rows)
            self._found.update(zip(some, new, strict=True))
        return {key: self._found[key] for key in asked}


def _captioned(
    images: SceneImages,
    told: Sequence[Association],
    captions: Mapping[str, _Captions],
    cuts: Cuts,
    folder: Path,
    batch_size: int,
    progress: Progress,
) -> AblatedSet:
    """One set of images, some at a time, captioned and written."""
    found = AblatedSet({name: [] for name in captions}, [], Counter(), list(images.problems), 0)
    tags, untagged, done = list[RegionTag](), 0, 0
    for some in batches(images.sights, batch_size):
        cut = cut_images(images, some, told, cuts)
        asked = _asked(cut)
        for name, kept in captions.items():
            progress(f"{name}: captions of {folder.name}", done, len(images))
            found.rows[name].extend(_rows(cut, kept.of(asked)))
            whole = {image: cut.intact[image] for image, gone in asked if not gone}
            found.problems.extend(cut_off(name, kept.model, whole))
        found.coverage.extend(cut.coverage)
        found.lacking.update(cut.lacking)
        found.problems.extend(cut.problems)
        tags += cut.tags
        untagged += len(cut.intact) - len(cut.coverage)
        done += len(some)
    for name, rows in found.rows.items():
        progress(f"{name}: captions of {folder.name}", done, len(images))
        (folder / "captions").mkdir(parents=True, exist_ok=True)
        write_parquet(folder / "captions" / f"{name}.parquet", rows, Ablated)
    write_parquet(folder / "tags.parquet", tags, RegionTag)
    write_parquet(folder / "coverage.parquet", found.coverage, TagCoverage)
    return replace(found, untagged=untagged)


def _asked(cut: CutImages) -> dict[Key, Labelled]:
    """Each image that some cut can be made of, and each of its versions once."""
    asked: dict[Key, Labelled] = {}
    for without in cut.without.values():
        for image, one in without.items():
            asked[image, ""] = cut.intact[image]
            asked[image, "|".join(sorted(one.objects))] = one.seen
    return asked


def _rows(cut: CutImages, written: Mapping[Key, Written]) -> Iterable[Ablated]:
    for without in cut.without.values():
        for image, one in without.items():
            after = written[image, "|".join(sorted(one.objects))]
            yield ablated(cut.intact[image], one, written[image, ""], after)


def _check(
    models: Mapping[str, SeenInside], sets: Mapping[str, SceneImages], settings: AblationSettings
) -> None:
    cuts = settings.cuts
    if not models or not sets or not cuts.readings or not cuts.counts or min(cuts.counts) < 1:
        raise BadInput(
            f"got {len(models)} captioners, {len(sets)} sets of images, readings {cuts.readings} and {cuts.counts} "
            "objects, wanted one or more of each, and of objects 1 or more"
        )
    for images in sets.values():
        check_captioners(models, images)
        check_boxes(images, cuts)


def _identity(
    models: Mapping[str, SeenInside],
    sets: Mapping[str, SceneImages],
    reference: NamedObjects,
    settings: AblationSettings,
) -> dict[str, Any]:
    return {
        "kind": "probe ablation",
        "version": alignscope.__version__,
        "data": {name: images.sha for name, images in sets.items()},
        "references": reference.sha,
        "models": {name: model.fingerprint for name, model in models.items()},
        "settings": asdict(settings),
    }


def _signature(name: str, images: SceneImages, settings: AblationSettings) -> Signature:
    cuts = settings.cuts
    place = "packed" if cuts.is_repacked else "padded"
    what = "tags" if cuts.is_tags_only else "tags+regions"
    return Signature(
        *("probe", name, sha_of([images.sha]), 0, 0, "", ""),
        ties="none",
        seed=settings.seed,
        version=alignscope.__version__,
        method=f"ablation={what},{place};pmi>0,together>={cuts.minimum};beams={settings.beams}",
    )
