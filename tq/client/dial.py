"""Connecting a blocking socket, with or without TLS, and what to call it when that fails."""

from __future__ import annotations

import socket
import ssl
import time

from tq.client.routing import Address
from tq.errors import AuthenticationFailed, BrokerUnavailable


def dial(target: Address, tls: ssl.SSLContext | None, timeout_s: float) -> socket.socket:
    """A connected socket, its TLS handshake done. timeout_s: for each address the name has, and for TLS.

    Raises BrokerUnavailable, or AuthenticationFailed when the certificate is not trusted.
    """
    deadline = time.monotonic() + timeout_s
    try:
        sock = socket.create_connection((target.host, target.port), timeout=timeout_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                sock.settimeout(max(deadline - time.monotonic(), 0.001))
                sock = tls.wrap_socket(sock, server_hostname=target.host)
        except BaseException:
            sock.close()
            raise
    except TimeoutError as error:
        raise BrokerUnavailable(f"no connection to {target} within {timeout_s:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise AuthenticationFailed(f"{target} shows a certificate that is not trusted: {error}") from error
    except OSError as error:
        raise BrokerUnavailable(f"cannot reach {target}: {error}") from error
    return sock
