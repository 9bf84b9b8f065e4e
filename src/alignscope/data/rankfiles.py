"""Ranks of retrieval made elsewhere: the arrays of e-bug/fine-grained-evals (Bugliarello et al. 2023).

`test_i2t.txt.npy` has for each image the place of its best caption, `test_t2i.txt.npy` for each caption that
of its image, both from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from alignscope.data.regular import regular
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Rank, Shown

Direction = Literal["image to text", "text to image"]
_FILES: dict[Direction, str] = {"image to text": "test_i2t.txt.npy", "text to image": "test_t2i.txt.npy"}
CAPTIONS = 5  # of every image of Flickr30k


def read_ranks(directory: Path, questions: Iterable[Question]) -> Iterator[Rank | Problem]:
    """Both arrays as records, one per image and one per caption, in the order of the questions.

    How many candidates tied with the right one is not told, so `ties` is 0. A place that is no whole
    number below the number of candidates is an unscored problem of its image.
    """
    asked = list(questions)
    images = [(question.id, question.images[0].key, question.images[0].key) for question in asked]
    captions = [
        (item, f"{key}#{number}", key)
        for (item, _, key), question in zip(images, asked, strict=True)
        for number in range(len(question.texts))
    ]
    yield from _ranks(directory, "image to text", images, len(captions))
    yield from _ranks(directory, "text to image", captions, len(images))


def bare_retrieval(directory: Path) -> list[Question]:
    """Nameless images with five nameless captions each, as many as the arrays are long.

    Only where there are five times as many captions as images: whose a caption is, the arrays do not say.
    """
    images, captions = (len(_array(directory / name)) for name in _FILES.values())
    if captions != CAPTIONS * images:
        raise BadData(
            f"{directory}: got {captions} captions of {images} images, wanted {CAPTIONS} of each; "
            "give the annotations, which say whose they are"
        )
    return [
        Question(f"test/{number}", "test", "test", (Shown(str(number)),), ("",) * CAPTIONS)
        for number in range(images)
    ]


def _ranks(
    directory: Path, direction: Direction, queries: list[tuple[str, str, str]], candidates: int
) -> Iterator[Rank | Problem]:
    """Records of one array; `queries` are item, query and image."""
    path = directory / _FILES[direction]
    array = _array(path)
    if len(array) != len(queries):
        raise BadData(
            f"{path}: got {len(array)} ranks, wanted one for each of {len(queries)} queries ({direction}); "
            "which are missing cannot be told: make the array anew, or give the annotations it was made for"
        )
    for (item, query, image), place in zip(queries, array.tolist(), strict=True):
        if place.is_integer() and 0 <= place < candidates:
            yield Rank(query, image, direction, 1 + int(place), 0, candidates)
        else:
            what = f"the rank of {query} is {place:g}, not a place from 0 to {candidates - 1}"
            yield Problem(item, path.name, what, "unscored")


def _array(path: Path) -> Float[np.ndarray, " query"]:
    wanted = "a one-dimensional .npy array of ranks from 0"
    try:
        array = np.load(regular(path), allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise BadData(f"{path}: got no array ({error}), wanted {wanted}; check the file") from None
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iuf":
        got = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "an archive"
        raise BadData(f"{path}: got {got}, wanted {wanted}; check the file")
    return array.astype(np.float64)
