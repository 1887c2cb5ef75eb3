"""Certificates for tests: authorities of our own, and PEM files signed by them."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

import trustme

from tq.broker.tls import TlsFiles


class Pair(NamedTuple):
    """A certificate and its key."""

    cert: str
    key: str


class Authority:
    """Signs certificates and writes them below a directory. name: beginning of its files' names."""

    def __init__(self, directory: Path, name: str) -> None:
        self._ca = trustme.CA()
        self._directory = directory
        self._name = name
        self.path = str(directory / f"{name}-ca.pem")
        self._ca.cert_pem.write_to_path(self.path)

    def issue(self, name: str, *, host: str = "127.0.0.1") -> Pair:
        made = self._ca.issue_cert(host)
        pair = Pair(*(str(self._directory / f"{self._name}-{name}.{end}") for end in ("crt", "key")))
        Path(pair.cert).write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        made.private_key_pem.write_to_path(pair.key)
        return pair

    def broker(self, name: str = "broker", *, clients: Authority | None = None) -> TlsFiles:
        """Files of a broker at 127.0.0.1. clients: whose certificates it asks for."""
        pair = self.issue(name)
        return TlsFiles(pair.cert, pair.key, clients.path if clients else None)

    def trusting(self, shown: Pair | None = None) -> ssl.SSLContext:
        """What a client has that trusts this authority. shown: the certificate it has."""
        context = ssl.create_default_context(cafile=self.path)
        if shown is not None:
            context.load_cert_chain(shown.cert, shown.key)
        return context
