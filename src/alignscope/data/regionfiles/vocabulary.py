"""The words of a detector's objects and attributes, kept beside files of regions as plain text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import final

from alignscope.data.regular import regular
from alignscope.errors import BadData

OBJECTS_VOCABULARY = "objects_vocab.txt"
ATTRIBUTES_VOCABULARY = "attributes_vocab.txt"


@final
class Vocabulary:
    """Words by number, one per line of a text file; a line's synonyms follow commas.

    >>> words = Vocabulary(["cat", "sailboat,sail boat"])
    >>> words.number("dog"), words.number("sailboat"), words.word(1), words.word(-1)
    (2, 1, 'sailboat', '')
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines = [line.strip() for line in lines]
        self._words = [line.split(",")[0].strip() for line in self.lines]
        self._numbers = {word: number for number, word in reversed(list(enumerate(self._words)))}

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """The words of a file; a missing file is an error."""
        try:
            text = regular(path).read_text(encoding="utf-8-sig").rstrip("\n")
            return cls(text.split("\n") if text else ())
        except (OSError, UnicodeDecodeError) as error:
            raise BadData(
                f"{path}: got no readable vocabulary ({error}), wanted a UTF-8 file of one word per line; "
                "put it beside the TSV file or name another"
            ) from None

    def __len__(self) -> int:
        return len(self.lines)

    def number(self, word: str) -> int:
        """The number of a word, -1 of none; a new word gets the next number."""
        if not word:
            return -1
        if word not in self._numbers:
            if word != word.strip() or "," in word or len(word.splitlines()) != 1:
                raise BadData(
                    f"got the tag {word!r}, wanted one without comma, line end or outer space: "
                    "vocabularies keep one per line, synonyms after commas"
                )
            self._numbers[word] = len(self.lines)
            self.lines.append(word)
            self._words.append(word)
        return self._numbers[word]

    def word(self, number: int) -> str:
        """The word of a number, "" of -1."""
        if number == -1:
            return ""
        if not 0 <= number < len(self._words):
            raise BadData(f"got word {number}, wanted one of the vocabulary's 0..{len(self._words) - 1}")
        return self._words[number]
