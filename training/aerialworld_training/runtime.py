"""How a run behaves: determinism while it lasts, and stopping on a signal at a step's end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.utils.deterministic

from aerialworld_core.errors import AerialWorldError


class TrainingError(AerialWorldError):
    """Training cannot go on: the loss is not finite."""


class Interrupted(AerialWorldError):
    """A signal stopped the run; `exit_code` is 128 + its number."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


@contextmanager
def deterministic(threads: int, warn_only: bool = False) -> Iterator[None]:
    """Deterministic algorithms and a fixed number of threads; the former settings come back afterwards. With
    `warn_only` what has no deterministic form (some sums on a GPU) is told and done all the same."""
    before_threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    rng = torch.get_rng_state()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it; read when a GPU is first used
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    # Filling every new tensor with NaN would cost a quarter of the time and finds only reads of memory never written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # A model that fits its data well has gradients of denormal size, at which some processors take thrice the time.
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before_threads)
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_rng_state(rng)


class StopRequest:
    """Remembers SIGINT, SIGTERM or SIGUSR1 (what batch systems send before their time is up) instead of dying of it; a
    second SIGINT interrupts at once.

    Only the main thread can listen; elsewhere nothing is installed.
    """

    def __init__(self) -> None:
        self.signum: int | None = None

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
        try:
            yield self
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signum = signum
