"""Scene graphs of free text: objects with attributes, and who stands to whom in which relation.

Rules over the dependency tree and our word classes, each with what it yields:
objects     a noun with the compound words before it ("tennis ball"); nouns inside prepositions are none
attributes  adjectives and participles under the noun, conjoined ones, and predicates through "be";
            what stands before the first of conjoined nouns stays with the first
relations   verb with subject and object       "a man holds a pen"          man -holds-> pen
            passive with agent                 "a cake eaten by a dog"      dog -eaten-> cake
            preposition under a noun           "a cup on a table"           cup -on-> table
            preposition under a verb           "a man sits on a bench"      man -sits on-> bench
              (verb and preposition together where they touch, the preposition alone where not)
            multi-word prepositions, in one piece; conjoined subjects and objects, each with each
The subject of a verb is its own, or that of the verb it hangs on, or the noun it modifies. Pronouns
are no objects: relations to them are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from alignscope.language.classes import preposition_ranges, token_classes
from alignscope.language.lexicon import RELATIVE
from alignscope.language.pipeline import parsed
from alignscope.records import Relation, SceneGraph, SceneObject, WordClass


def scene_graphs(texts: Sequence[str]) -> list[SceneGraph]:
    """A scene graph for each text.

    >>> [graph] = scene_graphs(["A brown dog sits in front of two red doors."])
    >>> [(thing.noun, thing.attributes) for thing in graph.objects], graph.relations[0].name
    ([('dog', ('brown',)), ('doors', ('red',))], 'sits in front of')
    """
    return [_graph(text, document) for text, document in zip(texts, parsed(texts), strict=True)]


def _graph(text: str, document: Any) -> SceneGraph:
    classes = token_classes(document)
    heads = [token for token in document if classes[token.i] == "object" and not _is_inner(token, classes)]
    place = {token.i: position for position, token in enumerate(heads)}
    objects = tuple(_object(text, head, classes) for head in heads)
    found: dict[tuple[int, str, int], Relation] = {}
    for subject, (start, end), target in _triples(document, classes, place):
        a, b = document[start].idx, document[end - 1].idx + len(document[end - 1])
        relation = Relation(subject, text[a:b], target, span=(a, b))
        found.setdefault((subject, text[a:b].lower(), target), relation)
    return SceneGraph(objects, tuple(sorted(found.values(), key=lambda r: (r.span, r.subject, r.target))))


def _is_inner(token: Any, classes: Sequence[WordClass]) -> bool:
    """Whether a noun is only the first part of a compound."""
    after = token.i + 1
    is_before_object = after < len(classes) and classes[after] == "object"
    if token.dep_ in ("compound", "nmod", "amod") and token.head.i > token.i:
        return classes[token.head.i] == "object"
    return is_before_object and token.dep_ in ("compound", "amod", "nmod")


def _object(text: str, head: Any, classes: Sequence[WordClass]) -> SceneObject:
    first = head.i
    while first > 0 and classes[first - 1] == "object" and _is_inner(head.doc[first - 1], classes):
        first -= 1
    start, end = head.doc[first].idx, head.idx + len(head)
    attributes = _joined(text, _attributes(head, classes))
    return SceneObject(text[start:end], attributes, span=(start, end))


def _joined(text: str, tokens: Sequence[Any]) -> tuple[str, ...]:
    """Texts of the tokens, those of one word ("multi-hued") together."""
    spans: list[tuple[int, int]] = []
    for token in tokens:
        end = token.idx + len(token)
        if spans and spans[-1][1] == token.idx:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((token.idx, end))
    return tuple(text[start:end] for start, end in spans)


def _attributes(head: Any, classes: Sequence[WordClass]) -> list[Any]:
    """Tokens that say something of the noun, in order of the text."""
    found = {token.i for token in _described_by(head, classes)}
    waiting = list(found)
    while waiting:
        for child in head.doc[waiting.pop()].children:
            is_more = child.dep_ in ("conj", "amod", "compound", "npadvmod", "advmod")
            if is_more and classes[child.i] == "attribute" and child.i not in found:
                found.add(child.i)
                waiting.append(child.i)
    return [head.doc[i] for i in sorted(found)]


def _described_by(head: Any, classes: Sequence[WordClass]) -> Iterator[Any]:
    for child in head.children:
        if classes[child.i] == "attribute" and child.dep_ not in ("conj", "relcl"):
            yield child
        if child.dep_ == "relcl":
            yield from _predicates(child, classes)
    first = head
    while first.dep_ == "conj":
        first = first.head
    if first.dep_ in ("nsubj", "nsubjpass"):
        yield from _predicates(first.head, classes)


def _predicates(verb: Any, classes: Sequence[WordClass]) -> Iterator[Any]:
    """What a clause says of its subject: the verb itself if it has no target, or the copula's predicate."""
    if classes[verb.i] == "attribute":
        yield verb
    yield from (c for c in verb.children if c.dep_ in ("acomp", "oprd") and classes[c.i] == "attribute")


def _triples(
    document: Any, classes: Sequence[WordClass], place: dict[int, int]
) -> Iterator[tuple[int, tuple[int, int], int]]:
    """Subject, half-open range of the tokens that name the relation, target."""
    units = preposition_ranges(document)
    inside = {i for start, end in units for i in range(start, end)}
    singles = [
        (token.i, token.i + 1)
        for token in document
        if token.i not in inside
        and classes[token.i] == "relation"
        and token.dep_ in ("prep", "dative", "agent")
    ]
    for token in document:
        if token.pos_ in ("VERB", "AUX") and classes[token.i] == "relation":
            named = (token.i, _with_particle(token))
            yield from _pairs(_subjects(token), named, _objects(token), place)
    for start, end in [*units, *singles]:
        targets = [c for i in range(start, end) for c in document[i].children if c.dep_ in ("pobj", "dobj")]
        targets = [c for c in targets if not start <= c.i < end]
        above = _above(document, start, end)
        if document[start].dep_ == "agent" and above is not None:
            patients = [c for c in above.children if c.dep_ == "nsubjpass"] or _subjects(above)
            yield from _pairs(targets, (above.i, _with_particle(above)), patients, place)
        elif above is not None:
            named = (above.i, end) if _touches(above, start, classes) else (start, end)
            yield from _pairs(_bearers(above, place), named, targets, place)


def _above(document: Any, start: int, end: int) -> Any | None:
    """The word a preposition hangs on: the first head outside the preposition."""
    for token in document[start:end]:
        if not start <= token.head.i < end:
            return token.head
    return None


def _touches(verb: Any, start: int, classes: Sequence[WordClass]) -> bool:
    """Whether verb, particles and preposition follow each other, so that they name one relation."""
    between = range(verb.i + 1, start)
    return (
        verb.pos_ == "VERB"
        and verb.i < start
        and classes[verb.i] == "relation"
        and all(classes[i] == "relation" and verb.doc[i].head == verb for i in between)
    )


def _with_particle(verb: Any) -> int:
    """End of the verb and its particles that stand directly after it."""
    end = verb.i + 1
    while end < len(verb.doc) and verb.doc[end].dep_ == "prt" and verb.doc[end].head == verb:
        end += 1
    return end


def _bearers(token: Any, place: dict[int, int]) -> list[Any]:
    """The nouns of which a preposition under `token` is said."""
    for _ in range(len(token.doc)):
        if token.i in place:
            return [token]
        if token.pos_ in ("VERB", "AUX"):
            return _subjects(token)
        if any(child.i in place and child.dep_ == "compound" for child in token.children):
            return [child for child in token.children if child.i in place]  # a participle taken for a noun
        if token.head == token:
            return []
        token = token.head
    return []


def _subjects(verb: Any) -> list[Any]:
    """Who does it: own subject, the noun modified, or the subject of the verb above."""
    for _ in range(len(verb.doc)):
        own = [c for c in verb.children if c.dep_ in ("nsubj", "nsubjpass", "expl")]
        own = [c for c in own if c.lower_ not in RELATIVE]
        if any(c.dep_ == "expl" for c in own):
            return [c for c in verb.children if c.dep_ in ("attr", "nsubj")]
        if own and not (verb.dep_ == "relcl" and _is_gap(verb)):
            return own
        if verb.dep_ in ("acl", "relcl") or (verb.dep_ == "amod" and verb.i > verb.head.i):
            return own or [verb.head]
        if verb.dep_ not in ("conj", "advcl", "xcomp", "ccomp", "oprd", "dep", "pcomp", "prep"):
            return []
        verb = verb.head
    return []


def _is_gap(verb: Any) -> bool:
    return any(c.lower_ in RELATIVE and c.dep_ == "nsubj" for c in verb.children)


def _objects(verb: Any) -> list[Any]:
    """What it is done to: direct objects, or the noun that a relative clause leaves out."""
    direct = [c for c in verb.children if c.dep_ == "dobj" and c.lower_ not in RELATIVE]
    has_own_subject = any(c.dep_ == "nsubj" and c.lower_ not in RELATIVE for c in verb.children)
    if verb.dep_ == "relcl" and not direct and has_own_subject:
        is_open = not any(c.dep_ in ("prep", "xcomp", "ccomp") for c in verb.children)
        return [verb.head] if is_open else []
    return direct


def _pairs(
    subjects: Sequence[Any], named: tuple[int, int], targets: Sequence[Any], place: dict[int, int]
) -> Iterator[tuple[int, tuple[int, int], int]]:
    for subject in _conjoined(subjects):
        for target in _conjoined(targets):
            if subject.i in place and target.i in place and subject.i != target.i:
                yield place[subject.i], named, place[target.i]


def _conjoined(tokens: Sequence[Any]) -> Iterator[Any]:
    for token in tokens:
        yield token
        yield from _conjoined([c for c in token.children if c.dep_ == "conj" and c.pos_ != "VERB"])
