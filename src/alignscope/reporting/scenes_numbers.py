"""Numbers of a study of scene captioners (paper C): what its verbs measured with each seed, and means over seeds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignscope.errors import BadData
from alignscope.records import Ablated, Measurement, SceneProbeScore
from alignscope.records.student import student_mean
from alignscope.reporting.entries import SIGNS, Entry, gap, side
from alignscope.reporting.page import ROOM
from alignscope.reporting.run import Run, read_rows, read_run
from alignscope.reporting.wording import is_number

OBJECT, SCENE, RAW, NOTHING = "object", "scene", "regions", "nothing"
CAPTIONERS = {OBJECT: "object captions", SCENE: "scene captions"}
VERBS = ("attention", "diagnosticity", "ablation", "scenes")
FIRST = "layer 0 | max"
"""The paper's reading of attention: the first layer, the highest of all heads."""
SEED_PARTS = ("items", "images", "model", "weights", "seed")
INPUT = re.compile(
    r"(?P<model>\w+?)(?: (?P<images>.*?))?(?: without (?P<count>\d+) \((?P<reading>\w+)\))?", re.DOTALL
)

Values = Mapping[int, float]
"""A number by seed."""


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds with Student's 95 % interval; `above` counts the seeds above zero.

    Of one seed it is None, or that over its images where the records have one.
    """

    value: float
    low: float | None
    high: float | None
    seeds: int
    above: int

    @property
    def side(self) -> int:
        """1 or -1 where the interval leaves zero out on one side."""
        return side(self.low, self.high)


@dataclass(frozen=True)
class Input:
    """What probes read: whose state, of which images, with `cut` objects taken away by a reading."""

    name: str
    model: str
    images: str
    cut: tuple[str, int] | None  # reading, how many


@dataclass(frozen=True)
class Probe:
    """Which probe: of which images, classifier and split, trained on an input and tested on one."""

    trained_on: str
    tested_on: str
    images: str = "all"
    classifier: str = "forest"
    split: int = 50
    task: str = "scenes"


@dataclass(frozen=True)
class Study:
    """A finished study as its page reads it."""

    directory: Path
    run: Run
    name: str
    seeds: tuple[int, ...]
    measured: Mapping[tuple[str, str, str], Mapping[int, Measurement]]  # verb, measure, group
    probed: Mapping[tuple[Probe, str, str], Values]  # with measure and scene
    captions: Mapping[tuple[int, str, str], Sequence[Ablated]]  # seed, set of images, captioner
    paper: Mapping[str, Any]

    def values(self, verb: str, measure: str, group: str) -> dict[int, float]:
        """A number by the seeds that have it."""
        found = self.measured.get((verb, measure, group), {})
        return {seed: one.value for seed, one in found.items() if one.value is not None and is_number(one.value)}  # fmt: skip

    def mean(self, verb: str, measure: str, group: str) -> OverSeeds | None:
        """A number over seeds; of one seed with its interval over images."""
        values = self.values(verb, measure, group)
        mean = over_seeds(values)
        if mean is None or mean.seeds > 1:
            return mean
        only = self.measured[verb, measure, group][next(iter(values))]
        return replace(mean, low=only.low, high=only.high)

    def groups(self, verb: str, measure: str) -> tuple[str, ...]:
        """All groups of a measure, in the order of the records."""
        return tuple(dict.fromkeys(group for of, name, group in self.measured if (of, name) == (verb, measure)))  # fmt: skip

    def scores(self, probe: Probe, measure: str = "macro F1", scene: str = "all") -> Values:
        """F1 by seed."""
        return self.probed.get((probe, measure, scene), {})

    def printed(self, *path: str) -> str:
        """What the paper prints there, "" where it prints nothing."""
        value: Any = self.paper
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, str) else ""

    def notes(self, stem: str) -> tuple[str, ...]:
        """What is to be known of a printed table."""
        return tuple(self.paper.get(stem, {}).get("notes", ()))

    def signature(self, verb: str, measure: str, group: str, variant: str) -> str:
        """Where a mean over seeds comes from: what its seeds' signatures share, and the seeds."""
        found = [one.signature for one in self.measured.get((verb, measure, group), {}).values()]
        return signature_of([one for one in found if one], variant)


def read_study(directory: Path) -> Study:
    """Read what a finished study wrote under seed-N/."""
    places = {int(p.name[5:]): p for p in directory.glob("seed-*") if p.name[5:].isdigit()}
    seeds = tuple(sorted(places))
    measured: dict[tuple[str, str, str], dict[int, Measurement]] = {}
    probed: dict[tuple[Probe, str, str], dict[int, float]] = {}
    captions: dict[tuple[int, str, str], Sequence[Ablated]] = {}
    for seed in seeds:
        for verb in VERBS:
            for one in read_rows(places[seed] / verb / "measurements.parquet", Measurement):
                measured.setdefault((verb, one.measure, one.group), {})[seed] = one
        for score in read_rows(places[seed] / "scenes" / "scores.parquet", SceneProbeScore):
            probe = Probe(
                *(score.trained_on, score.tested_on, score.images, score.classifier, score.split, score.task)
            )
            if is_number(score.mean):
                probed.setdefault((probe, score.measure, score.scene), {})[seed] = score.mean
        for path in sorted((places[seed] / "ablation" / "images").glob("*/captions/*.parquet")):
            captions[seed, path.parts[-3], path.stem] = read_rows(path, Ablated)
    if not measured:
        raise BadData(
            f"{directory}: got no measurements under seed-N/{', '.join(VERBS)}, wanted the --out of a finished "
            "`alignscope reproduce scenes`"
        )
    run = read_run(directory, ())
    name = run.setting("study", "name")
    return Study(
        directory,
        run,
        name if isinstance(name, str) else "scenes",
        seeds,
        measured,
        probed,
        captions,
        json.loads((ROOM / "papers" / "c.json").read_text(encoding="utf-8")),
    )


def over_seeds(values: Values) -> OverSeeds | None:
    """A mean over the seeds that have a value, None where none has.

    >>> over_seeds({0: 1.0, 1: 3.0}).value, over_seeds({4: -2.0}).low, over_seeds({})
    (2.0, None, None)
    """
    if not values:
        return None
    mean = student_mean(list(values.values()))
    return OverSeeds(mean.value, mean.low, mean.high, len(values), sum(one > 0 for one in values.values()))


def minus(mean: OverSeeds) -> OverSeeds:
    """The same difference, the other way round.

    >>> minus(OverSeeds(1.0, 0.5, 1.5, 3, 2)).low
    -1.5
    """
    low, high = (None if one is None else -one for one in (mean.high, mean.low))
    return replace(mean, value=-mean.value, low=low, high=high, above=mean.seeds - mean.above)


def gaps(first: Values, second: Values) -> dict[int, float]:
    """First minus second in the seeds that have both.

    >>> gaps({0: 3.0, 1: 5.0}, {1: 1.0, 2: 9.0})
    {1: 4.0}
    """
    return {seed: value - second[seed] for seed, value in first.items() if seed in second}


def entry(
    values: Values,
    against: Values | None = None,
    *,
    times: float = 1.0,
    unit: str = "",
    paper: str = "",
    reason: str = "not measured",
    signature: str = "",
) -> Entry:
    """A cell of a mean over seeds, with its difference to another number of the same seeds."""
    mean = over_seeds(values)
    if mean is None:
        return Entry(paper=paper, reason=reason, signature=signature)
    apart = over_seeds(gaps(values, against)) if against is not None else None

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * times

    return Entry(
        value=scaled(mean.value),
        low=scaled(mean.low),
        high=scaled(mean.high),
        difference=scaled(apart.value) if apart else None,
        difference_low=scaled(apart.low) if apart else None,
        difference_high=scaled(apart.high) if apart else None,
        seeds=mean.seeds,
        above=apart.above if apart else mean.above,
        unit=unit,
        reading=SIGNS[apart.side] if apart else "",
        paper=paper,
        signature=signature,
    )


def difference_entry(values: Values, *, times: float = 1.0, unit: str = "", paper: str = "") -> Entry:
    """A cell whose number is itself a difference, with its sign."""
    mean = over_seeds(values)
    if mean is None:
        return Entry(paper=paper, reason="not measured")
    return Entry(
        text=gap(times * mean.value, None, None),
        value=times * mean.value,
        low=None if mean.low is None else times * mean.low,
        high=None if mean.high is None else times * mean.high,
        seeds=mean.seeds,
        above=mean.above,
        unit=unit,
        reading=SIGNS[mean.side],
        paper=paper,
    )


def input_of(name: str) -> Input:
    """What the name of a probes' input says.

    >>> input_of("scene bare without 2 (least)")
    Input(name='scene bare without 2 (least)', model='scene', images='bare', cut=('least', 2))
    >>> input_of("object"), input_of("object test without background").images
    (Input(name='object', model='object', images='', cut=None), 'test without background')
    """
    found = INPUT.fullmatch(name)
    assert found is not None  # any text that begins with a word
    cut = (found["reading"], int(found["count"])) if found["count"] else None
    return Input(name, found["model"], found["images"] or "", cut)


def inputs_of(study: Study) -> tuple[Input, ...]:
    """All inputs that probes were trained on, in the order of the records; baselines without any are left out."""
    names = dict.fromkeys(probe.trained_on for probe, _, _ in study.probed)
    return tuple(input_of(name) for name in names if name != NOTHING)


def sets_of(study: Study) -> tuple[str, ...]:
    """Sets of images that were ablated, in the order of the records."""
    groups = [group for of, _, group in study.measured if of == "ablation" and group.startswith("images | ")]
    return tuple(dict.fromkeys(parts_of(group)[1] for group in groups))


def cuts_of(study: Study) -> dict[str, tuple[int, ...]]:
    """How many objects were taken away by each reading, in the order of the records."""
    found: dict[str, dict[int, None]] = {}
    for group in study.groups("ablation", "images without objects"):
        _, _, reading, count = parts_of(group)
        found.setdefault(reading, {})[int(count.removeprefix("m="))] = None
    return {reading: tuple(counts) for reading, counts in found.items()}


def parts_of(group: str) -> tuple[str, ...]:
    """The parts of a group of measurements."""
    return tuple(group.split(" | "))


def signature_of(signatures: Sequence[str], variant: str) -> str:
    """One signature of the same number with several seeds.

    >>> signature_of(["std|data:w|sha:a|items:4|model:m|seed:0|v:1", "std|data:w|sha:b|items:4|model:n|seed:1|v:1"], "scene")
    'std|data:w|sha:a,b|variant:scene|v:1|seeds:2|interval:student'
    """
    if not signatures:
        return ""
    kept: dict[str, list[str]] = {}
    for one in signatures:
        for part in one.split("|"):
            name, colon, value = part.partition(":")
            own = kept.setdefault(name if colon else "", [])
            if (value if colon else part) not in own:
                own.append(value if colon else part)
    measure = "|".join(kept.pop("", []))
    version = kept.pop("v", [])
    parts = [f"{name}:{','.join(values)}" for name, values in kept.items() if name not in SEED_PARTS]
    ends = [f"v:{','.join(version)}"] if version else []
    return "|".join([measure, *parts, f"variant:{variant}", *ends, f"seeds:{len(signatures)}", "interval:student"])  # fmt: skip
