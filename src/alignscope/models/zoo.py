"""Names and paths to models; torch loads with the first model, not with this file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alignscope.errors import BadInput, CheckpointError, UnknownName, Unsupported
from alignscope.registry import Registry, did_you_mean

if TYPE_CHECKING:
    from alignscope.models.protocols import DualEncoder, PairScorer

MODELS = Registry(
    "model",
    {
        f"tiny-{family}": f"alignscope.models.pretrained:tiny_{family}"
        for family in ("clip", "lxmert", "rosita", "uniter", "vilbert")
    },
)
CAPTIONERS = Registry(
    "captioner",
    {
        "tiny-vinvl": "alignscope.models.pretrained:tiny_vinvl",
        "tiny-vinvl-scenes": "alignscope.models.pretrained:tiny_vinvl_scenes",
    },
)
"""What `open_captioner` opens by name: captioners that write and give no score."""
WEIGHTS = (".pt", ".bin", ".safetensors", ".pth", ".pkl")
"""Endings of a file of weights alone: open_clip's, or those of the authors of models that read regions."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
Scoring = Literal["likelihood", "information", "yes"]
Kind = Literal["registered", "open_clip", "official", "dual", "cross", "captioner"]
TAKES: dict[Kind, tuple[str, tuple[str, ...]]] = {
    "registered": ("a model that comes with the package", ()),
    "open_clip": ("a checkpoint of open_clip", ("activation", "tokenizer")),
    "official": ("a file of a model that reads regions", ("tokenizer", "match_index")),
    "dual": ("a dual encoder", ()),
    "cross": ("a model that reads image and text together", ("match_index",)),
    "captioner": ("a generative model", ("scoring",)),
}
"""What each kind is, and which choices apply to it."""


def open_model(
    name_or_path: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    activation: str | None = None,
    tokenizer: str | Path | None = None,
    match_index: int | None = None,
    scoring: Scoring | None = None,
) -> PairScorer:
    """A model by its registered name, the directory or file it lies in, or its hub id, in this order.

    A directory or hub id is what its config.json says, a file of weights what its keys say. `activation` is
    for weights of open_clip, which do not tell it; `tokenizer` for any file of weights; `match_index` for
    matching heads with two logits, where it turns the sign; `scoring` (likelihood, information or yes) for
    generative models.
    """
    name = str(name_or_path)
    kind = kind_of(name)
    asked = {"activation": activation, "tokenizer": tokenizer, "match_index": match_index, "scoring": scoring}
    what, taken = TAKES[kind]
    if idle := [choice for choice, value in asked.items() if value is not None and choice not in taken]:
        raise BadInput(
            f"{' and '.join(idle)} asked for '{name}', which is {what}: "
            + (f"it takes {' and '.join(taken)} alone" if taken else "it brings its own, leave it out")
        )
    if kind == "registered":
        return MODELS[name](device=device, dtype=dtype)
    if kind == "open_clip":
        from alignscope.models.dual.openclip import load_openclip

        return load_openclip(name, activation=activation, tokenizer=tokenizer, device=device, dtype=dtype)
    if kind == "official":
        from alignscope.models.cross.official import load_official

        return load_official(
            name, tokenizer=tokenizer, device=device, dtype=dtype, match_index=match_index
        ).scorer
    if kind == "cross":
        from alignscope.models.cross import loading as cross

        return cross.load(name, device=device, dtype=dtype, match_index=match_index)
    if kind == "captioner":
        from alignscope.models.captioners import loading as captioners

        return captioners.load(name, device=device, dtype=dtype, scoring=scoring)
    from alignscope.models.dual.loading import load

    return load(name, device=device, dtype=dtype)


def open_models(names: Sequence[str], *, device: str, dtype: str, **choices: Any) -> list[PairScorer]:
    """Models of several names, each with those choices that it takes; one that none takes is refused."""
    kinds = [kind_of(name) for name in names]
    idle = {choice for choice in choices if not any(choice in TAKES[kind][1] for kind in kinds)}
    return [
        open_model(
            name,
            device=device,
            dtype=dtype,
            **{choice: each for choice, each in choices.items() if choice in idle | {*TAKES[kind][1]}},
        )
        for name, kind in zip(names, kinds, strict=True)
    ]


def open_dual(
    name_or_path: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    activation: str | None = None,
    tokenizer: str | Path | None = None,
) -> DualEncoder:
    """As `open_model`, where only a dual encoder will do: what is trained or exported is one."""
    name = str(name_or_path)
    kind = kind_of(name)
    if kind in ("official", "cross", "captioner"):
        raise Unsupported(
            f"'{name}' is {TAKES[kind][0]}, wanted a dual encoder (an embedding each for image and text): "
            "only these are trained and exported; `alignscope list models` tells them"
        )
    model = open_model(name, device=device, dtype=dtype, activation=activation, tokenizer=tokenizer)
    if model.traits.family != "dual":
        raise Unsupported(
            f"'{name}' is no dual encoder but of the family '{model.traits.family}', wanted an embedding each for "
            "image and text: only these are trained and exported; `alignscope list models` tells them"
        )
    return model  # type: ignore[return-value]


def kind_of(name: str) -> Kind:
    """What opens a name: the registry, or the loader that its files ask for; nothing is loaded but names."""
    path = Path(name)
    if name in MODELS:
        return "registered"
    if name in CAPTIONERS:
        raise Unsupported(
            f"'{name}' is a captioner that writes and gives no score: `open_captioner` opens it; of scorers, "
            f"take one of {', '.join(MODELS)}"
        )
    if path.is_dir() and is_openclip(path):
        return "open_clip"
    if path.is_file() and path.suffix in WEIGHTS:
        return _kind_of_file(path)
    if (path / "config.json").is_file() or looks_like_hub_id(name):
        return _kind_by_architecture(name)
    if path.is_dir():
        return "dual"  # without a config.json: its loader says so
    there = "a file" if path.exists() else "no directory"
    raise UnknownName(
        f"no model named '{name}', and it is {there}: {did_you_mean(name, list(MODELS))}; "
        "a path must be a directory with config.json or open_clip_config.json, or a file of weights of open_clip, "
        f"UNITER, ROSITA, ViLBERT or LXMERT ({', '.join(WEIGHTS)}); a hub id reads organisation/name"
    )


def _kind_of_file(path: Path) -> Kind:
    from alignscope.models.cross.official import contents, layout_of, stranger

    keys = contents(path)
    if layout_of(keys) is not None:
        return "official"
    if what := stranger(keys):
        raise CheckpointError(
            f"{path} holds {what}; wanted weights of open_clip, or the authors' file of UNITER, ROSITA, ViLBERT or LXMERT"
        )
    beside = path.parent / "config.json"
    if beside.is_file() and _kind_by_architecture(str(path.parent)) in ("cross", "captioner"):
        raise CheckpointError(f"{path} lies beside its config.json: give the directory, {path.parent}")
    return "open_clip"


def _kind_by_architecture(name: str) -> Kind:
    from alignscope.models.cross import loading as cross
    from alignscope.models.dual.families import FAMILIES

    named = cross.architecture(name)
    if named in cross.FAMILIES:
        return "cross"
    if named in FAMILIES or named in {family.model_class for family in FAMILIES.values()}:
        return "dual"
    from alignscope.models.captioners.loading import is_known

    return "captioner" if is_known(named) else "dual"  # whose loader says what it wants


def is_openclip(directory: Path) -> bool:
    """Whether a directory is open_clip's; one that also has a config.json is transformers'."""
    return any(directory.glob("open_clip_*")) and not (directory / "config.json").is_file()


def looks_like_hub_id(name: str) -> bool:
    """Whether a string that is no directory here may be the name of a model on the hub.

    >>> [looks_like_hub_id(n) for n in ("openai/clip-vit-base-patch32", "tiny-clip", "./a/b", "/a/b", "runs/a/b")]
    [True, False, False, False, False]
    """
    return HUB_ID.fullmatch(name) is not None and not name.startswith((".", "~")) and not Path(name).exists()
