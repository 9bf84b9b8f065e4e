"""Word classes of free text: our rules over the dependency tree, one class for every word.

object     R1  nouns and names, compounds included ("*tennis* *ball*"), but no noun of a multi-word
               preposition and no "lot" of "a lot of".
           R2  gerunds and adjectives inside names: compound gerunds ("*parking* meter") and the
               pairs of `NAMES` ("*hot* *dog*").
           R3  adjectives that stand as nouns, under a determiner as subject or object ("a *green*").
attribute  R4  adjectives, wherever they stand: before a noun, after it, predicates through a copula,
               conjoined ones; colours that the tagger took for nouns before a noun or beside a colour.
           R5  participles before a noun ("*parked* cars"), which have no target (R6).
           R6  full verbs without a target ("people *waiting*"): they say something of one object.
           R7  numerals, only with `numerals=True`.
relation   R8  every word of a multi-word preposition (see `prepositions`).
           R9  prepositions that govern something.
           R10 full verbs with a target: object, prepositional phrase, agent, second verb, or the gap
               of a relative clause. Participles that the tagger took for adjectives, with a
               preposition after them ("*covered* in snow"), and those of `POSTURES` that it took for
               nouns ("a horse *grazing* in").
           R11 particles go with their verb ("lying *down* on"); an adverb of place directly before a
               preposition ("*out* on the field") is relation.
other      R12 the rest: determiners, pronouns, numerals, quantities (`lexicon.QUANTITIES`), conjunctions,
               forms of "be", auxiliaries, "going to", "about to", "seems to", adverbs. The copula is
               other, its predicate carries the class.

There is no rule for the class *scene*: a place named in free text is an object.
Guidelines and measured quality: tests/language/labels/README.md, benchmarks/parser_quality.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignscope.errors import BadInput
from alignscope.language import cache as cached
from alignscope.language.lexicon import (
    BE,
    COLOURS,
    LIGHT_BEFORE_TO,
    NAMES,
    NEAR,
    PLACE_ADVERBS,
    POSTURES,
    QUANTITIES,
    RELATIVE,
)
from alignscope.language.pipeline import parsed, parser_name
from alignscope.language.prepositions import multiword_prepositions
from alignscope.records import Caption, Word, WordClass

RULES_VERSION = "2"
"""Counted up whenever a rule changes: cached classes of older rules are then not read."""

TARGETS = frozenset({"dobj", "dative", "agent", "xcomp", "ccomp", "oprd"})
"""Dependents that are a verb's target."""
WORD = re.compile(r"\w+(?:['’\-]\w+)*")
"""A word: letters and digits, with inner apostrophes and hyphens."""


def word_classes(texts: Sequence[str], *, cache: Path | None = None, numerals: bool = False) -> list[Caption]:
    """Captions with every word marked object, attribute, relation or other.

    `cache` is a directory in which results are kept and looked up (see `cache.default_directory`).

    >>> [caption] = word_classes(["A brown dog is sitting in front of two doors."])
    >>> [(word.text, word.word_class[:3]) for word in caption.words]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('A', 'oth'), ('brown', 'att'), ('dog', 'obj'), ('is', 'oth'), ('sitting', 'rel'), ('in', 'rel'),
     ('front', 'rel'), ('of', 'rel'), ('two', 'oth'), ('doors', 'obj')]
    """
    if isinstance(texts, str):
        raise BadInput(f"got one text ({texts[:40]!r}), wanted a sequence of them: word_classes([text])")
    signature = f"{parser_name()}|rules-{RULES_VERSION}|numerals-{numerals}"
    known = cached.read(cache, signature, texts) if cache is not None else {}
    missing = list(dict.fromkeys(text for text in texts if text not in known))
    fresh = {
        text: Caption(text, _words(text, document, numerals=numerals))
        for text, document in zip(missing, parsed(missing), strict=True)
    }
    if cache is not None and fresh:
        cached.append(cache, signature, list(fresh.values()))
    return [known.get(text) or fresh[text] for text in texts]


def _words(text: str, document: Any, *, numerals: bool) -> tuple[Word, ...]:
    """Words of the text, each with the class of its highest token in the tree."""
    classes = token_classes(document, numerals=numerals)
    tokens = iter(document)
    token = next(tokens, None)
    words = []
    for match in WORD.finditer(text):
        inside = []
        while token is not None and token.idx < match.end():
            if token.idx + len(token) > match.start():
                inside.append(token)
            if token.idx + len(token) > match.end():
                break
            token = next(tokens, None)
        here = {token.i for token in inside}
        top = next((token for token in inside if token.head.i not in here or token.head == token), None)
        word_class: WordClass = "other" if top is None else classes[top.i]
        words.append(Word(match.group(), match.start(), match.end(), word_class))
    return tuple(words)


def preposition_ranges(document: Any) -> list[tuple[int, int]]:
    """Half-open ranges of the tokens that make one preposition; tokens of mere space do not interrupt it."""
    kept = [token for token in document if not token.is_space]
    found = multiword_prepositions([token.text for token in kept])
    return [(kept[start].i, kept[end - 1].i + 1) for start, end in found]


def token_classes(document: Any, *, numerals: bool = False) -> list[WordClass]:
    """The class of each token of a parsed document, by the rules above."""
    words = [token.text for token in document]
    in_preposition = {i for start, end in preposition_ranges(document) for i in range(start, end)}
    named = {
        i + offset
        for i in range(len(words) - 1)
        if f"{words[i]} {words[i + 1]}".lower() in NAMES
        for offset in (0, 1)
    }
    classes: list[WordClass] = []
    for token in document:
        if token.i in in_preposition:
            classes.append("relation")
        elif token.i in named:
            classes.append("object")
        else:
            classes.append(_class(token, in_preposition, numerals))
    _particles(document, classes, in_preposition | named)
    return classes


def _class(token: Any, in_preposition: set[int], numerals: bool) -> WordClass:
    word = token.lower_
    if _is_idle(token):
        return "other"
    if token.pos_ in ("NOUN", "PROPN"):
        if _is_lost_participle(token, in_preposition):
            return "relation"
        return "attribute" if _is_colour(token) or token.dep_ == "amod" else "object"
    if token.pos_ == "NUM":
        return "attribute" if numerals else "other"
    if token.pos_ == "ADJ":
        return _adjective(token, in_preposition)
    if token.pos_ == "VERB":
        return _verb(token, in_preposition)
    if token.pos_ in ("ADP", "SCONJ") or word in NEAR:
        return "relation" if _governs(token) else "other"
    return "other"


def _is_idle(token: Any) -> bool:
    """Words without content of their own whatever their tag: R12."""
    word = token.lower_
    if word in QUANTITIES or word in BE or token.dep_ in ("aux", "auxpass"):
        return True
    following = token.nbor().lower_ if token.i + 1 < len(token.doc) else ""
    if word in LIGHT_BEFORE_TO and following == "to" and token.nbor().pos_ == "PART":
        return True
    before = token.nbor(-1).lower_ if token.i else ""
    if word in ("lot", "lots") and following == "of":
        return True
    return word == "of" and before in ("lot", "lots")


def _is_lost_participle(token: Any, in_preposition: set[int]) -> bool:
    """A posture or motion that the tagger took for a noun: after a noun, before a preposition."""
    if token.lower_ not in POSTURES or token.i == 0 or token.i + 1 == len(token.doc):
        return False
    following = token.nbor()
    return token.nbor(-1).pos_ in ("NOUN", "PROPN") and (
        following.i in in_preposition or (following.pos_ == "ADP" and following.lower_ != "of")
    )


def _is_colour(token: Any) -> bool:
    """A colour tagged as a noun that stands before a noun or is conjoined with a colour."""
    if token.lower_ not in COLOURS:
        return False
    beside = [token.head, *token.children]
    return token.dep_ in ("compound", "nmod", "amod") or any(
        other.lower_ in COLOURS and "conj" in (other.dep_, token.dep_) for other in beside
    )


def _adjective(token: Any, in_preposition: set[int]) -> WordClass:
    if token.dep_ in ("nsubj", "dobj", "pobj") and any(child.dep_ == "det" for child in token.children):
        return "object"
    is_participle = token.lower_.endswith(("ed", "ing"))
    if is_participle and token.dep_ != "amod" and _leads_on(token, in_preposition):
        return "relation"
    return "attribute"


def _verb(token: Any, in_preposition: set[int]) -> WordClass:
    if token.dep_ == "compound":
        return "object"
    if token.dep_ == "prep":
        return "relation"
    return "relation" if _has_target(token, in_preposition) else "attribute"


def _has_target(verb: Any, in_preposition: set[int]) -> bool:
    children = list(verb.children)
    if any(child.dep_ in TARGETS for child in children) or _leads_on(verb, in_preposition):
        return True
    if any(child.dep_ == "conj" and child.pos_ == "VERB" and child.i == verb.i + 2 for child in children):
        return any(child.dep_ in TARGETS for child in verb.doc[verb.i + 2].children)
    subjects = [child for child in children if child.dep_ == "nsubj"]
    return verb.dep_ == "relcl" and bool(subjects) and subjects[0].lower_ not in RELATIVE


def _leads_on(token: Any, in_preposition: set[int]) -> bool:
    """Whether a preposition follows: in the tree, through an adverb, or as the very next word."""
    for child in token.children:
        if child.i <= token.i:
            continue
        if child.dep_ == "prep" and child.pos_ != "SCONJ":
            return True
        if child.dep_ in ("advmod", "prt", "acomp") and any(c.dep_ == "prep" for c in child.children):
            return True
    after = token.i + 1
    while after < len(token.doc) and token.doc[after].lower_ in PLACE_ADVERBS:
        if after in in_preposition or _governs(token.doc[after]):
            return True
        after += 1
    return after < len(token.doc) and (
        after in in_preposition or (token.doc[after].pos_ == "ADP" and _governs(token.doc[after]))
    )


def _governs(token: Any) -> bool:
    """Whether a preposition has something under it."""
    if token.dep_ == "prt":
        return False
    if any(child.dep_ in ("pobj", "pcomp", "prep", "nsubj") for child in token.children):
        return token.dep_ != "mark" or token.lower_ == "with"
    return token.lower_ in {*NEAR, "with", "of"} or token.dep_ in ("agent", "dative")


def _particles(document: Any, classes: list[WordClass], settled: set[int]) -> None:
    """Give particles the class of their verb and adverbs of place that of the preposition after (R11)."""
    for token in reversed(document):
        if token.lower_ not in PLACE_ADVERBS or token.i in settled or classes[token.i] == "relation":
            continue
        after = token.i + 1
        if after < len(classes) and classes[after] == "relation" and document[after].pos_ != "VERB":
            classes[token.i] = "relation"
        elif token.dep_ == "prt" or _follows_its_verb(token):
            classes[token.i] = classes[token.head.i]


def _follows_its_verb(token: Any) -> bool:
    is_next = token.i > 0 and token.head.i == token.i - 1 and token.head.pos_ == "VERB"
    return is_next and token.lower_ not in ("outside", "inside")
