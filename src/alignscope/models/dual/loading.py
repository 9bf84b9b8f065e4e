"""Dual encoders from a directory or a hub id: every key checked, nothing initialised at random, no pickles."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from alignscope.errors import BadInput, CheckpointError, CheckpointMismatch, UnknownName
from alignscope.models.dual.encoder import TransformersDualEncoder, patch_grid
from alignscope.models.dual.families import FAMILIES
from alignscope.models.fingerprint import name_of
from alignscope.registry import did_you_mean

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FAILURES = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    StrictDataclassError,
    SafetensorError,
    pickle.UnpicklingError,
)
"""What transformers raises on broken files."""
EVERY_KEY: dict[str, Any] = {
    "dtype": torch.float32,
    "output_loading_info": True,
    "ignore_mismatched_sizes": True,
    "weights_only": True,
}
"""How `from_pretrained` reads weights so that `check_report` can tell what does not fit, and no pickle runs."""
SHOWN = 8


def load(
    path_or_hub_id: str | Path, *, device: str = "cpu", dtype: str = "float32"
) -> TransformersDualEncoder:
    """A dual encoder ready to score, in evaluation mode; `dtype` is what it computes in."""
    place, number = compute_device(device), compute_dtype(dtype)
    source = str(path_or_hub_id)
    is_local = Path(source).is_dir()
    if is_local and not (Path(source) / "config.json").is_file():
        raise CheckpointError(
            f"{source} is no model directory: it has no config.json; give a directory written by save_pretrained"
        )
    with quiet():
        config = _part("config.json", source, is_local, AutoConfig)
        model = _model(config, source, is_local)
        tokenizer = _tokenizer(source, is_local)
        image_processor = _part("image processor", source, is_local, AutoImageProcessor)
    family = FAMILIES[config.model_type]
    numbers = [model.get_parameter(path) for path in (family.scale, family.bias) if path]
    exact = [each.detach().clone() for each in numbers]
    model.to(place, number).eval()
    check_finite(source, model)
    for each, value in zip(numbers, exact, strict=True):
        each.data = value.to(place)  # the score is computed in float32: its scale and bias stay exact
    name = name_of(source)
    encoder = TransformersDualEncoder(model, tokenizer, image_processor, name=name)
    check_image_size(source, config.vision_config, encoder.image_transform.pixels)
    return encoder


def check_image_size(source: str, tower: Any, pixels: Callable[[Image.Image], Tensor]) -> None:
    """Where the tower (its configuration) has a fixed grid of patches, `pixels` gives images that fill it."""
    if patch_grid(tower) is None:
        return
    size = tower.image_size
    wanted = (size, size) if isinstance(size, int) else tuple(size)
    got = tuple(pixels(Image.new("RGB", (9, 7))).shape[-2:])
    if got != wanted:
        raise CheckpointMismatch(
            f"{source}: its image processor gives {got[0]} x {got[1]} pixels (height x width), its image tower wants "
            f"{wanted[0]} x {wanted[1]}: give the preprocessor_config.json the model was trained with"
        )


def compute_device(device: str) -> torch.device:
    """The device of that name, if this machine has it."""
    try:
        torch.zeros(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"no device '{device}' here ({reason}): use cpu, or cuda where there is a GPU"
        ) from None


def compute_dtype(dtype: str) -> torch.dtype:
    """The number format of that name.

    >>> compute_dtype("bfloat16")
    torch.bfloat16
    >>> compute_dtype("bfloat61")
    Traceback (most recent call last):
    ...
    alignscope.errors.UnknownName: no dtype named 'bfloat61': did you mean 'bfloat16'?
    """
    if dtype not in DTYPES:
        raise UnknownName(f"no dtype named '{dtype}': {did_you_mean(dtype, list(DTYPES))}")
    return DTYPES[dtype]


def _model(config: Any, source: str, is_local: bool) -> PreTrainedModel:
    """The model of the class the configuration names, filled key by key."""
    kind = config.model_type
    named = (config.architectures or [None])[0]
    if kind not in FAMILIES or named not in (None, FAMILIES[kind].model_class):
        wanted = ", ".join(family.model_class for family in FAMILIES.values())
        raise CheckpointError(
            f"{source} is a {named or kind}, wanted a dual encoder: {wanted}; `alignscope list models` tells what "
            "else can be opened, and as which class"
        )
    try:
        model, report = getattr(transformers, FAMILIES[kind].model_class).from_pretrained(
            source,
            config=config,
            local_files_only=is_local,
            **EVERY_KEY,
        )
    except FAILURES as error:
        raise broken("weights", source, is_local, error) from None
    check_report(source, report)
    return model


def check_report(source: str, report: Mapping[str, Iterable[Any]], *, but: str | None = None) -> None:
    """`check_keys` of what transformers tells of a model read with `EVERY_KEY`; keys that end in `but` may be
    left over."""
    left_over = [key for key in report["unexpected_keys"] if but is None or not key.endswith(but)]
    check_keys(source, report["missing_keys"], left_over, report["mismatched_keys"])


def check_keys(
    source: str,
    missing: Iterable[str],
    left_over: Iterable[str],
    misshapen: Iterable[Any],
    *,
    wanted: str = "its config.json",
) -> None:
    """Every weight of the architecture is in the checkpoint, in its shape, and nothing else is.

    >>> check_keys("m", ["a.weight"], [], [])
    Traceback (most recent call last):
    ...
    alignscope.errors.CheckpointMismatch: m does not fit its config.json: 1 missing (a.weight); 0 left over; 0 of a wrong shape
    """
    wrong_shapes = [
        f"{name}: got {tuple(got)}, wanted {tuple(want)}" for name, got, want in sorted(misshapen)
    ]
    lists = {"missing": sorted(missing), "left over": sorted(left_over), "of a wrong shape": wrong_shapes}
    if any(lists.values()):
        parts = [f"{len(names)} {what}{_shown(names)}" for what, names in lists.items()]
        raise CheckpointMismatch(f"{source} does not fit {wanted}: {'; '.join(parts)}")


def check_finite(source: str, model: PreTrainedModel) -> None:
    """No weight is infinite or no number, as it is after a training that diverged or in too narrow a dtype."""
    state = model.state_dict().items()
    odd = [name for name, tensor in state if tensor.is_floating_point() and not tensor.isfinite().all()]
    if odd:
        raise CheckpointError(
            f"{source} has {len(odd)} weights with NaN or infinity in {str(model.dtype).removeprefix('torch.')}"
            f"{_shown(odd)}: give a checkpoint from before training diverged, or try float32"
        )


def reason_of(error: BaseException) -> str:
    """The first line of an error; neither torch's advice to run what a pickle says is passed on, nor the start
    of transformers' list of what a tokenizer may be made of."""
    if isinstance(error, pickle.UnpicklingError):
        return "a pickle that is broken or holds more than tensors; none of its code was run"
    if "instantiate the backend tokenizer" in str(error):
        return "got neither tokenizer.json nor a vocabulary to make it of"
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:300]


def _shown(names: list[str]) -> str:
    if not names:
        return ""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f" ({', '.join(names[:SHOWN])}{more})"


def _tokenizer(source: str, is_local: bool) -> Any:
    """The model's tokenizer; where its class needs a library that is absent, its tokenizer.json."""
    if is_local and not any(
        (Path(source) / f).is_file() for f in ("tokenizer.json", "vocab.json", "vocab.txt")
    ):
        raise CheckpointError(f"{source} has no tokenizer.json: save the model's tokenizer beside it")
    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=is_local, trust_remote_code=False)
    except ImportError:
        return _part("tokenizer.json", source, is_local, PreTrainedTokenizerFast)
    except FAILURES as error:
        raise broken("tokenizer", source, is_local, error) from None


def _part(what: str, source: str, is_local: bool, loader: Any) -> Any:
    try:
        return loader.from_pretrained(source, local_files_only=is_local, trust_remote_code=False)
    except FAILURES as error:
        raise broken(what, source, is_local, error) from None


def broken(what: str, source: str, is_local: bool, error: BaseException) -> CheckpointError:
    """The error of a part that cannot be read, with what to do."""
    remedy = (
        "is the directory complete?"
        if is_local
        else f"there is no directory {source} here; if it is a hub id, fetch it where there is a network "
        f"(hf download {source} --local-dir DIR) and give the directory"
    )
    return CheckpointError(f"{source}: its {what} cannot be loaded ({reason_of(error)}): {remedy}")


@contextmanager
def quiet() -> Iterator[None]:
    """transformers prints no bars and no hints while the `with` lasts: what matters is raised."""
    logs = transformers.utils.logging
    level, had_bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity(logs.CRITICAL)
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if had_bars:
            logs.enable_progress_bar()
