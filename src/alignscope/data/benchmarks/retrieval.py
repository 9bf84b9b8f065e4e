"""Retrieval on COCO (Lin et al. 2014) and Flickr30k (Young et al. 2014), Karpathy's test splits.

Reads BLIP's form (a list of {"image", "caption": [...]}), COCO's own (images, annotations) and
CLIP_benchmark's text file (a header, then `<image>.jpg,<caption>`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.coco import CaptionSet, gathered, read_captions
from alignscope.data.items import cannot_read, fault_of_text
from alignscope.data.regular import regular
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Shown

SPLIT = "test"
_COMMA = ".jpg,"  # between an image and its caption; captions hold commas, image names do not end twice
_WANTED = "a header, then lines like `1007129816.jpg,The man with pierced ears ...`"


def read(annotations: Path, *, names: tuple[str, ...], captions: int) -> Iterator[Question | Problem]:
    """A question per image with all its captions, called test/IMAGE without folder and ending.

    `names` are the files to look for in a folder; a whole split that has not as many `captions` as
    the authors' is a handled problem.
    """
    path = _file(annotations, names)
    whole = _read_lines(path) if path.suffix == ".txt" else read_captions(path)
    yield from (replace(one, item=_id(one.item)) for one in whole.problems)
    taken: set[str] = set()
    for image in whole.images:
        name = _id(image.image)
        if name in taken:
            yield Problem(name, image.image, "a second image of this name", "unscored")
            continue
        taken.add(name)
        texts = _once(image.captions)
        if len(texts) < len(image.captions):
            what = f"the same {len(texts)} captions listed twice, read once"
            yield Problem(name, image.image, what, "handled")
        yield Question(name, SPLIT, SPLIT, (Shown(image.image),), texts)
    found = sum(len(_once(image.captions)) for image in whole.images)
    if found != captions:
        yield Problem("", path.name, f"{found} captions, the authors' split has {captions}", "handled")


def _id(image: str) -> str:
    return f"{SPLIT}/{PurePosixPath(image).stem}"


def _once(captions: tuple[str, ...]) -> tuple[str, ...]:
    """The captions of an image; half of them where the second half repeats the first.

    >>> _once(("a", "b", "a", "b")), _once(("a", "b", "a"))
    (('a', 'b'), ('a', 'b', 'a'))
    """
    half = len(captions) // 2
    return captions[:half] if captions[:half] == captions[half:] else captions


def _file(annotations: Path, names: tuple[str, ...]) -> Path:
    if not annotations.is_dir():
        return annotations
    for name in names:
        if (annotations / name).is_file():
            return annotations / name
    raise BadData(
        f"{annotations}: got none of {', '.join(names)}, wanted the captions of the test split; "
        "check the folder or name the file itself"
    )


def _read_lines(path: Path) -> CaptionSet:
    """CLIP_benchmark's text file; lines of one image need not stand together."""
    captions: dict[str, list[str]] = {}
    problems: list[Problem] = []
    try:
        lines = regular(path).read_bytes().split(b"\n")
    except OSError as error:
        raise cannot_read(path, error, wanted=_WANTED) from None
    for number, raw in enumerate(lines[1:], start=2):
        subject = f"{path.name}:{number}"
        try:
            line = raw.decode().strip()
        except UnicodeDecodeError as error:
            problems.append(Problem(f"line {number}", subject, f"not UTF-8 ({error})", "unscored"))
            continue
        stem, comma, caption = line.partition(_COMMA)
        if not line:
            continue
        fault = (
            fault_of_text(caption) if comma and stem.strip() else f"line has no `<image>{_COMMA}<caption>`"
        )
        if fault:
            item = f"{stem}.jpg" if comma else f"line {number}"
            problems.append(Problem(item, subject, f"caption {fault}" if comma else fault, "unscored"))
        else:
            captions.setdefault(f"{stem}.jpg", []).append(caption)
    return gathered(captions, problems, path, wanted=_WANTED)


_OFFICIAL = Official(average="none", source="BLIP train_retrieval.py itm_eval, lines 171-215")
COCO = Benchmark(
    name="coco-retrieval",
    title="COCO retrieval (Karpathy test)",
    asks="retrieval",
    read=partial(
        read,
        names=("coco_karpathy_test.json", "coco_test_karpathy.json", "coco_test_1.json"),
        captions=25_010,
    ),
    official=_OFFICIAL,
    citation="Lin et al. 2014, Microsoft COCO; split of Karpathy and Fei-Fei 2015",
    url="https://storage.googleapis.com/sfr-vision-language-research/datasets/coco_karpathy_test.json",
    licence="captions CC BY 4.0; photographs each under its own Flickr licence",
    files="coco_karpathy_test.json (BLIP) or coco_test_karpathy.json (COCO form), or such a file itself",
    images="COCO val2014 (cocodataset.org); a folder below which the file's names lie, such as "
    "val2014/COCO_val2014_000000391895.jpg",
    sizes={SPLIT: 5000},
)
FLICKR = Benchmark(
    name="flickr-retrieval",
    title="Flickr30k retrieval (Karpathy test)",
    asks="retrieval",
    read=partial(
        read,
        names=("flickr30k_test.json", "flickr30k_test_karpathy.txt", "flickr30k_test_karpathy.json"),
        captions=5_000,
    ),
    official=_OFFICIAL,
    citation="Young et al. 2014, From image descriptions to visual denotations; split of Karpathy and "
    "Fei-Fei 2015",
    url="https://storage.googleapis.com/sfr-vision-language-research/datasets/flickr30k_test.json",
    licence="captions: none seen; photographs: on request, non-commercial research",
    files="flickr30k_test.json (BLIP) or flickr30k_test_karpathy.txt (CLIP_benchmark), or such a file itself",
    images="Flickr30k (shannon.cs.illinois.edu/DenotationGraph); a folder below which the file's names "
    "lie, such as flickr30k-images/1007129816.jpg",
    sizes={SPLIT: 1000},
)
