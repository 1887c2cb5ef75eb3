"""The program `tq-worker`. Imports what it needs when it needs it, so that --version and --help answer at once."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tq.version import VERSION

if TYPE_CHECKING:
    import asyncio

    from tq.config import WorkerConfig
    from tq.worker.app import App
    from tq.worker.runtime import Worker

BUILTIN_APP = "tq.worker.builtin:make_app"
EXIT_USAGE = 2
EXIT_UNREACHABLE = 1

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the interpreter while another wants it. With Python's default of 5 ms a handler that
computes would delay every delivery, settle and heartbeat by that much."""

EXAMPLES = """\
examples:
  tq-worker                                      the built-in handlers echo, sleep, compute, fail
  tq-worker shop.tasks:app --concurrency 100     the tasks of `app` in the module shop.tasks
  tq-worker shop.tasks:app --broker-addr b1:6379,b2:6379 --queues mail,default
  tq-worker shop.tasks:app --burst               stop when the queues are empty
  tq-worker shop.tasks:app --check               can the app be loaded and the broker be reached?

Each flag has a twin in the environment: TQ_CONCURRENCY=100 is --concurrency 100, TQ_APP is MODULE:APP. A flag beats
the environment, the environment beats the file.

SIGTERM or SIGINT, once: take no new work, finish what runs within the grace, hand back the rest at no charge.
Twice: hand it back now.

exit codes: 0 drained or done (--check: all is well), 1 --check found a fault, 2 usage or configuration,
70 the app fails at import or start, 75 start it again (too many stuck handlers, or the broker did not take the
last results), 77 the broker refuses this worker
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker until it is told to stop. Returns the exit code."""
    from tq.config import ConfigProblems, load_worker
    from tq.logs import configure

    flags = vars(_parser().parse_args(arguments))
    app_path = flags.pop("app") or os.environ.get("TQ_APP", "")
    file, only_check, brokers = flags.pop("config"), flags.pop("check"), flags.pop("broker")
    if brokers:
        flags["broker_addr"] = ",".join([*([flags["broker_addr"]] if flags["broker_addr"] else []), *brokers])
    try:
        config = load_worker(
            file, os.environ, {name.replace("_", "-"): value for name, value in flags.items()}
        )
    except ConfigProblems as problems:
        sys.stderr.write(f"{problems}\n")
        return EXIT_USAGE
    configure(config.monitoring.log_level, config.monitoring.log_format)
    sys.path.insert(0, os.getcwd())
    return _load_and_run(app_path or config.worker.app, config, only_check)


def _parser() -> argparse.ArgumentParser:
    """Flags and their meanings come from the configuration's own table; values are checked there, all at once."""
    from tq.config import WorkerConfig, flags_of

    parser = argparse.ArgumentParser(
        prog="tq-worker",
        description="Run the tasks of an App, as many at a time as there are slots.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "app", nargs="?", metavar="MODULE:APP", help="The App to serve. Without: the built-in handlers."
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with the settings. Twin: TQ_CONFIG.")
    parser.add_argument(
        "--broker", action="append", metavar="HOST:PORT", help="One more broker; may be given several times."
    )
    for flag in flags_of(WorkerConfig).values():
        # argparse takes % for a placeholder.
        meaning = flag.setting.doc.replace("%", "%%")
        if flag.setting.switch:
            parser.add_argument(f"--{flag.name}", action="store_const", const="true", help=meaning)
        else:
            parser.add_argument(f"--{flag.name}", help=meaning, metavar="VALUE")
    parser.add_argument(
        "--check",
        action="store_true",
        help="Load the app, reach a broker, and exit: 0 when both work, else 1.",
    )
    parser.add_argument("--version", action="version", version=f"tq-worker {VERSION}")
    return parser


def _load_and_run(app_path: str, config: WorkerConfig, only_check: bool) -> int:
    import asyncio

    import uvloop

    from tq.errors import TqError
    from tq.logs import get_logger
    from tq.worker.loading import load_app
    from tq.worker.runtime import EXIT_FAILED

    log = get_logger("worker")
    app_path = app_path or BUILTIN_APP
    try:
        app = load_app(app_path)
    except TqError as error:
        log.critical("cannot_load", error.text, app=app_path)
        return EXIT_UNREACHABLE if only_check else EXIT_USAGE
    except Exception as error:  # noqa: BLE001  whatever the user's module raises; its traceback goes to the log
        log.critical("cannot_load", f"{app_path} cannot be imported: {error!r}", exc_info=error)
        return EXIT_UNREACHABLE if only_check else EXIT_FAILED
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if only_check:
            return runner.run(_check(config))
        return runner.run(_serve(app, app_path, config))


async def _check(config: WorkerConfig) -> int:
    from tq.client.link import Link
    from tq.errors import TqError
    from tq.logs import get_logger
    from tq.verbs import Ping
    from tq.worker.settings import dialing_of

    try:
        dialing = dialing_of(config.worker)
    except TqError as error:
        get_logger("worker").error("check_failed", error.text)
        return EXIT_UNREACHABLE
    problems: list[str] = []
    for address in dialing.addresses:
        try:
            link = await Link.open(
                address, role="worker", token=dialing.api_key, name="check", tls=dialing.tls
            )
            await link.request(Ping())
            link.close()
            await link.wait_closed()
        except TqError as error:
            problems.append(f"{address}: {error.text}")
        else:
            get_logger("worker").info("checked", f"the app loads and {address} answers")
            return 0
    get_logger("worker").error("check_failed", "; ".join(problems))
    return EXIT_UNREACHABLE


async def _serve(app: App, app_path: str, config: WorkerConfig) -> int:
    import asyncio

    from tq.errors import TqError
    from tq.logs import get_logger
    from tq.worker.runtime import Worker
    from tq.worker.settings import dialing_of, options_of

    try:
        worker = Worker(app, options_of(config.worker, app_path), dialing_of(config.worker))
    except TqError as error:
        get_logger("worker").critical("cannot_start", error.text, app=app_path)
        return EXIT_USAGE
    _install_signals(asyncio.get_running_loop(), worker)
    exit_code = await worker.run()
    if worker.counts.abandoned:
        # A thread that cannot be stopped must not keep the process: what matters has been answered for.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code


def _install_signals(loop: asyncio.AbstractEventLoop, worker: Worker) -> None:
    is_second = False

    def on_signal() -> None:
        nonlocal is_second
        if is_second:
            worker.hand_back()
        else:
            worker.drain()
        is_second = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


if __name__ == "__main__":
    sys.exit(main())
