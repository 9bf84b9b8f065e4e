"""A model written in another form, read back and compared with itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from PIL import Image
from safetensors import SafetensorError

import alignscope
from alignscope.errors import CheckpointMismatch, UnknownName, Unsupported, UnwritableOutput
from alignscope.files import write_json
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.fresh import save
from alignscope.models.dual.loading import quiet, reason_of
from alignscope.models.dual.openclip_export import save_openclip
from alignscope.models.protocols import DualEncoder
from alignscope.models.zoo import open_dual
from alignscope.registry import did_you_mean
from alignscope.studies.output import RUN, claim

Form = Literal["open_clip", "transformers"]
TOLERANCE = 1e-4
"""In units of the score: what rounding may do, where the scale is 100."""
TEXTS = ("a red ball to the left of a small box", "two dogs run", "")


@dataclass(frozen=True)
class Exported:
    """Where the model lies, and by how much scores of the copy differ at most from its own."""

    directory: Path
    difference: float


def export(model: DualEncoder, out: Path, *, form: Form = "open_clip", overwrite: bool = False) -> Exported:
    """Write `model` to the directory `out` as open_clip or transformers read it.

    The copy is opened and gives a few scores, of images of noise; one that scores otherwise is an error.
    """
    if form not in get_args(Form):
        raise UnknownName(f"no form named '{form}': {did_you_mean(form, get_args(Form))}")
    if not isinstance(model, TransformersDualEncoder):
        raise Unsupported(
            f"{model.name} is a {type(model).__name__}: only dual encoders of transformers are exported"
        )
    identity = {"kind": "export", "version": alignscope.__version__, "model": model.fingerprint, "form": form}
    claim(out, identity, overwrite=overwrite)
    try:
        _write(model, out, form)
    except (OSError, SafetensorError) as error:
        raise UnwritableOutput(f"{out} cannot be written ({reason_of(error)}): name another place") from None
    difference = _difference(model, open_dual(out))
    if difference > TOLERANCE:
        raise CheckpointMismatch(
            f"{out}: scores of the copy differ by {difference:.2g} from those of {model.name}, wanted at most "
            f"{TOLERANCE}: do not use it, and report this with the model's config.json"
        )
    write_json(out / RUN, {"identity": identity, "finished": True, "largest_difference": difference})
    return Exported(out, difference)


def _write(model: TransformersDualEncoder, out: Path, form: Form) -> None:
    if form == "open_clip":
        save_openclip(model, out)
        return
    with quiet():
        save(model.model, model.tokenizer, model.image_processor, out)


def _difference(model: DualEncoder, copy: DualEncoder) -> float:
    """The largest difference between scores of the two."""
    drawn = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, 300, 260, 3), generator=drawn, dtype=torch.uint8)
    images = [Image.fromarray(each.numpy()) for each in noise]
    return (model.score_grid(images, TEXTS) - copy.score_grid(images, TEXTS)).abs().max().item()
