"""What a published table says of a state dict, and layers of BERT's kind in plain loops, in float64."""

import math

import numpy as np
from torch import nn

Rows = list[np.ndarray]


def shapes(table: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a table of one key a line, N standing for each of 12 layers."""
    rows = [row.split() for row in table.split("\n") if row]
    return {
        key.replace(".N.", f".{layer}."): tuple(map(int, shape.split("x")))
        for key, shape in rows
        for layer in range(12 if ".N." in key else 1)
    }


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a model."""
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


class Plain:
    """Layers with a model's weights on one pair without padding: a list of states, each by itself."""

    def __init__(self, model: nn.Module) -> None:
        self.state = {key: tensor.double().numpy() for key, tensor in model.state_dict().items()}

    def dense(self, key: str, x: np.ndarray) -> np.ndarray:
        return self.state[f"{key}.weight"] @ x + self.state[f"{key}.bias"]

    def norm(self, key: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean()
        unit = centred / np.sqrt((centred**2).mean() + 1e-12)
        return unit * self.state[f"{key}.weight"] + self.state[f"{key}.bias"]

    def attended(self, x: Rows, query: str, key: str, value: str) -> Rows:
        """Two heads of eight numbers."""
        q, k, v = ([self.dense(name, h) for h in x] for name in (query, key, value))
        looked = [np.zeros(16) for _ in x]
        for head in (slice(0, 8), slice(8, 16)):
            for i in range(len(x)):
                weights = np.array([math.exp(q[i][head] @ each[head] / math.sqrt(8)) for each in k])
                looked[i][head] = sum(
                    w * each[head] for w, each in zip(weights / weights.sum(), v, strict=True)
                )
        return looked

    def ended(self, dense: str, norm: str, new: Rows, old: Rows) -> Rows:
        """How either half of a layer ends."""
        return [self.norm(norm, a + self.dense(dense, b)) for a, b in zip(old, new, strict=True)]

    def widened(self, dense: str, x: Rows) -> Rows:
        """The exact GELU of a dense layer."""
        wide = [self.dense(dense, h) for h in x]
        return [np.array([n * (1 + math.erf(n / math.sqrt(2))) / 2 for n in h]) for h in wide]
