"""Who gets in, as configured: keys, rates and TLS of one broker, put together at the start and again at a reload."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from tq.broker.access import Access, OpenAccess, Permission, principal
from tq.broker.checks import Checks
from tq.broker.keys import Key, KeyAccess
from tq.broker.rates import Rates
from tq.broker.tls import TlsContext, TlsFiles, TlsUnusable
from tq.clock import Clock
from tq.config import ApiSection, AuthSection, BrokerConfig, ConfigProblems, Problem

SECRET_BYTES = 32


class Security:
    """Made on the running event loop, which alone may call it.

    tls: as `tls_of` made it; None = the doors speak in the clear.
    """

    def __init__(self, config: BrokerConfig, clock: Clock, tls: TlsContext | None) -> None:
        self.tls = tls
        self.rates = _rates_of(config.auth, clock)
        self.access: Access = OpenAccess()
        loop = asyncio.get_running_loop()
        self._checks = Checks(loop)
        self._keys: KeyAccess | None = None
        if config.auth.enabled:
            secret = secrets.token_bytes(SECRET_BYTES)
            self._keys = KeyAccess(
                *(_keys_of(config.auth), self._checks, clock.monotonic_ms),
                secret=secret,
                later=loop.call_later,
            )
            self.access = self._keys

    async def reload(self, config: BrokerConfig) -> None:
        """Take keys and certificates from here. Raises ConfigProblems; then nothing has changed.

        Whether there are keys, TLS and client certificates at all stays as it was: that takes a restart.
        """
        tls, files = self.tls, _files_of(config.api)
        if tls is not None and files is not None:
            if (files.client_ca_path is None) != (tls.files.client_ca_path is None):
                files = files._replace(client_ca_path=tls.files.client_ca_path)
            try:
                loaded = await asyncio.to_thread(tls.load, files)
            except TlsUnusable as error:
                raise _problem(error) from error
            tls.use(loaded)
        if self._keys is not None and config.auth.enabled:
            self._keys.replace(_keys_of(config.auth))

    def close(self) -> None:
        """Keys that are being checked get no verdict any more."""
        self._checks.close()


def tls_of(api: ApiSection, clock: Clock) -> TlsContext | None:
    """What the doors show; None when TLS is off. Raises ConfigProblems when the files cannot be used."""
    files = _files_of(api)
    if files is None:
        return None
    try:
        return TlsContext(files, clock.monotonic_ms)
    except TlsUnusable as error:
        raise _problem(error) from error


def _files_of(api: ApiSection) -> TlsFiles | None:
    if not api.enable_tls or api.tls_cert_path is None or api.tls_key_path is None:
        return None
    return TlsFiles(api.tls_cert_path, api.tls_key_path, api.tls_client_ca_path)


def _keys_of(auth: AuthSection) -> Sequence[Key]:
    return [
        Key(
            principal(key.name, [Permission(word) for word in key.permissions], key.rate_limit_per_second),
            key.key_hash.encode(),
        )
        for key in auth.api_keys
    ]


def _rates_of(auth: AuthSection, clock: Clock) -> Rates | None:
    """None when nobody is limited, so that nobody pays for it. With keys a reload may bring limits at any time."""
    if auth.enabled:
        return Rates(clock.monotonic_ms)
    if auth.address_rate_limit_per_second is None:
        return None
    return Rates(clock.monotonic_ms, auth.address_rate_limit_per_second)


def _problem(error: TlsUnusable) -> ConfigProblems:
    return ConfigProblems([Problem("settings", 0, 0, f"api.{error.setting}", error.text, error.remedy)])
