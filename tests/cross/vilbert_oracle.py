"""ViLBERT's forward written once more, one position at a time, in float64 and without the package or torch."""

from math import erf, exp, sqrt

import numpy as np
from torch import Tensor

from alignscope.models.cross.vilbert_layers import VilbertConfig
from alignscope.records import Regions

ORDER = ["t0", "c0", "v0", "t1", "c1", "v1", "t2"]
"""Of the twins, whose co-attentions come before text layers 1 and 2."""


class Plain:
    """One pair through the layers in the order of `ORDER`, by loops; keeps every attention map it makes."""

    def __init__(self, state: dict[str, Tensor], config: VilbertConfig) -> None:
        self.weights = {key: tensor.double().numpy() for key, tensor in state.items()}
        self.config = config
        self.maps: list[np.ndarray] = []

    def linear(self, name: str, rows: list[np.ndarray]) -> list[np.ndarray]:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return [np.array([sum(w * row) for w in weight]) + bias for row in rows]

    def norm(self, name: str, rows: list[np.ndarray]) -> list[np.ndarray]:
        found = []
        for row in rows:
            mean = sum(row) / len(row)
            variance = sum((row - mean) ** 2) / len(row)
            unit = (row - mean) / sqrt(variance + 1e-12)
            found.append(unit * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])
        return found

    def attended(
        self, q: list[np.ndarray], k: list[np.ndarray], v: list[np.ndarray], heads: int
    ) -> list[np.ndarray]:
        width = len(q[0]) // heads
        context = [np.zeros(len(v[0])) for _ in q]
        seen = np.zeros((heads, len(q), len(k)))
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for i, query in enumerate(q):
                powers = [exp(sum(query[part] * key[part]) / sqrt(width)) for key in k]
                for j, power in enumerate(powers):
                    seen[head, i, j] = power / sum(powers)
                    context[i][part] += seen[head, i, j] * v[j][part]
        self.maps.append(seen)
        return context

    def layer(self, name: str, rows: list[np.ndarray], heads: int) -> list[np.ndarray]:
        q, k, v = (self.linear(f"{name}.attention.self.{each}", rows) for each in ("query", "key", "value"))
        context = self.linear(f"{name}.attention.output.dense", self.attended(q, k, v, heads))
        rows = self.norm(f"{name}.attention.output.LayerNorm", added(context, rows))
        return self.feed(f"{name}.intermediate", f"{name}.output", rows)

    def feed(self, wide: str, narrow: str, rows: list[np.ndarray]) -> list[np.ndarray]:
        hidden = [gelu(row) for row in self.linear(f"{wide}.dense", rows)]
        return self.norm(f"{narrow}.LayerNorm", added(self.linear(f"{narrow}.dense", hidden), rows))

    def both(
        self, name: str, text: list[np.ndarray], image: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """1 is the image, 2 the text; each asks the other, both before either has changed."""
        heads, at = self.config.bi_num_attention_heads, f"{name}.biattention"
        q1, k1, v1 = (self.linear(f"{at}.{each}1", image) for each in ("query", "key", "value"))
        q2, k2, v2 = (self.linear(f"{at}.{each}2", text) for each in ("query", "key", "value"))
        context1, context2 = self.attended(q2, k1, v1, heads), self.attended(q1, k2, v2, heads)
        out = f"{name}.biOutput"
        image = self.norm(f"{out}.LayerNorm1", added(self.linear(f"{out}.dense1", context2), image))
        text = self.norm(f"{out}.LayerNorm2", added(self.linear(f"{out}.dense2", context1), text))
        image = self.feed(f"{name}.v_intermediate", f"{name}.v_output", image)
        text = self.feed(f"{name}.t_intermediate", f"{name}.t_output", text)
        return text, image

    def fused(self, ids: list[int], regions: Regions) -> np.ndarray:
        words, places, types = (
            self.weights[f"bert.embeddings.{name}_embeddings.weight"]
            for name in ("word", "position", "token_type")
        )
        text = [words[each] + places[at] + types[0] for at, each in enumerate(ids)]
        if self.config.task_specific_tokens:
            text.insert(1, self.weights["bert.embeddings.task_embeddings.weight"][7])
        text = self.norm("bert.embeddings.LayerNorm", text)
        features = regions.features.astype(float)
        rows = [sum(features) / len(features), *features]
        boxes = [np.array([0, 0, 1, 1, 1])]
        for x1, y1, x2, y2 in regions.boxes.astype(float):
            w, h = regions.width, regions.height
            boxes.append(np.array([x1 / w, y1 / h, x2 / w, y2 / h, (x2 - x1) * (y2 - y1) / (w * h)]))
        image = added(
            self.linear("bert.v_embeddings.image_embeddings", rows),
            self.linear("bert.v_embeddings.image_location_embeddings", boxes),
        )
        image = self.norm("bert.v_embeddings.LayerNorm", image)
        for step in ORDER:
            number = step[1]
            if step[0] == "t":
                text = self.layer(f"bert.encoder.layer.{number}", text, self.config.num_attention_heads)
            elif step[0] == "v":
                image = self.layer(f"bert.encoder.v_layer.{number}", image, self.config.v_num_attention_heads)
            else:
                text, image = self.both(f"bert.encoder.c_layer.{number}", text, image)
        t, v = (
            self.linear("bert.t_pooler.dense", text[:1])[0],
            self.linear("bert.v_pooler.dense", image[:1])[0],
        )
        return np.maximum(t, 0) * np.maximum(v, 0)

    def score(self, ids: list[int], regions: Regions) -> float:
        fused = self.fused(ids, regions)
        if "vil_logit.weight" in self.weights:
            return self.linear("vil_logit", [fused])[0].item()
        fits, fits_not = self.linear("cls.bi_seq_relationship", [fused])[0].tolist()
        return fits - fits_not


def added(a: list[np.ndarray], b: list[np.ndarray]) -> list[np.ndarray]:
    return [x + y for x, y in zip(a, b, strict=True)]


def gelu(row: np.ndarray) -> np.ndarray:
    return np.array([x * (1 + erf(x / sqrt(2))) / 2 for x in row])
