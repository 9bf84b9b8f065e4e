"""Attribution as pages show it: which words the score listens to, under each method, and whether the map is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from alignscope.records import Measurement, PatchMap
from alignscope.reporting.captions import Rows, telling, under_methods
from alignscope.reporting.claims import (
    GAINS,
    agreement_sentence,
    faithful_sentences,
    object_sentence,
    phrase_sentence,
    pointing_sentence,
    warnings,
)
from alignscope.reporting.curves import Curve, Mean, curves_of, density_chart, line_chart
from alignscope.reporting.grids import (
    RATIO,
    SHOWN_CLASSES,
    Grid,
    Look,
    agreement_grid,
    gain_grid,
    heat_grid,
    lookup,
    phrase_grid,
    pointing_grid,
    ratio_grid,
)
from alignscope.reporting.headline import heat_sentence
from alignscope.reporting.image_maps import ImageMaps, image_maps
from alignscope.reporting.page import Row, rows_of
from alignscope.reporting.run import Run
from alignscope.reporting.wording import METHODS, method_order

SHADED_CAPTIONS = 10
RATIO_ENDS = (0.05, 0.95)  # shares of the choices between which accuracy by ratio is drawn
WORDS = (
    "heat",
    "heat median",
    "heat gap",
    "object above rest",
    "object above relation",
    "object above attribute",
)
RIGHT = ("deletion", "insertion", "comprehensiveness", "sufficiency", *GAINS)
AGREEMENT = ("agreement", "agreement with scrambled")
POINTING = "pointing game"
PHRASES = "phrase similarity"


@dataclass(frozen=True)
class Attributed:
    """What the sections on attribution show; empty parts were not measured."""

    methods: tuple[str, ...]
    object_sentence: str
    heats: Grid | None
    densities: tuple[tuple[str, Markup], ...]
    captions: tuple[Rows, ...]
    words: list[Row]
    faithful: tuple[str, ...]
    warnings: tuple[str, ...]
    gains: Grid | None
    curves: tuple[tuple[str, Markup], ...]
    agreement_sentence: str
    agreement: Grid | None
    pointing_sentence: str
    pointing: Grid | None
    pointing_rows: list[Row]
    image_maps: tuple[ImageMaps, ...]
    right: list[Row]
    ratios: tuple[tuple[str, Markup], ...]
    ratio_halves: Grid | None
    ratio_rows: list[Row]
    phrase_sentence: str
    phrases: Grid | None
    phrase_density: Markup
    phrase_rows: list[Row]

    @property
    def is_checked(self) -> bool:
        """Whether anything says how right the maps are."""
        return bool(self.right or self.curves)


def is_attribution(m: Measurement) -> bool:
    """Whether a measurement is shown with attribution."""
    return m.measure in (*WORDS, *RIGHT, *AGREEMENT, PHRASES, RATIO, POINTING)


def attributed(run: Run) -> Attributed:
    """Everything the pages show of a run's attributions."""
    numbers = [_named(m) for m in run.measurements if is_attribution(m)]
    methods = _methods(run, numbers)
    look = lookup(numbers, _unsupported(run))
    chosen = telling(run.heats, [example.item for example in run.examples], limit=SHADED_CAPTIONS)
    shaded = under_methods(run.heats, _texts(run), [*chosen, *(patches.item for patches in run.maps)])
    return Attributed(
        methods=methods,
        object_sentence=object_sentence(numbers) if len(methods) > 1 else heat_sentence(numbers),
        heats=heat_grid(methods, look),
        densities=_densities(run, look),
        captions=tuple(shaded[item] for item in chosen),
        words=_rows([m for m in numbers if m.measure in WORDS]),
        faithful=tuple(faithful_sentences(numbers)),
        warnings=tuple(warnings(numbers)),
        gains=gain_grid(methods, look),
        curves=_curves(run),
        agreement_sentence=agreement_sentence(numbers),
        agreement=agreement_grid(methods, look),
        pointing_sentence=pointing_sentence(numbers),
        pointing=pointing_grid(methods, look),
        pointing_rows=_rows([m for m in numbers if m.measure == POINTING]),
        image_maps=_image_maps(run, shaded),
        right=_rows([m for m in numbers if m.measure in (*RIGHT, *AGREEMENT)]),
        ratios=_ratios(run),
        ratio_halves=ratio_grid(methods, look),
        ratio_rows=_rows([m for m in numbers if m.measure == RATIO]),
        phrase_sentence=phrase_sentence(numbers),
        phrases=phrase_grid(look),
        phrase_density=_phrase_density(run, look),
        phrase_rows=rows_of([m for m in numbers if m.measure == PHRASES]),
    )


def _named(m: Measurement) -> Measurement:
    """With its method: gradcam where a record of words names none; agreement (its group names two) and phrases have none."""
    if m.measure in ("agreement", PHRASES):
        return replace(m, method="")
    return m if m.method or m.measure not in WORDS else replace(m, method="gradcam")


def _methods(run: Run, numbers: Sequence[Measurement]) -> tuple[str, ...]:
    """Methods with numbers or heats, and those that the model is said not to give."""
    found = {m.method for m in numbers if m.measure in (*WORDS, *RIGHT)} | {heat.method for heat in run.heats}
    return tuple(sorted({*found, *_unsupported(run)} - {"random", ""}, key=method_order))


def _unsupported(run: Run) -> set[str]:
    said = {what for what, _, _ in run.problems.groups}
    return {method for method in METHODS if f"{method} is unsupported by this model" in said}


def _densities(run: Run, look: Look) -> tuple[tuple[str, Markup], ...]:
    names = {p.series.partition("/")[0] for p in run.points if p.figure == "heat density"}
    panels = []
    for method in sorted(names, key=method_order):
        curves = [
            c for c in curves_of(run.points, "heat density", under=f"{method}/") if c.name in SHOWN_CLASSES
        ]
        shown = [curve.name for curve in curves]
        means = [
            Mean(name, m.value) for name in shown if (m := look("heat", name, method)) and m.value is not None
        ]
        panels.append(
            (method, density_chart(curves, means, title=f"Heat under {method}", x_title="heat of a word"))
        )
    return tuple(panels)


def _phrase_density(run: Run, look: Look) -> Markup:
    curves = curves_of(run.points, "phrase similarity density")
    found = [(c.name, look("phrase similarity", c.name, "")) for c in curves]
    means = [Mean(name, m.value) for name, m in found if m and m.value is not None]
    title = "Cosine of captions with their phrases"
    return density_chart(curves, means, title=title, x_title="cosine") if curves else Markup("")


def _curves(run: Run) -> tuple[tuple[str, Markup], ...]:
    axes = {
        "deletion": ("hottest words removed first: lower is better", "share of words removed"),
        "insertion": ("hottest words put in first: higher is better", "share of words put in"),
    }
    found = []
    for name, (what, x_title) in axes.items():
        curves = sorted(curves_of(run.points, f"{name} curve"), key=lambda curve: method_order(curve.name))
        if curves:
            title = f"{name.capitalize()}: {what}"
            found.append((title, line_chart(curves, title=title, x_title=x_title)))
    return tuple(found)


def _ratios(run: Run) -> tuple[tuple[str, Markup], ...]:
    curves = sorted(curves_of(run.points, RATIO), key=lambda curve: method_order(curve.name))
    return tuple((curve.name, _ratio(curve)) for curve in curves)


def _ratio(curve: Curve) -> Markup:
    """Accuracy by ratio without the few choices at either end, in powers of ten where ratios differ by those."""
    total = max(point.items for point in curve.points)
    inner = tuple(p for p in curve.points if RATIO_ENDS[0] * total <= p.items <= RATIO_ENDS[1] * total)
    points = inner if len(inner) > 2 else curve.points
    positive = tuple(point for point in points if point.x > 0)
    is_wide = points[0].x >= 0 and len(positive) > 2 and positive[-1].x > 1000 * positive[0].x
    return line_chart(
        [Curve(curve.name, positive if is_wide else points)],
        title=f"Accuracy by ratio under {curve.name}",
        x_title="heat of relation words / heat of object words, at most",
        unit="share",
        is_logarithmic=is_wide,
    )


def _texts(run: Run) -> dict[str, str]:
    """Captions as records hold them."""
    texts = {patches.item: patches.text for patches in run.maps}
    texts |= {choice.item: choice.caption for choice in run.choices}
    return texts | {example.item: example.caption for example in run.examples}


def _image_maps(run: Run, shaded: Mapping[str, Rows]) -> tuple[ImageMaps, ...]:
    """Of every caption whose maps and picture were kept."""
    pictures = {picture.image: picture for picture in run.pictures}
    by_item: dict[str, list[PatchMap]] = {}
    for patches in run.maps:
        if patches.image in pictures:
            by_item.setdefault(patches.item, []).append(patches)
    return tuple(image_maps(found, pictures[found[0].image], shaded[item]) for item, found in by_item.items())


def _rows(measurements: Sequence[Measurement]) -> list[Row]:
    """Rows of the full table, the method named with each measure."""
    ordered = sorted(measurements, key=lambda m: method_order(m.method) if m.method else (-1, ""))
    return [replace(row, label=_label(row.measurement)) for row in rows_of(ordered)]


def _label(m: Measurement) -> str:
    return f"{m.method}: {m.measure}" if m.method else m.measure
