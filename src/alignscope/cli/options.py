"""Arguments and options that several verbs share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

MOST_SCENES = 10_000_000
Model = Annotated[str, typer.Argument(help="a name (tiny-clip), a local directory or file, or a hub id")]
Pairs = Annotated[
    Path | None, typer.Option(help="pairs.jsonl with image, caption, foils; without it: the world")
]
Images = Annotated[Path | None, typer.Option(help="folder of the images that --pairs names")]
Size = Annotated[int, typer.Option(help="scenes of the world's test split", min=2, max=MOST_SCENES)]
Layers = Annotated[
    str, typer.Option(help="of the text tower, for attention and gradcam: all, last or FIRST:STOP")
]
Checked = Annotated[int, typer.Option(help="captions, about, whose word attributions are checked", min=0)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 or float16, of the model's arithmetic")]
Activation = Annotated[
    Literal["quick_gelu", "gelu"] | None,
    typer.Option(help="of an open_clip checkpoint; quick_gelu where it does not say"),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(help="directory (or hub id) of the tokenizer of a file of weights, which has none"),
]
Regions = Annotated[
    Path | None,
    typer.Option(
        help="file of region features, for models that take them; an exported world has regions/regions.tsv"
    ),
]
MatchIndex = Annotated[
    int | None,
    typer.Option(help="logit of a matching head that says yes (0 or 1), where it is not the usual one"),
]
Scoring = Annotated[
    Literal["likelihood", "information", "yes"] | None,
    typer.Option(
        help="how a generative model scores: its likelihood of the text, that minus its likelihood without "
        "the image, or its yes to a question; yes for chat models, likelihood for others without it"
    ),
]
Calibration = Annotated[
    bool,
    typer.Option(
        "--calibration/--no-calibration",
        help="refuse a matching head that ranks shuffled pairs above matched ones",
    ),
]
BatchSize = Annotated[int, typer.Option(help="images or captions at a time", min=1)]
Seed = Annotated[
    int, typer.Option(help="of whatever is drawn: edits, replacements, orders, intervals", min=0)
]
Resume = Annotated[bool, typer.Option(help="go on with the same run in --out")]
Overwrite = Annotated[bool, typer.Option(help="delete the run in --out first")]
Replace = Annotated[bool, typer.Option(help="replace an existing file")]
Json = Annotated[
    bool, typer.Option("--json", help="records as one JSON object on stdout, and nothing else there")
]
