"""The processes of a run: one, or several that torchrun started, each with its share of every batch.

Gradients are averaged here and not by a wrapper: which parameters train changes between epochs, an iteration that one
process must skip is skipped by all, and accumulation exchanges once.
"""

from __future__ import annotations

import datetime
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from aerialworld_core.errors import InputError
from aerialworld_training.runtime import TrainingError

#: Numbers that are exchanged together.
BUCKET = 1 << 24
#: How long the others may wait while one writes a checkpoint or codes are made.
LONG = datetime.timedelta(hours=2)
#: Numbers the groups that this process was in: every process of a run counts alike, stage by stage.
GROUPS = itertools.count()


class Ranks:
    """This process among `world`; alone, every exchange is nothing."""

    def __init__(self, rank: int = 0, world: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.world = rank, world
        self.device = device or torch.device("cpu")
        self.long: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here; long works of one are waited for."""
        if self.world > 1:
            with exchange():
                dist.barrier(self.long)

    def sum(self, values: Tensor) -> Tensor:
        """Element-wise over all processes; int64 stays exact."""
        if self.world > 1:
            values = values.to(self.device)
            with exchange():
                dist.all_reduce(values)
        return values

    def largest(self, value: int) -> int:
        if self.world == 1:
            return value
        tensor = torch.tensor(value, device=self.device)
        with exchange():
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """The first process's values to all, in place."""
        if self.world > 1:
            with exchange():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Mean over processes. A parameter without a gradient here counts as zero; without one anywhere it stays so."""
        if self.world == 1:
            return
        has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int64, device=self.device)
        used = self.sum(has).tolist()
        gradients = []
        for parameter, count in zip(parameters, used, strict=True):
            if count:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        bucket: list[Tensor] = []
        for n, gradient in enumerate(gradients):
            bucket.append(gradient)
            if sum(g.numel() for g in bucket) >= BUCKET or n == len(gradients) - 1:
                flat = torch.cat([g.reshape(-1) for g in bucket])
                self.sum(flat).div_(self.world)
                for g, part in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                    g.copy_(part.view_as(g))
                bucket = []


@contextmanager
def exchange() -> Iterator[None]:
    """Raises TrainingError where another process is gone or silent."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"another process of the run is gone or silent ({str(error).splitlines()[0]}); see its output, then start "
            "all again with --resume"
        ) from error


@contextmanager
def ranks(device: torch.device, timeout: float) -> Iterator[Ranks]:
    """The processes that torchrun announces in the environment, else this one alone. Raises InputError."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(device=device)
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(f"WORLD_SIZE is {world}, but {', '.join(missing)} is not set; start with torchrun")
    backend = "nccl" if device.type == "cuda" else "gloo"
    patience = datetime.timedelta(seconds=timeout)
    with exchange():
        # torchrun's store outlives a stage; without keys of its own the next would find the addresses of the last.
        store, rank, _ = next(rendezvous("env://", timeout=patience))
        own = dist.PrefixStore(f"group_{next(GROUPS)}", store)
        dist.init_process_group(backend, store=own, rank=rank, world_size=world, timeout=patience)
    try:
        group = Ranks(dist.get_rank(), world, device)
        group.long = dist.new_group(timeout=LONG, backend="gloo")
        yield group
    finally:
        dist.destroy_process_group()
