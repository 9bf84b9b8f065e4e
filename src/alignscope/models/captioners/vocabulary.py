"""The words of a captioner that writes whole words: index 0 begins, ends and pads, words count from 1.

As in the preprocessing of Luo et al. 2018 (self-critical.pytorch): words that occur more than five times are
kept, the others are read as UNK. Differs: the kept words are ordered by how often they occur, and UNK is
always there.
"""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from jaxtyping import Int
from torch import Tensor

from alignscope.errors import BadData, BadInput
from alignscope.files import write_json
from alignscope.models.captioners.protocol import ended, words_before

END = 0
UNKNOWN = "UNK"
FILE = "vocabulary.json"
THRESHOLD = 5
"""A word is kept that occurs more often."""
DECODING_LENGTH = 20
"""Words that a caption may have."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WANTED = '{"words": ["a", …]} of this package, or {"ix_to_word": {"1": "a", …}} of self-critical.pytorch'


@final
class Vocabulary:
    """Words by index, one of them UNK.

    >>> words = Vocabulary(["a", "cat", "UNK"])
    >>> words.ids(["A cat!", "a dog"])
    tensor([[1, 2, 0],
            [1, 3, 0]])
    >>> words.texts(words.ids(["cat a", ""]))
    ('cat a', '')
    """

    def __init__(self, words: Sequence[str]) -> None:
        repeated = [word for word, count in Counter(words).items() if count > 1]
        spaced = [word for word in words if word.split() != [word]]
        if repeated or spaced or UNKNOWN not in words:
            fault = f"{repeated[0]!r} twice" if repeated else f"no {UNKNOWN}"
            fault = f"{spaced[0]!r}" if spaced else fault
            raise BadInput(
                f"got {fault} among {len(words)} words, wanted each once, without spaces, and {UNKNOWN}"
            )
        self.words = tuple(words)
        self._index = {word: index for index, word in enumerate(words, start=1)}

    def __len__(self) -> int:
        return len(self.words) + 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    @property
    def end(self) -> int:
        return END

    @property
    def unknown(self) -> int:
        return self._index[UNKNOWN]

    def ids(self, texts: Sequence[str], *, max_length: int | None = None) -> Int[Tensor, "caption token"]:
        """Rows of ids with their end; words after the first `max_length` are left out."""
        rows = [
            [self._index.get(word, self.unknown) for word in words_of(text)[:max_length]] for text in texts
        ]
        return ended(rows, END)

    def texts(self, ids: Int[Tensor, "caption token"]) -> tuple[str, ...]:
        """The words of each row up to its end."""
        return tuple(" ".join(self.words[index - 1] for index in row) for row in words_before(ids, END))

    def save(self, path: Path) -> None:
        write_json(path, {"words": self.words})

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """From a file of this package, or the JSON of self-critical.pytorch (`ix_to_word`, or `vocab` of its infos)."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadData(f"{path}: got no readable JSON ({error}), wanted {_WANTED}") from None
        return cls(_listed(path, content))


def build(captions: Iterable[Sequence[str]], *, threshold: int = THRESHOLD) -> Vocabulary:
    """The words that occur more than `threshold` times in captions given as words, the most frequent first.

    >>> build([["a", "cat"], ["a", "dog"], ["a", "cat", "UNK"]], threshold=1).words
    ('a', 'cat', 'UNK')
    """
    counts = Counter(word for caption in captions for word in caption)
    kept = sorted(
        (word for word, count in counts.items() if count > threshold and word != UNKNOWN),
        key=lambda word: (-counts[word], word),
    )
    return Vocabulary([*kept, UNKNOWN])


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation, as the captions of Karpathy's split are cut.

    >>> words_of("A man's cat, asleep - on a mat.")
    ['a', 'mans', 'cat', 'asleep', 'on', 'a', 'mat']
    """
    return [word if word == UNKNOWN else word.lower() for word in text.translate(_PUNCTUATION).split()]


def _listed(path: Path, content: Any) -> list[str]:
    """The words in the order of their indices, which must be 1, 2, 3 and so on."""
    content = content if isinstance(content, dict) else {}
    words = content.get("words")
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return words
    table = content.get("ix_to_word", content.get("vocab"))
    if not isinstance(table, Mapping) or not table:
        raise BadData(f"{path}: got {', '.join(map(str, content)) or 'no named fields'}, wanted {_WANTED}")
    wanted = [str(index) for index in range(1, len(table) + 1)]
    if missing := [index for index in wanted if not isinstance(table.get(index), str)]:
        raise BadData(
            f"{path}: got {len(table)} words and none with the index {missing[0]}, wanted indices from 1 to their "
            "count; is the file whole?"
        )
    return [table[index] for index in wanted]
