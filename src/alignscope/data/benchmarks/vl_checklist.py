"""VL-CheckList: right and wrong phrases of an image for objects, attributes and relations (Zhao et al. 2022, EMNLP).

A subset is one of the 56 files that the authors' `corpus` names: "Attribute/color/vg". Its questions are
tagged with one of the 13 axes of the authors' chart ("A-color") and with "object", "attribute" or "relation";
their group is the axis and the data source ("A-color/vg"). The authors average the accuracies of files within
a group, then groups within an axis, and go no further (their chart then names three axes wrongly: what it calls
A-Size, A-State and A-Action are the action, size and state of their `corpus.json`). Only the first right and the first wrong text count.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import at_least_one, list_records
from alignscope.data.items import fault_of_text, is_same_text, kind_of, read_bytes
from alignscope.data.names import fault_of_name
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Shown

_OBJECT_SOURCES = ("hake", "swig_agent", "swig_destination", "swig_item", "swig_tool", "vg_obj", "vg_subj")
SOURCES = {
    **dict.fromkeys([f"Object/Size/{size}" for size in ("large", "medium", "small")], _OBJECT_SOURCES),
    **dict.fromkeys([f"Object/Location/{place}" for place in ("center", "mid", "margin")], _OBJECT_SOURCES),
    **dict.fromkeys(
        [f"Attribute/{name}" for name in ("color", "material", "size", "state", "action")], ("vaw", "vg")
    ),
    "Relation/action": ("hake", "swig", "vg"),
    "Relation/spatial": ("vg",),
}
"""Files of each axis, in the order of the authors' chart."""
SUBSETS = tuple(f"{axis}/{source}" for axis, sources in SOURCES.items() for source in sources)
SIZES = {
    "Attribute/action/vaw": 3_039,
    "Attribute/action/vg": 1_892,
    "Attribute/color/vg": 11_569,
    "Attribute/material/vaw": 11_835,
    "Attribute/material/vg": 2_470,
    "Attribute/size/vaw": 15_321,
    "Attribute/size/vg": 2_695,
    "Attribute/state/vaw": 4_939,
    "Attribute/state/vg": 941,
    "Object/Location/center/swig_destination": 1_063,
    "Object/Location/center/swig_item": 4_163,
    "Object/Location/center/swig_tool": 4_056,
    "Object/Location/center/vg_subj": 25_383,
    "Object/Location/margin/hake": 10_062,
    "Object/Location/margin/swig_agent": 260,
    "Object/Location/margin/swig_destination": 45,
    "Object/Location/margin/swig_item": 88,
    "Object/Location/margin/swig_tool": 121,
    "Object/Location/margin/vg_obj": 8_291,
    "Object/Location/margin/vg_subj": 5_974,
    "Object/Location/mid/swig_agent": 5_074,
    "Object/Location/mid/swig_destination": 530,
    "Object/Location/mid/swig_item": 1_715,
    "Object/Location/mid/swig_tool": 2_226,
    "Object/Location/mid/vg_subj": 26_294,
    "Object/Size/large/swig_destination": 1_520,
    "Object/Size/large/swig_item": 5_070,
    "Object/Size/large/swig_tool": 4_643,
    "Object/Size/large/vg_subj": 26_167,
    "Object/Size/medium/hake": 30_910,
    "Object/Size/medium/swig_agent": 442,
    "Object/Size/medium/swig_destination": 109,
    "Object/Size/medium/swig_item": 742,
    "Object/Size/medium/swig_tool": 1_452,
    "Object/Size/medium/vg_obj": 30_725,
    "Object/Size/medium/vg_subj": 20_930,
    "Object/Size/small/hake": 6_210,
    "Object/Size/small/swig_agent": 48,
    "Object/Size/small/swig_destination": 9,
    "Object/Size/small/swig_item": 154,
    "Object/Size/small/swig_tool": 308,
    "Object/Size/small/vg_obj": 13_702,
    "Object/Size/small/vg_subj": 10_554,
    "Relation/action/swig": 25_150,
    "Relation/action/vg": 12_733,
    "Relation/spatial/vg": 30_650,
}
"""Records of the 46 files that were seen; the other ten are not counted anywhere."""

_WANTED = "a copy of the repository om-ai-lab/VL-CheckList with its folders `corpus` and `data`"


@dataclass(frozen=True)
class _Corpus:
    """Where the records of a subset are, below the repository, and their images, below `--images`."""

    annotations: str
    images: str


def read_vl_checklist(annotations: Path) -> Iterator[Question | Problem]:
    """Questions of a copy of the repository, file by file; `corpus` or `data` within it will do, too."""
    root = annotations
    for folder in ("v1", "corpus", "data"):
        root = root.parent if root.name == folder else root

    def found() -> Iterator[Question | Problem]:
        for subset in SUBSETS:
            corpus = _corpus(root, subset)
            path = root / corpus.annotations
            if path.is_file():
                yield from _subset(subset, path, corpus.images)
            else:
                yield Problem(subset, str(root), f"no file {corpus.annotations}", "unscored")

    yield from at_least_one(found(), annotations, wanted=_WANTED)


def _corpus(root: Path, subset: str) -> _Corpus:
    """What the subset's YAML file says; where there is none, what the authors' says."""
    path = root / "corpus" / "v1" / f"{subset}.yaml"
    if not path.is_file():
        return _usual(subset)
    text = read_bytes(path, wanted="the three lines ANNO_PATH, IMG_ROOT, TYPE").decode("utf-8", "replace")
    fields = dict(re.findall(r"""^(\w+):\s*["']?(.*?)["']?\s*$""", text, re.MULTILINE))
    if not fields.get("ANNO_PATH") or fields.get("TYPE", "TUPLE_JSON") != "TUPLE_JSON":
        raise BadData(
            f"{path}: got {text[:80]!r}, wanted the three lines ANNO_PATH, IMG_ROOT and "
            'TYPE: "TUPLE_JSON"; replace the file by a whole copy'
        )
    for name in ("ANNO_PATH", "IMG_ROOT"):
        if fields.get(name) and (fault := fault_of_name(fields[name])):
            raise BadData(f"{path}: `{name}`: {fault}; replace the file by a whole copy")
    return _Corpus(fields["ANNO_PATH"], fields.get("IMG_ROOT", ""))


def _usual(subset: str) -> _Corpus:
    """Where the authors keep a subset.

    >>> _usual("Object/Size/small/swig_tool")
    _Corpus(annotations='data/Object/Size/swig_size/swig_tool/swig_tool_small.json', images='swig')
    """
    kind, *middle, name, source = subset.split("/")
    family = source.partition("_")[0]
    if kind == "Attribute":
        path = f"{source}/{name}.json"
    elif kind == "Relation":
        path = f"vg/{name}.json" if source == "vg" else f"{source}_{name}.json"
    else:
        folder = f"{middle[0]}/{family}_{middle[0].lower()}" + (f"/{source}" if family == "swig" else "")
        path = f"{folder}/{'hake_obj' if source == 'hake' else source}_{name}.json"
    return _Corpus(f"data/{kind}/{path}", "vg" if family == "vaw" else family)


def _subset(subset: str, path: Path, image_root: str) -> Iterator[Question | Problem]:
    kind, *_, name, source = subset.split("/")
    axis = f"{kind[0]}-{name}"
    for record in list_records(path, wanted="a list of [image, {POS: [...], NEG: [...]}]", subset=subset):
        fault = _fault(record.value)
        if fault:
            yield record.problem(fault)
            continue
        image, texts = record.value
        right, wrong = texts["POS"][0], texts["NEG"][0]
        if is_same_text(right, wrong):
            yield record.problem("both texts are the same: kept, never right as the authors count", "handled")
        yield Question(
            record.id,
            subset,
            f"{axis}/{source.partition('_')[0]}",
            (Shown(posixpath.join(image_root, image)),),
            (right, wrong),
            tags=(axis, kind.lower()),
        )


def _fault(value: Any) -> str | None:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], dict):
        return f"the record is {kind_of(value)}, not [image, {{POS: [...], NEG: [...]}}]"
    if fault := fault_of_text(value[0]):
        return f"the image {fault}"
    for name in ("POS", "NEG"):
        texts = value[1].get(name)
        if not isinstance(texts, list) or not texts:
            return f"`{name}` is {kind_of(texts)}, not a list of texts"
        if fault := fault_of_text(texts[0]):
            return f"the first text of `{name}` {fault}"
    return None


VL_CHECKLIST = Benchmark(
    name="vl-checklist",
    title="VL-CheckList",
    asks="caption",
    read=read_vl_checklist,
    official=Official(
        ties="wrong",
        average="none",
        source="vl_checklist/evaluate.py, lines 93-125: score of the right text strictly above that of the wrong "
        "one, per file; radar.py, lines 122-137: mean over files, then over data sources, on each of 13 axes",
    ),
    citation="Zhao et al. 2022, VL-CheckList: Evaluating pre-trained vision-language models with objects, attributes "
    "and relations, EMNLP system demonstrations",
    url="https://github.com/om-ai-lab/VL-CheckList",
    licence="none given; setup.py says free for non-commercial use",
    files=_WANTED,
    images="vg/VG_100K and vg/VG_100K_2 of Visual Genome, swig/ (images_512) of SWiG, hake/ of HAKE: see the "
    "repository's DATASETS.md; `--images` holds vg/, swig/ and hake/",
    sizes=SIZES,
)
