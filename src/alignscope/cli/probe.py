"""`alignscope probe`: what are captions like, and what in them does a model love? Any captioner's, any model's."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.records import Problem

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Captions = Annotated[
    list[str],
    typer.Argument(
        help='files of captions, NAME=FILE or FILE: lines {"image": ..., "caption": ...}, or COCO\'s results JSON'
    ),
]
Models = Annotated[
    list[str],
    typer.Option("--model", help="what scores, NAME=MODEL or MODEL; give it several times for several"),
]
References = Annotated[
    Path | None,
    typer.Option(
        help="captions by people: JSONL, COCO's captions JSON or Karpathy's dataset_coco.json; five of the "
        "world's for its scenes without it"
    ),
]
Corpus = Annotated[
    Path | None,
    typer.Option(
        help="captions whose words replace others, as --references, of Karpathy's the training split; the "
        "world's for its scenes, else those of --references, without it"
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(
        help="folder of the images, by name or COCO's number; the world's for its scenes without it"
    ),
]
Out = Annotated[Path, typer.Option(help="directory for run.json and records")]
Tagger = Annotated[
    Literal["spacy", "world"] | None,
    typer.Option(help="what says which words are nouns; the world's own words for its scenes, else spaCy"),
]
Names = Annotated[bool, typer.Option("--names", help="names (PROPN) are nouns too")]
Draws = Annotated[int, typer.Option(help="bootstrap draws of images for intervals", min=1)]
Template = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        help="NAME=TEXT such as 'mine=a NOUN (near a NOUN)*', several times for several; the paper's five without it",
    ),
]


@app.callback()
def probe() -> None:
    """Captions of any captioner: what they are like, and what in them any model scores high."""


@app.command()
def texts(
    captions: Captions,
    references: References = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="captions to train a language model on, as --references; of Karpathy's the training split"
        ),
    ] = None,
    arpa: Annotated[Path | None, typer.Option(help="a language model instead, as an ARPA file")] = None,
    order: Annotated[int, typer.Option(help="of the language model trained on --corpus", min=1)] = 3,
    smoothing: Annotated[
        Literal["kneser-ney", "modified-kneser-ney", "katz"], typer.Option(help="of that language model")
    ] = "kneser-ney",
    unknown: Annotated[
        Literal["skip", "score"],
        typer.Option(help="words that the language model does not know: left out, or scored as one word"),
    ] = "skip",
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help="BLEU-1 to BLEU-4, METEOR, ROUGE-L, CIDEr, SPICE; several times; all without it"
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="most frequent n-grams of each kind that are kept", min=1)] = 10,
    mined: Annotated[int, typer.Option(help="most frequent sentence patterns that are kept", min=1)] = 5,
    names: Names = False,
    tagger: Tagger = None,
    out: Out = Path("runs/probe-texts"),
    draws: Draws = 2000,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Length, nouns, repetition, n-grams, sentence patterns, perplexity and caption metrics of CAPTIONS."""
    from alignscope.cli.progress import bars
    from alignscope.evaluation.caption_metrics import METRICS
    from alignscope.reporting.probes import captions_text, words_text
    from alignscope.studies.captions.texts import TextSettings
    from alignscope.studies.captions.texts import texts as look

    settings = TextSettings(
        seed, draws, order, smoothing, unknown, tuple(metric or METRICS), names, top, mined, tagger
    )
    with bars() as progress:
        found = look(
            _paths(captions),
            out,
            references=references,
            corpus=corpus,
            language_model=arpa,
            settings=settings,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    if as_json:
        _say(out, found, "measurements", "words", "mined")
        return
    tell(captions_text(found.measurements, out / "measurements.parquet"))
    tell(words_text(found.words, found.mined))
    _end(out, found.problems)


@app.command()
def replacements(
    captions: Captions,
    model: Models,
    references: References = None,
    corpus: Corpus = None,
    replaced: Annotated[int, typer.Option(help="captions of each kind per caption", min=1)] = 5,
    more_than: Annotated[
        int, typer.Option(help="words of the corpus that come more often than this are drawn from", min=0)
    ] = 5,
    images: Images = None,
    regions: shared.Regions = None,
    tagger: Tagger = None,
    out: Out = Path("runs/probe-replacements"),
    draws: Draws = 2000,
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    calibration: shared.Calibration = True,
    batch_size: shared.BatchSize = 64,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Score CAPTIONS, the same with wrong nouns, and with nothing but their nouns (paper A, Fig. 2)."""
    settings: dict[str, Any] = {"replacements": replaced, "more_than": more_than, "tagger": tagger}
    settings |= {"seed": seed, "draws": draws}
    how: dict[str, Any] = {"images": images, "regions": regions, "device": device, "dtype": dtype}
    how |= {
        "references": references,
        "corpus": corpus,
        "calibrate": calibration,
        "batch_size": batch_size,
        "as_json": as_json,
    }
    _run("replacements", captions, model, out, settings, **how, resume=resume, overwrite=overwrite)


@app.command()
def templates(
    captions: Captions,
    model: Models,
    references: References = None,
    template: Template = None,
    names: Names = False,
    images: Images = None,
    regions: shared.Regions = None,
    tagger: Tagger = None,
    out: Out = Path("runs/probe-templates"),
    draws: Draws = 2000,
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    calibration: shared.Calibration = True,
    batch_size: shared.BatchSize = 64,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Score CAPTIONS and their nouns alone in each of the paper's templates (Tables 6 and 7).

    References are for the check of matching heads alone.
    """
    settings: dict[str, Any] = {"names": names, "tagger": tagger, "seed": seed, "draws": draws}
    settings |= _templates(template)
    how: dict[str, Any] = {"images": images, "regions": regions, "device": device, "dtype": dtype}
    how |= {"references": references, "calibrate": calibration, "batch_size": batch_size, "as_json": as_json}
    _run("templates", captions, model, out, settings, **how, resume=resume, overwrite=overwrite)


@app.command()
def nouns(
    captions: Annotated[
        list[str],
        typer.Argument(
            help="references, NAME=FILE or FILE: any number of captions an image, as JSONL, COCO's captions JSON, or "
            "the test split of Karpathy's dataset_coco.json"
        ),
    ],
    model: Models,
    count: Annotated[
        list[int] | None, typer.Option("--count", help="numbers of nouns, several times; 3 to 7 without it")
    ] = None,
    all_images: Annotated[
        bool,
        typer.Option(
            "--all-images", help="for each number the images that have so many, not those with the most"
        ),
    ] = False,
    shuffled: Annotated[
        bool, typer.Option("--shuffled", help="nouns in an order drawn by seed, not the most frequent first")
    ] = False,
    clip_score: Annotated[
        bool,
        typer.Option("--clip-score", help="of cosines CLIP-S, 2.5 times the positive ones, as in Fig. 3"),
    ] = False,
    template: Template = None,
    names: Names = False,
    images: Images = None,
    regions: shared.Regions = None,
    tagger: Tagger = None,
    out: Out = Path("runs/probe-nouns"),
    draws: Draws = 2000,
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    calibration: shared.Calibration = True,
    batch_size: shared.BatchSize = 64,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Score three to seven nouns of each image's references in each template (paper A, Fig. 3)."""
    settings: dict[str, Any] = {"names": names, "tagger": tagger, "seed": seed, "draws": draws}
    settings |= {"is_comparable": not all_images, "is_shuffled": shuffled, "clip_score": clip_score}
    settings |= _templates(template)
    if count:
        settings["counts"] = tuple(sorted(set(count)))
    how: dict[str, Any] = {"images": images, "regions": regions, "device": device, "dtype": dtype}
    how |= {"calibrate": calibration, "batch_size": batch_size, "as_json": as_json}
    _run("nouns", captions, model, out, settings, **how, resume=resume, overwrite=overwrite)


@app.command()
def choice(
    captions: Captions,
    model: Models,
    references: References = None,
    images: Images = None,
    regions: shared.Regions = None,
    out: Out = Path("runs/probe-choice"),
    draws: Draws = 2000,
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    calibration: shared.Calibration = True,
    batch_size: shared.BatchSize = 64,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Say whose caption of an image scores highest, of two or more files of CAPTIONS (paper A, Table 1)."""
    how: dict[str, Any] = {"images": images, "regions": regions, "device": device, "dtype": dtype}
    how |= {"references": references, "calibrate": calibration, "batch_size": batch_size, "as_json": as_json}
    settings = {"seed": seed, "draws": draws}
    _run("choice", captions, model, out, settings, **how, resume=resume, overwrite=overwrite)


@app.command()
def matrix(
    captions: Captions,
    model: Models,
    references: References = None,
    images: Images = None,
    regions: shared.Regions = None,
    out: Out = Path("runs/probe-matrix"),
    draws: Draws = 2000,
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    calibration: shared.Calibration = True,
    batch_size: shared.BatchSize = 64,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Score every file of CAPTIONS with every model, and against the first file (paper A, Table 2)."""
    how: dict[str, Any] = {"images": images, "regions": regions, "device": device, "dtype": dtype}
    how |= {"references": references, "calibrate": calibration, "batch_size": batch_size, "as_json": as_json}
    settings = {"seed": seed, "draws": draws}
    _run("matrix", captions, model, out, settings, **how, resume=resume, overwrite=overwrite)


def _run(
    verb: Any, captions: Sequence[str], models: Sequence[str], out: Path, settings: dict[str, Any], **how: Any
) -> None:
    """Open the models, make and score the texts, print the numbers."""
    import alignscope
    from alignscope.cli.progress import bars
    from alignscope.reporting.probes import columns_text
    from alignscope.studies.captions.probes import Settings
    from alignscope.studies.captions.probes import probe as run

    as_json = how.pop("as_json")
    opening = {"device": how.pop("device"), "dtype": how["dtype"]}
    paths = _paths(captions)
    named = _named(models, what="--model")
    with bars() as progress:
        found = run(
            verb,
            paths,
            {name: alignscope.model(model, **opening) for name, model in named.items()},
            out,
            settings=Settings(**settings),
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
            **how,
        )
    if as_json:
        _say(out, found, "measurements")
        return
    tell(columns_text(found.measurements, first=list(named)))
    _end(out, found.problems)


def _end(out: Path, problems: Sequence[Problem]) -> None:
    from alignscope.reporting.probes import problems_text

    tell(problems_text(problems, out / "problems.jsonl"))
    tell(f"records: {out.resolve()}")


def _say(out: Path, found: Any, *fields: str) -> None:
    """For machines: records by the names of their fields, and how many problems."""
    from alignscope.cli.machine import say

    told = {name: getattr(found, name) for name in fields}
    say(directory=out.resolve(), **told, problems=len(found.problems))


def _paths(given: Sequence[str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in _named(given, what="captions").items()}


def _named(given: Sequence[str], *, what: str) -> dict[str, str]:
    """NAME=VALUE or VALUE, whose name is that of its last folder or file without ending."""
    from alignscope.errors import BadInput

    found: dict[str, str] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or "/" in name or Path(one).exists():
            name, value = Path(one).stem if what == "captions" else Path(one).name, one
        if not (name.strip() and value.strip()) or "|" in name:
            raise BadInput(
                f"got {one!r} as {what}, wanted NAME=VALUE with a name without '|', or VALUE alone"
            )
        if name in found:
            raise BadInput(f"got the name {name!r} twice as {what}, wanted names of their own: NAME={value}")
        found[name] = value
    return found


def _templates(given: Sequence[str] | None) -> dict[str, Any]:
    from alignscope.probing.templates import Template as Made

    if not given:
        return {}
    return {"templates": tuple(Made(name, text) for name, text in _named(given, what="--template").items())}
