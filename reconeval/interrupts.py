"""Ctrl-C ends a run, whatever a model's libraries make of it, and SIGTERM ends it like Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["interrupted_by_sigterm", "kept_interrupts"]


@contextmanager
def kept_interrupts() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at the end of a block in which it was lost.

    Lightning makes `SystemExit` of Ctrl-C, and scikit-learn's multilayer perceptrons end their
    training and return; either would pass for something that the model did. So an interrupt is
    noted where its signal is handled. Outside the main thread, where Python handles no signals,
    nothing is. Handlers that the block leaves behind are taken away again.

    Yields
    ------
    Nothing.

    Raises
    ------
    KeyboardInterrupt
        If SIGINT or SIGTERM was to raise it, and the block ended in another way.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {int(one): signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    noted: list[KeyboardInterrupt] = []

    def note(number: int, frame: Any) -> None:
        try:
            handlers[number](number, frame)
        except KeyboardInterrupt as interrupt:
            noted.append(interrupt)
            raise

    try:
        for number in handlers:
            signal.signal(number, note)
        yield
    except BaseException as error:
        if noted and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(*noted[0].args) from error
        raise
    else:
        if noted:
            raise KeyboardInterrupt(*noted[0].args)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, with which a CI job runs out of time, raise `KeyboardInterrupt` in a block.

    What is done on Ctrl-C is done then as well. This holds in the main thread, where nobody else
    handles the signal, and not in processes that are forked meanwhile: those end by it as usual.

    Yields
    ------
    Nothing.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    here = os.getpid()

    def interrupt(number: int, frame: Any) -> None:  # noqa: ARG001  (as handlers are called)
        if os.getpid() != here:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        msg = "SIGTERM"
        raise KeyboardInterrupt(msg)

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
