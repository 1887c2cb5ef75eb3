"""Throwing an exception into another thread: the only thing that ends a loop of pure Python."""

from __future__ import annotations

import ctypes

from tq.worker.control import Stopped


def throw_stopped(thread_id: int) -> None:
    """Raise Stopped in that thread as soon as it runs Python code; a call into C is not interrupted."""
    _set_async_exception(thread_id, ctypes.py_object(Stopped))


def withdraw(thread_id: int) -> None:
    """Take back one that was not delivered yet."""
    _set_async_exception(thread_id, None)


def _set_async_exception(thread_id: int, kind: object) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), kind)
