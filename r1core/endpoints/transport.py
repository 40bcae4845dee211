"""Connects to the addresses that were checked, and to no others: each request resolves the host, refuses what must not
be contacted, and goes to the address itself, with the host's name in its header and in its TLS handshake.

Importing this needs httpx: only the client does.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import ssl

import httpx

from r1core.endpoints.addresses import Address, refusal
from r1core.endpoints.options import Endpoint
from r1core.errors import RefusedError


class CheckedTransport(httpx.AsyncBaseTransport):
    """Requests to one endpoint's host."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._inner = httpx.AsyncHTTPTransport(
            verify=_tls(),
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The reply of the first address that takes the connection. Raises RefusedError for one that is not allowed."""
        addresses = await self._resolved(request.url.port or (443 if request.url.scheme == "https" else 80))
        name = request.url.host
        for number, address in enumerate(addresses):
            request.url = request.url.copy_with(host=str(address))
            request.extensions = {**request.extensions, "sni_hostname": name}
            try:
                return await self._inner.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == len(addresses) - 1:
                    raise
        raise httpx.ConnectError(f"{name} has no address", request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    async def _resolved(self, port: int) -> list[Address]:
        host = self._endpoint.host
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise httpx.ConnectError(f"{host} cannot be resolved: {reason}") from error
        addresses = list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
        for address in addresses:
            why = refusal(address, private=self._endpoint.allows_private)
            if why:
                raise RefusedError(
                    f"host {host}: {why}",
                    where=self._endpoint.origin,
                    fix="name another server"
                    if refusal(address, private=True)
                    else "if that network is meant, say private: true",
                )
        return addresses


@functools.cache
def _tls() -> ssl.SSLContext:
    """Reading all the authorities takes tens of milliseconds."""
    return httpx.create_ssl_context()
