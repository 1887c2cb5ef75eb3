"""The tables of a broker: the machine writes to them by name, the store keeps them."""

from __future__ import annotations

from enum import Enum


class Table(Enum):
    """Name and content of each table; `storage/keys` says how keys become bytes."""

    # Members are dict keys for every row written, and Enum's own hash is a call into Python.
    __hash__ = object.__hash__

    META = "meta"
    """applied index, sequence, clock of the machine; format version"""
    LIVE = "live"
    """seq -> head of a task that has not ended"""
    ENDED = "ended"
    """task id -> record of a task that has"""
    PAYLOAD = "payload"
    """seq -> payload bytes"""
    EXTRA = "extra"
    """seq -> metadata and other things only delivery and views need"""
    RESULT = "result"
    """seq -> result bytes"""
    ATTEMPT = "attempt"
    """seq, number -> one attempt that ended"""
    INDEX = "index"
    """state class, kind, seq -> task id: what lists are read from"""
    KIND = "kind"
    """kind number -> (queue, task type)"""
    SESSION = "session"
    """session id -> what a worker said of itself"""
    UNIQUE = "unique"
    """unique key -> task id, until"""
    QUEUE = "queue"
    """queue name -> pause"""
    METER = "meter"
    """minute -> counts of that minute"""
    COUNT = "count"
    """kind -> how many of its tasks have ended, by state"""
