"""SugarCrepe++ (Dumpala et al. 2024): two captions that say the same, one that does not; COCO val2017 images.

Reads the official files, `<subset>.json`, each a list of records. The texts are not those of SugarCrepe:
they were edited. A caption that equals another of its record stays, as the authors count it; it is told of.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import (
    absent_files,
    at_least_one,
    list_records,
    subset_files,
    usable,
)
from alignscope.data.items import is_same_text
from alignscope.records import Problem, Question, Shown

SIZES = {"replace_att": 788, "replace_obj": 1652, "replace_rel": 1406, "swap_att": 666, "swap_obj": 245}
_CAPTIONS = ("caption", "caption2", "negative_caption")
_WANTED = 'SugarCrepe++ records ([{"id", "filename", "caption", "caption2", "negative_caption"}, ...])'


def read(annotations: Path) -> Iterator[Question | Problem]:
    """Questions of the official files, the texts of each in the order right, right, wrong."""
    return at_least_one(_read(annotations), annotations, wanted=_WANTED)


def _read(annotations: Path) -> Iterator[Question | Problem]:
    files = subset_files(annotations, SIZES, wanted=_WANTED)
    yield from absent_files(annotations, SIZES, files)
    for subset, path in files.items():
        records = list_records(path, wanted=_WANTED, subset=subset, key="id")
        for record in usable(records, texts=("filename", *_CAPTIONS), others=("id",)):
            if isinstance(record, Problem):
                yield record
                continue
            texts = tuple(record.value[name] for name in _CAPTIONS)
            for one, other in combinations(range(3), 2):
                if is_same_text(texts[one], texts[other]):
                    what = f"`{_CAPTIONS[other]}` is `{_CAPTIONS[one]}` itself; counted, as the authors do"
                    yield record.problem(what, "handled")
            yield Question(record.id, subset, subset, (Shown(record.value["filename"]),), texts)


SUGARCREPE_PP = Benchmark(
    name="sugarcrepe-pp",
    title="SugarCrepe++",
    asks="two captions",
    read=read,
    official=Official(
        ties="wrong",
        average="none",
        source="scpp VLMs/test_Variants_CLIP.py lines 72-99: the image with both captions (ITT), and the "
        "captions with each other (TOT), above each with the wrong one; per file",
    ),
    citation="Dumpala et al. 2024, SUGARCREPE++ Dataset: Vision-Language Model Sensitivity to Semantic and "
    "Lexical Alterations, NeurIPS Datasets and Benchmarks",
    url="https://github.com/Sri-Harsha/scpp",
    licence="annotations CC BY 4.0 (README; the LICENSE file says MIT), images by COCO's terms",
    files="the repository's `data` folder, or one of its files: " + ", ".join(f"{s}.json" for s in SIZES),
    images="COCO val2017 (cocodataset.org), a folder of files like 000000085329.jpg",
    hub="Aman-J/SugarCrepe_pp",
    sizes={**SIZES, "": 4757},
)
