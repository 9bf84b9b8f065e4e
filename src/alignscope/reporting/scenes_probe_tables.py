"""Tables of scene probes (paper C, section 7 and appendix D), and how much of a scene is background and how much objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from alignscope.records import SceneCount
from alignscope.reporting.entries import Entry, Table
from alignscope.reporting.run import read_rows
from alignscope.reporting.scenes_numbers import (
    CAPTIONERS,
    NOTHING,
    OBJECT,
    RAW,
    SCENE,
    Input,
    Probe,
    Study,
    Values,
    entry,
    gaps,
    inputs_of,
)

F1 = ("micro F1", "macro F1", "weighted F1")
BASELINES = {"drawn": "labels drawn as often as they occur", "majority": "always the most frequent scene"}
CLASSIFIERS = {
    **{"forest": "random forest", "mlp": "network", "mlp-3": "network, three hidden layers"},
    "logistic": "logistic regression",
}
WHOSE = {**{name: f"states, {says}" for name, says in CAPTIONERS.items()}, RAW: "detector’s features alone"}
TAKEN = {"image": "most telling", "scene": "scene’s most telling", "random": "chance", "least": "least telling"}  # fmt: skip
HARDEST, PAPERS = 50, "forest"
"""The split of the paper's main table, in percent of training images, and its classifier."""


def probe_tables(study: Study) -> dict[str, Table]:
    """Every table of probes by the name of its files, those nobody measured left out."""
    made = [
        count_table(study),
        paper_table(study),
        classifier_table(study),
        split_table(study),
        *(scene_table(study, split, stem) for split, stem in ((hardest(study), "figure-9"), (90, "figure-13"))),
        *(background_table(study, measure, classifier) for classifier in classifiers_of(study) for measure in F1[:2]),
        held_out_table(study),
    ]  # fmt: skip
    return {
        table.stem: table for table in made if any(e.value is not None for _, row in table.rows for e in row)
    }


def splits_of(study: Study) -> tuple[int, ...]:
    """Percentages of training images, most first."""
    return tuple(sorted({probe.split for probe, _, _ in study.probed}, reverse=True))


def hardest(study: Study) -> int:
    """The paper's split of halves, or else the smallest share of training images."""
    splits = splits_of(study) or (HARDEST,)
    return HARDEST if HARDEST in splits else splits[-1]


def classifiers_of(study: Study) -> tuple[str, ...]:
    """Classifiers of states, the paper's first."""
    found = dict.fromkeys(probe.classifier for probe, _, _ in study.probed if probe.trained_on != NOTHING)
    return tuple(sorted(found, key=lambda name: name != PAPERS))


def image_sets(study: Study) -> tuple[str, ...]:
    """Versions of the images that were probed, "" where there is one."""
    return tuple(dict.fromkeys(one.images for one in inputs_of(study)))


def find(study: Study, model: str, images: str, cut: tuple[str, int] | None = None) -> Input | None:
    """An input, None where nobody probed it."""
    wanted = (model, images, cut)
    return next((one for one in inputs_of(study) if (one.model, one.images, one.cut) == wanted), None)


def fewest_cut(study: Study, reading: str) -> tuple[str, int] | None:
    """The cut of a reading that takes fewest objects, None where there is none."""
    counts = [one.cut[1] for one in inputs_of(study) if one.cut and one.cut[0] == reading]
    return (reading, min(counts)) if counts else None


def scores_of(
    study: Study,
    one: Input | None,
    measure: str = "macro F1",
    *,
    classifier: str = PAPERS,
    split: int | None = None,
    images: str = "all",
    scene: str = "all",
    task: str = "scenes",
) -> Values:
    """F1 of a probe of an input by seed."""
    if one is None:
        return {}
    where = hardest(study) if split is None else split
    return study.scores(Probe(one.name, one.name, images, classifier, where, task), measure, scene)


def in_words(one: Input) -> str:
    """An input as a table names it.

    >>> in_words(Input("", "scene", "bare", ("least", 1)))
    'states, scene captions (bare), 1 object less: least telling'
    """
    where = f" ({one.images})" if one.images else ""
    cut = f", {one.cut[1]} object{'s' * (one.cut[1] > 1)} less: {TAKEN.get(one.cut[0], one.cut[0])}" if one.cut else ""  # fmt: skip
    return f"{WHOSE.get(one.model, one.model)}{where}{cut}"


def counts_of(study: Study) -> dict[str, tuple[float, float]]:
    """Images of each scene, found and kept, on average over seeds; most first."""
    found: dict[str, list[SceneCount]] = {}
    for seed in study.seeds:
        for one in read_rows(study.directory / f"seed-{seed}" / "scenes" / "counts.parquet", SceneCount):
            if one.images == "all":
                found.setdefault(one.scene, []).append(one)
    means = {s: (fmean(one.found for one in mine), fmean(one.kept for one in mine)) for s, mine in found.items()}  # fmt: skip
    return dict(sorted(means.items(), key=lambda one: (-one[1][1], one[0])))


def count_table(study: Study) -> Table:
    """Figure 8: images of each scene."""
    rows = tuple(
        (scene, (Entry(value=found, text=f"{found:.0f}"), Entry(value=kept, text=f"{kept:.0f}")))
        for scene, (found, kept) in counts_of(study).items()
    )
    title = "Images of each scene, mean over seeds; kept where frequent scenes are down-sampled"
    return Table("figure-8", title, "scene", ("found", "kept"), rows)


def paper_table(study: Study) -> Table:
    """Table 4: the hardest split by random forest, with every input there is, baselines and the control task."""
    split = hardest(study)
    title = f"F1 of scenes, {PAPERS_SAYS} trained on {split} percent of the images; selectivity is F1 above shuffled labels"
    rows = [*_baselines(study, split), *_inputs(study, inputs_of(study), PAPERS, split)]
    return Table("table-4", title, "what the probe reads", (*F1, "selectivity, macro F1"), tuple(rows))


PAPERS_SAYS = CLASSIFIERS[PAPERS]


def classifier_table(study: Study) -> Table:
    """Table 6: the hardest split by every classifier, of the paper's inputs."""
    rows = _baselines(study, hardest(study))
    for classifier in classifiers_of(study):
        for name, cells in _inputs(study, papers_inputs(study), classifier, hardest(study)):
            rows.append((f"{CLASSIFIERS.get(classifier, classifier)}: {name}", cells))
    title = f"F1 of scenes by classifier, trained on {hardest(study)} percent of the images"
    return Table("table-6", title, "what the probe reads", (*F1, "selectivity, macro F1"), tuple(rows))


def split_table(study: Study) -> Table:
    """Table 7: every split by random forest, of the paper's inputs."""
    rows = []
    for split in splits_of(study):
        for name, cells in _inputs(study, papers_inputs(study), PAPERS, split):
            rows.append((f"{split}/{100 - split}: {name}", cells))
    title = f"F1 of scenes by split, {PAPERS_SAYS}"
    return Table("table-7", title, "what the probe reads", (*F1, "selectivity, macro F1"), tuple(rows))


def papers_inputs(study: Study) -> list[Input]:
    """Both captioners' states of the first set of images, intact and without their most telling object."""
    first = next(iter(image_sets(study)), "")
    cut = fewest_cut(study, "image")
    wanted = [(name, first, part) for part in (None, cut) for name in CAPTIONERS if part or part is None]
    return [one for key in dict.fromkeys(wanted) if (one := find(study, *key)) is not None]


def _baselines(study: Study, split: int) -> list[tuple[str, tuple[Entry, ...]]]:
    rows = []
    for name, says in BASELINES.items():
        probe = Probe(NOTHING, NOTHING, "all", name, split)
        cells = [
            entry(study.scores(probe, measure), paper=study.printed("probes", "forest", str(split), name, measure))
            for measure in F1
        ]  # fmt: skip
        rows.append((says, (*cells, Entry(reason="none"))))
    return rows


def _inputs(
    study: Study, inputs: Iterable[Input], classifier: str, split: int
) -> list[tuple[str, tuple[Entry, ...]]]:
    """Rows of F1 and selectivity; scene captioners beside their difference to the object captioner of the same input."""
    rows = []
    for one in inputs:
        other = find(study, OBJECT, one.images, one.cut) if one.model == SCENE else None
        cells = []
        for measure in F1:
            values = scores_of(study, one, measure, classifier=classifier, split=split)
            theirs = scores_of(study, other, measure, classifier=classifier, split=split)
            printed = study.printed("probes", classifier, str(split), _papers_name(study, one), measure)
            cells.append(entry(values, theirs if other else None, paper=printed))
        select = scores_of(study, one, classifier=classifier, split=split, task="selectivity")
        rows.append((in_words(one), (*cells, entry(select, reason="no control task"))))
    return rows


def _papers_name(study: Study, one: Input) -> str:
    """What the paper calls such an input: of the first set, intact or with one object of its own taken away."""
    if one.images != next(iter(image_sets(study)), "") or one.model not in CAPTIONERS:
        return ""
    if one.cut is None:
        return one.model
    return f"{one.model} ablated" if one.cut == fewest_cut(study, "image") else ""


def scene_table(study: Study, split: int, stem: str) -> Table:
    """Figures 9 and 13: F1 of every scene, most images first."""
    first = next(iter(image_sets(study)), "")
    models = [find(study, name, first) for name in (*CAPTIONERS, RAW)]
    rows = []
    for scene, (_, kept) in counts_of(study).items():
        found = [scores_of(study, one, "F1", split=split, scene=scene) for one in models]
        cells = [entry(found[0]), entry(found[1], found[0]), entry(found[2])]
        rows.append((f"{scene} ({kept:.0f})", tuple(cells)))
    columns = tuple(WHOSE[name] for name in (*CAPTIONERS, RAW))
    title = f"F1 by scene, {PAPERS_SAYS} trained on {split} percent of the images; in brackets images of the scene"  # fmt: skip
    return Table(stem, title, "scene", columns, tuple(rows))


def background_table(study: Study, measure: str, classifier: str) -> Table:
    """F1 with and without the cue of the background, and with the most or the least telling object gone."""
    cuts = [None, *(cut for reading in ("image", "least", "random") if (cut := fewest_cut(study, reading)))]
    sets = image_sets(study)
    rows = []
    for model in (*CAPTIONERS, RAW):
        cells = []
        for images in sets:
            whole = scores_of(study, find(study, model, images), measure, classifier=classifier)
            for cut in cuts:
                one = find(study, model, images, cut)
                cells.append(
                    entry(scores_of(study, one, measure, classifier=classifier), whole if cut else None)
                )
        rows.append((WHOSE[model], tuple(cells)))  # fmt: skip
    columns = tuple(
        f"{images or 'images'}: {'all objects' if cut is None else f'{cut[1]} less, {TAKEN[cut[0]]}'}"
        for images in sets
        for cut in cuts
    )
    title = f"{measure} with and without background and objects, {CLASSIFIERS.get(classifier, classifier)}, differences to all objects"
    return Table(f"background-{measure.split()[0]}-{classifier}", title, "what the probe reads", columns, tuple(rows))  # fmt: skip


def held_out_table(study: Study) -> Table:
    """The hardest split again with images alone that no captioner was trained on, where other images were probed too."""
    rows = []
    for one in papers_inputs(study):
        cells: list[Entry] = []
        for measure in F1:
            every = scores_of(study, one, measure)
            cells.append(entry(scores_of(study, one, measure, images="held out"), every))
        rows.append((in_words(one), tuple(cells)))
    title = f"Held-out images alone, {PAPERS_SAYS}, differences to all images"
    return Table("held-out", title, "what the probe reads", F1, tuple(rows))


def rarest(study: Study) -> tuple[str, ...]:
    """The two scenes with fewest images: the paper names as many."""
    return tuple(counts_of(study))[-2:]


def gain(study: Study, scenes: Sequence[str]) -> Values:
    """Mean F1 over some scenes of the scene captioner's states less that of the object captioner's, by seed."""
    first = next(iter(image_sets(study)), "")
    own, other = (find(study, name, first) for name in (SCENE, OBJECT))
    found = [
        gaps(scores_of(study, own, "F1", scene=scene), scores_of(study, other, "F1", scene=scene))
        for scene in scenes
    ]
    shared = set.intersection(*map(set, found)) if found else set()
    return {seed: fmean(one[seed] for one in found) for seed in study.seeds if seed in shared}
