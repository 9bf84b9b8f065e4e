"""What a user of paper B's study has, made of scenes of the world in each benchmark's official format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from alignscope.data.benchmarks.sugarcrepe import KINDS
from alignscope.data.benchmarks.valse import SIZES as VALSE
from alignscope.data.benchmarks.vl_checklist import SUBSETS
from alignscope.data.world.world import World

IMAGES = 6


def write(folder: Path) -> dict[str, str]:
    """Files and folders by the names of `studies.named.FOLDERS`; every benchmark shows the same pictures."""
    world = World("val", size=IMAGES)
    told = [(item.caption.text, item.foils[0].text) for item in world.items]
    images = folder / "images"
    for place in ("train2014", "val2014", "ours", "vg", "swig", "hake"):
        (images / place).mkdir(parents=True)
    for number, item in enumerate(world.items):
        picture = world.image(item.image)
        for name in ("train2014", "val2014", "ours", "vg", "swig", "hake"):
            picture.save(images / name / f"{number}.jpg")
        for side in (0, 1):
            picture.save(images / "ours" / f"ex_{number}_img_{side}.png")
    made = {
        "coco": images, "coco_annotations": _coco(folder, told), "aro": _aro(folder, told), "aro_images": images / "ours",
        "sugarcrepe": _sugarcrepe(folder, told), "coco_val2017": images / "ours",
        "vl_checklist": _vl_checklist(folder, told), "vl_checklist_images": images,
        "valse": _valse(folder, told), "valse_images": images / "ours",
        "svo_probes": _svo_probes(folder, told), "svo_probes_images": images / "ours",
        "comvg": _comvg(folder, told), "comvg_images": images / "ours",
        "winoground": _winoground(folder, told), "winoground_images": images / "ours",
        "coco_retrieval": _retrieval(folder / "coco_karpathy_test.json", told, "val2014"),
        "flickr_retrieval": _retrieval(folder / "flickr30k_test.json", told, "ours"), "flickr_images": images,
        "sts_b": _sts_b(folder, told), "sick_r": _sick(folder, told),
        "pairs": _lines(folder / "pairs.jsonl", ({"image": f"{n}.jpg", "caption": one} for n, (one, _) in enumerate(told))),
        "pairs_images": images / "ours",
    }  # fmt: skip
    return {name: str(path) for name, path in made.items()}


Told = list[tuple[str, str]]


def _json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def _lines(path: Path, rows: Iterable[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _coco(folder: Path, told: Told) -> Path:
    for split in ("train", "val"):
        images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(len(told))]
        rows = [{"id": n, "image_id": n, "caption": right} for n, (right, _) in enumerate(told)]
        _json(folder / "annotations" / f"captions_{split}2014.json", {"images": images, "annotations": rows})
    return folder / "annotations"


def _aro(folder: Path, told: Told) -> Path:
    rows = [
        {
            "image_path": f"{n}.jpg",
            "bbox_x": 0,
            "bbox_y": 0,
            "bbox_w": 40,
            "bbox_h": 40,
            "true_caption": right,
        }
        | {"false_caption": wrong, "relation_name": "on", "attributes": ["red", "big"]}
        for n, (right, wrong) in enumerate(told)
    ] * 5  # a pair of attributes counts from 25 records
    _json(folder / "aro" / "visual_genome_relation.json", rows)
    return _json(folder / "aro" / "visual_genome_attribution.json", rows).parent


def _sugarcrepe(folder: Path, told: Told) -> Path:
    rows = {str(n): {"filename": f"{n}.jpg", "caption": one, "negative_caption": two} for n, (one, two) in enumerate(told)}  # fmt: skip
    for name in KINDS:
        _json(folder / "sugarcrepe" / f"{name}.json", rows)
    return folder / "sugarcrepe"


def _vl_checklist(folder: Path, told: Told) -> Path:
    for subset in SUBSETS:
        where = f"data/{subset.replace('/', '_')}.json"
        rows = [[f"{n}.jpg", {"POS": [right], "NEG": [wrong]}] for n, (right, wrong) in enumerate(told[:2])]
        _json(folder / "vlc" / where, rows)
        corpus = folder / "vlc" / "corpus" / "v1" / f"{subset}.yaml"
        corpus.parent.mkdir(parents=True, exist_ok=True)
        corpus.write_text(f'ANNO_PATH: "{where}"\nIMG_ROOT: "vg"\nTYPE: "TUPLE_JSON"\n')
    return folder / "vlc"


def _valse(folder: Path, told: Told) -> Path:
    rows = {
        str(n): {"image_file": f"{n}.jpg", "caption": right, "foil": wrong, "mturk": {"caption": 3}}
        for n, (right, wrong) in enumerate(told)
    }
    for name in VALSE:
        _json(folder / "valse" / f"{name}.json", rows)
    return folder / "valse"


def _svo_probes(folder: Path, told: Told) -> Path:
    rows = [f'"{right}",{n},{(n + 1) % len(told)},False,True,False' for n, (right, _) in enumerate(told)]
    header = "sentence,pos_image_id,neg_image_id,subj_neg,verb_neg,obj_neg"
    (folder / "svo_probes.csv").write_text("\n".join([header, *rows, ""]))
    return folder / "svo_probes.csv"


def _comvg(folder: Path, told: Told) -> Path:
    rows = [
        f"{n},\"{right}\",\"man,sit,table\",\"('man', 'stand', 'table')\",{n},{(n + 1) % len(told)},{part},{n}"
        for n, (right, _) in enumerate(told)
        for part in ("verb",)
    ]
    header = "id,sentence,pos_triplet,neg_triplet,pos_image_id,neg_image_id,neg_value,sentence_id"
    (folder / "ComVG.csv").write_text("\n".join([header, *rows, ""]))
    return folder / "ComVG.csv"


def _winoground(folder: Path, told: Told) -> Path:
    rows = [
        {
            "id": n,
            "image_0": f"ex_{n}_img_0",
            "image_1": f"ex_{(n + 1) % len(told)}_img_1",
            "caption_0": right,
        }
        | {"caption_1": told[(n + 1) % len(told)][0], "tag": "Noun", "secondary_tag": "", "num_main_preds": 1}
        | {"collapsed_tag": "Object"}
        for n, (right, _) in enumerate(told)
    ]
    _json(folder / "winoground" / "new_tag_assignments.json", {str(n): [] for n in range(len(told))})
    return _lines(folder / "winoground" / "examples.jsonl", rows)


def _retrieval(path: Path, told: Told, place: str) -> Path:
    return _json(
        path, [{"image": f"{place}/{n}.jpg", "caption": [right]} for n, (right, _) in enumerate(told)]
    )


def _sts_b(folder: Path, told: Told) -> Path:
    rows = [f"main-news\tf\t2012\t{n}\t{n % 5}\t{right}\t{wrong}" for n, (right, wrong) in enumerate(told)]
    (folder / "sts-test.csv").write_text("\n".join([*rows, ""]))
    return folder / "sts-test.csv"


def _sick(folder: Path, told: Told) -> Path:
    header = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment"
    rows = [f"{n}\t{right}\t{wrong}\t{1 + n % 4}\tNEUTRAL" for n, (right, wrong) in enumerate(told)]
    (folder / "sick").mkdir()
    for name in ("SICK_train.txt", "SICK_trial.txt", "SICK_test_annotated.txt"):
        (folder / "sick" / name).write_text("\n".join([header, *rows, ""]))
    return folder / "sick"
