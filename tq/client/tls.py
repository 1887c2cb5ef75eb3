"""How this side does TLS: what it trusts, what it shows, and what to call it when a handshake fails."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from tq.client.routing import Address
from tq.errors import AuthenticationFailed, BadRequest, BrokerUnavailable, ProtocolError, TqError
from tq.logs import get_logger

_log = get_logger("tls")

_ON, _OFF = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})
_NO_TLS_THERE = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")
"""OpenSSL's words for an answer that is no TLS."""
_CERTIFICATE_REFUSED = (
    "CERTIFICATE_REQUIRED",
    "ALERT_UNKNOWN_CA",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_HANDSHAKE_FAILURE",
)
"""Ends of OpenSSL's words for a peer that does not like what we showed, or that we showed nothing."""


def client_context(
    ca: str | None = None, *, insecure: bool = False, cert: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """TLS 1.2 or newer that checks who answers: name and authority.

    ca: PEM file of the authorities to trust instead of the system's. insecure: check nothing; logs a warning.
    cert, key: PEM files to show a broker that asks for a certificate; key may be in the same file.
    Raises BadRequest naming the file that cannot be used.
    """
    if insecure and ca is not None:
        raise BadRequest("an authority is named and not to be checked; leave out --tls-insecure, or --tls-ca")
    if key is not None and cert is None:
        raise BadRequest("a key without its certificate; give --tls-cert too")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise BadRequest(f"{ca!r} cannot be used as an authority: {_reason(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        try:
            context.load_cert_chain(cert, key, password=_refuse_password)
        except (OSError, ssl.SSLError, _Encrypted) as error:
            pair = repr(cert) if key is None else f"{cert!r} with the key in {key!r}"
            raise BadRequest(f"{pair} cannot be used as a certificate: {_reason(error)}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        text = "TLS without checking who answers: anybody on the way can read and change everything"
        _log.warning("tls_insecure", text)
    return context


def context_of_environment(env: Mapping[str, str]) -> ssl.SSLContext | None:
    """What TQ_TLS, TQ_TLS_CA, TQ_TLS_INSECURE, TQ_TLS_CERT and TQ_TLS_KEY ask for; None = no TLS.

    An empty variable counts as not given. A word that is neither on nor off counts as the safer one: TLS, and checked.
    Raises BadRequest as `client_context`.
    """
    ca, cert, key = (env.get(name) or None for name in ("TQ_TLS_CA", "TQ_TLS_CERT", "TQ_TLS_KEY"))
    insecure = env.get("TQ_TLS_INSECURE", "").lower() in _ON
    is_asked = env.get("TQ_TLS", "").lower() not in _OFF
    if not (is_asked or insecure or ca or cert or key):
        return None
    return client_context(ca, insecure=insecure, cert=cert, key=key)


def explained(address: Address, error: OSError) -> TqError:
    """The error a failed connection, or one that broke before the broker's greeting, stands for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return AuthenticationFailed(
            f"{address} shows a certificate that is not trusted: {error.verify_message}"
        )
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if reason in _NO_TLS_THERE:
        return ProtocolError(f"{address} does not speak TLS; switch TLS on there, or leave it off here")
    if reason.endswith(_CERTIFICATE_REFUSED):
        text = f"{address} does not take this side's certificate, or asks for one ({_reason(error)})"
        return AuthenticationFailed(f"{text}; give one that it trusts (--tls-cert, --tls-key)")
    return BrokerUnavailable(f"cannot reach {address}: {error}")


def hung_up(address: Address) -> BrokerUnavailable:
    """The error for a broker that closed the connection before it greeted."""
    return BrokerUnavailable(
        f"{address} closed the connection before it answered the hello; is TLS on there?"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, _Encrypted):
        return "the key is encrypted"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return str(reason).replace("_", " ").lower()


class _Encrypted(Exception):
    """OpenSSL asked for a password."""


def _refuse_password() -> str:
    raise _Encrypted
