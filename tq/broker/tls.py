"""TLS for every door: one context made from PEM files, replaced as a whole on a reload while the doors stay open.

Rules of the file:
- `TlsContext.context` is handed to the listeners once and stays. Each handshake is told which context to go by, the
  newest, so a reload reaches new connections at once and open ones never. (Loading a new certificate into a live
  context would do for the certificate, not for the client authorities, and a bad pair would leave it half changed.)
- A reload either takes effect whole or raises and changes nothing.
- A handshake that fails is told to both sides: a line in the log here; there the alert that OpenSSL made or, for a
  peer that did not speak TLS at all, one it can read. asyncio and uvloop drop both.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

from tq.logs import get_logger

COMPLAINTS_MAX = 20
"""Lines about failed handshakes in one COMPLAINTS_MS; the rest is counted."""
COMPLAINTS_MS = 1_000

_PLAIN = "a client without TLS dialled a port where TLS is on"
_HTTP_TEXT = b"TLS is on at this port; use https or, for tq, --tls\n"
_HTTP_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    % (len(_HTTP_TEXT), _HTTP_TEXT)
)
"""With its length: the connection lasts until the peer hangs up, or the time for a handshake is over."""
_ALERT_PROTOCOL_VERSION = b"\x15\x03\x03\x00\x02\x02\x46"
"""A fatal TLS alert in the clear. tq's clients tell by it what is at the port; others at least see TLS."""

_log = get_logger("tls")


class TlsFiles(NamedTuple):
    """PEM files. client_ca_path: authorities whose clients are let in; None = clients need no certificate."""

    cert_path: str
    key_path: str
    client_ca_path: str | None = None


class Pems(NamedTuple):
    """What the files held, for libraries that bring their own TLS."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


class TlsUnusable(Exception):
    """The files cannot serve. setting: the one of `api` to blame; the text names the file, remedy says what to do."""

    def __init__(self, setting: str, text: str, remedy: str) -> None:
        super().__init__(f"{text}; {remedy}")
        self.setting = setting
        self.text = text
        self.remedy = remedy


class TlsContext:
    """The certificate that all doors show, and whom they let in. `load` may run on another thread, the rest not."""

    def __init__(self, files: TlsFiles, now_ms: Callable[[], int]) -> None:
        """now_ms: the monotonic clock. Raises TlsUnusable."""
        self._complaints = _Complaints(now_ms)
        self.files = files
        """As given at the start."""
        self._newest, self.pems = self.load(files)
        self.context = self._newest
        """For listeners, for as long as the process lives. Its handshakes go by the newest files."""
        self.context.sni_callback = self._choose
        self._first_client_ca = self.pems.client_ca

    def load(self, files: TlsFiles) -> tuple[ssl.SSLContext, Pems]:
        """Make what `use` takes; changes nothing. Raises TlsUnusable."""
        return _load(files, self._complaints.add)

    def use(self, loaded: tuple[ssl.SSLContext, Pems]) -> None:
        """From now on handshakes go by these files."""
        self._newest, self.pems = loaded

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str, offered: ssl.SSLContext) -> None:
        """Called in every handshake, whether the client named a server or not."""
        if self._newest is not offered:
            connection.context = self._newest
        if self.pems.client_ca != self._first_client_ca and isinstance(connection, _DoorObject):
            # Sessions stay with the first context, and none tells which authority its client was checked by.
            connection.takes_up_sessions = False


def _load(files: TlsFiles, complain: Callable[[str], None]) -> tuple[ssl.SSLContext, Pems]:
    certificate = _read("tls_cert_path", files.cert_path, b"CERTIFICATE-----", "certificate")
    key = _read("tls_key_path", files.key_path, b"PRIVATE KEY-----", "private key")
    context = _DoorContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _DoorObject
    context.complain = complain
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(files.cert_path, files.key_path, password=_refuse_password)
    except (OSError, ssl.SSLError, _Encrypted) as error:
        raise _pair_error(files, error) from error
    client_ca = None
    if files.client_ca_path is not None:
        client_ca = _read("tls_client_ca_path", files.client_ca_path, b"CERTIFICATE-----", "certificate")
        _ask_for_certificates(context, files.client_ca_path)
    return context, Pems(certificate, key, client_ca)


def _ask_for_certificates(context: ssl.SSLContext, client_ca_path: str) -> None:
    try:
        context.load_verify_locations(client_ca_path)
    except (OSError, ssl.SSLError) as error:
        text = f"{client_ca_path} holds a certificate that cannot be read: {_reason(error)}"
        remedy = "name a PEM file with the authorities that signed the clients' certificates"
        raise TlsUnusable("tls_client_ca_path", text, remedy) from error
    context.verify_mode = ssl.CERT_REQUIRED
    # A session taken up again is not checked again, and would outlive an authority that was taken out. This is all
    # that TLS 1.3 has of them; those of 1.2 that the broker keeps are looked at in `_DoorObject`.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET


def _read(setting: str, path: str, mark: bytes, what: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        text = f"{path!r} cannot be read: {error.strerror or error}"
        raise TlsUnusable(setting, text, "name a PEM file that this user may read") from error
    if mark not in content:
        raise TlsUnusable(setting, f"{path!r} holds no {what}", f"name a PEM file with a {what}")
    return content


def _pair_error(files: TlsFiles, error: Exception) -> TlsUnusable:
    if isinstance(error, _Encrypted):
        text = f"the key in {files.key_path!r} is encrypted, and nobody is there to type its password"
        return TlsUnusable(
            "tls_key_path", text, "name a file with the key in the clear that only this user may read"
        )
    if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
        text = f"the key in {files.key_path!r} does not belong to the certificate in {files.cert_path!r}"
        return TlsUnusable(
            "tls_key_path", text, "name the key the certificate was made for; its chain comes after it"
        )
    text = f"{files.cert_path!r} cannot be used with the key in {files.key_path!r}: {_reason(error)}"
    return TlsUnusable(
        "tls_cert_path", text, "name the PEM files of a certificate and of the key that belongs to it"
    )


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return str(reason).replace("_", " ").lower()


class _Encrypted(Exception):
    """OpenSSL asked for a password."""


def _refuse_password() -> str:
    raise _Encrypted


class _DoorContext(ssl.SSLContext):
    """complain: told in words why a handshake failed."""

    complain: Callable[[str], None]

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *rest: Any, **named: Any
    ) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, *rest, **named)
        assert isinstance(made, _DoorObject)
        made.outgoing, made.complain = outgoing, self.complain
        return made


class _DoorObject(ssl.SSLObject):
    """One connection's TLS, whose failed handshake is told before it ends.

    Event loops send what is in `outgoing` when a handshake wants more bytes, and drop it when it fails. So a failure
    is put off until the peer says more or hangs up, which it does when it has read why; a peer that does neither
    runs into the time-out of the handshake.
    """

    outgoing: ssl.MemoryBIO
    complain: Callable[[str], None]
    takes_up_sessions = True
    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self._failure = error
            self.complain(self._tell(error))
            raise ssl.SSLWantReadError from error
        if self.session_reused and not self.takes_up_sessions:
            text = "a client took up a session from before the client authorities changed"
            self.complain(text)
            raise ssl.SSLError(text)

    def _tell(self, error: ssl.SSLError) -> str:
        """Say it to the peer, where OpenSSL does not, and return it in words."""
        if error.reason == "HTTP_REQUEST":
            self.outgoing.write(_HTTP_ANSWER)
            return f"{_PLAIN}, and spoke HTTP"
        if error.reason == "WRONG_VERSION_NUMBER":
            self.outgoing.write(_ALERT_PROTOCOL_VERSION)
            return _PLAIN
        if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return "a client showed no certificate; this broker asks for one"
        return f"a TLS handshake failed: {_reason(error)}"


class _Complaints:
    """Lines about failed handshakes, no more than COMPLAINTS_MAX in a COMPLAINTS_MS."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._since_ms = now_ms()
        self._count = 0

    def add(self, text: str) -> None:
        now_ms = self._now_ms()
        if now_ms - self._since_ms >= COMPLAINTS_MS:
            dropped = self._count - COMPLAINTS_MAX
            self._since_ms, self._count = now_ms, 0
            if dropped > 0:
                _log.warning("complaints_dropped", f"{dropped} more TLS handshakes failed")
        self._count += 1
        if self._count <= COMPLAINTS_MAX:
            _log.warning("handshake_failed", text)
