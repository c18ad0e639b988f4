"""The image's health check: exit code 0 if Salon answers on /health, with or without TLS."""

from __future__ import annotations

import http.client
import os
import ssl
import sys

TIMEOUT_S = 2.0
"""For each of two tries; both fit into the check's own timeout."""


def answers(connection: http.client.HTTPConnection) -> bool:
    """Whether /health gives 200. `HTTPException` or `ConnectionResetError` if it is not HTTP that
    is spoken there; another `OSError` if nobody answers."""
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def healthy(port: int) -> bool:
    """Ask without TLS, and with it only a server that wants it: the other way round it would log
    each check as a broken request."""
    try:
        try:
            return answers(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S))
        except (http.client.HTTPException, ConnectionResetError):
            # the certificate is for the world's names; this asks its own machine
            anyone = ssl._create_unverified_context()
            return answers(
                http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=anyone)
            )
    except (OSError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(int(os.environ.get("SALON_PORT") or 8000)) else 1)
