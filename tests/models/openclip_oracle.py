"""open_clip's CLIP written once more in plain torch, its parameters named as in its files, with random weights."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, LAYERS, EMBEDDING, CONTEXT, PATCH, SIDE = 128, 2, 24, 12, 8, 32
MERGES = ["c a", "ca t</w>", "d o", "do g</w>", "r e", "re d</w>"]
VOCABULARY = 512 + len(MERGES) + 2


class Block(nn.Module):
    """open_clip's residual attention block."""

    def __init__(self, heads: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(WIDTH, 3 * WIDTH), "c_proj": nn.Linear(3 * WIDTH, WIDTH)})
        self.activation = activation

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp["c_proj"](self.activation(self.mlp["c_fc"](self.ln_2(x))))


class Transformer(nn.Module):
    """A stack of blocks."""

    def __init__(self, heads: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(heads, activation) for _ in range(LAYERS))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    """open_clip's ViT: a class token, norms before and after, the class token projected."""

    def __init__(self, heads: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(WIDTH))
        self.positional_embedding = nn.Parameter(torch.empty((SIDE // PATCH) ** 2 + 1, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = Transformer(heads, activation)
        self.proj = nn.Parameter(torch.empty(WIDTH, EMBEDDING))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).mT
        x = torch.cat([self.class_embedding.expand(len(pixels), 1, WIDTH), patches], dim=1)
        x = self.transformer(self.ln_pre(x + self.positional_embedding))
        return self.ln_post(x[:, 0]) @ self.proj


class OpenClip(nn.Module):
    """open_clip's CLIP, its parameters named and shaped as in its files."""

    def __init__(self, activation: Callable[[Tensor], Tensor], *, heads: int = 2) -> None:
        super().__init__()
        self.visual = Visual(heads, activation)
        self.transformer = Transformer(heads, activation)
        self.token_embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.positional_embedding = nn.Parameter(torch.empty(CONTEXT, WIDTH))
        self.ln_final = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.empty(WIDTH, EMBEDDING))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def encode_text(self, ids: Tensor) -> Tensor:
        mask = torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1)
        x = self.transformer(self.token_embedding(ids) + self.positional_embedding, mask)
        return self.ln_final(x)[torch.arange(len(ids)), ids.argmax(dim=-1)] @ self.text_projection

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        images, texts = F.normalize(self.visual(pixels), dim=-1), F.normalize(self.encode_text(ids), dim=-1)
        return self.logit_scale.exp() * images @ texts.T


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def twin(activation: Callable[[Tensor], Tensor] = quick_gelu, *, heads: int = 2) -> OpenClip:
    """The same random weights for every activation and number of heads, large enough to matter."""
    model = OpenClip(activation, heads=heads)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(0.15 * noise + (1.0 if ".ln_" in name and "weight" in name else 0.0))
    return model.eval()
