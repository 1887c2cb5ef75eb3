"""The log in memory, under the name the tests of the engine know it by."""

from tq.broker.replication.memory import MemoryLog

__all__ = ["MemoryLog"]
