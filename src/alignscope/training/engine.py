"""The processes, device and number formats a training runs on, by `accelerate`."""

from __future__ import annotations

import atexit
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar, final

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs
from jaxtyping import Float
from torch import Tensor, distributed, nn

from alignscope.errors import BadInput
from alignscope.models.dual.loading import compute_device
from alignscope.processes import PATIENCE, Processes

Made = TypeVar("Made")
Precision = Literal["no", "bf16", "fp16"]

_BUCKET = 2**23  # numbers that are averaged in one call


@final
class Engine:
    """One or many processes, as `torchrun` starts them (gloo on CPUs, nccl on GPUs), under mixed precision.

    No wrapper for data parallelism (DDP): its hooks want every loss to come out of one forward of the
    wrapped model, and here embeddings, heats and gradients of heats are made by functions outside. So
    `update` averages the gradients itself, once per step, whatever was computed for it.
    """

    def __init__(self, *, precision: Precision = "no", cpu: bool = False) -> None:
        cpu = (
            cpu or not torch.cuda.is_available()
        )  # else accelerate takes one process, whatever torchrun says
        if precision == "fp16" and cpu:
            raise BadInput(
                "precision is fp16, which needs a GPU and none is used: take bf16 or no, or give --device cuda"
            )
        AcceleratorState._reset_state()  # of an earlier run of this process; the group of processes stays
        kwargs = InitProcessGroupKwargs(timeout=PATIENCE)
        self._accelerator = Accelerator(mixed_precision=precision, cpu=cpu, kwargs_handlers=[kwargs])
        self._refuse_missing_processes()
        if self.world > 1:
            atexit.register(_leave)

    @property
    def rank(self) -> int:
        return self._accelerator.process_index

    @property
    def world(self) -> int:
        return self._accelerator.num_processes

    @property
    def device(self) -> torch.device:
        return self._accelerator.device

    @property
    def loss_scale(self) -> float:
        """By which losses are multiplied so that float16 holds their gradients; 1 in other formats."""
        scaler = self._accelerator.scaler
        return 1.0 if scaler is None else scaler.get_scale()

    def autocast(self) -> AbstractContextManager[None]:
        """Within the `with`, the number formats of the precision."""
        return self._accelerator.autocast()

    def scaled(self, loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """A loss as it goes into `backward`."""
        scaler = self._accelerator.scaler
        return loss if scaler is None else scaler.scale(loss)

    def average(self, parameters: Sequence[nn.Parameter]) -> None:
        """Mean of the gradients over processes; a gradient that only some have counts with 0 in the others."""
        if self.world == 1:
            return
        has = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        moved = [p for p, count in zip(parameters, self.total(has).tolist(), strict=True) if count]
        for bucket in _buckets(moved):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in bucket]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            distributed.all_reduce(flat)
            means = (flat / self.world).split([p.numel() for p in bucket])
            for parameter, mean in zip(bucket, means, strict=True):
                parameter.grad = mean.reshape(parameter.shape)

    def update(self, optimizer: torch.optim.Optimizer, *, max_norm: float = 0.0) -> float:
        """Average, clip, move and forget the gradients; returns their norm before clipping.

        A norm that is not finite means that no weight has moved; under fp16 the loss scale was lowered.
        """
        scaler = self._accelerator.scaler
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.average(parameters)
        if scaler is not None:
            scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, max_norm or math.inf).item()
        if scaler is not None:
            scaler.step(optimizer)
            scaler.update()
        elif math.isfinite(norm):
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm

    def state(self) -> dict[str, Any]:
        """What a run that goes on needs beside weights and optimizer: under fp16 how the loss is scaled."""
        scaler = self._accelerator.scaler
        return {} if scaler is None else scaler.state_dict()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(dict(state))

    def everyone(self, found: Sequence[Made]) -> list[Made]:
        """What all processes found, in the order of ranks."""
        if self.world == 1:
            return list(found)
        box: list[Sequence[Made]] = [()] * self.world
        distributed.all_gather_object(box, found)
        return [one for part in box for one in part]

    def total(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Sum over processes, without a graph."""
        found = values.detach().clone()
        if self.world > 1:
            distributed.all_reduce(found)
        return found

    def first(self, make: Callable[[], Made]) -> Made:
        """What the first process makes, in all of them; what it refuses, all refuse."""
        return Processes(self.rank, self.world).first(make)

    def _refuse_missing_processes(self) -> None:
        """`accelerate launch --cpu --num_processes 2` starts one process and sets an address for two."""
        meant = int(os.environ.get("WORLD_SIZE", "1"))
        if meant != self.world:
            wanted = f"WORLD_SIZE is {meant}"
        elif self.world == 1 and {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= os.environ.keys():
            wanted = "`accelerate launch` was asked for several"
        else:
            return
        raise BadInput(
            f"{wanted} and accelerate found {self.world} process(es): on CPUs it starts only one, in silence; "
            "start the run with `torchrun --nproc_per_node N`"
        )


def engine_on(device: str, *, precision: Precision = "no") -> Engine:
    """The processes of a run, where this one has the device that was asked for."""
    place = compute_device(device)
    engine = Engine(precision=precision, cpu=place.type == "cpu")
    if place.type != engine.device.type or place.index not in (None, engine.device.index or 0):
        raise BadInput(
            f"got device '{device}', and this process has {engine.device}: give cpu or cuda, and choose among "
            "GPUs with CUDA_VISIBLE_DEVICES"
        )
    return engine


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Neighbours of one number format and device, up to `_BUCKET` numbers together."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        size = sum(p.numel() for p in bucket) + parameter.numel()
        if bucket and (size > _BUCKET or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
