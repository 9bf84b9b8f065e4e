"""ARO's COCO-Order and Flickr30k-Order: a caption against four shuffles of its words (Yuksekgonul et al. 2023).

The authors publish code that makes the shuffles, not the shuffles; ours are made once, seeded, by
`alignscope data orders` and kept as a JSONL file whose first line says from what and has a hash of it all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.items import cannot_read, read_bytes
from alignscope.data.regular import regular
from alignscope.errors import BadData
from alignscope.files import read_jsonl, sha_of, write_jsonl
from alignscope.records import Problem, Question, Shown

FORMAT = "alignscope order set 1"
_ORDER_SET = "a file that `alignscope data orders` wrote, or the folder that holds it"
_REMEDY = "make it again with `alignscope data orders`"


def write_order_set(
    out: Path, rows: Sequence[Mapping[str, str]], *, seed: int, parser: str, source: Path
) -> int:
    """Write captions with their shuffles (`image`, `caption`, then one text per kind); returns how many."""
    header = {
        "format": FORMAT,
        "seed": seed,
        "parser": parser,
        "source": source.name,
        "source_sha": hashlib.sha256(read_bytes(source, wanted="the captions' file")).hexdigest(),
        "captions": len(rows),
        "images": len({row["image"] for row in rows}),
    }
    digest = _digest(header)
    for row in rows:
        digest.update(_line(row))
    write_jsonl(out, [{**header, "sha": digest.hexdigest()}, *map(dict, rows)])
    return len(rows)


def read_order_set(path: Path, *, name: str) -> Iterator[Question | Problem]:
    """Questions of an order set; one whose hash is not its own is refused before its first question.

    A caption that a shuffle gave back is tagged "identical": officially, such a tie is right.
    """
    path = path / f"{name.replace('-', '_')}.jsonl" if path.is_dir() else path
    _check(path)
    again = 0
    for number, row in enumerate(islice(_rows(path), 1, None)):
        image, caption, *shuffles = row.values()
        is_identical = any("".join(text.split()) == "".join(caption.split()) for text in shuffles)
        again += is_identical
        yield Question(
            f"{name}/{number}",
            name,
            name,
            (Shown(image),),
            (caption, *shuffles),
            tags=("identical",) if is_identical else (),
        )
    if again:
        what = (
            f'{again} captions given back by a shuffle, kept and tagged "identical", as the authors keep them'
        )
        yield Problem(name, path.name, what, "handled")


def _check(path: Path) -> None:
    rows = _rows(path)
    header = next(rows, {})
    sha = header.pop("sha", None)
    if header.get("format") != FORMAT:
        raise BadData(
            f"{path}: got a first line without the format {FORMAT!r}, wanted {_ORDER_SET}; {_REMEDY}"
        )
    digest, captions = _digest(header), 0
    for row in rows:
        digest.update(_line(row))
        captions += 1
    if digest.hexdigest() != sha:
        raise BadData(
            f"{path}: got {captions} captions with the hash {digest.hexdigest()[:12]}, wanted "
            f"{header.get('captions')} with {str(sha)[:12]}: it was changed or cut short; {_REMEDY}"
        )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from read_jsonl(regular(path))
    except OSError as error:
        raise cannot_read(path, error, wanted=_ORDER_SET) from None


def _digest(header: Mapping[str, Any]) -> Any:
    return hashlib.sha256(sha_of(header).encode())


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=True).encode() + b"\n"


_OFFICIAL = Official(
    ties="right",
    source="dataset_zoo/aro_datasets.py, lines 262-280 and 330-347: argmax over the five texts, the caption first",
)
_CITATION = (
    "Yuksekgonul et al. 2023, When and why vision-language models behave like bags-of-words, "
    "and what to do about it?, ICLR"
)
_URL = "https://github.com/mertyg/vision-language-models-are-bows"

COCO_ORDER = Benchmark(
    name="aro-coco-order",
    title="ARO COCO-Order",
    asks="caption",
    read=partial(read_order_set, name="coco-order"),
    official=_OFFICIAL,
    citation=_CITATION,
    url=_URL,
    licence="code MIT; captions of COCO CC BY 4.0",
    files=f"{_ORDER_SET} as coco_order.jsonl, made of the captions of the Karpathy test split",
    images="COCO val2014 from cocodataset.org; `--images` holds val2014/",
    hub="mteb/ARO-COCO-order",
    sizes={"coco-order": 25_010},
)
FLICKR_ORDER = Benchmark(
    name="aro-flickr-order",
    title="ARO Flickr30k-Order",
    asks="caption",
    read=partial(read_order_set, name="flickr-order"),
    official=_OFFICIAL,
    citation=_CITATION,
    url=_URL,
    licence="code MIT; captions of Flickr30k for research, see its terms",
    files=f"{_ORDER_SET} as flickr_order.jsonl, made of the captions of the Karpathy test split",
    images="Flickr30k, asked for at forms.illinois.edu/sec/229675; `--images` holds flickr30k-images/",
    hub="mteb/ARO-Flickr-Order",
    sizes={"flickr-order": 5_000},
)
