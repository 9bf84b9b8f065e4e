"""Captioners guided by scorers, over seeds: trained, read and scored by all of them (paper A, end to end).

A seed has its own captioner trained by cross-entropy, with which all of the seed's guided captioners begin,
so that differences are paired. References and the corpus of the language model are those of the recipe's data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import final

import alignscope
from alignscope.errors import BadInput
from alignscope.files import read_jsonl, read_parquet, write_json, write_jsonl
from alignscope.models.zoo import open_model
from alignscope.records import Effect, Measurement, Problem, Trial
from alignscope.reporting.guided import SHOWN_IMAGES, guided_page
from alignscope.reporting.run import PICTURES
from alignscope.studies.captions.guided_pictures import shown_pictures
from alignscope.studies.captions.guided_plan import PEOPLE, START, GuidedStudy, missing_of
from alignscope.studies.captions.probed_texts import Settings, Verb
from alignscope.studies.captions.probes import probe
from alignscope.studies.captions.texts import TextSettings, texts
from alignscope.studies.clock import Progress
from alignscope.studies.output import RUN, claimed, is_finished
from alignscope.studies.over_seeds import Compared, summed_up
from alignscope.studies.workers import in_stages
from alignscope.training import captioning
from alignscope.training.captioning_material import Part, material
from alignscope.training.recipe import KarpathyCaptions, SavedCaptioner

REFERENCES, CORPUS, PEOPLES = "references.jsonl", "corpus.jsonl", "people.jsonl"
OF_CAPTIONS: tuple[Verb, ...] = ("matrix", "choice")
OF_START: tuple[Verb, ...] = ("replacements", "templates")


@final
@dataclass(frozen=True)
class Job:
    """A part of the study that one process does."""

    kind: str  # "train", "texts", a verb of `probe`
    name: str  # of the captioner or the scorer
    seed: int


def guide(
    study: GuidedStudy,
    out: Path,
    *,
    processes: int = 1,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Compared:
    """Train every captioner with every seed, read and score its captions; trials and effects under `out`.

    What is finished is not done again; `processes` of one thread each work side by side.
    What is missing on disk is told at once, before anything is done.
    """
    if missing := missing_of(study):
        raise BadInput("\n  ".join([f"{study.name} cannot begin, it wants:", *missing]))
    identity = {"kind": "guided captioners", "version": alignscope.__version__, "study": asdict(study)}
    with claimed(out, identity, resume=resume, overwrite=overwrite):
        sha = _write_texts(study, out)
        names = [one.name for one in study.guided]
        scorers = [one.name for one in study.scorers]
        stages = {
            "captioners trained on captions": [Job("train", START, seed) for seed in study.seeds],
            "captioners guided": [Job("train", name, seed) for seed in study.seeds for name in names],
            "texts and scores": [
                *(Job("nouns", name, study.seeds[0]) for name in scorers),
                *(Job("texts", START, seed) for seed in study.seeds),
                *(
                    Job(verb, name, seed)
                    for seed in study.seeds
                    for name in scorers
                    for verb in (*OF_START, *OF_CAPTIONS)
                ),
            ],
        }
        work = partial(done, study, out=out, device=device)
        in_stages(stages, work, processes=processes, progress=progress)
        found = told(study, out, sha)
        run = {**identity, "identity": identity, "finished": True, "command": command, "data": sha}
        write_json(out / RUN, run)
        return Compared(out, guided_page(out), tuple(found))


def told(study: GuidedStudy, out: Path, sha: str) -> list[Effect]:
    """Trials of all seeds, and what they say against the captioners that were not guided; both are written,
    and which captioners fell silent."""
    trials = [trial for seed in study.seeds for trial in _trials(study, out, seed)]
    signature = f"data:{study.name}|sha:{sha[:12]}|v:{alignscope.__version__}"
    found = summed_up(out, trials, baseline=START, signature=signature)
    write_jsonl(
        out / "problems.jsonl",
        (
            Problem(
                "", f"{name}, seed {seed}", "no caption has a word: nothing is read or scored", "unscored"
            )
            for seed in study.seeds
            for name in silent(captions_of(study, out, seed))
        ),
    )
    return found


def _write_texts(study: GuidedStudy, out: Path) -> str:
    """References and corpus as files that every analysis reads; returns the hash of the data."""
    data = material(study.recipe.data)

    def rows(part: Part, most: int | None = None) -> Iterator[Mapping[str, str]]:
        for key, said in zip(part.keys, part.captions, strict=True):
            yield from ({"image": key, "caption": text} for text in said[:most])

    write_jsonl(out / REFERENCES, rows(data.test))
    write_jsonl(out / PEOPLES, rows(data.test, 1))
    write_jsonl(out / CORPUS, rows(data.train))
    write_jsonl(out / PICTURES, shown_pictures(study.recipe.data, data.test.keys[:SHOWN_IMAGES]))
    return data.sha


def done(study: GuidedStudy, job: Job, out: Path, device: str) -> None:
    """One job, unless it is finished."""
    import torch

    torch.set_num_threads(1)
    if job.kind == "train":
        _train(study, job, out, device)
    elif not is_finished(place_of(job, out)):
        _analyse(study, job, out, device)


def place_of(job: Job, out: Path) -> Path:
    """Where a job's records lie; numbers of nouns are of references, which no seed changes."""
    if job.kind == "nouns":
        return out / "nouns" / job.name
    place = out / f"seed-{job.seed}"
    return place / {"train": "captioners"}.get(job.kind, job.kind) / ("" if job.kind == "texts" else job.name)


def captions_of(study: GuidedStudy, out: Path, seed: int) -> dict[str, Path]:
    """The files of captions of a seed: the start, everybody guided, people."""
    trained = [START, *(one.name for one in study.guided)]
    files = {name: place_of(Job("train", name, seed), out) / "captions.jsonl" for name in trained}
    return {**files, PEOPLE: out / PEOPLES}


def silent(captions: Mapping[str, Path]) -> list[str]:
    """Guided captioners that have learned to say nothing of any image: there is nothing to read or score."""
    return [
        name
        for name, path in captions.items()
        if name not in (START, PEOPLE) and not any(row["caption"].strip() for row in read_jsonl(path))
    ]


def _train(study: GuidedStudy, job: Job, out: Path, device: str) -> None:
    place = place_of(job, out)
    if (place / "model" / "training.json").exists():  # the last that a training writes
        return
    recipe = replace(study.recipe, seed=job.seed, name=f"{study.name}-{job.name}")
    if job.name != START:
        guided = next(one for one in study.guided if one.name == job.name)
        first = place_of(Job("train", START, job.seed), out) / "model"
        recipe = replace(recipe, captioner=SavedCaptioner("saved", str(first)), stages=(guided.stage,))
        pays = next((one for one in study.scorers if one.name == guided.scorer), None)
        if pays is not None and isinstance(recipe.data, KarpathyCaptions):
            seen = study.seen_by(pays)
            data = replace(recipe.data, regions=seen["regions"], images=seen["images"])
            recipe = replace(recipe, data=data)
    captioning.train(recipe, place, device=device, resume=True)


def _analyse(study: GuidedStudy, job: Job, out: Path, device: str) -> None:
    captions, place = captions_of(study, out, job.seed), place_of(job, out)
    for name in silent(captions):
        captions.pop(name)
    references, corpus = out / REFERENCES, out / CORPUS
    if job.kind == "texts":
        people = captions.pop(PEOPLE)  # no reference is measured against itself
        settings = TextSettings(seed=job.seed, draws=study.draws, metrics=study.metrics)
        own = replace(settings, metrics=())
        texts({PEOPLE: people}, place.with_name(PEOPLE), corpus=corpus, settings=own, resume=True)
        texts(captions, place, references=references, corpus=corpus, settings=settings, resume=True)
        return
    scorer = next(one for one in study.scorers if one.name == job.name)
    if job.kind == "choice":  # among the start and what each scorer made of it in the paper's way
        paid = [START, *(one.name for one in study.scorers)]
        captions = {name: captions[name] for name in paid if name in captions}
        if len(captions) < 2:
            return
    if job.kind in OF_START:
        captions = {START: captions[START]}
    if job.kind == "nouns":
        captions = {PEOPLE: references}
    model = open_model(scorer.model, device=device)
    reads = "regions" if model.traits.unit == "region" else "images"
    folder = study.seen_by(scorer)[reads]
    probe(
        job.kind,  # type: ignore[arg-type]  # a verb
        captions,
        {scorer.name: model},
        place,
        references=None if job.kind == "nouns" else references,
        corpus=corpus if job.kind == "replacements" else None,
        settings=Settings(job.seed, study.draws, study.replaced, counts=study.counts),
        resume=True,
        **({reads: Path(folder)} if folder else {}),  # type: ignore[arg-type]
    )


def _trials(study: GuidedStudy, out: Path, seed: int) -> Iterator[Trial]:
    """All numbers of a seed by the captions they are of; scores are grouped by who scores, then by what.

    Patterns that were mined are of one seed and stay in its records.
    """
    read = place_of(Job("texts", START, seed), out)
    for place in (read, read.with_name(PEOPLE)):
        for one in read_parquet(place / "measurements.parquet", Measurement):
            source, _, part = one.group.partition(" | ")
            if part and not part.startswith("mined "):  # metrics that could not run are of no captions
                yield _trial(one, seed, source, part)
    for scorer in study.scorers:
        for verb in (*OF_CAPTIONS, *OF_START):
            place = place_of(Job(verb, scorer.name, seed), out)
            if not place.exists():  # a choice where nobody but the start says anything
                continue
            for one in read_parquet(place / "measurements.parquet", Measurement):
                by, _, rest = one.group.partition(" | ")
                source, _, part = rest.partition(" | ")
                is_again = verb in OF_START and part == "captions"  # which the matrix has
                if part and not is_again:
                    group = by if part == "captions" else f"{by} | {part}"
                    yield _trial(one, seed, source, group)


def _trial(one: Measurement, seed: int, source: str, group: str) -> Trial:
    return Trial(source, seed, one.measure, group, one.value, one.unit)
