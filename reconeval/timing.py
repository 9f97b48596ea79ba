"""Seconds, memory and size of a model; and the clock that replays recorded seconds."""

from __future__ import annotations

import numbers
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Replay", "Usage", "n_parameters", "synchronize"]


class Replay:
    """A timer for pytest-benchmark that stands still until it is told to advance.

    Training happens once, in a session fixture, where no `benchmark` fixture can be asked for;
    its seconds are recorded there and replayed through this clock.
    """

    __name__ = "replay"  # pytest-benchmark stores the timer's name in its JSON

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the seconds that have passed."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass."""
        self.now += seconds


def synchronize() -> None:
    """Wait for the GPU where torch is in use and has one, so that a timing covers its work."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


@dataclass
class Usage:
    """Context manager that measures its block.

    Attributes
    ----------
    seconds
        Wall seconds, GPU work included.
    peak_rss_mb
        Highest resident memory of the process inside the block, MB (10**6 bytes), sampled every
        20 ms.
    added_rss_mb
        How much of it the process did not hold before, MB, at least 0.
    peak_gpu_mb
        Highest GPU memory that torch allocated inside the block, beyond what it held before, MB;
        None without a GPU.
    """

    interval: float = 0.02
    seconds: float = field(default=0.0, init=False)
    peak_rss_mb: float = field(default=0.0, init=False)
    added_rss_mb: float = field(default=0.0, init=False)
    peak_gpu_mb: float | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        import psutil

        self._process = psutil.Process()
        self._stop = threading.Event()
        self._sample()
        self._rss_before = self.peak_rss_mb
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        synchronize()
        torch = sys.modules.get("torch")
        self._gpu_before = 0
        if torch is not None and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            self._gpu_before = torch.cuda.memory_allocated()
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        synchronize()
        self.seconds = time.perf_counter() - self._start
        self._stop.set()
        self._thread.join()
        self._sample()
        self.added_rss_mb = self.peak_rss_mb - self._rss_before
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            self.peak_gpu_mb = (torch.cuda.max_memory_allocated() - self._gpu_before) / 1e6

    def _sample(self) -> None:
        self.peak_rss_mb = max(self.peak_rss_mb, self._process.memory_info().rss / 1e6)

    def _watch(self) -> None:
        while not self._stop.wait(self.interval):
            self._sample()


def n_parameters(model: Any) -> int | None:
    """Count a model's parameters.

    Parameters
    ----------
    model
        A trained model.

    Returns
    -------
    The model's own `n_parameters` where it has one, an int; else the number of values in the torch
    modules that it is or holds; else None.
    """
    declared = getattr(model, "n_parameters", None)
    if isinstance(declared, numbers.Integral):  # also NumPy's
        return int(declared)
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    held = [model, *getattr(model, "__dict__", {}).values()]
    modules = [part for part in held if isinstance(part, torch.nn.Module)]
    if not modules:
        return None
    seen = {id(weight): weight for part in modules for weight in part.parameters()}
    return sum(int(weight.numel()) for weight in seen.values())
