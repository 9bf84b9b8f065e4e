"""The closed lists of words that the rules of this room look up, all in lower case."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    """Words separated by spaces."""
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    """Phrases separated by bars and line ends."""
    return frozenset(phrase.strip() for line in text.strip().splitlines() for phrase in line.split("|"))


QUANTITIES = _words(
    """many several few much more most multiple numerous other another own same such enough less
    least some any all both each every half first second last"""
)
"""Adjectives that count or point and describe nothing."""

COLOURS = _words(
    """red green blue yellow orange purple pink brown black white gray grey gold golden silver beige
    tan turquoise teal maroon violet cyan magenta"""
)
"""Colours, which the tagger may take for nouns."""

NAMES = _phrases("""
    hot dog|hot dogs|polar bear|polar bears|grizzly bear|grizzly bears|living room|living rooms
    dining room|dining rooms|flying disc|flying discs|flying disk|ice cream|high chair|high chairs
    french fries|french fry|big ben|double decker|double deckers|remote control|remote controls
    close up|close ups|main street|wild life|soft drink|soft drinks
""")
"""Names in which an adjective or gerund is part of the noun."""

PLACE_ADVERBS = _words(
    "out up down back over off away around across along inside outside through forward in on"
)
"""Adverbs and particles of place."""

NEAR = _words("near like past amid amidst atop beneath underneath beside besides between into onto")
"""Prepositions that the tagger often takes for other parts of speech."""

POSTURES = _words(
    """standing sitting laying lying hanging leaning resting hiding walking running jumping flying
    sailing swimming skiing surfing skating snowboarding skateboarding riding driving playing eating
    grazing looking staring posing sleeping traveling travelling moving floating perching"""
)
"""Participles that captions put between nouns and that the tagger sometimes takes for nouns."""

LIGHT_BEFORE_TO = _words("going about seems seem seemed appears appear able")
"""Words that only lead to the infinitive after them."""

BE = _words("be am is are was were been being 's 're 'm ’s ’re ’m")
"""Forms of the copula as tokens."""

RELATIVE = _words("that which who whom")
"""Relative pronouns."""

FIXED = _phrases("""
    next to|close to|near to|adjacent to|opposite to|out of|off of|away from|across from|far from
    in front of|in back of|on top of|in between|inside of|outside of|ahead of|along with|up against
    left of|right of|at top of|on board of|in line with|in and out of|in the vicinity of
    on either side of|on both sides of|on each side of|underneath of|because of|instead of|due to
    up to|down to|on to|in to|down from|up from|back to|over to
""")
"""Prepositions of several words, as written."""

PLACES = _words(
    """top bottom front back side sides middle center centre midst edge edges end left right rear
    inside outside background foreground base"""
)
"""Nouns that become part of a preposition between one and "of"."""

LEADS = _words("in on at by to from near into onto along around over under across toward towards")
"""Prepositions that may lead a longer one."""

DETERMINERS = _words("the a an one either each both")
"""Determiners inside a preposition."""

REFINERS = _words("left right far other very opposite upper lower front back top bottom")
"""Words between the determiner and the place inside a preposition."""
