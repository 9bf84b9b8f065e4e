# ruff: noqa: T201
"""Precision and recall of word classes: our rules and SceneGraphParser, on hand labels and on the world.

Run: .venv/bin/python benchmarks/parser_quality.py [--coco coco_test_1.json] [--world 500] [--errors]
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from figures import Figure, add_option, figure, tell

from alignscope.language.classes import WORD, word_classes
from alignscope.language.pipeline import model_name, parser_name
from alignscope.records import Caption, Word, WordClass

ROOT = Path(__file__).parents[1]
LABELS = ROOT / "tests" / "language" / "labels" / "coco_150.jsonl"
FRESH = LABELS.with_name("coco_fresh_50.jsonl")
"""Captions labelled after the rules were done, and left alone since."""
COCO = ROOT.parent / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"
CLASSES: tuple[WordClass, ...] = ("object", "attribute", "relation")
Tagger = Callable[[Sequence[str]], list[Caption]]


def labelled_captions(coco: Path, labels: Path = LABELS) -> list[Caption]:
    """The hand-labelled captions with their words; texts come from the Karpathy test file."""
    texts = {row["image"]: row["caption"] for row in json.loads(coco.read_text(encoding="utf-8"))}
    captions = []
    for line in labels.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = texts[row["image"]][row["caption_index"]]
        if sha256(text.encode()).hexdigest()[:12] != row["sha"]:
            raise ValueError(
                f"caption {row['image']} {row['caption_index']} is not the one labelled: {text!r}"
            )
        kind = {tuple(span): name for name in CLASSES for span in row[name]}
        spans = [match.span() for match in WORD.finditer(text)]
        assert set(kind) <= set(spans), f"labels off the words of {text!r}"
        words = tuple(Word(text[a:b], a, b, kind.get((a, b), "other")) for a, b in spans)
        captions.append(Caption(text, words))
    return captions


def confusion(truth: Sequence[Caption], guess: Sequence[Caption]) -> Counter[tuple[str, str]]:
    """How many words of each true class got each class; scene words count as objects.

    Words are met by their first character; a true word that the guess does not have counts as
    "missing", a guessed word that starts elsewhere is not counted.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for true, guessed in zip(truth, guess, strict=True):
        found = {word.start: word.word_class for word in guessed.words}
        for word in true.words:
            if WORD.match(word.text):  # not punctuation
                counts[_plain(word.word_class), _plain(found.get(word.start, "missing"))] += 1
    return counts


def _plain(kind: str) -> str:
    return "object" if kind == "scene" else kind


def quality(counts: Counter[tuple[str, str]], kind: str) -> tuple[float, float, float]:
    """Precision, recall and F1 of one class."""
    right = counts[kind, kind]
    guessed = sum(n for (_, got), n in counts.items() if got == kind)
    true = sum(n for (wanted, _), n in counts.items() if wanted == kind)
    precision, recall = right / max(guessed, 1), right / max(true, 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)


def without_framing(words: Sequence[Word]) -> tuple[Word, ...]:
    """Words of a world caption less its fixed openings ("a photo of") and the words before a place ("on the").

    The world calls those *other*, the guidelines for free text call them objects and relations:
    a difference in convention, not an error of the rules.
    """
    return tuple(
        word for word in words if word.word_class != "other" or word.text in ("a", "and", "also", "is")
    )


def scene_graph_parser() -> Tagger:
    """SceneGraphParser with its heads, adjectives and relations found in the text by first match.

    Determiners and numerals among its modifiers are left out. It asks for a model by the official
    name; `spacy.load` is pointed at the one installed while it starts.
    """
    import sng_parser
    import spacy

    load = spacy.load
    spacy.load = lambda *_, **options: load(model_name(), **options)
    try:
        parser = sng_parser.Parser("spacy")
    finally:
        spacy.load = load
    return lambda texts: [_located(text, parser.parse(text)) for text in texts]


def _located(text: str, graph: dict[str, Any]) -> Caption:
    """First-match location of what SceneGraphParser names; where two claim a word, the first listed stays."""
    words = [(match.group().lower(), match.span()) for match in WORD.finditer(text)]
    kinds: dict[tuple[int, int], WordClass] = {}
    amods = [m["span"] for e in graph["entities"] for m in e["modifiers"] if m["dep"] == "amod"]
    claims: list[tuple[WordClass, str]] = [("object", entity["head"]) for entity in graph["entities"]]
    claims += [("attribute", modifier) for modifier in amods]
    claims += [("relation", relation["relation"]) for relation in graph["relations"]]
    for kind, phrase in claims:
        parts = [match.group().lower() for match in WORD.finditer(phrase)]
        for start in range(len(words) - len(parts) + 1):
            if parts and [word for word, _ in words[start : start + len(parts)]] == parts:
                for _, span in words[start : start + len(parts)]:
                    kinds.setdefault(span, kind)
                break
    return Caption(text, tuple(Word(text[a:b], a, b, kinds.get((a, b), "other")) for _, (a, b) in words))


def report(title: str, truth: Sequence[Caption], tagger: Tagger, *, errors: bool = False) -> dict[str, float]:
    """Print one table, a line per class, then speed; returns F1 by class."""
    texts = [caption.text for caption in truth]
    tagger(texts[:8])  # loading is not timed
    began = time.process_time()
    guess = tagger(texts)
    seconds = time.process_time() - began
    counts = confusion(truth, guess)
    words = sum(counts.values())
    accuracy = sum(n for (wanted, got), n in counts.items() if wanted == got) / max(words, 1)
    print(f"\n{title}: {len(truth)} captions, {words} words, accuracy {accuracy:.3f}")
    print("class      words  precision  recall     F1")
    for kind in CLASSES:
        precision, recall, f1 = quality(counts, kind)
        true = sum(n for (wanted, _), n in counts.items() if wanted == kind)
        print(f"{kind:<10} {true:>5}  {precision:>9.3f}  {recall:>6.3f}  {f1:>5.3f}")
    print(f"{len(texts) / seconds:.0f} captions per CPU-second")
    if errors:
        _print_errors(truth, guess)
    return {kind: quality(counts, kind)[2] for kind in CLASSES}


def compared(captions: Sequence[Caption], name: str, *, errors: bool) -> list[Figure]:
    """Ours beside SceneGraphParser on the same captions."""
    ours = report(f"{name}, ours", captions, word_classes, errors=errors)
    theirs = report(f"{name}, SceneGraphParser", captions, scene_graph_parser())
    return [
        figure(
            f"F1 of {kind}, ours / SceneGraphParser, {name}",
            [ours[kind] / theirs[kind]],
            note=f"{ours[kind]:.3f} and {theirs[kind]:.3f}; {len(captions)} captions; exact, no rounds",
        )
        for kind in CLASSES
    ]


def _print_errors(truth: Sequence[Caption], guess: Sequence[Caption]) -> None:
    for true, guessed in zip(truth, guess, strict=True):
        found = {word.start: word.word_class for word in guessed.words}
        wrong = [
            f"{word.text}: {word.word_class} got {found.get(word.start)}"
            for word in true.words
            if WORD.match(word.text) and _plain(found.get(word.start, "")) != _plain(word.word_class)
        ]
        if wrong:
            print(true.text.strip(), "|", "; ".join(wrong))


def main() -> None:
    """Print the tables for hand labels, then for the world where it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coco", type=Path, default=COCO)
    parser.add_argument("--world", type=int, default=500, help="scenes of the world's test split")
    parser.add_argument("--errors", action="store_true", help="print the words that ours got wrong")
    add_option(parser)
    options = parser.parse_args()
    print(parser_name())
    found = compared(labelled_captions(options.coco), "hand labels", errors=options.errors)
    found += compared(labelled_captions(options.coco, FRESH), "fresh hand labels", errors=options.errors)
    if options.world:
        from alignscope.data.world.world import World

        world = [item.caption for item in World(split="test", size=options.world).items]
        report("world, ours", world, word_classes)
        framed = [Caption(caption.text, without_framing(caption.words)) for caption in world]
        report("world without framing words, ours", framed, word_classes, errors=options.errors)
    tell(found, options.json)


if __name__ == "__main__":
    main()
