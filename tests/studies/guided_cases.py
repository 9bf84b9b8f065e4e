"""A study of guided captioners small enough for tests, and jobs done where the test runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

STUDY = """
name = "small"
seeds = [0, 1]
draws = 20
replaced = 1
counts = [2]
metrics = ["BLEU-1", "CIDEr"]

[recipe]
threads = 1
threshold = 0
longest = 8

[recipe.data]
kind = "world"
images = 12
validation = 4
test = 8
register = { attribute_rate = 0.2, relation_rate = 0.6, scene_rate = 0.3, size_rate = 0.05, object_rate = 0.9 }

[recipe.captioner]
kind = "fc"
hidden = 24
dropout = 0.1
image_at_every_step = true
forget_bias = 1.0

[[recipe.stages]]
kind = "cross-entropy"
steps = 40
images = 4
learning_rate = 2e-2
most_sampling = 0.0
validate_every = 40

[guidance]
steps = 2
images = 2
samples = 2
learning_rate = 1e-3
validate_every = 2

[scorers.clip]
says = "CLIP"
model = "tiny-clip"

[scorers.lxmert]
model = "tiny-lxmert"

[guided.lxmert-odds]
says = "LXMERT, log-odds"
scorer = "lxmert"
space = "score"

[guided.cider]
reward = [{ kind = "cider" }]
samples = 3
"""


class Here:
    """A pool whose jobs are done in this process, one after another, as they are handed in."""

    def submit(self, work: Callable[..., Any], *given: Any) -> Future[Any]:
        found: Future[Any] = Future()
        found.set_result(work(*given))
        return found


@contextmanager
def here(processes: int) -> Iterator[Here]:
    """In place of `workers`."""
    yield Here()
