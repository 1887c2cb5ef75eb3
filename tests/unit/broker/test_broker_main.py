"""The command line, as far as it can be asked without starting a broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tq.broker.main import main
from tq.version import VERSION


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tq-broker {VERSION}\n"


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_validate_says_that_the_settings_are_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--validate", "--port", "0"]) == 0
    assert "valid" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("broker: {prot: 1}", "port"),
        (
            "{backend: {redis_url: 'redis://h:1/0', database_url: 'postgres://h/d'}, raft: {enabled: true, secret: sixteen-or-more-x,"
            " node_id: a, bind: '127.0.0.1:1', peers: {b: 'h:2', c: 'h:3'}}}",
            "shared by any number of brokers",
        ),
    ],
)
def test_what_cannot_be_done_is_named_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str, words: str
) -> None:
    file = tmp_path / "tq.yaml"
    file.write_text(settings + "\n")

    assert main(["--validate", "--config", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_a_certificate_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nothing")
    flags = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]

    assert main(["--validate", *flags]) == 2
    assert "tls_cert_path" in capsys.readouterr().err
