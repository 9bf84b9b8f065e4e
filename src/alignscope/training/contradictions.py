"""What must hold of the entries of a recipe beyond their types, as rules that are read off a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from alignscope.evaluation.measures import MEASURES
from alignscope.records import FOIL_KINDS
from alignscope.training import recipe, settings

TEXT_ONLY = {"attention", "perturbation"}
"""Attributions whose heats carry no gradient to the image tower: the map has no image in it; eq. 9 stops it."""


class Rule(NamedTuple):
    """Entries of a section as dotted paths, what must hold of their values and how that is asked for.

    A path that begins with `/` counts from the top of the file, others from the section. A rule is silent where one of
    its entries could not be read or is in a section that is left out.
    """

    entries: tuple[str, ...]
    holds: Callable[..., bool]
    wanted: str


def _rule(entries: str, holds: Callable[..., bool], wanted: str) -> Rule:
    return Rule(tuple(entries.split()), holds, wanted)


def _at_least(least: int, entries: str) -> tuple[Rule, ...]:
    return tuple(_rule(entry, lambda n: n >= least, f"{least} or more") for entry in entries.split())


def _above_zero(entries: str) -> tuple[Rule, ...]:
    return tuple(_rule(entry, lambda n: n > 0, "more than 0") for entry in entries.split())


def _shares(entries: str) -> tuple[Rule, ...]:
    return tuple(_rule(entry, lambda n: 0 <= n <= 1, "a share between 0 and 1") for entry in entries.split())


def _filled(entries: str) -> tuple[Rule, ...]:
    return tuple(
        _rule(entry, lambda text: text != "", "a text that is not empty") for entry in entries.split()
    )


def _shares_below_one(entries: str) -> tuple[Rule, ...]:
    wanted = "a share from 0 to below 1"
    return tuple(_rule(entry, lambda share: 0 <= share < 1, wanted) for entry in entries.split())


def _each_once(entry: str) -> Rule:
    return _rule(entry, lambda items: 0 < len(items) == len(set(items)), "one or more, each once")


NAMED = _rule(
    "name",
    lambda name: name not in ("", ".", "..") and not set(name) & set("/\\\0"),
    "a name that can be one of a folder: it is not empty and has no slash",
)
SEEDED = _rule("seed", lambda seed: 0 <= seed < 2**63, "a whole number between 0 and 2**63 - 1")

FINE_TUNING = (
    NAMED,
    *_filled("model"),
    SEEDED,
    *_at_least(2, "batch"),
    *_at_least(0, "epochs steps warmup weight_decay max_norm contrastive micro_batch"),
    *_at_least(1, "log_every save_every"),
    *_above_zero("learning_rate"),
    *_shares("unreadable"),
    _rule("activation", lambda name: name in ("", "quick_gelu", "gelu"), "'quick_gelu', 'gelu' or nothing"),
    _rule("epochs steps", lambda epochs, steps: (epochs > 0) != (steps > 0), "exactly one of the two"),
    _rule(
        "data.kind steps",
        lambda kind, steps: kind not in ("shards", "parquet") or steps > 0,
        "steps: nobody knows how many samples a stream has",
    ),
    _rule("warmup steps", lambda warmup, steps: steps <= 0 or warmup <= steps, "no more warm-up than steps"),
    _rule(
        "warmup steps attribution.weight",
        lambda warmup, steps, weight: weight != "matched" or steps <= 0 or warmup != steps,
        "a number as weight, or steps after the warm-up, in which it is matched",
    ),
    _rule("micro_batch batch", lambda part, batch: part <= batch, "parts no larger than the batch"),
    _rule("batch data.images", lambda batch, n: isinstance(n, str) or batch <= n, "at most as many as images"),
    _rule(
        "contrastive attribution",
        lambda weight, plan: weight > 0 or plan is not None,
        "a loss: a contrastive above 0 or a section [attribution]",
    ),
    _rule(
        "contrastive attribution.weight",
        lambda contrastive, weight: contrastive > 0 or weight not in ("matched", 0),
        "a number above 0 as weight: without a contrastive loss nothing can be matched",
    ),
    _rule(
        "contrastive negatives",
        lambda weight, plan: weight > 0 or plan is None,
        "no [negatives], or a contrastive above 0: wrong captions stand in that loss alone",
    ),
    _rule(
        "trains attribution.methods",
        lambda trains, methods: trains != "image" or not TEXT_ONLY & set(methods),
        "methods that reach the image tower (gradcam, gradient), or a text tower that is trained",
    ),
    _rule(
        "trains attribution.trains_image",
        lambda trains, reaches: trains != "image" or reaches,
        "trains_image = true, or a text tower that is trained: else this loss trains nothing",
    ),
    _rule(
        "trains attribution.weight",
        lambda trains, weight: trains != "image" or weight != "matched",
        "a number as weight: it is matched over the text tower, which is not trained",
    ),
    _rule(
        "trains distillation",
        lambda trains, plan: trains != "text" or plan is None,
        "an image tower that is trained: the teacher looks at its embeddings alone",
    ),
    _rule(
        "negatives.source data.kind",
        lambda source, kind: source == "made" or kind in ("table", "world"),
        "source = 'made', or data that bring wrong captions (table, world)",
    ),
    _rule(
        "negatives.form data.kind",
        lambda form, kind: form != "full" or kind in ("table", "world"),
        "form = 'text' or 'own', or data that know similar images (table, world)",
    ),
    _rule(
        "negatives.source negatives.kinds data.kind",
        lambda source, kinds, data: (
            (source == "own" and data == "table") or set(kinds) <= set(_kinds(source))
        ),
        f"kinds of {', '.join(settings.SWAPS_AND_REPLACEMENTS)}; as a world's own also the others of "
        f"{', '.join(FOIL_KINDS)}",
    ),
    _rule(
        "negatives.each negatives.kinds negatives.source data.kind",
        lambda each, kinds, source, data: (source == "own" and data == "table") or each <= len(kinds),
        "each no larger than the number of kinds",
    ),
    _rule("data validation.data", lambda data, held: not _same(data, held), "pairs that are not trained on"),
)  # fmt: skip


def _kinds(source: str) -> tuple[str, ...]:
    return settings.SWAPS_AND_REPLACEMENTS if source == "made" else FOIL_KINDS


def _same(data: Any, held: Any) -> bool:
    """Whether two plans name the same pairs; scenes of one split and seed begin alike, however many."""
    scenes = settings.SceneData
    if isinstance(data, scenes) and isinstance(held, scenes):
        return (data.split, data.seed) == (held.split, held.seed)
    return bool(data == held)


SEEN_BY = {
    "fc": "mean region",
    "attention-lstm": "regions",
    "transformer": "regions",
    "oscar": "labelled",
}
"""What new captioners see of the world."""
CAPTION_STAGE = (
    *_at_least(0, "epochs steps"),
    _rule("epochs steps", lambda epochs, steps: (epochs > 0) != (steps > 0), "exactly one of the two"),
    *_at_least(1, "images"),
    _rule(
        "images /data.images",
        lambda images, n: isinstance(n, str) or images <= n,
        "at most as many as images",
    ),
    *_above_zero("learning_rate most_gradient"),
)

RULES: Mapping[type, tuple[Rule, ...]] = {
    settings.FineTuning: FINE_TUNING,
    settings.CocoData: _filled("captions images"),
    settings.TableData: _filled("table images"),
    settings.ShardData: (_each_once("files"), *_filled("captions"), *_at_least(1, "buffer")),
    settings.ParquetData: (_each_once("files"), *_filled("image caption"), *_at_least(1, "buffer")),
    settings.SceneData: (SEEDED, *_at_least(1, "images captions_per_image")),
    settings.Augmentation: (
        _rule("scale", lambda span: 0 < span[0] <= span[1] <= 1, "shares of the area: 0 < low <= high <= 1"),
        _rule("ratio", lambda span: 0 < span[0] <= span[1], "ratios in order: 0 < low <= high"),
    ),
    settings.AttributionPlan: (
        _each_once("methods"),
        _rule("weight", lambda weight: weight == "matched" or weight >= 0, "'matched', or 0 or more"),
        *_above_zero("ratio temperature"),
        *_at_least(1, "batches draws"),
        *_at_least(0, "units"),
        _rule("layers", lambda span: isinstance(span, str) or span[0] < span[1], "a first layer below the stop"),
        _rule(
            "normalize methods",
            lambda how, methods: how != "sum" or "perturbation" not in methods,
            "normalize = 'method' or 'none': heats of perturbation may be negative and add up to nearly 0",
        ),
    ),
    settings.NegativePlan: (
        _each_once("kinds"),
        *_at_least(1, "each"),
        *_above_zero("weight"),
        _rule("form weight", lambda form, weight: form == "own" or weight == 1, "a weight with form = 'own' only"),
    ),
    settings.ValidationPlan: (
        *_at_least(2, "pairs"),
        *_at_least(1, "every"),
        _rule("pairs data.images", lambda n, images: isinstance(images, str) or n <= images, "at most the images"),
    ),
    settings.LoraPlan: (
        *_at_least(1, "rank"),
        *_above_zero("alpha"),
        *_shares_below_one("dropout"),
    ),
    settings.DistillationPlan: (*_filled("model"), *_above_zero("weight")),
    recipe.Recipe: (
        NAMED,
        SEEDED,
        *_at_least(1, "threads check_every save_every"),
        _rule("stages", lambda stages: len(stages) > 0, "at least one [[stages]] table"),
    ),
    recipe.Matching: (
        NAMED,
        SEEDED,
        *_at_least(1, "threads check_every save_every steps"),
        *_at_least(2, "batch"),
        _rule("batch data.images", lambda batch, images: batch <= images, "at most as many as images"),
        *_at_least(0, "warmup weight_decay foils in_batch"),
        _rule("in_batch batch", lambda n, batch: n < batch, "fewer than the batch"),
        _rule("in_batch foils", lambda n, foils: n + foils > 0, "a wrong caption of some sort"),
        *_above_zero("learning_rate max_norm"),
        _rule("warmup steps", lambda warmup, steps: warmup <= steps, "no more warm-up than steps"),
        _rule("foil_kinds", lambda kinds: set(kinds) <= set(FOIL_KINDS), f"kinds of {', '.join(FOIL_KINDS)}"),
        _rule("foils foil_kinds", lambda n, kinds: n <= len(kinds), "foils no more than their kinds"),
    ),
    recipe.Scorer: (
        *_at_least(1, "width heads mlp layers context_length feature_width"),
        *_at_least(0, "image_layers cross_layers"),
        *_above_zero("initializer_range"),
        *_shares_below_one("dropout"),
        _rule("width heads", lambda width, heads: width % heads == 0, "a multiple of heads"),
    ),
    recipe.WorldData: (SEEDED, *_at_least(1, "images captions_per_image")),
    recipe.Tower: _at_least(1, "width layers heads mlp"),
    recipe.Architecture: _at_least(1, "image_size patch_size embedding context_length"),
    recipe.Register: _shares("attribute_rate relation_rate scene_rate size_rate object_rate"),
    recipe.Stage: (
        *_at_least(1, "steps batch"),
        _rule("batch /data.images", lambda batch, images: batch <= images, "at most as many as images"),
        *_at_least(0, "warmup weight_decay foils"),
        *_above_zero("learning_rate max_norm"),
        *_shares("grouped"),
        *_at_least(2, "group"),
        _rule("warmup steps", lambda warmup, steps: warmup <= steps, "no more warm-up than steps"),
        _rule("foil_kinds", lambda kinds: set(kinds) <= set(FOIL_KINDS), f"kinds of {', '.join(FOIL_KINDS)}"),
        _rule("foils foil_kinds", lambda n, kinds: n <= len(kinds), "foils no more than their kinds"),
    ),
    recipe.Captioning: (
        NAMED,
        SEEDED,
        *_at_least(1, "threads words_read longest log_every save_every"),
        *_at_least(0, "threshold"),
        _rule(
            "stages captioner.kind",
            lambda stages, kind: len(stages) > 0 or kind == "saved",
            "at least one [[stages]] table, except of a saved captioner",
        ),
        _rule(
            "captioner.kind data.sees",
            lambda kind, sees: SEEN_BY.get(kind, sees) == sees,
            "what the captioner takes: 'mean region' for fc, 'regions' for attention-lstm and transformer, "
            "'labelled' for oscar",
        ),
    ),
    recipe.WorldCaptions: (
        SEEDED,
        *_at_least(1, "images validation test captions_per_image feature_width"),
        _rule(
            "register says",
            lambda register, says: (register is None) == (says == "scenes"),
            "a register for captions of objects, and none for those of scenes",
        ),
    ),
    recipe.HighLevelCaptions: (SEEDED, *_filled("train test regions"), *_at_least(1, "validation")),
    recipe.OscarCaptions: _filled("train validation test"),
    recipe.KarpathyCaptions: (
        *_filled("captions"),
        *_at_least(0, "most"),
        _rule("features images", lambda *folders: any(folders), "features, or images where a captioner sees those"),
    ),
    recipe.FcPlan: (*_at_least(1, "hidden"), *_shares_below_one("dropout")),
    recipe.AttentionLstmPlan: (*_at_least(1, "hidden attention"), *_shares_below_one("dropout")),
    recipe.TransformerPlan: (
        *_at_least(1, "hidden layers heads mlp"),
        *_shares_below_one("dropout"),
        _rule("hidden heads", lambda hidden, heads: hidden % heads == 0, "a multiple of heads"),
    ),
    recipe.OscarPlan: (
        *_at_least(1, "hidden layers heads mlp"),
        *_shares_below_one("dropout"),
        *_above_zero("initializer_range"),
        _rule("hidden heads", lambda hidden, heads: hidden % heads == 0, "a multiple of heads"),
        _rule(
            "caption_length /words_read /longest",
            lambda slot, read, longest: slot - 2 >= read and slot - 1 >= longest,
            "room for words_read with start and end, and for longest with the start",
        ),
        _rule("caption_length text_length", lambda slot, both: slot < both, "a text_length with room for labels"),
    ),
    recipe.SavedCaptioner: _filled("path"),
    recipe.ScorerPlan: (*_filled("model"), *_above_zero("scale weight")),
    recipe.CiderPlan: _above_zero("weight"),
    recipe.MeasurePlan: (
        _rule("name", lambda name: name in MEASURES, "a measure of an installed package (entry points `alignscope.measure`)"),
        *_above_zero("weight"),
    ),
    recipe.MaskedCaption: (
        *CAPTION_STAGE,
        *_at_least(1, "most_masked"),
        *_at_least(0, "validate_every weight_decay drop_worst_after"),
        *_shares("masked"),
        *_shares_below_one("label_smoothing drop_worst"),
        _rule("/captioner.kind", lambda kind: kind in ("oscar", "saved"), "oscar, or a saved captioner that is one"),
    ),
    recipe.CrossEntropy: (
        *CAPTION_STAGE,
        *_at_least(1, "captions decay_every sampling_every validate_every"),
        *_above_zero("decay"),
        *_shares("sampling most_sampling"),
    ),
    recipe.SelfCritical: (
        *CAPTION_STAGE,
        *_at_least(1, "samples validate_every"),
        *_shares("most_repetition most_cut"),
        _rule("reward", lambda parts: len(parts) > 0, "at least one part"),
        _rule(
            "baseline samples",
            lambda baseline, samples: baseline == "greedy" or samples > 1,
            "2 or more samples, or baseline = 'greedy'",
        ),
    ),
}  # fmt: skip
