"""Connecting a blocking socket, with or without TLS, and what to call it when that fails."""

from __future__ import annotations

import socket
import ssl
import time

from tq.client.routing import Address
from tq.client.tls import explained
from tq.errors import BrokerUnavailable


def dial(target: Address, tls: ssl.SSLContext | None, timeout_s: float) -> socket.socket:
    """A connected socket, its TLS handshake done. timeout_s: for each address the name has, and for TLS.

    Raises BrokerUnavailable, AuthenticationFailed when the certificate is not trusted, ProtocolError when what listens
    there speaks no TLS.
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
    except OSError as error:
        raise explained(target, error) from error
    return sock
