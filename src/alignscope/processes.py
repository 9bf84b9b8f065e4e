"""One piece of work done by several processes, as `torchrun` starts them; alone where it did not."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch.distributed as distributed

from alignscope.errors import AlignscopeError

Found = TypeVar("Found")

PATIENCE = timedelta(days=7)
"""How long a process waits for another: the first may read or validate for hours."""


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this one is."""

    rank: int = 0
    world: int = 1

    def is_mine(self, number: int) -> bool:
        """Whether a numbered piece of work is this process's."""
        return number % self.world == self.rank

    def wait(self) -> None:
        """Go on when all have come this far."""
        if self.world > 1:
            distributed.barrier()

    def first(self, make: Callable[[], Found]) -> Found:
        """What the first process makes, in all of them; what it refuses, all refuse."""
        if self.world == 1:
            return make()
        box: list[Found | AlignscopeError | None] = [None]
        if self.rank == 0:
            try:
                box[0] = make()
            except AlignscopeError as error:
                box[0] = error
        distributed.broadcast_object_list(box)
        if isinstance(box[0], AlignscopeError):
            raise box[0]
        return box[0]  # type: ignore[return-value]


ALONE = Processes()


def processes() -> Processes:
    """The processes of this run, by the environment that torchrun sets; they meet over gloo.

    The group stays for further runs and ends with the process: to make it twice under one torchrun hangs.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return ALONE
    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=PATIENCE)
        atexit.register(distributed.destroy_process_group)
    return Processes(distributed.get_rank(), world)
