"""SIGHUP: what a reload of keys and certificates changes, and what it leaves as it was."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from tests.access.broker_files import TOKENS, reload, running, write_config
from tests.access.certificates import Authority
from tq import Client
from tq.client.sync_link import Link
from tq.client.tls import client_context
from tq.errors import AuthenticationFailed, PermissionDenied, TqError
from tq.verbs import GetStats


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "ours")


def test_a_reload_brings_keys_and_certificates_and_takes_them_away_while_others_go_on(
    tmp_path: Path, authority: Authority
) -> None:
    files, renewed = authority.broker("replaced"), Authority(tmp_path, "renewed")
    config = write_config(tmp_path, TOKENS, files)
    old, new = client_context(authority.path), client_context(renewed.path)
    with running(tmp_path, config) as (broker, address):
        # A link that is lost stays lost: one that still answers is the same connection.
        kept = Link.open(address, token="ops-token-1", tls=old)
        gone = Link.open(address, token="ci-token-2", tls=old)
        gone.call(GetStats(), monotonic() + 60)
        config.write_text(
            config.read_text()
            .replace("name: ci", "name: night")
            .replace("submit_tasks, read_tasks", "read_tasks")
        )
        for path, source in zip(files[:2], renewed.broker()[:2], strict=True):
            Path(path).write_bytes(Path(source).read_bytes())

        assert reload(broker)[-1]["event"] == "reloaded"

        kept.call(GetStats(), monotonic() + 60)
        with pytest.raises(TqError, match="withdrawn or changed"):
            gone.call(GetStats(), monotonic() + 60)
        with Client(address, api_key="ci-token-2", tls=new) as night:
            night.stats()
            with pytest.raises(PermissionDenied, match="night"):
                night.submit_task("t")
        with Client(address, api_key="ops-token-1", tls=old) as late, pytest.raises(AuthenticationFailed):
            late.ping()
        kept.close()
        gone.close()


def test_a_reload_of_a_bad_file_tells_every_problem_and_changes_nothing(
    tmp_path: Path, authority: Authority
) -> None:
    files = authority.broker("own")
    config = write_config(tmp_path, TOKENS, files)
    with running(tmp_path, config) as (broker, address):
        good, tls = config.read_text(), client_context(authority.path)
        config.write_text(good.replace("name: ci", "nmae: ci").replace("[admin]", "[amdin]"))
        told = reload(broker)
        paths = {line["path"] for line in told if line["event"] == "reload_refused"}
        assert {"auth.api_keys[1].nmae", "auth.api_keys[1].name", "auth.api_keys[0].permissions[0]"} <= paths

        config.write_text(good.replace("name: ci", "name: cj"))
        Path(files.key_path).write_bytes(Path(authority.issue("other").key).read_bytes())
        (refused,) = [line for line in reload(broker) if line["event"] == "reload_refused"]
        assert "does not belong to" in str(refused["message"])

        for token in ("ops-token-1", "ci-token-2"):
            with Client(address, api_key=token, tls=tls) as client:
                client.ping()


def test_what_a_reload_cannot_change_is_named(tmp_path: Path) -> None:
    config = write_config(tmp_path, TOKENS)
    with running(tmp_path, config) as (broker, _):
        config.write_text("broker: {max_connections: 7}\n" + config.read_text())

        (restart,) = [line for line in reload(broker) if line["event"] == "restart_needed"]

        assert restart["settings"] == ["broker.max_connections"]


def test_whether_clients_show_certificates_at_all_stays_as_it_was_until_a_restart(
    tmp_path: Path, authority: Authority
) -> None:
    files = authority.broker("asking")
    config = write_config(tmp_path, TOKENS, files)
    with running(tmp_path, config) as (broker, address):
        write_config(tmp_path, TOKENS, files._replace(client_ca_path=authority.path))

        (restart,) = [line for line in reload(broker) if line["event"] == "restart_needed"]

        assert restart["settings"] == ["api.tls_client_ca_path"]
        with Client(address, api_key="ci-token-2", tls=client_context(authority.path)) as client:
            client.stats()
