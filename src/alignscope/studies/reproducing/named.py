"""What a user has, named once: the folders, files and models from which the studies of real data are made.

A study's TOML says `{coco}/train2014` where it means an entry of the user's file. What is not there leaves the part
of the study out that cannot do without (a scorer, a benchmark), or the study, where all of it needs that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

from alignscope.errors import BadRecipe
from alignscope.models.captioners.seen import named_captioners
from alignscope.models.zoo import MODELS, looks_like_hub_id
from alignscope.registry import did_you_mean
from alignscope.studies.over_seeds import parsed
from alignscope.training.reading import find

FOLDERS: Mapping[str, str] = {
    "coco": "COCO's images: train2014/ and val2014/ (cocodataset.org)",
    "coco_annotations": "COCO's captions_train2014.json and captions_val2014.json (annotations_trainval2014.zip)",
    "karpathy": "Karpathy's dataset_coco.json, the split of paper A",
    "fc_features": "NUMBER.npy of 2048 numbers an image: ResNet-101's last map, averaged (prepro_feats.py)",
    "regions_36": "VinVL or bottom-up regions, 36 an image, of Karpathy's images: TSV, npz or LMDB",
    "regions_uniter": "bottom-up regions, 10 to 100 above confidence 0.2, of Karpathy's images",
    "hl": "HL's train.jsonl and test.jsonl",
    "vinvl_regions": "VinVL's train.feature.tsv, of COCO's train2014 images, those of HL",
    "vinvl_labels": "VinVL's train.label.tsv, of the same images",
    "aro": "ARO's visual_genome_relation.json and visual_genome_attribution.json",
    "aro_images": "ARO's images, *.jpg of vgr_vga_images.zip",
    "sugarcrepe": "SugarCrepe's data folder: add_att.json and so on",
    "coco_val2017": "COCO's val2017 images, which SugarCrepe shows",
    "vl_checklist": "a copy of VL-CheckList's repository",
    "vl_checklist_images": "vg/, swig/ and hake/, as VL-CheckList's DATASETS.md tells",
    "valse": "VALSE's data folder: actant-swap.json and so on",
    "valse_images": "VALSE's images of all sources by their file names, in one folder",
    "svo_probes": "svo_probes.csv",
    "svo_probes_images": "SVO-Probes' images, IMAGE_ID.jpg; many addresses are dead, which is counted",
    "comvg": "ComVG.csv",
    "comvg_images": "Visual Genome's images of ComVG",
    "winoground": "Winoground's examples.jsonl",
    "winoground_images": "Winoground's images, ex_0_img_0.png and so on",
    "coco_retrieval": "coco_karpathy_test.json (BLIP's list); its images are of `coco`",
    "flickr_retrieval": "flickr30k_test.json (BLIP's list)",
    "flickr_images": "Flickr30k's images, below which the list's names lie",
    "sts_b": "sts-test.csv of STS-Benchmark",
    "sick_r": "SICK_train.txt, SICK_trial.txt and SICK_test_annotated.txt",
    "pairs": "your own captions as pairs (JSONL), whose words' attribution is compared",
    "pairs_images": "the images of your own pairs",
}
MODEL_NAMES: Mapping[str, str] = {
    "clip": "CLIP: fine-tuned for paper B, a scorer of paper A",
    "uniter": "UNITER-base, its directory or its authors' file",
    "rosita": "ROSITA-base",
    "vilbert": "ViLBERT",
    "lxmert": "LXMERT-base",
    "vinvl": "VinVL after COCO's captions: coco_captioning_base_xe unpacked, paper C's object captioner",
}
"""What each entry must be; recipes/studies/real.toml says the same behind each."""
PARTS = ("scorers", "benchmarks")
"""Tables of parts that a study can do without, one by one; the whole of `pairs` is such a part, too."""
_PLACE = re.compile(r"\{([^{}]*)\}")


@final
@dataclass(frozen=True)
class Named:
    """The entries of a user's file."""

    path: Path
    values: Mapping[str, str]

    def fault(self, text: str) -> str:
        """Why a text's entry is not there; "" where it is, or where the text names none."""
        for name in _PLACE.findall(text):
            says = FOLDERS.get(name) or MODEL_NAMES.get(name)
            if says is None:
                known = [*FOLDERS, *MODEL_NAMES]
                raise BadRecipe(f"{text!r}: no entry is called '{name}', {did_you_mean(name, known)}")
            table = "folders" if name in FOLDERS else "models"
            if name not in self.values:
                return f"{self.path} has no `{name}`: name it in [{table}] ({says})"
            found = self.fill(text)
            if not (Path(found).exists() or (table == "models" and _is_name(found))):
                return (
                    f"nothing at {found}: put it there, or correct [{table}] {name} of {self.path} ({says})"
                )
        return ""

    def fill(self, text: str) -> str:
        """The text with every entry in its place; one that is not named stays as it is."""
        return _PLACE.sub(lambda found: self.values.get(found[1], found[0]), text)


class Filled(NamedTuple):
    """A study's entries with a user's in their places, and a line for each that is not there."""

    entries: dict[str, Any]
    missing: tuple[str, ...]


class Without(NamedTuple):
    """A study's entries without some parts, and the lines that say why each of them is left out."""

    entries: dict[str, Any]
    left_out: tuple[str, ...]


def read_named(path: Path) -> Named:
    """The user's file: tables `[folders]` and `[models]`, every entry a text, none that no study knows."""
    if not path.exists():
        shipped = find("real", kind="study", within="studies")
        raise BadRecipe(f"there is no file {path}: {shipped} is one to begin with, copy it")
    tables = parsed(path)
    known = {"folders": FOLDERS, "models": MODEL_NAMES}
    wrong = [f"[{name}]: unknown table, {did_you_mean(name, known)}" for name in tables if name not in known]
    values: dict[str, str] = {}
    for table, names in known.items():
        own = tables.get(table, {})
        if not isinstance(own, dict):
            wrong.append(f"{table}: got {own!r}, wanted a table")
            continue
        for name, value in own.items():
            if name not in names:
                wrong.append(f"[{table}] {name}: unknown entry, {did_you_mean(name, names)}")
            elif not isinstance(value, str) or not value:
                wrong.append(f"[{table}] {name}: got {value!r}, wanted a path or a name as text")
            else:
                values[name] = str(Path(value).expanduser()) if value.startswith("~") else value
    if wrong:
        raise BadRecipe("\n  ".join([f"{path} cannot be used:", *wrong]))
    return Named(path, values)


def filled(entries: Mapping[str, Any], named: Named) -> Filled:
    """The entries of a study with those of the user in their places."""
    missing = [
        f"[{'.'.join(table)}] {entry}: {fault}"
        for (*table, entry), text in _texts(entries)
        if (fault := named.fault(text))
    ]
    return Filled(_filled(entries, named), tuple(missing))


def without(entries: Mapping[str, Any], missing: Sequence[str]) -> Without:
    """The entries without the parts that lines of what is missing are about; a study keeps one part of a table at least.

    >>> without({"scorers": {"a": 1, "b": 2}}, ["[scorers.a] model: nothing at x", "[recipe] model: nothing at y"])
    Without(entries={'scorers': {'b': 2}}, left_out=('[scorers.a] model: nothing at x',))
    >>> without({"scorers": {"a": 1}, "pairs": 3}, ["[scorers.a] model: nothing at x", "[pairs] images: nothing at y"])
    Without(entries={'scorers': {'a': 1}}, left_out=('[pairs] images: nothing at y',))
    """
    tables = [line[1:].partition("]")[0] for line in missing]
    gone = {"pairs"} & {*tables}
    for kind in PARTS:
        parts = {f"{kind}.{name}" for name in entries.get(kind, ())}
        gone |= parts & {*tables} if parts - {*tables} else set()
    left = {
        kind: {name: one for name, one in own.items() if f"{kind}.{name}" not in gone}
        if kind in PARTS
        else own
        for kind, own in entries.items()
        if kind not in gone
    }
    return Without(left, tuple(line for line, table in zip(missing, tables, strict=True) if table in gone))


def _is_name(model: str) -> bool:
    return model in MODELS or model in named_captioners() or looks_like_hub_id(model)


def _texts(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(each, (*place, name))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, place)


def _filled(value: Any, named: Named) -> Any:
    if isinstance(value, str):
        return named.fill(value)
    if isinstance(value, Mapping):
        return {name: _filled(each, named) for name, each in value.items()}
    return [_filled(each, named) for each in value] if isinstance(value, list) else value
