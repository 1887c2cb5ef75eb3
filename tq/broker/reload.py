"""SIGHUP: the configuration is read again, and what can change while the broker runs changes.

Keys and certificates can; the rest takes a restart, which the log says. When anything at all is wrong, everything
stays as it was, and every problem is in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tq.config import BrokerConfig, ConfigProblems, differences
from tq.logs import get_logger

RELOADED = ("auth.api_keys", "api.tls_cert_path", "api.tls_key_path", "api.tls_client_ca_path")
"""The settings that a reload changes. Whether clients are asked for certificates at all is not among them."""

_log = get_logger("broker")


async def reload_when_asked(
    asked: asyncio.Event,
    running: BrokerConfig,
    load: Callable[[], BrokerConfig],
    use: Callable[[BrokerConfig], Awaitable[None]],
) -> None:
    """Reload whenever `asked` is set, until cancelled. Asked for again meanwhile, it reloads once more.

    load: reads everything anew, on another thread. use: takes what can change. Both may raise ConfigProblems.
    """
    while True:
        await asked.wait()
        asked.clear()
        try:
            config = await asyncio.to_thread(load)
            await use(config)
        except ConfigProblems as problems:
            for problem in problems.problems:
                _log.error("reload_refused", f"{problem}; everything stays as it was", path=problem.path)
            continue
        except Exception as error:  # noqa: BLE001  a defect here must not keep later reloads from being heard
            _log.error(
                "reload_failed", "the reload failed; what it had not reached stays as it was", exc_info=error
            )
            continue
        waiting = _waiting_for_a_restart(running, config)
        if waiting:
            text = f"{', '.join(waiting)} changed in the configuration; that takes effect with a restart"
            _log.warning("restart_needed", text, settings=waiting)
        _log.info("reloaded", "keys and certificates are read again", keys=len(config.auth.api_keys))


def _waiting_for_a_restart(running: BrokerConfig, config: BrokerConfig) -> list[str]:
    found = [path for path in differences(running, config) if path not in RELOADED]
    if (running.api.tls_client_ca_path is None) != (config.api.tls_client_ca_path is None):
        found.append("api.tls_client_ca_path")
    return found
