"""Samples of every benchmark, and what a hostile hand may put in their place."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEEP = "[" * 100_000 + "]" * 100_000


class Code:
    """A pickle that makes a file when it is run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@dataclass(frozen=True)
class Sample:
    """Two sound records of a benchmark in the file where it keeps them."""

    file: str
    form: str  # object, list, lines, csv, tab, plain
    rows: tuple[Any, Any]

    def write(self, folder: Path, second: Any) -> Path:
        """The file, with another second record."""
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [self.rows[0], second]
        if self.form in ("object", "list"):
            text = json.dumps({"0": rows[0], "1": rows[1]} if self.form == "object" else rows)
        elif self.form == "lines":
            text = "".join(json.dumps(row) + "\n" for row in rows)
        elif self.form == "csv":
            cells = io.StringIO()
            writer = csv.writer(cells, lineterminator="\n")
            writer.writerows([list(rows[0]), *(row.values() for row in rows)])
            text = cells.getvalue()
        else:
            head = ["\t".join(rows[0])] if self.form == "tab" else []
            text = "\n".join([*head, *("\t".join(row.values()) for row in rows)]) + "\n"
        path.write_bytes(text.encode(errors="surrogatepass"))
        return path


def twice(row: dict[str, Any], **changed: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return row, {**row, **changed}


def foils(place: str, thing: str) -> dict[str, Any]:
    text = "there is a large dotted heart to the right of a dark {}"
    foil = {"caption": text.format(thing), "kind": "replace_object"}
    return {"id": place, "image": "a.png", "caption": text.format("tree"), "foils": [foil]}


FOIL = {"image_file": "a.png", "caption": "a dog", "foil": "a cat", "mturk": {"caption": 3}}
BOXED = {"image_path": "a.png", "bbox_x": 1, "bbox_y": 1, "bbox_w": 2, "bbox_h": 2}
BOXED |= {"true_caption": "a dog", "false_caption": "a cat"}
PAIRED = {
    "id": 0,
    "caption_0": "a b",
    "caption_1": "b a",
    "image_0": "a",
    "image_1": "a",
    "collapsed_tag": "Object",
}
COMVG = {
    "id": "1",
    "sentence": "a man sits",
    "pos_triplet": "man,sit,table",
    "neg_triplet": "('dog', 'sit', 'table')",
}
COMVG |= {"pos_image_id": "1", "neg_image_id": "2", "neg_value": "subject"}
SVO = {
    "sentence": "a man sits",
    "pos_image_id": "1",
    "neg_image_id": "2",
    "subj_neg": "True",
    "verb_neg": "False",
}
SVO |= {"obj_neg": "False"}
STS = {
    "genre": "main",
    "file": "x",
    "year": "2012",
    "id": "1",
    "score": "3.5",
    "one": "dogs",
    "other": "cats",
}
SICK = {"pair_ID": "1", "sentence_A": "a dog", "sentence_B": "a cat", "relatedness_score": "3"}
LEFT = {"POS": ["a red dog"], "NEG": ["a blue dog"]}
SAMPLES = {
    "aro-relation": Sample("visual_genome_relation.json", "list", twice({**BOXED, "relation_name": "on"})),
    "aro-attribute": Sample(
        "visual_genome_attribution.json", "list", twice({**BOXED, "attributes": ["a", "b"]})
    ),
    "sugarcrepe": Sample(
        "swap_obj.json", "object", twice({"filename": "a.png", "caption": "a b", "negative_caption": "b a"})
    ),
    "sugarcrepe-pp": Sample(
        "swap_obj.json",
        "list",
        twice(
            {"id": 0, "filename": "a.png", "caption": "a b", "caption2": "ab", "negative_caption": "b a"},
            id=1,
        ),
    ),
    "vl-checklist": Sample("data/Relation/vg/spatial.json", "list", (["a.png", LEFT], ["b.png", LEFT])),
    "valse": Sample("existence.json", "object", twice(FOIL)),
    "svo-probes": Sample("svo_probes.csv", "csv", twice(SVO)),
    "comvg": Sample("ComVG.csv", "csv", twice(COMVG, id="2")),
    "winoground": Sample("examples.jsonl", "lines", twice(PAIRED, id=1)),
    "coco-retrieval": Sample(
        "coco_karpathy_test.json", "list", twice({"image": "a.png", "caption": ["x"]}, image="b.png")
    ),
    "flickr-retrieval": Sample(
        "flickr30k_test.json", "list", twice({"image": "a.png", "caption": ["x"]}, image="b.png")
    ),
    "sts-b": Sample("sts-test.csv", "plain", twice(STS)),
    "sick-r": Sample("SICK_train.txt", "tab", twice(SICK, pair_ID="2")),
    **dict.fromkeys(
        ("pairs", "world", "world-paraphrases", "world-similarity"),
        Sample("pairs.jsonl", "lines", (foils("first", "house"), foils("second", "box"))),
    ),
}
SEALED = {"aro-coco-order", "aro-flickr-order"}
"""Files with a hash of their own, of which no changed record is read."""
TEXTS = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "terminal": "\x1b[2J\x1b]0;owned\x07 a dog",
    "null": "a\x00dog",
    "right to left": "a \u202egod\u202c dog",
    "half a character": "a \ud800 dog",
    "megabyte": "dog " * 250_000,
    "upwards": "../../../../etc/passwd",
    "absolute": "/etc/passwd",
    "windows": "..\\..\\secret.png",
    "drive": "C:\\secret.png",
    "device": "/dev/zero",
    "formula": "=HYPERLINK(1)",
    "braces": "{0.__class__} %s {{7*7}}",
}


TABLES = {"csv", "tab", "plain"}
UNTABLED = {"half a character", "megabyte"}
"""What no table can hold (it is not UTF-8), or Python's csv not read: the file is refused, by its line."""


ODD = {
    "huge": 1e400,
    "nan": float("nan"),
    "digits": 10**400,
    "null": None,
    "list": [[]],
    "object": {"a": {}},
    "no": False,
}

CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b"\n\n  \n",
    "utf-16": '\ufeff{"image": "a.png", "caption": "b"}\n'.encode("utf-16"),
    "not utf-8": b'{"image": "\xff\xfe\xfd", "caption": "b"}\n',
    "binary": bytes(range(256)) * 8,
    "nulls": b"\0" * 4096,
    "deep": DEEP.encode(),
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep in it": b'{"images": ' + DEEP.encode() + b', "annotations": []}',
    "cut short": b'{"images": [{"id": 1, "file_name": "a.pn',
    "a number": b"3",
    "many digits": b"9" * 5000,
    "many digits in columns": b"a\t" + b"9" * 5000 + b"\t" + b"9" * 5000 + b"\n",
    "null": b"null",
    "not finite": b"[NaN, Infinity, 1e400]\n",
    "a list": b"[]",
    "list of lists": b"[[[]]]",
    "object": b"{}",
    "object of lists": b'{"images": [[]], "annotations": {}}',
    "twice": b'{"image": "a", "image": "b", "caption": "c"}\n',
    "columns": b"\t\t\t\t\t\n\t\n",
    "long line": b"a" * 300_000,
    "pickle": b"",  # made with its mark
    "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000000,), }\n",
    "parquet": b"PAR1" + b"\0" * 64 + b"PAR1",
    "arrow": b"ARROW1\0\0" + b"\xff" * 64,
    "zip": b"PK\x03\x04" + b"\0" * 64,
    "yaml": b"feature: ../../../../../../etc/passwd\nlabel: /etc/passwd\n",
    "yaml that runs": b"feature: !!python/object/apply:os.system ['touch ran']\n",
    "yaml of a billion": b"a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nfeature: *c\n",
}
