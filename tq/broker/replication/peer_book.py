"""Which disk each node of the cluster was seen with.

A node that comes back with another disk has forgotten what it voted and acknowledged, so it must not count under its
old name (D4). The first disk a node shows is remembered, durably, before it is believed; any other one is refused
until the leader has made the node an observer under its new disk (`steward`), or it was removed and added again.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from tq.broker.rocksdb.files import write_durably
from tq.errors import AuthenticationFailed, StoreDamaged

NAME = "peers.json"
PEERS_MAX = 1_000


class PeerBook:
    def __init__(self, directory: Path) -> None:
        """Raises StoreDamaged."""
        self._path = directory / NAME
        self._known: dict[str, str] = {}
        try:
            document = json.loads(self._path.read_bytes())
            self._known = dict(document["peers"])
            if document["crc32"] != _crc(self._known):
                raise ValueError("checksum")
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError) as error:
            raise StoreDamaged(
                f"{self._path} is damaged; remove it, and check who claims to be whom"
            ) from error

    def check(self, node_id: str, disk: str) -> None:
        """disk: the node's uuid and disk generation. Raises AuthenticationFailed for another one than before.

        The first time writes and syncs a small file: once per node and life.
        """
        known = self._known.get(node_id)
        if known == disk:
            return
        if known is not None:
            raise other_disk(node_id)
        if len(self._known) >= PEERS_MAX:
            raise AuthenticationFailed(f"{PEERS_MAX} nodes were seen already; {node_id} is one too many")
        self._known[node_id] = disk
        self._save()

    def knows(self, node_id: str, disk: str) -> bool:
        """Whether this is the disk that the node was seen with first."""
        return self._known.get(node_id) == disk

    @property
    def nodes(self) -> set[str]:
        return set(self._known)

    def forget(self, node_id: str) -> None:
        """It left the cluster: whoever comes under its name next is new."""
        if self._known.pop(node_id, None) is not None:
            self._save()

    def _save(self) -> None:
        document = {"peers": self._known, "crc32": _crc(self._known)}
        write_durably(self._path, json.dumps(document, indent=2).encode() + b"\n")


def other_disk(node_id: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"{node_id} came with another data directory than before: it has forgotten what it promised, and is let in "
        "again as an observer by the leader"
    )


def _crc(known: dict[str, str]) -> int:
    return zlib.crc32(json.dumps(known, sort_keys=True).encode())
