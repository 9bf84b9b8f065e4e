"""CIDEr-D of many captions at once, for training loops (Vedantam et al. 2015, section 4, with clipping).

The number is that of the scorer called "Cider" in `tylin/coco-caption` and pycocoevalcap, to 1e-9: cosine
of tf-idf vectors of 1- to 4-grams, counts clipped to the reference's, a Gaussian of the difference in
lengths (sigma 6), the mean over n and over references, times ten. Differs: document frequencies come from
references given once. Any tokens serve: words, or token ids as in Luo's self-critical training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int, UInt64

from alignscope.data.items import read_json
from alignscope.errors import BadData, LengthMismatch
from alignscope.files import write_json

Token = str | int

ORDERS = 4
SIGMA = 6.0
MOST_TOKENS = 2**16 - 1  # four of them in one 64-bit number; 0 is no token
CHUNK = 256  # candidates or images at a time, so that the arrays stay in cache

_WANTED = (
    'document frequencies ({"images": 113287, "tokens": "words" or "ids", "end": null or a token, '
    '"document_frequency": {"a dog": 1200}})'
)


@dataclass(frozen=True)
class _Grams:
    """Distinct n-grams of each row in the order of (row, gram), and how often each is in it."""

    rows: Int[np.ndarray, " entry"]
    grams: Int[np.ndarray, " entry"]  # places in `keys`
    counts: Int[np.ndarray, " entry"]
    keys: UInt64[np.ndarray, " gram"]  # sorted
    lengths: Int[np.ndarray, " row"]  # in tokens; COCO's code counts bigrams, which differ by as much


@final
@dataclass(frozen=True)
class Cider:
    """Document frequencies, and the CIDEr-D of captions against references under them.

    With `end`, a sequence is read up to its first `end`, which counts as a token, as in Luo's code:
    padded rows of ids can be given as they are. None is added to a sequence that lacks it.

    >>> references = [["a dog runs".split(), "a brown dog".split()], ["a red kite".split()]]
    >>> cider = Cider.of(references)
    >>> cider.scores(["a dog runs".split(), "a red kite".split()], references).round(3)
    array([4.375, 7.5  ])
    """

    vocabulary: Mapping[Token, int]  # numbers from 1
    keys: UInt64[np.ndarray, " gram"]  # sorted
    frequencies: Int[np.ndarray, " gram"]  # in references of how many images
    images: int
    end: Token | None = None

    @classmethod
    def of(cls, references: Sequence[Sequence[Sequence[Token]]], *, end: Token | None = None) -> Cider:
        """Count, for each n-gram, the images whose references hold it; one group of sequences an image."""
        if not references or not all(len(group) for group in references):
            raise BadData("an image without references: give each at least one, and at least one image")
        first = next((token for group in references for row in group for token in row), "")
        vocabulary: dict[Token, int] = {}
        found = []
        for group in _chunks(references):
            image = np.repeat(np.arange(len(group)), [len(rows) for rows in group])
            rows = [row for rows in group for row in rows]
            grams = _counted(_numbered(rows, vocabulary, end=end, is_word=isinstance(first, str)))
            place = np.unique(image[grams.rows] * len(grams.keys) + grams.grams) % max(1, len(grams.keys))
            found.append(grams.keys[place])
        if not vocabulary:
            raise BadData("references without a single token: give the words or ids of real captions")
        keys, frequencies = np.unique(np.concatenate(found), return_counts=True)
        return cls(vocabulary, keys, frequencies, len(references), end)

    def scores(
        self, candidates: Sequence[Sequence[Token]], references: Sequence[Sequence[Sequence[Token]]]
    ) -> Float[np.ndarray, " candidate"]:
        """CIDEr-D of each candidate against its own group of references; 0 for one without tokens.

        Candidates of one image may share one group: the same object is counted once.
        """
        if len(candidates) != len(references):
            raise LengthMismatch(
                f"{len(candidates)} candidates for {len(references)} groups of references: give one to one"
            )
        bare = [number for number, group in enumerate(references) if len(group) == 0]
        if bare:
            raise BadData(f"candidate {bare[0]} has no references: leave it out (so have {len(bare)} in all)")
        pairs = zip(_chunks(candidates), _chunks(references), strict=True)
        return np.concatenate([np.zeros(0), *(self._scores(*chunk) for chunk in pairs)])

    def write(self, path: Path) -> None:
        """Keep the document frequencies as one JSON file that `read` takes."""
        names = ["", *map(str, self.vocabulary)]
        if any(len(name.split()) != 1 for name in names[1:]):
            raise BadData("a token is empty or holds a space, which the file cannot keep: split it")
        digits = (self.keys[:, None] >> np.arange(48, -1, -16, dtype=np.uint64)) & np.uint64(0xFFFF)
        table = {
            " ".join(names[digit] for digit in gram if digit): count
            for gram, count in zip(digits.tolist(), self.frequencies.tolist(), strict=True)
        }
        kind = "words" if _is_of_words(self.vocabulary) else "ids"
        write_json(
            path, {"images": self.images, "tokens": kind, "end": self.end, "document_frequency": table}
        )

    @classmethod
    def read(cls, path: Path) -> Cider:
        """Document frequencies from our JSON file.

        Luo's `coco-train-idxs.p` is a pickle, which can run code, so it is not read. Where you trust it,
        load it yourself and save {"images": ref_len, "tokens": "ids", "end": 0, "document_frequency":
        {" ".join(gram): int(count) for gram, count in document_frequency.items()}} with `json.dump`.
        """
        table, images, is_word, end = _parsed(path, read_json(path, wanted=_WANTED))
        vocabulary: dict[Token, int] = {}
        rows = [gram.split() if is_word else [int(token) for token in gram.split()] for gram in table]
        ids, starts = _numbered(rows, vocabulary, end=None, is_word=is_word)
        lengths = np.diff(starts)
        if len(lengths) == 0 or lengths.min() < 1 or lengths.max() > ORDERS:
            raise BadData(
                f"{path}: got n-grams of other lengths than 1 to {ORDERS}, or none; wanted {_WANTED}"
            )
        keys = np.zeros(len(rows), dtype=np.uint64)
        for place in range(ORDERS):
            has = lengths > place
            keys[has] = (keys[has] << np.uint64(16)) | ids[starts[:-1][has] + place]
        order = np.argsort(keys)
        return cls(vocabulary, keys[order], np.array(list(table.values()))[order], images, end)

    def _scores(
        self, candidates: Sequence[Sequence[Token]], references: Sequence[Sequence[Sequence[Token]]]
    ) -> Float[np.ndarray, " candidate"]:
        groups = {id(group): group for group in references}
        starts = np.cumsum([len(candidates), *map(len, groups.values())])
        first = dict(zip(groups, starts.tolist(), strict=False))
        rows = [*candidates, *(row for group in groups.values() for row in group)]
        is_word = _is_of_words(self.vocabulary)
        grams = _counted(_numbered(rows, dict(self.vocabulary), end=self.end, is_word=is_word))
        weights = grams.counts * self._idf(grams.keys)[grams.grams]
        orders = np.searchsorted(np.uint64(1) << np.array([16, 32, 48], np.uint64), grams.keys, side="right")
        order = orders[grams.grams]
        squares = np.bincount(grams.rows * ORDERS + order, weights**2, minlength=len(rows) * ORDERS)
        norms = np.sqrt(squares).reshape(-1, ORDERS)  # (row, order)

        sizes = np.array([len(group) for group in references])
        pair_start = np.cumsum(sizes) - sizes
        candidate = np.repeat(np.arange(len(candidates)), sizes)
        within = np.arange(sizes.sum()) - pair_start[candidate]
        reference = np.array([first[id(group)] for group in references])[candidate] + within

        own = np.flatnonzero(grams.rows < len(candidates))
        times = sizes[grams.rows[own]]
        entry = np.repeat(own, times)  # each of a candidate's n-grams, once for each of its references
        pair = np.repeat(pair_start[grams.rows[own]] - np.cumsum(times) + times, times) + np.arange(
            times.sum()
        )
        places = grams.rows * len(grams.keys) + grams.grams
        wanted = reference[pair] * len(grams.keys) + grams.grams[entry]
        at = np.minimum(np.searchsorted(places, wanted), max(0, len(places) - 1))
        theirs = np.where(places[at] == wanted, weights[at], 0.0)
        products = np.minimum(weights[entry], theirs) * theirs
        sums = np.bincount(pair * ORDERS + order[entry], products, minlength=len(reference) * ORDERS)
        scale = norms[candidate] * norms[reference]  # (pair, order)
        cosines = np.divide(sums.reshape(-1, ORDERS), scale, out=np.zeros_like(scale), where=scale > 0)
        apart = grams.lengths[candidate] - grams.lengths[reference]
        similar = cosines.mean(axis=1) * np.exp(-(apart**2) / (2 * SIGMA**2))
        return 10 * np.bincount(candidate, similar, minlength=len(candidates)) / sizes

    def _idf(self, keys: UInt64[np.ndarray, " gram"]) -> Float[np.ndarray, " gram"]:
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        known = np.where(self.keys[at] == keys, self.frequencies[at], 1)
        return np.log(self.images) - np.log(known)


def _numbered(
    rows: Sequence[Sequence[Token]], vocabulary: dict[Token, int], *, end: Token | None, is_word: bool
) -> tuple[UInt64[np.ndarray, " token"], Int[np.ndarray, " edge"]]:
    """All tokens of all rows as numbers, new ones added to the vocabulary, and where the rows begin and end."""
    numbers: list[int] = []
    starts = [0]
    for row in rows:
        if isinstance(row, str) or (len(row) and not isinstance(row[0], str if is_word else int)):
            wanted = "words" if is_word else "ids (whole numbers)"
            raise BadData(
                f"got {row!r:.60}, wanted a sequence of {wanted}: split texts, `tolist()` of tensors"
            )
        if end is not None and end in row:
            row = row[: row.index(end) + 1]
        numbers += [vocabulary.setdefault(token, len(vocabulary) + 1) for token in row]
        starts.append(len(numbers))
    if len(vocabulary) > MOST_TOKENS:
        raise BadData(
            f"{len(vocabulary)} different tokens: at most {MOST_TOKENS} fit; map rare ones to one unknown token"
        )
    return np.array(numbers, dtype=np.uint64), np.array(starts)


def _counted(
    numbered: tuple[UInt64[np.ndarray, " token"], Int[np.ndarray, " edge"]],
) -> _Grams:
    """The n-grams of each row as numbers of 16 bits a token, counted."""
    tokens, starts = numbered
    lengths = np.diff(starts)
    row = np.repeat(np.arange(len(lengths)), lengths)
    left = starts[1:][row] - np.arange(len(tokens))  # tokens from here to the end of the row
    keys, rows, at = [tokens], [row], np.arange(len(tokens))
    for order in range(1, ORDERS):
        fits = left[at] > order
        at = at[fits]
        keys.append((keys[-1][fits] << np.uint64(16)) | tokens[at + order])
        rows.append(row[at])
    every, gram = np.unique(np.concatenate(keys), return_inverse=True)
    place, counts = np.unique(np.concatenate(rows) * len(every) + gram, return_counts=True)
    return _Grams(place // max(1, len(every)), place % max(1, len(every)), counts, every, lengths)


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    remaining = iter(items)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _is_of_words(vocabulary: Mapping[Token, int]) -> bool:
    return isinstance(next(iter(vocabulary), ""), str)


def _parsed(path: Path, content: Any) -> tuple[dict[str, int], int, bool, Token | None]:
    """The counts, the number of images, whether tokens are words, and the end token."""
    fields = content if isinstance(content, dict) else {}
    images, kind, end = fields.get("images"), fields.get("tokens"), fields.get("end")
    table = fields.get("document_frequency")
    is_frame = isinstance(images, int) and images > 0 and isinstance(end, str | int | None)
    if not is_frame or kind not in ("words", "ids") or not isinstance(table, dict):
        got = ", ".join(fields) or "no fields"
        raise BadData(f"{path}: got {got}, wanted {_WANTED}; write it by `Cider.write`")
    assert isinstance(images, int)
    for gram, count in table.items():
        fits = isinstance(count, int) and 0 < count <= images
        if not fits or (kind == "ids" and not all(token.lstrip("-").isdecimal() for token in gram.split())):
            raise BadData(
                f"{path}: got {gram!r}: {count!r}, wanted {kind} and a count of 1 to {images} images"
            )
    return table, images, kind == "words", end
