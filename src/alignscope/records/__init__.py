"""Frozen records that rooms hand to each other.

Flat ones are written as Parquet, those that people read as JSONL (`alignscope.files`). No torch here:
a report is rebuilt from these on any laptop.
"""

from alignscope.records.answers import (
    Choice,
    EditedScore,
    Example,
    Picture,
    Rank,
)
from alignscope.records.benchmarks import OptionScore, Published, Question, Shown
from alignscope.records.captions import (
    FOIL_KINDS,
    WORD_CLASSES,
    Box,
    Caption,
    Foil,
    FoilKind,
    Item,
    ItemSource,
    Problem,
    Relation,
    SceneGraph,
    SceneObject,
    Word,
    WordClass,
)
from alignscope.records.heats import (
    Agreement,
    Attribution,
    Faithfulness,
    PatchMap,
    PhraseSimilarity,
    Pointing,
    ScoreCurve,
    WordHeat,
)
from alignscope.records.numbers import (
    CaptionScore,
    Measurement,
    Point,
    Signature,
)
from alignscope.records.probes import (
    CaptionCounts,
    CaptionSurprise,
    ForcedChoice,
    GramCount,
    ImageCaption,
    MadeCaption,
    MinedPattern,
    PatternFit,
    TaggedCaption,
    TaggedWord,
    TextScore,
)
from alignscope.records.regions import Regions
from alignscope.records.scenes import HighLevelImage, Label, Labelled, SceneLabel
from alignscope.records.trials import Effect, Trial

__all__ = [
    "FOIL_KINDS",
    "WORD_CLASSES",
    "Agreement",
    "Attribution",
    "Box",
    "Caption",
    "CaptionCounts",
    "CaptionScore",
    "CaptionSurprise",
    "Choice",
    "EditedScore",
    "Effect",
    "Example",
    "Faithfulness",
    "Foil",
    "FoilKind",
    "ForcedChoice",
    "GramCount",
    "HighLevelImage",
    "ImageCaption",
    "Item",
    "ItemSource",
    "Label",
    "Labelled",
    "MadeCaption",
    "Measurement",
    "MinedPattern",
    "OptionScore",
    "PatchMap",
    "PatternFit",
    "PhraseSimilarity",
    "Picture",
    "Point",
    "Pointing",
    "Problem",
    "Published",
    "Question",
    "Rank",
    "Regions",
    "Relation",
    "SceneGraph",
    "SceneLabel",
    "SceneObject",
    "ScoreCurve",
    "Shown",
    "Signature",
    "TaggedCaption",
    "TaggedWord",
    "TextScore",
    "Trial",
    "Word",
    "WordClass",
    "WordHeat",
]
