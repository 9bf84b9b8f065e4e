"""SugarCrepe (Hsieh et al. 2023): one caption, one fluent foil, seven kinds; COCO val2017 images.

Reads the official files, `<subset>.json`, each an object of records by number. Numbers are kept in the
ids ("swap_obj/107"), as they are not contiguous: the authors removed records after publication.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import (
    absent_files,
    at_least_one,
    object_records,
    subset_files,
    usable,
)
from alignscope.data.items import is_same_text
from alignscope.records import FoilKind, Problem, Question, Shown

KINDS: dict[str, FoilKind] = {
    "add_att": "add_attribute",
    "add_obj": "add_object",
    "replace_att": "replace_attribute",
    "replace_obj": "replace_object",
    "replace_rel": "replace_relation",
    "swap_att": "swap_attribute",
    "swap_obj": "swap_object",
}
"""The kind of foil of each subset, in the order of the official table."""
_WANTED = 'SugarCrepe records ({"0": {"filename", "caption", "negative_caption"}, ...})'


def read(annotations: Path) -> Iterator[Question | Problem]:
    """Questions of the official files, captions as they stand; tagged object, attribute or relation."""
    return at_least_one(_read(annotations), annotations, wanted=_WANTED)


def _read(annotations: Path) -> Iterator[Question | Problem]:
    files = subset_files(annotations, KINDS, wanted=_WANTED)
    yield from absent_files(annotations, KINDS, files)
    for subset, path in files.items():
        records = object_records(path, wanted=_WANTED, subset=subset)
        for record in usable(records, texts=("filename", "caption", "negative_caption")):
            if isinstance(record, Problem):
                yield record
                continue
            texts = (record.value["caption"], record.value["negative_caption"])
            if is_same_text(*texts):
                what = "`negative_caption` is `caption` itself; counted, as the authors do"
                yield record.problem(what, "handled")
            tag = KINDS[subset].partition("_")[2]
            yield Question(record.id, subset, subset, (Shown(record.value["filename"]),), texts, (tag,))


SUGARCREPE = Benchmark(
    name="sugarcrepe",
    title="SugarCrepe",
    asks="caption",
    read=read,
    official=Official(
        ties="wrong",
        average="none",
        source="sugar-crepe main_eval.py lines 45-68: the caption strictly above its foil; per file",
    ),
    citation="Hsieh et al. 2023, SugarCrepe: Fixing Hackable Benchmarks for Vision-Language "
    "Compositionality, NeurIPS Datasets and Benchmarks",
    url="https://github.com/RAIVNLab/sugar-crepe",
    licence="annotations MIT, images by COCO's terms",
    files="the repository's `data` folder, or one of its files: " + ", ".join(f"{s}.json" for s in KINDS),
    images="COCO val2017 (cocodataset.org), a folder of files like 000000085329.jpg",
    hub="mteb/SUGARCREPE_fmt",
    sizes={
        "add_att": 692,
        "add_obj": 2062,
        "replace_att": 788,
        "replace_obj": 1652,
        "replace_rel": 1406,
        "swap_att": 666,
        "swap_obj": 245,
        "": 7511,
    },
)
