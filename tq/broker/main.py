"""The program `tq-broker`. Imports what it needs when it needs it, so that --version and --help answer at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tq.version import VERSION

if TYPE_CHECKING:
    from tq.broker.tls import TlsContext
    from tq.config import BrokerConfig

EXAMPLES = """\
examples:
  tq-broker                                     one durable broker on port 6379, data in ./data
  tq-broker --data-dir /var/lib/tq --port 7000
  tq-broker --config tq.yaml --validate         say everything that is wrong with the file
  tq-broker --port 0 --log-format text          a port of the system's choice; logs for people

Each flag has a twin in the environment: TQ_PORT=7000 is --port 7000. A flag beats the environment, the
environment beats the file. SIGTERM stops the broker cleanly within 10 seconds; a second one hurries it. SIGHUP reads
keys and certificates again.

exit codes: 0 stopped as asked, 2 usage or configuration, 65 the data is damaged, 69 something else has what
the broker needs, 70 a defect, 74 the disk failed, 77 not permitted
"""

USAGE = 2
"""What argparse exits with, too. The other exit codes are in `lifecycle`."""
SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter while another wants it. The disk thread wants it after every sync; with
Python's default of 5 ms each commit on a busy broker would wait about that long."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a broker until it is told to stop. Returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--version" in arguments:
        sys.stdout.write(f"tq-broker {VERSION}\n")
        return 0
    from tq.config import ConfigProblems, load_broker

    flags = vars(_parser().parse_args(arguments))
    file, only_validate = flags.pop("config"), flags.pop("validate")
    load = partial(
        load_broker, file, os.environ, {name.replace("_", "-"): value for name, value in flags.items()}
    )
    try:
        config = load()
        _refuse_what_is_not_here(config)
        tls = _tls_context(config)
    except ConfigProblems as problems:
        sys.stderr.write(f"{problems}\n")
        return USAGE
    if only_validate:
        sys.stdout.write("the configuration is valid\n")
        return 0
    return _run(config, tls, load)


def _parser() -> argparse.ArgumentParser:
    """Flags and their meanings come from the configuration's own table; values are checked there, all at once."""
    from tq.config import BrokerConfig, flags_of

    parser = argparse.ArgumentParser(
        prog="tq-broker",
        description="Keep tasks safe and hand them to workers.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with the settings. Twin: TQ_CONFIG.")
    for flag in flags_of(BrokerConfig).values():
        # argparse takes % for a placeholder.
        parser.add_argument(f"--{flag.name}", help=flag.setting.doc.replace("%", "%%"), metavar="VALUE")
    parser.add_argument(
        "--validate", action="store_true", help="Check the settings, say what is wrong, and exit."
    )
    parser.add_argument(
        "--version", action="version", version=VERSION, help="Say which release this is, and exit."
    )
    return parser


def _refuse_what_is_not_here(config: BrokerConfig) -> None:
    """Settings that promise what this release does not do yet: ignoring one would be worse than stopping.

    Raises ConfigProblems.
    """
    from tq.config import ConfigProblems, Problem

    missing = [
        (
            config.raft.enabled and config.persistence.durability == "relaxed",
            "persistence.durability",
            "a cluster syncs before it acknowledges: a vote or an entry that was lost would break its promises",
            "set it to strict, or raft.enabled to false",
        ),
        (
            config.raft.enabled and config.backend.kind == "stackduck",
            "raft.enabled",
            "StackDuck's stores are shared by any number of brokers without a cluster",
            "set it to false, or backend.kind to native",
        ),
    ]
    problems = [
        Problem("settings", 0, 0, path, text, remedy) for is_asked, path, text, remedy in missing if is_asked
    ]
    if problems:
        raise ConfigProblems(problems)


def _tls_context(config: BrokerConfig) -> TlsContext | None:
    """The certificate that the doors show, None without TLS. Raises ConfigProblems when it cannot be used."""
    if not config.api.enable_tls:
        return None
    from tq.broker.security import tls_of
    from tq.clock import SystemClock

    return tls_of(config.api, SystemClock())


def _run(config: BrokerConfig, tls: TlsContext | None, load: Callable[[], BrokerConfig]) -> int:
    """Start, serve, stop, with logs and signals in place. Returns the exit code."""
    import asyncio

    import uvloop

    from tq.logs import configure

    configure(config.monitoring.log_level, config.monitoring.log_format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, tls, load))


async def _serve(config: BrokerConfig, tls: TlsContext | None, load: Callable[[], BrokerConfig]) -> int:
    """load: reads the configuration anew, for SIGHUP."""
    import asyncio

    from tq.broker.lifecycle import EXIT_DEFECT, EXIT_OK, CannotStart, Fatal, Signals
    from tq.broker.node import Node
    from tq.broker.reload import reload_when_asked
    from tq.clock import SystemClock
    from tq.logs import get_logger

    log = get_logger("broker")
    loop = asyncio.get_running_loop()
    fatal, signals = Fatal(), Signals()
    loop.set_exception_handler(fatal.on_loop_error)
    signals.install(loop)
    log.info("starting", f"tq-broker {VERSION} starts", version=VERSION, pid=os.getpid())
    node = Node(config, SystemClock(), fatal, tls=tls)
    try:
        addresses = await node.start()
    except CannotStart as error:
        log.critical("cannot_start", str(error), exit_code=error.exit_code)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  the top of the program: a defect is told in one line, like any other
        fatal(error)
        return EXIT_DEFECT
    log.info("ready", f"serving at {addresses['tcp']}", addresses=addresses, **node.facts)
    reloading = asyncio.create_task(reload_when_asked(signals.reload, config, load, node.reload))
    await signals.stop.wait()
    reloading.cancel()
    await node.stop(signals.hurry)
    log.info("stopped", "stopped")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
