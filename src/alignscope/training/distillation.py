"""A diffusion model as teacher of the image embedding (SDS-CLIP, Basu et al. 2023, section 3; extra `diffusion`).

A linear map h takes the image embedding f(x) to a latent image. Noised to a random step t, it is given with the
caption to the frozen denoiser of a text-to-image model, whose error is the loss: the mean of
||eps_theta(sqrt(a_t) h(f(x)) + sqrt(1 - a_t) eps, t, caption) - eps||^2 over pairs, elements and draws. It
falls when the embedding tells what the caption says. The gradient goes through the denoiser.

Differs from the paper: there only the layer norms of CLIP and h are trained, here whatever the recipe trains; the
embedding is the normalised one that is compared with texts; the square is a mean over elements, not a sum, so that
its weight does not depend on the size of the latent. Captions beyond the denoiser's context are cut, as in every use
of it. Needs a denoiser that predicts the noise and takes nothing but latent, step and text (Stable Diffusion 1.x,
2.x base). What is loaded is safetensors alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from alignscope.errors import CheckpointError, LengthMismatch, MissingExtra, Unsupported
from alignscope.models.dual.loading import FAILURES, quiet, reason_of
from alignscope.models.protocols import DualEncoder
from alignscope.training.settings import DistillationPlan


@dataclass(frozen=True)
class Denoiser:
    """The frozen parts of a text-to-image model."""

    unet: Any
    text_encoder: CLIPTextModel
    tokenizer: Any
    kept: Float[Tensor, " step"]  # share of the latent's variance that is left at each step

    @property
    def latent(self) -> tuple[int, int, int]:
        """Channels, height and width of the latent image."""
        side = self.unet.config.sample_size
        height, width = (side, side) if isinstance(side, int) else side
        return self.unet.config.in_channels, height, width


@final
class Teacher(nn.Module):
    """The loss of a batch; its parameters and state are those of the map alone."""

    def __init__(self, denoiser: Denoiser, dim: int, *, device: str | torch.device, seed: int = 0) -> None:
        super().__init__()
        channels, height, width = denoiser.latent
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.to_latent = nn.Linear(dim, channels * height * width)
        self.to_latent.to(device)
        self._frozen = (denoiser,)  # in a tuple: no part of the module's state

    def forward(
        self, image_embeddings: Float[Tensor, "pair dim"], captions: Sequence[str], *, seed: int
    ) -> Float[Tensor, ""]:
        """Error of the denoiser on the latents of the images, each beside its caption.

        `seed`, with the step in it, draws one noise and one time per pair.
        """
        if len(captions) != len(image_embeddings):
            raise LengthMismatch(
                f"{len(captions)} captions for {len(image_embeddings)} image embeddings: wanted one each"
            )
        (denoiser,) = self._frozen
        latents = rearrange(
            self.to_latent(image_embeddings.to(self.to_latent.weight)),
            "pair (channel height width) -> pair channel height width",
            **dict(zip(("channel", "height", "width"), denoiser.latent, strict=True)),
        )
        drawn = torch.Generator().manual_seed(seed)
        steps = torch.randint(len(denoiser.kept), (len(latents),), generator=drawn)
        noise = torch.randn(latents.shape, generator=drawn).to(latents)
        kept = rearrange(denoiser.kept[steps], "pair -> pair 1 1 1").to(latents)
        noised = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        said = conditions(denoiser, captions)
        predicted = denoiser.unet(noised, steps.to(latents.device), encoder_hidden_states=said).sample
        return F.mse_loss(predicted.float(), noise.float())


def teacher(
    plan: DistillationPlan, encoder: DualEncoder, device: str | torch.device = "cpu", *, seed: int = 0
) -> Teacher:
    """The teacher of a recipe for this encoder's image embeddings; `seed` draws the map."""
    with torch.no_grad():
        dim = encoder.encode_texts(["a"]).shape[1]
    return Teacher(load_denoiser(plan.model, device), dim, device=device, seed=seed)


def load_denoiser(source: str, device: str | torch.device = "cpu") -> Denoiser:
    """The frozen parts of a pipeline in diffusers' layout: a directory, or a hub id."""
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtra(
            "distillation from a diffusion model", "pip install 'alignscope[diffusion]'"
        ) from error
    if Path(source).is_absolute() and not Path(source).is_dir():
        raise CheckpointError(
            f"{source} is no directory: give one in diffusers' layout (unet, text_encoder, tokenizer, scheduler), or a hub id"
        )
    is_local = Path(source).is_dir()
    parts: dict[str, Any] = {
        "unet": diffusers.UNet2DConditionModel,
        "text_encoder": CLIPTextModel,
        "tokenizer": CLIPTokenizer,
        "scheduler": diffusers.DDPMScheduler,
    }
    found = {}
    for name, kind in parts.items():
        safely = {"use_safetensors": True} if name in ("unet", "text_encoder") else {}
        try:
            with quiet():
                found[name] = kind.from_pretrained(
                    source, subfolder=name, local_files_only=is_local, **safely
                )
        except FAILURES as error:
            remedy = (
                "is the directory whole, its weights in safetensors?" if is_local
                else f"there is no directory {source} here; if it is a hub id, fetch it where there is a network "
                f"(hf download {source} --local-dir DIR) and give the directory"
            )  # fmt: skip
            raise CheckpointError(
                f"{source}: its {name} cannot be loaded ({reason_of(error)}): {remedy}"
            ) from None
    _check(found["unet"], found["text_encoder"], found["scheduler"], source)
    for module in (found["unet"], found["text_encoder"]):
        module.to(device).eval().requires_grad_(False)
    kept = found["scheduler"].alphas_cumprod
    return Denoiser(found["unet"], found["text_encoder"], found["tokenizer"], kept)


def _check(unet: Any, text_encoder: CLIPTextModel, scheduler: Any, source: str) -> None:
    """Refuse a pipeline whose denoiser wants or predicts something else."""
    wrong = []
    if scheduler.config.prediction_type != "epsilon":
        wrong.append(f"it predicts {scheduler.config.prediction_type}, wanted epsilon (the noise)")
    if unet.config.addition_embed_type or unet.config.class_embed_type or unet.config.num_class_embeds:
        wrong.append("its denoiser takes more than latent, step and text (SDXL, for one)")
    if unet.config.in_channels != unet.config.out_channels:
        wrong.append("its denoiser takes more channels than it predicts (inpainting)")
    if unet.config.cross_attention_dim != text_encoder.config.hidden_size:
        wide, narrow = unet.config.cross_attention_dim, text_encoder.config.hidden_size
        wrong.append(f"its denoiser takes texts of {wide} numbers, its text encoder gives {narrow}")
    if wrong:
        raise Unsupported(f"{source} cannot teach: {'; '.join(wrong)}; give one like Stable Diffusion 1.5")


@torch.no_grad()
def conditions(denoiser: Denoiser, captions: Sequence[str]) -> Float[Tensor, "pair token width"]:
    """Captions as the denoiser takes them: padded and cut to its text encoder's context."""
    context = denoiser.text_encoder.config.max_position_embeddings
    ids = denoiser.tokenizer(
        list(captions), padding="max_length", truncation=True, max_length=context, return_tensors="pt"
    ).input_ids
    return denoiser.text_encoder(ids.to(denoiser.text_encoder.device)).last_hidden_state
