"""Object detectors of transformers (DETR and its kin) as a source of regions for any image.

The regions of UNITER, ROSITA, ViLBERT, LXMERT and VisualBERT come from a Faster R-CNN that was trained on
Visual Genome (Anderson et al. 2018). These here do not, whatever their width, and say so in `made_by`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from PIL.Image import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModelForObjectDetection, PreTrainedModel

from alignscope.errors import CheckpointError, MissingExtra
from alignscope.models.cross.pixels import pixels
from alignscope.models.dual.loading import (
    EVERY_KEY,
    FAILURES,
    broken,
    check_finite,
    check_report,
    compute_device,
    quiet,
    reason_of,
)
from alignscope.models.fingerprint import CLASS_NAMES, name_of, whole
from alignscope.models.hub import look_for
from alignscope.records import Regions

AT_LEAST = 10
"""Regions kept whatever their confidence, as in bottom-up attention's 10 to 100 boxes per image."""
MIN_SIDE = 1.0
"""Pixels; a box that is narrower inside its image is no region."""
COUNTER = ".num_batches_tracked"
"""Of batch normalisation in training; published checkpoints hold some that no frozen layer takes."""
EXTRA = "pip install 'alignscope[detector]'"


class Family(NamedTuple):
    """Where a kind of detector keeps its convolution features, and how its logits become confidences."""

    backbone: (
        str | None
    )  # path of the module whose last output is a map; None where there are no convolutions
    has_no_object: bool  # softmax with a last class for "nothing here"; a sigmoid of each class otherwise


FAMILIES = {
    "conditional_detr": Family("model.backbone", has_no_object=False),
    "d_fine": Family("model.backbone", has_no_object=False),
    "dab-detr": Family("model.backbone.conv_encoder", has_no_object=False),
    "deformable_detr": Family("model.backbone", has_no_object=False),
    "detr": Family("model.backbone", has_no_object=True),
    "rt_detr": Family("model.backbone", has_no_object=False),
    "rt_detr_v2": Family("model.backbone", has_no_object=False),
    "table-transformer": Family("model.backbone.conv_encoder", has_no_object=True),
    "yolos": Family(None, has_no_object=True),
}
"""By `model_type`. With a backbone of timm (as config.json says) they need that package, else none beyond ours."""


class Prepared(NamedTuple):
    """An image as the detector takes it, and its own size in pixels."""

    name: str
    width: int
    height: int
    pixels: Float[Tensor, "channel row column"]


@final
class Detector:
    """A detector ready to look at images, in evaluation mode and float32."""

    def __init__(self, model: PreTrainedModel, image_processor: Any, *, name: str) -> None:
        self.model, self.image_processor, self.name = model, image_processor, name
        self.family = FAMILIES[model.config.model_type]

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over weights, configuration (with the names of classes) and preprocessing."""
        images = json.loads(self.image_processor.to_json_string())
        return whole(self.model, {name: part for name, part in images.items() if name not in CLASS_NAMES})

    @property
    def features(self) -> str:
        """What a region's features are, in words."""
        if self.family.backbone is None:
            return "last hidden state of the query"
        return "mean of the last backbone map under the box"

    @property
    def made_by(self) -> str:
        """What records say of their origin."""
        return (
            f"{self.name}@{self.fingerprint[:12]} ({self.features}; "
            "NOT the Visual Genome features that region models were trained on)"
        )

    def prepared(self, name: str, image: Image) -> Prepared:
        """An image in the detector's size and without padding; a `BadImage` where that cannot be."""
        return Prepared(
            name, image.width, image.height, pixels(self.image_processor, image, do_pad=False).float()
        )

    @torch.inference_mode()
    def detect(self, images: Sequence[Prepared], *, regions: int = 36, score: float = 0.2) -> list[Regions]:
        """The regions of each image, the most confident first; none where no box has an area in the image.

        At most `regions`; of those below `score` only so many that there are `AT_LEAST`, as far as the detector
        has boxes for them. Images of one shape go through together, so that none is padded.
        """
        groups: dict[torch.Size, list[int]] = {}
        for place, image in enumerate(images):
            groups.setdefault(image.pixels.shape, []).append(place)
        found: dict[int, Regions] = {}
        for places in groups.values():
            batch = torch.stack([images[place].pixels for place in places]).to(self.model.device)
            with self._maps() as maps:
                output = self.model(pixel_values=batch)
            logits, boxes, hidden = (
                each.float().cpu() for each in (output.logits, output.pred_boxes, output.last_hidden_state)
            )
            for row, place in enumerate(places):
                seen = maps[0][row].float().cpu() if maps else hidden[row, -len(boxes[row]) :]
                found[place] = self._regions(
                    images[place], logits[row], boxes[row], seen, regions=regions, score=score
                )
        return [found[place] for place in range(len(images))]

    def _regions(
        self,
        image: Prepared,
        logits: Float[Tensor, "query class"],
        boxes: Float[Tensor, "query 4"],
        seen: Float[Tensor, "..."],
        *,
        regions: int,
        score: float,
    ) -> Regions:
        """One image's record from what the detector said of it."""
        confidences, classes = confidences_of(logits, has_no_object=self._has_no_object)
        shares = corners(boxes)
        sides = torch.tensor([image.width, image.height] * 2, dtype=torch.float32)
        best = chosen(confidences, shares * sides, regions=regions, score=score)
        shares = shares[best]
        features = seen[best] if self.family.backbone is None else means_under(seen, shares)
        names = self.model.config.id2label
        return Regions(
            *(image.name, image.width, image.height, (shares * sides).numpy(), features.numpy()),
            tags=tuple(names[number] for number in classes[best].tolist()),
            confidences=confidences[best].numpy(),
            made_by=self.made_by,
        )

    @property
    def _has_no_object(self) -> bool:
        """Of RT-DETR and its heirs the configuration says it."""
        return self.family.has_no_object or not getattr(self.model.config, "use_focal_loss", True)

    @contextmanager
    def _maps(self) -> Iterator[list[Float[Tensor, "image channel row column"]]]:
        """The backbone's last map of a forward while the `with` lasts; none where there is no backbone."""
        maps: list[Tensor] = []
        if self.family.backbone is None:
            yield maps
            return

        def keep(module: Any, inputs: Any, output: Any) -> None:
            maps.append(output[-1][0])  # one (map, mask) per stage

        hook = self.model.get_submodule(self.family.backbone).register_forward_hook(keep)
        try:
            yield maps
        finally:
            hook.remove()


def confidences_of(
    logits: Float[Tensor, "query class"], *, has_no_object: bool
) -> tuple[Float[Tensor, " query"], Int[Tensor, " query"]]:
    """The greatest probability of a class for each query, and which class it is."""
    probabilities = logits.softmax(-1)[:, :-1] if has_no_object else logits.sigmoid()
    confidences, classes = probabilities.max(-1)
    return confidences, classes


def corners(boxes: Float[Tensor, "query 4"]) -> Float[Tensor, "query 4"]:
    """Centre and size to left, top, right, bottom, clipped into the image; all as shares of its sides.

    >>> corners(torch.tensor([[0.5, 0.5, 0.5, 2.0]])).tolist()
    [[0.25, 0.0, 0.75, 1.0]]
    """
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1).clamp(0, 1)


def chosen(
    confidences: Float[Tensor, " query"],
    boxes: Float[Tensor, "query 4"],
    *,
    regions: int,
    score: float,
) -> Int[Tensor, " region"]:
    """Queries of the regions to keep, by confidence and then by their own order; see `Detector.detect`."""
    sides = boxes[:, 2:] - boxes[:, :2]
    is_box = (sides >= MIN_SIDE).all(-1) & confidences.isfinite()  # false of what is no number
    order = confidences.masked_fill(~is_box, -1).argsort(descending=True, stable=True)
    order = order[is_box[order]][:regions]
    sure = int((confidences[order] >= score).sum())
    return order[: max(sure, AT_LEAST)]


def means_under(
    features: Float[Tensor, "channel row column"], shares: Float[Tensor, "region 4"]
) -> Float[Tensor, "region channel"]:
    """The mean of a map over the cells whose centres lie in each box.

    Where a box holds no centre of a row (or column), it is the row (or column) that the box's own centre is in.
    """
    left, top, right, bottom = rearrange(shares, "region side -> side region")
    down = _cells(top, bottom, features.shape[1]).float()
    across = _cells(left, right, features.shape[2]).float()
    sums = einsum(features, down, across, "channel row column, region row, region column -> region channel")
    return sums / (down.sum(1) * across.sum(1))[:, None]


def _cells(
    start: Float[Tensor, " region"], end: Float[Tensor, " region"], count: int
) -> Bool[Tensor, "region cell"]:
    """Which of so many equal cells lie between start and end, at least one."""
    centres = (torch.arange(count) + 0.5) / count
    inside = (centres >= start[:, None]) & (centres < end[:, None])
    middle = ((start + end) / 2 * count).long().clamp(max=count - 1)
    nearest = torch.arange(count) == middle[:, None]
    return inside | (nearest & ~inside.any(1, keepdim=True))


def load(path_or_hub_id: str | Path, *, device: str = "cpu") -> Detector:
    """A detector from a directory or a hub id: every key checked, nothing initialised at random, no pickles."""
    place, source = compute_device(device), str(path_or_hub_id)
    is_local = Path(source).is_dir()
    if is_local and not (Path(source) / "config.json").is_file():
        raise CheckpointError(f"{source} is no model directory: it has no config.json; give one that has")
    look_for(source)
    with quiet():
        config = _part("config.json", source, AutoConfig.from_pretrained)
        if config.model_type not in FAMILIES:
            raise CheckpointError(
                f"{source} is a {config.model_type}, wanted a detector of the kinds {', '.join(FAMILIES)}"
            )
        _check_backbone(source, config)
        image_processor = _part("image processor", source, AutoImageProcessor.from_pretrained)
        model, report = _part(
            "weights",
            source,
            AutoModelForObjectDetection.from_pretrained,
            config=config,
            **EVERY_KEY,
        )
    check_report(source, report, but=COUNTER)
    check_finite(source, model)
    name = name_of(source)
    return Detector(model.to(place).eval(), image_processor, name=name)


def _check_backbone(source: str, config: Any) -> None:
    """Refuse a backbone of timm where that package is absent, before anything large is read."""
    backbone: Any = getattr(config, "backbone_config", None)
    if getattr(backbone, "model_type", None) == "timm_backbone" and importlib.util.find_spec("timm") is None:
        raise MissingExtra(
            f"{source}: its backbone is timm's {backbone.backbone}, and timm is not installed; take weights that "
            "need none (facebook/detr-resnet-50 at revision no_timm, PekingU/rtdetr_r50vd, hustvl/yolos-small), or",
            EXTRA,
        )


def _part(what: str, source: str, read: Any, **options: Any) -> Any:
    """A part of a checkpoint; what transformers raises on a broken one becomes one sentence."""
    is_local = Path(source).is_dir()
    try:
        return read(source, local_files_only=is_local, trust_remote_code=False, **options)
    except ImportError as error:
        raise MissingExtra(
            f"{source}: its {what} needs a package that is absent ({reason_of(error)})", EXTRA
        ) from error
    except FAILURES as error:
        raise broken(what, source, is_local, error) from None
