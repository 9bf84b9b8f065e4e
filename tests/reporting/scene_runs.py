"""Studies of scene captioners written by hand, with numbers that pages can be checked against."""

from dataclasses import replace

from alignscope.files import write_json, write_parquet
from alignscope.records import Ablated, Association, Measurement, SceneCount, SceneProbeScore

SCENES = {"road": 30, "sea": 20, "room": 4, "zoo": 2}
SIGNED = "number|data:world|sha:{}|items:9|images:9|model:m|weights:w|dtype:float32|ties:none|seed:{}|v:1"


def number(measure, group, value, seed=0, items=9, missing=0):
    return Measurement(
        measure, group, value, None, None, items, 9, missing=missing, unit="x", signature=SIGNED.format(f"s{seed}", seed)
    )  # fmt: skip


def attention_numbers(seed, before, after):
    rows = []
    for name, shift in (("object", before), ("scene", after)):
        for block in ("vision-vision", "label-vision", "pooled"):
            group = f"{name} | {block} | layer 0 | max"
            rows += [
                number("mean std", group, 0.1 + shift, seed),
                number("mean mass", group, 10.0 + shift, seed),
                number("mean gini", group, 0.3 + shift, seed),
                number("mean entropy", group, 2.0 - shift, seed),
            ]
        for layer, value in ((0, 0.2), (1, 0.2 + shift)):
            group = f"{name} | special 0 from vision | layer {layer} | max"
            rows.append(number("inbound attention", group, value, seed))
    return rows


def overlap_numbers(seed, above):
    rows = []
    for name in ("object", "scene"):
        for measure in ("average overlap@3", "average overlap@5", "IoU@3", "IoU@5"):
            for second in ("frequent", "pmi"):
                attended = f"{name} | attended, {second}"
                rows += [number(measure, f"{attended} | {scene}", 0.5, seed) for scene in SCENES]
                rows.append(number(measure, f"{attended} | mean over scenes", 0.5, seed))
                rows.append(
                    number(
                        measure, f"{name} | even attention, {second} | mean over scenes", 0.5 - above, seed
                    )
                )
                rows.append(number(measure, f"{attended} | above even attention", above, seed))
    return rows


def ablated(image, scene, count, reading, before, after, confidences=(0.5, 0.5)):
    return Ablated(
        image, scene, count, reading, "car|sign", 1, 1, before, after, *confidences, before != after
    )


def captions():
    """Of four images: object captions change in three, scene captions in one; the least telling object changes none."""
    rows = {"object": [], "scene": []}
    for place, scene in enumerate(["road", "road", "sea", "sea"]):
        image = f"i{place}"
        after = f"{place} things" if place else "a car"
        rows["object"].append(ablated(image, scene, 1, "image", "a car", after, (0.6, 0.5 + 0.1 * place)))
        said = f"on a {scene}" if place else "in a room"
        rows["scene"].append(ablated(image, scene, 1, "image", f"on a {scene}", said, (0.6, 0.55 - 0.1 * place)))  # fmt: skip
        for name in rows:
            rows[name].append(ablated(image, scene, 1, "least", f"on a {scene}", f"on a {scene}"))
    return rows


def ablation_numbers(seed, rows):
    found = []
    for name, mine in rows.items():
        for reading in ("image", "least"):
            own = [row for row in mine if row.reading == reading]
            for count in ("all", "1"):
                group = f"{name} | test | {reading} | m={count}"
                share = sum(row.is_changed for row in own) / len(own)
                same = [row for row in own if not row.is_changed]
                found.append(number("captions changed", group, share + 0.001 * seed, seed))
                after = sum(row.confidence_after for row in same) / len(same)
                found.append(number("confidence after, unchanged", group, after, seed))
                found.append(number("confidence shift, unchanged", group, 0.6 - after, seed))
    found += [
        number("images without objects", f"images | test | {reading} | m=1", 4.0, seed, items=4, missing=2)
        for reading in ("image", "least")
    ]
    return found


def scores(seed):
    """Scene captions lift macro F1 to .9; the two rare scenes gain most; telling objects matter."""
    found = []
    values = {"object": (0.5, 0.6), "scene": (0.9, 0.95), "regions": (0.7, 0.8)}
    for model, (macro, micro) in values.items():
        for images, less in (("test", 0.0), ("bare", 0.3)):
            for cut, loss in (("", 0.0), (" without 1 (image)", 0.1), (" without 1 (least)", -0.05)):
                name = f"{model} {images}{cut}"
                for task, part in (("scenes", 1.0), ("selectivity", 0.5)):
                    for split in (90, 50):
                        rise = 0.01 * seed - less - loss
                        for measure, value in (
                            ("macro F1", macro),
                            ("micro F1", micro),
                            ("weighted F1", micro),
                        ):
                            found.append(score(name, measure, "all", part * (value + rise), split, task))
                        if task == "scenes":
                            for scene in SCENES:
                                own = (
                                    0.4
                                    if model == "object" and scene in ("room", "zoo")
                                    else 0.9 + 0.01 * seed
                                )
                                found.append(score(name, "F1", scene, own, split, task))
    found += [replace(score("nothing", "macro F1", "all", 0.1, 50, "scenes"), classifier="drawn")]
    return found


def score(name, measure, scene, value, split, task):
    return SceneProbeScore(
        *("all", name, name, "forest", task, split, measure, scene, value, None, None, None, 3, 9.0, 0)
    )


def write_seed(place, seed, *, before=0.0, after=-0.05, above=0.1):
    rows = captions()
    verbs = {
        "attention": attention_numbers(seed, before, after + 0.001 * seed),
        "diagnosticity": overlap_numbers(seed, above + 0.001 * seed),
        "ablation": ablation_numbers(seed, rows),
        "scenes": [],
    }
    for verb, numbers in verbs.items():
        (place / verb).mkdir(parents=True)
        write_parquet(place / verb / "measurements.parquet", numbers, Measurement)
    for name, mine in rows.items():
        (place / "ablation" / "images" / "test" / "captions").mkdir(parents=True, exist_ok=True)
        write_parquet(place / "ablation" / "images" / "test" / "captions" / f"{name}.parquet", mine, Ablated)
    write_parquet(place / "scenes" / "scores.parquet", scores(seed), SceneProbeScore)
    counts = [SceneCount("all", scene, many, many) for scene, many in SCENES.items()]
    write_parquet(place / "scenes" / "counts.parquet", counts, SceneCount)
    telling = [Association("road", name, 9, 9, 9, 99, pmi, 0.1) for name, pmi in (("sign", 1.5), ("tree", -0.2), ("car", 2.0))]  # fmt: skip
    write_parquet(place / "ablation" / "associations.parquet", telling, Association)


def write_study(directory, *, seeds=3, **changes):
    """A finished study of some seeds, by hand."""
    for seed in range(seeds):
        write_seed(directory / f"seed-{seed}", seed, **changes)
    told = {"kind": "scene captioners", "study": {"name": "scenes", "seeds": [0, 1, 2]}}
    write_json(directory / "run.json", {"identity": told, "finished": True, "command": "alignscope <x>"})
    return directory
