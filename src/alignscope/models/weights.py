"""Files of weights: read without running code, fitted to a model key by key by written rules."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from alignscope.errors import CheckpointError, CheckpointMismatch, Unsupported
from alignscope.models.dual.loading import FAILURES, check_keys, reason_of

WRAPPERS = ("state_dict", "model")
"""Under which a training run keeps a model's weights, beside an optimizer's and counters."""
OLD_NAMES = {"gamma": "weight", "beta": "bias"}
"""Parameters of LayerNorm in the first releases of BERT."""
SHOWN = 8


@dataclass(frozen=True, eq=False)
class Fit:
    """Weights under a model's own names, for every one of its keys that is not tied to another.

    `absent` are those of heads that the file lacks: they are set to zero, so that nothing is random, and no
    score may depend on them. `unused` are the file's keys of heads that the model does not have.
    """

    weights: dict[str, Tensor]
    absent: tuple[str, ...]
    unused: tuple[str, ...]


def read(path: Path) -> Any:
    """What a file holds, by safetensors or by an unpickler that makes tensors and plain containers alone."""
    try:
        return load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except (*FAILURES, EOFError, IndexError) as error:
        raise CheckpointError(
            f"{path}: its weights cannot be read ({_fault(path, error)}): is the file whole, and are there only "
            "tensors and numbers in it?"
        ) from None


def _fault(path: Path, error: BaseException) -> str:
    """What keeps a file from being read; of one that torch did not write whole torch says nothing plain."""
    start = b""
    if path.suffix != ".safetensors" and path.is_file():
        with path.open("rb") as file:
            start = file.read(2)
    if start == b"PK" and not zipfile.is_zipfile(path):
        return "it is cut off before its end"
    if start and start != b"PK" and start[:1] != b"\x80":
        return "it begins as no file of torch does"
    return reason_of(error)


def _unpickled(path: Path) -> Any:
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            is_script = any(name.endswith("/constants.pkl") for name in archive.namelist())
        if is_script:
            raise Unsupported(
                f"{path} is a TorchScript archive (OpenAI's original format), which holds code: where you trust "
                f"it, run torch.save(torch.jit.load('{path.name}', map_location='cpu').state_dict(), "
                "'weights.pt') and give weights.pt"
            )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # of files that are refused, or read
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)


def unwrapped(whole: Any) -> Any:
    """The weights inside what a training run saves around them.

    >>> unwrapped({"epoch": 3, "state_dict": {"a": 1}}), unwrapped({"a": 1})
    ({'a': 1}, {'a': 1})
    """
    if isinstance(whole, Mapping):
        for name in WRAPPERS:
            if isinstance(whole.get(name), Mapping):
                return whole[name]
    return whole


def named_tensors(state: Any, source: str | Path) -> dict[str, Tensor]:
    """Names and tensors, or an error that says what else there is."""
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{source} holds a {type(state).__name__}, wanted named tensors (a state_dict)")
    if strange := [
        f"{key}: {type(value).__name__}" for key, value in state.items() if not isinstance(value, Tensor)
    ]:
        raise CheckpointError(
            f"{source} holds what is no tensor ({', '.join(strange[:SHOWN])}): save the model's state_dict()"
        )
    return dict(state)


def read_state(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file, unwrapped, under their canonical names."""
    return canonical(named_tensors(unwrapped(read(path)), path))


def single(state: Mapping[str, Any]) -> dict[str, Any]:
    """Names without the `module.` that a model spread over several devices puts before each.

    >>> single({"module.a": 1, "module.b": 2}), single({"module.a": 1, "b": 2})
    ({'a': 1, 'b': 2}, {'module.a': 1, 'b': 2})
    """
    if all(str(key).startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return dict(state)


def canonical(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without `module.`, LayerNorm's as later releases of BERT have them.

    >>> [*canonical({"module.LayerNorm.gamma": torch.ones(1), "module.LayerNorm.beta": torch.ones(1)})]
    ['LayerNorm.weight', 'LayerNorm.bias']
    """
    stripped = single(state)
    return _under(stripped, {key: _renewed(key) for key in stripped}, "a file")


def _renewed(key: str) -> str:
    stem, dot, last = key.rpartition(".")
    return f"{stem}{dot}{OLD_NAMES.get(last, last)}"


def _under(state: Mapping[str, Tensor], names: Mapping[str, str], source: str) -> dict[str, Tensor]:
    """The tensors under other names; two that would be one are an error."""
    found: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if names[key] in found:
            raise CheckpointMismatch(
                f"{source} has '{names[key]}' twice, under an old and a new name: keep one of the two"
            )
        found[names[key]] = tensor
    return found


def fit(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str,
    rules: str,
    rename: Mapping[str, str] | None = None,
    optional: Iterable[str] = (),
    tied: Mapping[str, str] | None = None,
) -> Fit:
    """Every key of `model` from `state`, in float32; what is missing, left over or of another shape is an error.

    `rename` maps beginnings of the file's keys to those of the model, the first that fits. `optional` are
    beginnings of keys (the model's names) of heads that no score needs: a file may lack them, or have them
    where the model does not. `tied` names for a key the other that holds the same tensor: either may be
    missing, and the two may not differ. `rules` is the file where all this is written. The model itself
    (which may lie on the device "meta") is left as it was.
    """
    tied, heads = dict(tied or {}), tuple(optional)
    wanted = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    given = _under(state, {key: renamed(key, rename or {}) for key in state}, source)
    tied = {key: other for key, other in tied.items() if key in wanted}
    for key, other in tied.items():
        if key in given:
            _check_tied(source, key, other, given)
            given.setdefault(other, given[key])
    missing = [key for key in wanted if key not in given and key not in tied]
    left_over = [key for key in given if key not in wanted]
    check_keys(
        source,
        [key for key in missing if not key.startswith(heads)],
        [key for key in left_over if not key.startswith(heads)],
        [
            (key, tuple(given[key].shape), shape)
            for key, shape in wanted.items()
            if key in given and tuple(given[key].shape) != shape
        ],
        wanted=f"the rules of {rules}",
    )
    weights = {
        key: given[key].to(torch.float32, copy=True) if key in given else torch.zeros(shape)
        for key, shape in wanted.items()
        if key not in tied  # a copy: the file may be mapped into memory
    }
    return Fit(weights, tuple(missing), tuple(left_over))


def renamed(key: str, rename: Mapping[str, str]) -> str:
    """A key with its beginning exchanged.

    >>> renamed("bert.pooler.bias", {"bert.": "lxmert."})
    'lxmert.pooler.bias'
    """
    for old, new in rename.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


def _check_tied(source: str, key: str, other: str, given: Mapping[str, Tensor]) -> None:
    if other in given and not torch.equal(given[key], given[other]):
        raise CheckpointMismatch(
            f"{source}: {key} and {other} differ, and are one tensor in this model: give a file whose heads "
            "were trained together with the model"
        )


def save_tokenizer(tokenizer: Any, directory: Path) -> None:
    """Write a tokenizer as it was made: a call leaves its truncation and padding in it, which is no part of it."""
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is not None:
        core.no_truncation()
        core.no_padding()
    tokenizer.save_pretrained(directory)
