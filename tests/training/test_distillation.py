"""The diffusion teacher against the loss written out pair by pair, on a tiny random pipeline saved to disk."""

import sys
from pathlib import Path

import pytest
import torch
import transformers

import alignscope
from alignscope.errors import CheckpointError, LengthMismatch, MissingExtra, Unsupported
from alignscope.models.dual.fresh import word_tokenizer
from alignscope.training.distillation import load_denoiser, teacher
from alignscope.training.settings import DistillationPlan

diffusers = pytest.importorskip("diffusers")
CAPTIONS = ["a red ball", "a box above a red ball", "a box"]
SIDE = 8


def save_pipeline(directory: Path, *, width: int = 16, prediction: str = "epsilon") -> Path:
    torch.manual_seed(0)
    tokenizer = word_tokenizer(["red", "ball", "box", "above"], context_length=12)
    text = transformers.CLIPTextConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=len(tokenizer),
        max_position_embeddings=12, bos_token_id=0, eos_token_id=tokenizer.eos_token_id, pad_token_id=1,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=SIDE, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        cross_attention_dim=width, attention_head_dim=4, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    unet.save_pretrained(directory / "unet")
    transformers.CLIPTextModel(text).save_pretrained(directory / "text_encoder")
    tokenizer.save_pretrained(directory / "tokenizer")
    scheduler = diffusers.DDPMScheduler(
        num_train_timesteps=50, beta_schedule="linear", prediction_type=prediction
    )
    scheduler.save_pretrained(directory / "scheduler")
    return directory


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def encoder():
    return alignscope.model("tiny-clip")


def embeddings() -> torch.Tensor:
    drawn = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(drawn, dim=-1)


def test_the_loss_is_the_error_of_the_denoiser_pair_by_pair(pipeline: Path, encoder):
    taught = teacher(DistillationPlan(str(pipeline)), encoder)
    loss = taught(embeddings(), CAPTIONS, seed=5)
    unet = diffusers.UNet2DConditionModel.from_pretrained(pipeline, subfolder="unet")
    text = transformers.CLIPTextModel.from_pretrained(pipeline / "text_encoder")
    tokenizer = transformers.AutoTokenizer.from_pretrained(pipeline / "tokenizer")
    share = torch.cumprod(1 - torch.linspace(0.0001, 0.02, 50), dim=0)  # DDPM's linear betas
    drawn = torch.Generator().manual_seed(5)
    steps = torch.randint(50, (3,), generator=drawn)
    noise = torch.randn(3, 4, SIDE, SIDE, generator=drawn)
    assert len(set(steps.tolist())) > 1
    errors = []
    with torch.no_grad():
        weight, bias = taught.to_latent.weight, taught.to_latent.bias
        for one, caption, t, eps in zip(embeddings(), CAPTIONS, steps, noise, strict=True):
            latent = (weight @ one + bias).reshape(4, SIDE, SIDE)
            noised = share[t] ** 0.5 * latent + (1 - share[t]) ** 0.5 * eps
            ids = tokenizer(caption, padding="max_length", max_length=12, return_tensors="pt").input_ids
            said = text(ids).last_hidden_state
            predicted = unet(noised[None], t, encoder_hidden_states=said).sample[0]
            errors.append(((predicted - eps) ** 2).mean().item())
    assert loss.item() == pytest.approx(sum(errors) / 3, rel=1e-4)


def test_seeds_captions_and_images_decide_it(pipeline: Path, encoder):
    taught = teacher(DistillationPlan(str(pipeline)), encoder)
    first = taught(embeddings(), CAPTIONS, seed=5).item()
    assert taught(embeddings(), CAPTIONS, seed=5).item() == first
    assert taught(embeddings(), CAPTIONS, seed=6).item() != first
    assert taught(embeddings(), CAPTIONS[::-1], seed=5).item() != first
    assert taught(embeddings().flip(0), CAPTIONS, seed=5).item() != first
    with pytest.raises(LengthMismatch, match="2 captions for 3 image embeddings"):
        taught(embeddings(), CAPTIONS[:2], seed=5)


def test_only_the_map_is_trained_and_saved_and_the_gradient_reaches_the_images(pipeline: Path, encoder):
    plan = DistillationPlan(str(pipeline))
    taught = teacher(plan, encoder)
    assert set(taught.state_dict()) == {"to_latent.weight", "to_latent.bias"}
    assert len(list(taught.parameters())) == 2
    images = embeddings().requires_grad_()
    taught(images, CAPTIONS, seed=0).backward()
    assert images.grad.abs().max() > 0
    assert all(p.grad.abs().max() > 0 for p in taught.parameters())
    frozen = load_denoiser(str(pipeline))
    assert not any(p.requires_grad for part in (frozen.unet, frozen.text_encoder) for p in part.parameters())
    assert torch.equal(teacher(plan, encoder).to_latent.weight, taught.to_latent.weight)
    assert not torch.equal(teacher(plan, encoder, seed=1).to_latent.weight, taught.to_latent.weight)


def test_a_few_steps_lower_it(pipeline: Path, encoder):
    taught = teacher(DistillationPlan(str(pipeline)), encoder)
    optimizer = torch.optim.Adam(taught.parameters(), lr=0.05)
    losses = []
    for _ in range(15):
        loss = taught(embeddings(), CAPTIONS, seed=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_what_is_missing_or_wrong_is_told(
    pipeline: Path, encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(CheckpointError, match="no directory: give one in diffusers' layout"):
        load_denoiser(str(tmp_path / "nothing"))
    with pytest.raises(CheckpointError, match="its unet cannot be loaded"):
        load_denoiser(str(tmp_path))
    odd = save_pipeline(tmp_path / "odd", width=24, prediction="v_prediction")
    with pytest.raises(Unsupported, match=r"predicts v_prediction.*texts of 24 numbers.*gives 16"):
        load_denoiser(str(odd))
    unsafe = save_pipeline(tmp_path / "unsafe")
    weights = unsafe / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({"x": torch.zeros(1)}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(CheckpointError, match="in safetensors"):
        load_denoiser(str(unsafe))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'alignscope\[diffusion\]'"):
        teacher(DistillationPlan(str(pipeline)), encoder)
