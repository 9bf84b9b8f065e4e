"""States of images, intact and without objects, by captioners: means of the last layer, kept some at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float32

from alignscope.errors import BadData, BadInput
from alignscope.files import write_jsonl
from alignscope.models.captioners.inside import Inside, SeenInside
from alignscope.models.captioners.protocol import Sight
from alignscope.probing.scene_samples import NOTHING, SceneStates
from alignscope.records import Association, Labelled, Problem
from alignscope.studies.clock import Progress
from alignscope.studies.scenes.ablated_images import Cut, Cuts, cut_images, unlabelled
from alignscope.studies.scenes.images import SceneImages, Sights
from alignscope.studies.scenes.insides import Look, losses
from alignscope.studies.store import batches

RAW = "regions"
"""The input that is no captioner's state: the mean of what the detector gives."""
SEEN = frozenset({"label", "region", "patch"})
State = Float32[np.ndarray, " width"]


class Route(NamedTuple):
    """An input of probes: whose state, of which set of images, without which objects."""

    name: str
    model: str  # or RAW
    images: str
    cut: Cut | None
    sights: Sights


@final
@dataclass(frozen=True, eq=False)
class FoundStates:
    """The states of images that have one under every input, and which images have none."""

    states: SceneStates
    problems: tuple[Problem, ...]
    left_out: frozenset[str]

    @property
    def files(self) -> dict[str, str]:
        """The file of each input."""
        return {name: f"states/{number}.npy" for number, name in enumerate(self.states.inputs)}

    def write(self, folder: Path) -> None:
        """Images with their scenes as `images.jsonl`, in whose order the rows of each input's array are."""
        folder.mkdir(exist_ok=True)
        rows = zip(self.states.images, self.states.scenes, strict=True)
        write_jsonl(folder / "images.jsonl", ({"image": image, "scene": scene} for image, scene in rows))
        for number, values in enumerate(self.states.inputs.values()):
            np.save(folder / f"{number}.npy", values)


def routes_of(
    models: Mapping[str, SeenInside], sets: Mapping[str, SceneImages], cuts: Cuts, *, has_raw: bool
) -> list[Route]:
    """Every input there is; of captioners of pixels nothing can be taken away."""
    if {RAW, NOTHING} & {*models}:
        raise BadInput(f"got a captioner named {RAW!r} or {NOTHING!r}, wanted another name: NAME=MODEL")
    routes = []
    for model in [*models, *([RAW] if has_raw else [])]:
        for name, images in sets.items():
            sights = images.sights if model == RAW else images.seen_by(models[model])
            first = next(iter(sights.values()))
            if model == RAW and not isinstance(first, Labelled):
                continue
            every: list[Cut | None] = [None]
            if isinstance(first, Labelled):
                every += cuts.each()
            routes += [Route(_named(model, name, cut, sets), model, name, cut, sights) for cut in every]
    return routes


def states_of(
    models: Mapping[str, SeenInside],
    sets: Mapping[str, SceneImages],
    told: Sequence[Association],
    routes: Sequence[Route],
    *,
    cuts: Cuts,
    has_specials: bool,
    work: Path,
    batch_size: int,
    progress: Progress,
) -> FoundStates:
    """The state of every image under every input."""
    first = next(iter(sets.values()))
    kinds = SEEN | {"special"} if has_specials else SEEN
    problems = [p for images in sets.values() for p in images.problems]
    images, states, done = list[str](), {route.name: list[State]() for route in routes}, 0
    for number, some in enumerate(batches(first.sights, batch_size)):
        progress("states", done, len(first))
        seen, told_of = _sights(sets, told, routes, some, cuts)
        problems += told_of
        usable = [image for image in some if all(image in seen[route.name] for route in routes)]
        kept = _Kept(work / f"states-{number:06d}.npz", usable)
        for place, route in enumerate(routes):
            values = kept.get(place)
            if values is None and usable:
                own = {image: seen[route.name][image] for image in usable}
                values = _states(own, models.get(route.model), kinds, kept if route.cut is None else None)
                kept.put(place, values)
            states[route.name] += list(values) if values is not None else []
        kept.write()
        problems += kept.problems
        images += usable
        done += len(some)
    progress("states", done, len(first))
    problems += [Problem("", "images", note, "handled") for note in dict.fromkeys(_notes(sets))]
    if not images:
        raise BadInput(
            f"got no image of {len(first)} with a state under each of {len(routes)} inputs "
            f"(first: {problems[0].what if problems else 'none'}); wanted some: take fewer objects away, or none "
            "with --intact"
        )
    scenes = tuple(first.scenes[image].scene for image in images)
    inputs = {name: np.stack(rows) for name, rows in states.items()}
    left_out = frozenset(first.sights) - {*images}
    return FoundStates(SceneStates(tuple(images), scenes, inputs), tuple(dict.fromkeys(problems)), left_out)


def mean_state(found: Inside, kinds: frozenset[str]) -> State:
    """The mean over positions of these kinds; NaN where there is none."""
    chosen = [place for place, kind in enumerate(found.kinds) if kind in kinds]
    states = found.states.numpy().astype(np.float32)
    return states[chosen].mean(axis=0) if chosen else np.full(states.shape[1], np.nan, np.float32)


def raw_state(seen: Labelled) -> State:
    """The mean feature of the regions that are there; NaN where there is none."""
    places = [place for place in range(len(seen.regions)) if place not in seen.without_regions]
    features = seen.regions.features
    return features[places].mean(axis=0) if places else np.full(features.shape[1], np.nan, np.float32)


def _states(
    sights: dict[str, Sight], model: SeenInside | None, kinds: frozenset[str], kept: _Kept | None
) -> Float32[np.ndarray, "image width"]:
    """The states of some images; for what of them a captioner has no room is told where they are intact."""
    if model is None:
        return np.stack([raw_state(one) for one in sights.values() if isinstance(one, Labelled)])
    found = model.inside(list(sights.values()))
    if kept is not None:
        lost = zip(sights.items(), found, strict=True)
        each = (one for (image, seen), inside in lost for one in losses(Look(image, seen, inside)))
        kept.tell([replace(one, subject=model.name) for one in each])
    return np.stack([mean_state(one, kinds) for one in found])


def _sights(
    sets: Mapping[str, SceneImages],
    told: Sequence[Association],
    routes: Sequence[Route],
    some: Sequence[str],
    cuts: Cuts,
) -> tuple[dict[str, dict[str, Sight]], list[Problem]]:
    """What each input is of some images, and what is wrong with images."""
    seen: dict[str, dict[str, Sight]] = {}
    problems: list[Problem] = []
    for name, images in sets.items():
        wanted = [route for route in routes if route.images == name]
        if any(route.cut for route in wanted):
            cut = cut_images(images, some, told, cuts)
            problems += cut.problems
        for route in wanted:
            if route.cut:
                seen[route.name] = {image: one.seen for image, one in cut.without[route.cut].items()}
            else:
                seen[route.name] = dict(_opened(route.sights, images, some, problems))
    return seen, problems


def _opened(
    sights: Sights, images: SceneImages, some: Sequence[str], problems: list[Problem]
) -> Iterator[tuple[str, Sight]]:
    for image in some:
        missing = unlabelled(images, image)
        try:
            if missing is None:
                yield image, sights[image]
            else:
                problems.append(missing)
        except BadData as error:
            problems.append(Problem(image, images.name, str(error), "unscored"))


@final
class _Kept:
    """States of some images, by the place of the input, in one file; of other images they do not count."""

    def __init__(self, path: Path, images: Sequence[str]) -> None:
        self._path, self._images = path, list(images)
        self._values: dict[str, np.ndarray] = {}
        self.problems: list[Problem] = []
        self._is_new = True
        if path.exists():
            with np.load(path) as found:
                if found["images"].tolist() == self._images:
                    self._values = {name: found[name] for name in found.files if name.isdecimal()}
                    self.problems = [Problem(**json.loads(one)) for one in found["problems"].tolist()]
                    self._is_new = False

    def get(self, place: int) -> np.ndarray | None:
        return self._values.get(str(place))

    def put(self, place: int, values: np.ndarray) -> None:
        self._values[str(place)] = values

    def tell(self, problems: Sequence[Problem]) -> None:
        self.problems += problems

    def write(self) -> None:
        if self._is_new and self._images:
            half = self._path.with_suffix(".part.npz")
            told = np.array([json.dumps(asdict(one)) for one in self.problems], dtype=str)
            names = np.array(self._images, dtype=str)
            np.savez(half, images=names, problems=told, **self._values)  # type: ignore[arg-type]  # by name
            half.replace(self._path)


def _named(model: str, images: str, cut: Cut | None, sets: Mapping[str, SceneImages]) -> str:
    """An input by captioner, set where there are several, and cut.

    >>> _named("A", "bare", ("image", 2), {}), _named("A", "bare", None, {})
    ('A without 2 (image)', 'A')
    """
    where = f" {images}" if len(sets) > 1 else ""
    return f"{model}{where}{f' without {cut[1]} ({cut[0]})' if cut else ''}"


def _notes(sets: Mapping[str, SceneImages]) -> Iterator[str]:
    for images in sets.values():
        yield from images.notes()
