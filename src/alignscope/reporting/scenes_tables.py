"""The tables of paper C with a study's numbers: training, attention, overlaps, telling objects, ablated captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from statistics import fmean, pstdev
from typing import Any

from alignscope.files import read_jsonl
from alignscope.records import Ablated, Association
from alignscope.reporting.entries import Entry, Table
from alignscope.reporting.run import read_rows
from alignscope.reporting.scenes_numbers import (
    CAPTIONERS,
    FIRST,
    OBJECT,
    SCENE,
    Study,
    Values,
    cuts_of,
    difference_entry,
    entry,
    parts_of,
    sets_of,
)

Rows = tuple[tuple[str, tuple[Entry, ...]], ...]

METRICS = {
    **{name: name for name in ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "SPICE")},
    **{
        "cider": "CIDEr-D",
        "perplexity": "perplexity",
        "length": "words",
        "repetition": "captions that repeat",
    },
}
TIMES_100 = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "SPICE", "CIDEr-D", "captions that repeat")
NUMBERS = {
    **{"mean std": ("standard deviation × 100", 100.0), "mean mass": ("mass", 1.0)},
    **{"mean gini": ("Gini of rows", 1.0), "mean entropy": ("entropy of rows, bits", 1.0)},
}
READINGS = {
    **{"image": "its most telling objects", "scene": "its scene’s most telling objects"},
    **{"random": "other objects by chance", "least": "its least telling objects"},
}
EPOCHS = "epochs.jsonl"
"""Rows of all metrics of validation captions, where a study wrote them: `step` or `epoch`, `validation`, `reasons`."""
EVEN, MEAN, ABOVE = "even attention", "mean over scenes", "above even attention"
TELLING = 3
"""Objects that Table 3 prints for a scene."""


def tables_of(study: Study) -> dict[str, Table]:
    """Every table of numbers by the name of its files, those nobody measured left out."""
    made = [
        training_table(study),
        *(attention_table(study, way) for way in attention_ways(study)),
        overlap_table(study, "frequent"),
        overlap_table(study, "pmi"),
        telling_table(study),
        sample_table(study),
        changed_table(study),
        named_table(study),
        confidence_table(study),
    ]
    return {
        table.stem: table
        for table in made
        if any(e.value is not None or e.text for _, row in table.rows for e in row)
    }


def training_table(study: Study) -> Table:
    """Table 1: how the scene captioner reads validation images, at each look during its fine-tuning."""
    looks: dict[str, dict[str, dict[int, float]]] = {}
    reasons = training_reasons(study)
    for seed in study.seeds:
        for row in _looks(study, seed):
            at = f"epoch {row['epoch']:g}" if "epoch" in row else f"step {row.get('step', '?')}"
            for name, value in row["validation"].items():
                if isinstance(value, int | float):
                    looks.setdefault(at, {}).setdefault(METRICS.get(name, name), {})[seed] = value
    columns = tuple(
        name for name in METRICS.values() if name in reasons or any(name in found for found in looks.values())
    )

    def cell(at: str, name: str) -> Entry:
        printed = study.printed("table-1", "metrics", at.removeprefix("epoch "), name)
        times = 100.0 if name in TIMES_100 else 1.0
        return entry(looks[at].get(name, {}), times=times, paper=printed, reason=_short(reasons.get(name, "not measured")))  # fmt: skip

    rows = tuple((at, tuple(cell(at, name) for name in columns)) for at in looks)
    return Table("table-1", "Scene captions of validation images during fine-tuning", "after", columns, rows)


def training_reasons(study: Study) -> dict[str, str]:
    """Why metrics of validation captions could not run, by metric."""
    return {
        name: str(why)
        for seed in study.seeds
        for row in _looks(study, seed)
        for name, why in row.get("reasons", {}).items()
    }


def _short(reason: str) -> str:
    """A reason as a cell holds it; the whole one stands above the table."""
    return f"unscored: {reason.partition(':')[0]} could not run" if ":" in reason else reason


def _looks(study: Study, seed: int) -> list[dict[str, Any]]:
    """What was measured of validation images during training, all metrics where the study scored them."""
    place = study.directory / f"seed-{seed}" / "captioners" / SCENE
    found: dict[int | str, dict[str, Any]] = {}
    for name in ("metrics.jsonl", EPOCHS):
        for row in read_jsonl(place / name) if (place / name).exists() else ():
            if isinstance(row.get("validation"), Mapping):
                key = row.get("step", f"epoch {row.get('epoch')}")
                before = found.get(key, {}).get("validation", {})
                found[key] = row | {"validation": {**before, **row["validation"]}}
    return list(found.values())


def attention_ways(study: Study) -> tuple[str, ...]:
    """Layers and ways over heads that were looked at, the paper's first."""
    groups = study.groups("attention", "mean std")
    found = dict.fromkeys(" | ".join(parts_of(group)[2:]) for group in groups)
    return tuple(sorted(found, key=lambda way: way != FIRST))


def blocks_of(study: Study) -> tuple[str, ...]:
    """Blocks of attention that were measured, all relations together first."""
    found = dict.fromkeys(parts_of(group)[1] for group in study.groups("attention", "mean std"))
    return tuple(sorted(found, key=lambda block: block != "pooled"))


def way_in_words(way: str) -> str:
    """A layer counted from 1, and how heads became one.

    >>> way_in_words("layer 0 | max")
    'layer 1, highest of all heads'
    """
    layer, _, heads = way.partition(" | ")
    said = {"max": "highest of all heads", "mean": "mean of heads", "rollout": "rollout"}
    return f"layer {int(layer.removeprefix('layer ')) + 1}, {said.get(heads, heads)}"


def attention_table(study: Study, way: str) -> Table:
    """Figure 4 in numbers: spread and mass of each block, the scene captioner's beside its difference to the object captioner."""
    rows = []
    for block in blocks_of(study):
        cells = []
        for measure, (_, times) in NUMBERS.items():
            found = {
                name: study.values("attention", measure, f"{name} | {block} | {way}") for name in CAPTIONERS
            }
            signed = study.signature("attention", measure, f"{SCENE} | {block} | {way}", "object,scene")
            cells += [
                entry(found[OBJECT], times=times, signature=signed),
                entry(found[SCENE], found[OBJECT], times=times, signature=signed),
            ]
        rows.append((block, tuple(cells)))
    columns = tuple(f"{says}: {name}" for says, _ in NUMBERS.values() for name in ("object", "scene"))
    stem = "figure-4" if way == FIRST else f"figure-4-{way_in_words(way).split(',')[0].replace(' ', '-')}-{way.split()[-1]}"  # fmt: skip
    title = f"Attention by block, {way_in_words(way)}: means over images"
    return Table(stem, title, "rows-columns", columns, tuple(rows))


def attended_order(study: Study) -> str:
    """What the order of attended objects is called in the records."""
    groups = study.groups("diagnosticity", "IoU@3") or study.groups("diagnosticity", "average overlap@3")
    orders = [parts_of(group)[1].partition(", ")[0] for group in groups]
    return next((order for order in orders if order.startswith("attended")), "attended")


def overlap_measures(study: Study) -> tuple[str, ...]:
    """Average overlap at each depth, then IoU at each."""
    found = dict.fromkeys(measure for verb, measure, _ in study.measured if verb == "diagnosticity")
    names = [name for name in found if "@" in name]
    return tuple(sorted(names, key=lambda name: (not name.startswith("average"), int(name.partition("@")[2]))))  # fmt: skip


def overlap_table(study: Study, second: str) -> Table:
    """Table 2: objects the scene captioner attends to against those frequent in a scene, or most telling of it."""
    order, measures = attended_order(study), overlap_measures(study)
    pair = f"{order}, {second}"
    scenes = [
        parts_of(group)[2]
        for group in (study.groups("diagnosticity", measures[0]) if measures else ())
        if parts_of(group)[:2] == (SCENE, pair)
    ]
    last = [(MEAN, f"{SCENE} | {pair} | {MEAN}"), (EVEN, f"{SCENE} | {EVEN}, {second} | {MEAN}")]
    groups = [(one, f"{SCENE} | {pair} | {one}") for one in scenes if one not in (MEAN, ABOVE)]

    def cell(measure: str, group: str, scene: str) -> Entry:
        own = study.values("diagnosticity", measure, group)
        theirs = study.values("diagnosticity", measure, group.replace(SCENE, OBJECT, 1))
        printed = study.printed("table-2", "overlaps", scene, measure) if second == "frequent" else ""
        signed = study.signature("diagnosticity", measure, group, "object,scene")
        return entry(own, None if scene == EVEN else theirs, paper=printed, signature=signed)

    rows: list[tuple[str, tuple[Entry, ...]]] = [
        (scene, tuple(cell(measure, group, scene) for measure in measures))
        for scene, group in (*groups, *last)
    ]
    for name in CAPTIONERS:
        group = f"{name} | {pair} | {ABOVE}"
        found = [study.values("diagnosticity", measure, group) for measure in measures]
        rows.append((f"{CAPTIONERS[name]}: above even attention", tuple(map(difference_entry, found))))
    stem, what = ("table-2", "most frequent in it") if second == "frequent" else ("table-2-pmi", "most telling of it, by PMI")  # fmt: skip
    title = f"Overlap of the objects most attended in a scene with those {what}"
    return Table(stem, title, "scene", measures, tuple(rows))


def telling_table(study: Study) -> Table:
    """Table 3: the objects that tell most of each scene, by PMI in bits; of the first seed."""
    place = study.directory / f"seed-{study.seeds[0]}"
    found = read_rows(place / "ablation" / "associations.parquet", Association)
    found = found or read_rows(place / "diagnosticity" / "associations.parquet", Association)
    by_scene: dict[str, list[Association]] = {}
    for one in found:
        if one.pmi is not None and one.pmi > 0:
            by_scene.setdefault(one.scene, []).append(one)
    rows = []
    for scene, mine in by_scene.items():
        top = sorted(mine, key=lambda one: (-(one.pmi or 0), one.name))[:TELLING]
        said = ", ".join(f"{one.name} ({one.pmi:.2f}, in {one.together} images)" for one in top)
        rows.append((scene, (Entry(text=said, paper=study.printed("table-3", "objects", scene)),)))
    return Table("table-3", "Objects that tell most of a scene, PMI in bits", "scene", ("objects",), tuple(rows))  # fmt: skip


def sample_table(study: Study) -> Table:
    """Table 5: how many images have the objects that are taken away."""
    sets, cuts = sets_of(study), cuts_of(study)
    counts = sorted({count for mine in cuts.values() for count in mine})
    measure = "images without objects"

    def cell(name: str, reading: str, count: int) -> Entry:
        """The paper's count stands beside its likeliest reading, in the first set of its kind."""
        kind = "train" if "train" in name else "test"
        is_first = name == next(one for one in sets if ("train" in one) == ("train" in name))
        is_printed = is_first and reading == "image"
        printed = study.printed("table-5", "samples", kind, str(count)) if is_printed else ""
        if count == 0:
            return entry(_all_images(study, name), paper=printed)
        group = f"images | {name} | {reading} | m={count}"
        signed = study.signature("ablation", measure, group, "images")
        return entry(study.values("ablation", measure, group), paper=printed, signature=signed)

    rows = tuple(
        (f"{name}: {READINGS.get(reading, reading)}", tuple(cell(name, reading, m) for m in (0, *counts)))
        for name in sets
        for reading in cuts
    )
    columns = ("no object taken", *(f"{count} taken" for count in counts))
    return Table("table-5", "Images left when objects are taken away", "images: what is taken", columns, rows)


def _all_images(study: Study, name: str) -> Values:
    """Images of a set: those that have an object to take away and those that have not."""
    found = {}
    for reading, counts in cuts_of(study).items():
        group = f"images | {name} | {reading} | m={counts[0]}"
        for seed, one in study.measured.get(("ablation", "images without objects", group), {}).items():
            found[seed] = float(one.items + one.missing)
    return found


def changed_table(study: Study) -> Table:
    """Figure 5 in numbers: how many captions change when objects are taken away."""
    counts = ("all", *map(str, sorted({m for mine in cuts_of(study).values() for m in mine})))
    rows = []
    for name in sets_of(study):
        for reading in cuts_of(study):
            cells = []
            for count in counts:
                found = {who: changed(study, who, name, reading, count) for who in CAPTIONERS}
                is_printed = (reading, count, name) == ("image", "all", sets_of(study)[0])
                for who in CAPTIONERS:
                    group = f"{who} | {name} | {reading} | m={count}"
                    cells.append(
                        entry(
                            found[who],
                            found[OBJECT] if who == SCENE else None,
                            times=100.0,
                            unit="percent",
                            paper=study.printed("figure-5", "changed", who) if is_printed else "",
                            reason="no image left",
                            signature=study.signature("ablation", "captions changed", group, "object,scene"),
                        )
                    )
            rows.append((f"{name}: {READINGS.get(reading, reading)}", tuple(cells)))
    columns = tuple(f"{'any number' if m == 'all' else m} taken: {who}" for m in counts for who in CAPTIONERS)
    title = "Captions that change when an image loses objects, by captioner"
    return Table("figure-5", title, "images: what is taken", columns, tuple(rows))


def changed(study: Study, captioner: str, images: str, reading: str, count: str = "all") -> Values:
    """Share of captions changed, by seed."""
    return study.values("ablation", "captions changed", f"{captioner} | {images} | {reading} | m={count}")


def named_table(study: Study) -> Table:
    """How often a scene caption has the word of its image's scene, before and after."""
    rows = []
    for name in sets_of(study):
        for reading in cuts_of(study):
            before, after = (naming(study, name, reading, field) for field in ("before", "after"))
            cells = (entry(before, times=100.0, unit="percent"), entry(after, before, times=100.0, unit="percent"))  # fmt: skip
            rows.append((f"{name}: {READINGS.get(reading, reading)}", cells))
    title = "Scene captions with the name of the image’s scene, any number of objects taken"
    return Table("figure-5-named", title, "images: what is taken", ("before", "after"), tuple(rows))


def naming(study: Study, images: str, reading: str, field: str) -> Values:
    """Share of scene captions that name the scene, by seed."""
    return per_seed(
        study, SCENE, images, reading, lambda rows: fmean(one.scene in getattr(one, field).split() for one in rows)
    )  # fmt: skip


def per_seed(
    study: Study, captioner: str, images: str, reading: str, number: Callable[[list[Ablated]], float | None]
) -> Values:
    """A number of the ablated captions of each seed that has some, without those of which it is None."""
    found = {}
    for seed in study.seeds:
        rows = [r for r in study.captions.get((seed, images, captioner), ()) if r.reading == reading]
        if rows and (value := number(rows)) is not None:
            found[seed] = value
    return found


def shifts(rows: Iterable[Ablated]) -> list[float]:
    """Confidence before less confidence after, of unchanged captions."""
    return [one.confidence_before - one.confidence_after for one in rows if not one.is_changed]


def shift_deviation(study: Study, captioner: str, images: str, reading: str) -> Values:
    """Standard deviation of the shift over unchanged captions, by the seeds that have two or more."""
    return per_seed(
        study, captioner, images, reading, lambda rows: pstdev(own) if len(own := shifts(rows)) > 1 else None
    )


def confidence_table(study: Study) -> Table:
    """Figures 6 and 7 in numbers: how sure captioners are of captions that did not change."""
    rows = []
    for name in sets_of(study):
        for reading in cuts_of(study):
            cells: list[Entry] = []
            numbers = {who: _sureness(study, who, name, reading) for who in CAPTIONERS}
            for place in range(len(SURENESS)):
                for who in CAPTIONERS:
                    against = numbers[OBJECT][place] if who == SCENE and place else None
                    times = 100.0 if place > 1 else 1.0
                    cells.append(entry(numbers[who][place], against, times=times, reason="no caption unchanged"))  # fmt: skip
            rows.append((f"{name}: {READINGS.get(reading, reading)}", tuple(cells)))
    columns = tuple(f"{says}: {who}" for says in SURENESS for who in CAPTIONERS)
    title = "Confidence in captions that did not change, any number of objects taken"
    return Table("figure-6", title, "images: what is taken", columns, tuple(rows))


SURENESS = ("unchanged captions", "confidence after", "shift × 100", "deviation of shift × 100")


def _sureness(study: Study, who: str, images: str, reading: str) -> tuple[Values, ...]:
    group = f"{who} | {images} | {reading} | m=all"
    count = per_seed(study, who, images, reading, lambda rows: float(len(shifts(rows))))
    after, shift = (
        study.values("ablation", f"confidence {name}, unchanged", group) for name in ("after", "shift")
    )
    return count, after, shift, shift_deviation(study, who, images, reading)
