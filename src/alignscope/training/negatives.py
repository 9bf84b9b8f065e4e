"""Hard negatives for training: wrong captions made from word classes, or read from a NegCLIP-style table.

Paper B (table 2, "CLIP-Neg") does not say how its negatives are made and cites NegCLIP (Yuksekgonul et al.
2023, section 4), which swaps words of like tags; replacement by a word of the same class is ours. A made
foil differs from its caption and is wrong by construction of its words only: nobody looked at the image.
"""

from __future__ import annotations

import ast
import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from alignscope.errors import BadData, BadInput
from alignscope.language.edits import cased_as
from alignscope.language.lexicon import DETERMINERS, QUANTITIES
from alignscope.language.replacements import Candidates
from alignscope.records import Caption, Foil, Problem, Word, WordClass

NUMBERS = frozenset({"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"})
POINTERS = frozenset({"some", "this", "that", "these", "those", "his", "her", "its", "their"})
LEADING = DETERMINERS | QUANTITIES | NUMBERS | POINTERS
"""What moves with a noun when its whole phrase moves."""
SYMMETRIC = frozenset(
    [
        "next to", "close to", "near to", "adjacent to", "along with", "near", "beside", "besides", "by",
        "with", "alongside", "touching", "facing",
    ]
)  # fmt: skip
"""Relations that hold both ways: their arguments swapped would be true."""


@dataclass(frozen=True)
class NegativeRow:
    """One image and caption with its wrong captions; `neighbours` are numbers of rows with similar images."""

    number: int
    image: str
    caption: str
    foils: tuple[str, ...]
    neighbours: tuple[int, ...]


@dataclass(frozen=True)
class NegativeTable:
    """The rows of a file that can be used, and what of it cannot."""

    rows: tuple[NegativeRow, ...]
    problems: tuple[Problem, ...]


class _Phrase(NamedTuple):
    """Neighbouring words of one class, as half-open characters of the caption."""

    start: int
    end: int
    word_class: WordClass


class _Piece(NamedTuple):
    """New text for the characters from `start` to `end`, with its words counted from the piece's start."""

    start: int
    end: int
    text: str
    words: tuple[Word, ...]


def hard_negatives(
    caption: Caption, candidates: Candidates, *, kinds: Sequence[str], seed: int, each: int = 1
) -> list[Foil]:
    """Up to `each` foils of each kind, in the order of the kinds, none twice and none the caption itself.

    Seeded by caption and kind, so neither batch nor order changes them. Case follows the place, articles
    are not adjusted. Neighbouring words of one class change together ("tennis ball", "next to"); whole
    noun phrases swap around a relation, unless it holds both ways (`SYMMETRIC`).

    >>> words = (Word("cat", 2, 5, "object"), Word("under", 6, 11, "relation"), Word("dog", 14, 17, "object"))
    >>> [foil.text for foil in hard_negatives(
    ...     Caption("A cat under a dog", words), Candidates({"relation": ("on",)}),
    ...     kinds=("swap_object", "replace_relation"), seed=0)]
    ['A dog under a cat', 'A cat on a dog']
    """
    unknown = [kind for kind in kinds if kind not in _SWAPS and kind not in _REPLACED]
    if unknown or each < 1:
        raise BadInput(
            f"got kinds {', '.join(unknown) or 'that are known'} and each={each}: wanted 1 or more foils "
            f"each of {', '.join((*_REPLACED, *_SWAPS))}"
        )
    phrases = _phrases(caption)
    seen, foils = {caption.text.casefold()}, []
    for kind in kinds:
        random, count = Random(f"{seed}/{caption.text}/{kind}"), 0
        if kind in _SWAPS:
            pairs = list(_SWAPS[kind](caption, phrases))
            changes = iter([_swapped(caption, *pair) for pair in random.sample(pairs, len(pairs))])
        else:
            changes = _replacements(
                caption, phrases, candidates, _REPLACED[kind], random, draws=each + len(seen)
            )
        for pieces in changes:
            changed = _rewritten(caption, pieces)
            if changed.text.casefold() not in seen:
                seen.add(changed.text.casefold())
                foils.append(Foil(changed.text, kind, changed.words))
                count += 1
            if count == each:
                break
    return foils


def foil_candidates(captions: Iterable[Caption], *, at_least: int = 1) -> Candidates:
    """What may stand in for a phrase of each class, and which attributes exclude each other.

    Phrases that came at least so often: nouns and relations whole ("to the left of"), attributes word by
    word. Attributes that any caption puts side by side before one noun are `together`; of the others it is
    likely that what is striped is not dotted. Nobody looks at an image for it.
    """
    counts: Counter[tuple[WordClass, str]] = Counter()
    together: defaultdict[str, set[str]] = defaultdict(set)
    for caption in captions:
        phrases = _phrases(caption)
        for word_class in _CLASSES:
            for start, end, _ in _replaceable(caption, phrases, word_class):
                counts[word_class, caption.text[start:end].lower()] += 1
        for phrase in phrases:
            if phrase.word_class == "attribute":
                row = {word.text.lower() for word in _inside(caption, phrase)}
                for word in row if len(row) > 1 else ():
                    together[word] |= row - {word}
    words = {
        kind: tuple(sorted(text for (of, text), count in counts.items() if of == kind and count >= at_least))
        for kind in _CLASSES
    }
    return Candidates(words, {word: frozenset(others) for word, others in together.items()})


def read_negatives(path: Path) -> NegativeTable:
    """Rows of a table of tabs: a number, `title`, `filepath`, `neg_caption`, `neg_image`; more are left alone.

    The file of NegCLIP, where the two `neg_` columns are Python lists; they are read as literals, nothing
    is executed. A row without usable foils or neighbours keeps what it has.
    """
    rows: list[NegativeRow] = []
    problems: list[Problem] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter="\t")
            header = next(lines, [])
            wanted = ("title", "filepath", "neg_caption", "neg_image")
            absent = [name for name in wanted if name not in header]
            if absent or header[0]:
                raise BadData(
                    f"{path}: got columns {header}, wanted a first column of row numbers without a name, then "
                    f"{', '.join(wanted)}, divided by tabs"
                )
            for line in lines:
                found = _row(line, header, f"{path.name}:{lines.line_num}")
                problems += found.problems
                rows += found.rows
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error.strerror}): give a file of tabs") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path}: not a table of tabs in UTF-8 ({error})") from None
    return _with_known_neighbours(rows, problems)


def _row(line: list[str], header: list[str], place: str) -> NegativeTable:
    """One line as a row, or the reasons why not."""
    if len(line) != len(header) or not line[0].strip().isdecimal():
        what = f"{len(line)} fields of which the first is {line[:1]}, wanted {len(header)} and a row number"
        return NegativeTable((), (Problem(place, "", what, "unscored"),))
    named = dict(zip(header, line, strict=True))
    title, image = named["title"].strip(), named["filepath"].strip()
    if not title or not image:
        return NegativeTable((), (Problem(place, title, "no caption or no image", "unscored"),))
    foils, of_foils = _listed(named["neg_caption"], str, "neg_caption", place)
    neighbours, of_neighbours = _listed(named["neg_image"], int, "neg_image", place)
    texts = tuple(dict.fromkeys(foil for foil in foils if foil.strip() and foil.strip() != title))
    return NegativeTable(
        (NegativeRow(int(line[0]), image, title, texts, neighbours),), of_foils + of_neighbours
    )


def _listed(text: str, kind: type, column: str, place: str) -> tuple[tuple[Any, ...], tuple[Problem, ...]]:
    """The members of a Python list, and a problem where it is none or a member is of another kind."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = None
    if not isinstance(value, list):
        return (), (Problem(place, text[:60], f"{column} is not a Python list", "handled"),)
    good = tuple(one for one in value if type(one) is kind)
    if len(good) == len(value):
        return good, ()
    what = f"{len(value) - len(good)} of {column} are not {kind.__name__}"
    return good, (Problem(place, text[:60], what, "handled"),)


def _with_known_neighbours(rows: list[NegativeRow], problems: list[Problem]) -> NegativeTable:
    """Rows whose neighbours are rows; of rows with one number the first."""
    first: dict[int, NegativeRow] = {}
    for row in rows:
        if row.number in first:
            problems.append(Problem(str(row.number), row.caption, "a second row of this number", "unscored"))
        first.setdefault(row.number, row)
    kept = []
    for row in first.values():
        known = tuple(number for number in row.neighbours if number in first and number != row.number)
        if len(known) < len(row.neighbours):
            what = f"{len(row.neighbours) - len(known)} of neg_image are no other usable row"
            problems.append(Problem(str(row.number), row.caption, what, "handled"))
        kept.append(NegativeRow(row.number, row.image, row.caption, row.foils, known))
    return NegativeTable(tuple(kept), tuple(problems))


def _phrases(caption: Caption) -> list[_Phrase]:
    """Runs of words of one class with nothing but space between; a word inside another is left out."""
    phrases: list[_Phrase] = []
    for word in sorted(caption.words, key=lambda word: (word.start, -word.end)):
        last = phrases[-1] if phrases else None
        if last and word.start < last.end:
            continue
        is_next = last is not None and not caption.text[last.end : word.start].strip()
        if last and is_next and last.word_class == word.word_class and word.word_class != "other":
            phrases[-1] = last._replace(end=word.end)
        else:
            phrases.append(_Phrase(word.start, word.end, word.word_class))
    return phrases


def _replacements(
    caption: Caption,
    phrases: Sequence[_Phrase],
    candidates: Candidates,
    word_class: WordClass,
    random: Random,
    *,
    draws: int,
) -> Iterator[list[_Piece]]:
    """Different draws of a phrase of the class and a candidate that the caption does not say."""
    of_class = _replaceable(caption, phrases, word_class)
    said = {word.text.lower() for word in caption.words}
    said |= {caption.text[phrase.start : phrase.end].lower() for phrase in of_class}
    others = [text for text in candidates.words.get(word_class, ()) if text not in said]
    total = len(of_class) * len(others)
    barred = [candidates.together.get(caption.text[p.start : p.end].lower(), frozenset()) for p in of_class]
    enough = min(total, draws + sum(map(len, barred)))
    for place in random.sample(range(total), enough):
        start, end, _ = of_class[place % len(of_class)]
        old, new = caption.text[start:end], others[place // len(of_class)]
        if new not in barred[place % len(of_class)]:
            text = cased_as(old, new)
            yield [_Piece(start, end, text, (Word(text, 0, len(text), word_class),))]


def _replaceable(caption: Caption, phrases: Sequence[_Phrase], word_class: WordClass) -> list[_Phrase]:
    """Phrases of a class; attributes word by word, for each of a row says a thing of its own."""
    if word_class != "attribute":
        return [phrase for phrase in phrases if phrase.word_class == word_class]
    return [_Phrase(w.start, w.end, w.word_class) for w in caption.words if w.word_class == word_class]


def _swap_object(caption: Caption, phrases: Sequence[_Phrase]) -> Iterator[tuple[_Phrase, _Phrase]]:
    """Two nouns whose attributes differ, or between which a relation stands that does not hold both ways."""
    for first, second in combinations([p for p in phrases if p.word_class == "object"], 2):
        wholes = [_noun_phrase(caption, phrases, noun) for noun in (first, second)]
        one, other = ([w for w in _inside(caption, p) if w.word_class == "attribute"] for p in wholes)
        between = [p for p in phrases if first.end <= p.start and p.end <= second.start]
        is_directed = any(p.word_class == "relation" and not _holds_both_ways(caption, p) for p in between)
        if is_directed or {w.text.lower() for w in one} != {w.text.lower() for w in other}:
            yield first, second


def _swap_attribute(caption: Caption, phrases: Sequence[_Phrase]) -> Iterator[tuple[_Phrase, _Phrase]]:
    """Two attributes with an object or relation between them, so that they speak of different things."""
    for first, second in combinations([p for p in phrases if p.word_class == "attribute"], 2):
        inner = [p.word_class for p in phrases if first.end <= p.start and p.end <= second.start]
        if "object" in inner or "relation" in inner:
            yield first, second


def _swap_relation(caption: Caption, phrases: Sequence[_Phrase]) -> Iterator[tuple[_Phrase, _Phrase]]:
    """The nearest noun phrases on either side of a relation, with articles and attributes."""
    objects = [phrase for phrase in phrases if phrase.word_class == "object"]
    for before, after in pairwise(objects):
        second = _noun_phrase(caption, phrases, after)
        between = [p for p in phrases if before.end <= p.start and p.end <= second.start]
        relations = [p for p in between if p.word_class == "relation"]
        if relations and not _holds_both_ways(caption, relations[-1]):
            yield _noun_phrase(caption, phrases, before), second


_SWAPS: dict[str, Callable[[Caption, Sequence[_Phrase]], Iterator[tuple[_Phrase, _Phrase]]]] = {
    "swap_object": _swap_object,
    "swap_attribute": _swap_attribute,
    "swap_relation": _swap_relation,
}
_CLASSES: tuple[WordClass, ...] = ("object", "attribute", "relation")
_REPLACED: dict[str, WordClass] = {
    "replace_object": "object",
    "replace_attribute": "attribute",
    "replace_relation": "relation",
}


def _holds_both_ways(caption: Caption, relation: _Phrase) -> bool:
    """Whether a relation is, or ends in, one of `SYMMETRIC` ("standing next to")."""
    text = " ".join(caption.text[relation.start : relation.end].lower().split())
    return any(f" {text}".endswith(f" {name}") for name in SYMMETRIC)


def _noun_phrase(caption: Caption, phrases: Sequence[_Phrase], noun: _Phrase) -> _Phrase:
    """A noun with the attributes before it and the article or number before these."""
    start = noun.start
    for phrase in reversed([p for p in phrases if p.end <= noun.start]):
        is_leading = caption.text[phrase.start : phrase.end].lower() in LEADING
        if caption.text[phrase.end : start].strip() or not (is_leading or phrase.word_class == "attribute"):
            break
        start = phrase.start
    return _Phrase(start, noun.end, noun.word_class)


def _inside(caption: Caption, phrase: _Phrase) -> list[Word]:
    return [word for word in caption.words if phrase.start <= word.start and word.end <= phrase.end]


def _swapped(caption: Caption, first: _Phrase, second: _Phrase) -> list[_Piece]:
    """Both phrases, each at the other's place."""
    return [_moved(caption, second, first), _moved(caption, first, second)]


def _moved(caption: Caption, source: _Phrase, place: _Phrase) -> _Piece:
    """A phrase at another's place: a capital is given and taken at the caption's start only."""
    text = caption.text[source.start : source.end]
    leaves_start, enters_start = (not caption.text[: p.start].strip() for p in (source, place))
    is_capitals = any(len(part) > 1 and part.isupper() for part in (text, text.partition(" ")[0]))
    initial = text[:1]
    if enters_start and caption.text[place.start].isupper():
        initial = initial.upper()
    elif leaves_start and not is_capitals:
        initial = initial.lower()
    if len(initial) == 1:  # a letter such as ß has two capitals: left as it is
        text = initial + text[1:]
    spans = [(w.start - source.start, w.end - source.start, w.word_class) for w in _inside(caption, source)]
    words = tuple(Word(text[start:end], start, end, kind) for start, end, kind in spans)
    return _Piece(place.start, place.end, text, words)


def _rewritten(caption: Caption, pieces: Sequence[_Piece]) -> Caption:
    """The caption with pieces put in, which do not overlap, and the words where they are now.

    Of words that share characters with a piece only the piece's own are left.
    """
    text, words, at = "", [], 0
    gap_end = len(caption.text)
    for piece in [*sorted(pieces), _Piece(gap_end, gap_end, "", ())]:
        shift = len(text) - at
        words += [
            Word(w.text, w.start + shift, w.end + shift, w.word_class)
            for w in caption.words
            if at <= w.start and w.end <= piece.start
        ]
        text += caption.text[at : piece.start]
        words += [Word(w.text, w.start + len(text), w.end + len(text), w.word_class) for w in piece.words]
        text, at = text + piece.text, piece.end
    return Caption(text, tuple(words))
