"""SVO-Probes (Hendricks and Nematzadeh 2021): one sentence, the right image and one of another subject, verb
or object.

Reads the authors' svo_probes.csv by the names of its columns, or the lines of Bugliarello et al. 2023
(`svo_index`, `caption`, `pos_image`, `neg_image`). Asked is which image scores higher, as Bugliarello et al.
count, though of rows with exactly one changed part, which the authors keep to. The authors' own number is another: the mean of two accuracies of yes-or-no answers for each
(sentence, image), repeated ones left out; it needs a model that answers 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import Record, at_least_one, line_records, table_records, usable
from alignscope.data.items import kind_of
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Shown

FLAGS = {"subj_neg": "subject", "verb_neg": "verb", "obj_neg": "object"}
_NAMES = ("svo_probes.csv", "svo-probes.csv", "test.jsonl", "annotations/test.jsonl")
_ROWS = ("sentence", "pos_image_id", "neg_image_id")
_LINES = ("caption", "pos_image", "neg_image")
_OTHERS = ("pos_triplet", "neg_triplet", "pos_url", "neg_url", "index", "svo_index", *FLAGS)
_WANTED = (
    f"a CSV file with the columns {', '.join((*_ROWS, *FLAGS))}, "
    f"or a JSONL file with the fields svo_index, {', '.join((*_LINES, *FLAGS))}"
)


def read(annotations: Path) -> Iterator[Question | Problem]:
    """Questions of a .csv or .jsonl file, or of the folder that holds it; the right image is the first.

    A row without exactly one changed part is left out, as the authors do, and told of.
    """
    return at_least_one(_read(annotations), annotations, wanted=_WANTED)


def _read(annotations: Path) -> Iterator[Question | Problem]:
    path = _file(annotations)
    if path.suffix == ".jsonl":
        fields, ending = _LINES, ""
        records: Iterator[Record | Problem] = line_records(path, wanted=_WANTED, key="svo_index")
    else:
        fields, ending = _ROWS, ".jpg"
        records = table_records(path, (*_ROWS, *FLAGS), wanted=_WANTED)
    for record in usable(records, texts=fields, others=_OTHERS):
        if isinstance(record, Problem):
            yield record
            continue
        fault = _fault_of_flags(record.value)
        changed = [part for flag, part in FLAGS.items() if record.value.get(flag) in (True, "True")]
        if fault is not None:
            yield record.problem(fault)
        elif len(changed) != 1:
            what = f"changed are {' and '.join(changed) or 'no parts'}: left out, as the authors do"
            yield record.problem(what, "handled")
        else:
            text, *images = (record.value[name] for name in fields)
            shown = tuple(Shown(image + ending) for image in images)
            yield Question(f"{changed[0]}/{record.id}", changed[0], changed[0], shown, (text,))


def _file(annotations: Path) -> Path:
    if not annotations.is_dir():
        return annotations
    there = [annotations / name for name in _NAMES if (annotations / name).is_file()]
    if len(there) != 1:
        raise BadData(
            f"{annotations}: got {' and '.join(path.name for path in there) or 'no file'}, "
            f"wanted one of {', '.join(_NAMES)}; give the path of the file itself"
        )
    return there[0]


def _fault_of_flags(row: dict[str, Any]) -> str | None:
    for flag in FLAGS:
        if flag not in row:
            return f"`{flag}` is missing"
        if not (isinstance(row[flag], bool) or row[flag] in ("True", "False")):
            return f"`{flag}` is {kind_of(row[flag])}, not True or False"
    return None


SVO_PROBES = Benchmark(
    name="svo-probes",
    title="SVO-Probes",
    asks="image",
    read=read,
    official=Official(
        ties="wrong",
        average="items",
        source="fine-grained-evals notebooks/SVO.ipynb: the right image strictly above the wrong one. Not the "
        "authors' own number (probing_image_text_models.ipynb: mean accuracy of yes-or-no answers)",
    ),
    citation="Hendricks and Nematzadeh 2021, Probing Image-Language Transformers for Verb Understanding, "
    "Findings of ACL; counted as in Bugliarello et al. 2023, Measuring Progress in Fine-grained "
    "Vision-and-Language Understanding, ACL",
    url="https://github.com/google-deepmind/svo_probes",
    licence="annotations CC BY 4.0; images by their own sites' terms",
    files="svo_probes.csv, or test.jsonl of fine-grained-evals",
    images="from the columns pos_url and neg_url, many of them dead: a folder of files <image_id>.jpg; "
    "for test.jsonl the files its fields name",
)
