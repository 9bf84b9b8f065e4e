"""Words of captions as COCO's evaluation sees them: Penn Treebank tokens, lower case, no punctuation.

"stanford" is the Java tokeniser of Stanford CoreNLP 3.4.1, as `tylin/coco-caption` runs it. "python"
follows its rules for what captions hold, without Java: the same words for all 25,010 captions of the
Karpathy test images. It does not know addresses, smileys and rare abbreviations, nor that the Java one looks
across the line break ("no." stays whole where the next caption begins with a number). As there, brackets
become words ("-lrb-") and stay, and so do runs of marks ("?!"): only single marks are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alignscope.evaluation.java import has_java, jars, run_java

Tokens = Literal["stanford", "python"]

DROPPED = frozenset(["''", "'", "``", "`", '"', *".?!,:;-", "--", "..."])
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
SPLIT = {"cannot": "can not", "gonna": "gon na", "gotta": "got ta", "wanna": "wan na"}
SPLIT |= {"---": "--", "lemme": "lem me", "gimme": "gim me", "'tis": "'t is", "'twas": "'t was"}
TYPOGRAPHIC = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "--", "—": "--", "…": "...", "\u200b": " "}
)

_ABBREVIATIONS = (
    "mr|mrs|ms|dr|prof|rev|gen|sgt|sen|gov|st|ave|blvd|rd|mt|ft|jr|sr|inc|co|corp|ltd|dept|vs|etc|"
    "jan|feb|sept|mon|tues"
)
_STARTERS = "A|An|The|This|That|There|It|In|He|She|They|Two|One"  # a capital before these ends a sentence
_WORDS = re.compile(
    rf"""
      <[a-z]+>                                          # a tag
    | '(?:tis|twas)\b | (?<!\d)'\d\ds?\b | 'n' | \by'(?=all\b)
    | [#@][a-z]\w*
    | [a-z](?:\.[a-z])+\b\.?                            # u.s.a.
    | \b(?:{_ABBREVIATIONS})\. | \bno\.(?=\s*\d)
    | \b[a-z]\.(?=\s+\S|['"])(?!\s+(?-i:{_STARTERS})\b) # an initial
    | \d*[.]?\d+(?:[:.,/]\d+)+ | (?<!\S)[.]\d+          # 1,000 and 6:30
    | n't\b | '(?:s|re|ve|ll|d|m)\b                     # the second half of a contraction
    | \b[dlo]'[a-z]\w+                                  # hors d'oeuvre, o'clock
    | (?-i:[A-Z]+&[A-Z]+)
    | \w+?(?=n't\b)
    | \w+(?:[-/.]\w+)*                                  # t-shirt, tub/shower, bathtub.in
    | \.\.\. | -{{2,}} | [?!]+ | \S
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Tokenised:
    """Each text as words joined by one space; where `reason` says why not, nothing."""

    texts: tuple[str, ...]
    reason: str = ""


def default_tokens() -> Tokens:
    """The tokeniser of the published numbers where Java is there, else its likeness."""
    return "stanford" if has_java() else "python"


def tokenised(texts: Sequence[str], *, tokens: Tokens) -> Tokenised:
    """All texts through one tokeniser; line breaks within a text are spaces."""
    lines = [" ".join(text.split()) for text in texts]
    if tokens == "python":
        return Tokenised(tuple(map(python_words, lines)))
    jar = "stanford-corenlp-3.4.1.jar"
    arguments = ["-cp", jar, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    done = run_java(arguments, folder=jars() / "tokenizer", text="".join(f"{line}\n" for line in lines))
    found = done.output.split("\n")[:-1]
    if not done.reason and len(found) != len(lines):
        return Tokenised((), f"the Java tokeniser gave {len(found)} lines for {len(lines)}")
    return Tokenised(tuple(_kept(line.split()) for line in found), done.reason)


def python_words(text: str) -> str:
    """One text's words without Java.

    >>> python_words("A man can't park his T.V. (small) near the dogs' half-eaten plate.")
    "a man ca n't park his t.v. -lrb- small -rrb- near the dogs half-eaten plate"
    """
    found = [match.lower() for match in _WORDS.findall(text.translate(TYPOGRAPHIC))]
    words = [word for each in found for word in SPLIT.get(each, BRACKETS.get(each, each)).split()]
    return _kept(words)


def _kept(words: Sequence[str]) -> str:
    return " ".join(word for word in words if word not in DROPPED)
