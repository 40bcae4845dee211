"""Which hosts may be contacted, as they are written and again as they resolve.

Cloud metadata and link-local addresses never; those of private networks only where the recipe says so. A
name is checked again when it has become an address, and the connection goes to the address that was
checked: a name that answers otherwise the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)
"""Where clouds keep the keys of a machine (AWS, GCP, Alibaba, Oracle, Azure); some lie outside link-local."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def literal(host: str) -> Address | None:
    """The address that `host` is, None where it is a name. ValueError where resolvers would disagree on it."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        if ":" in host or NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            raise ValueError(f"host {host!r} is neither a name nor a whole IP address") from None
        return None


def is_spelled_private(host: str) -> bool:
    """Whether the way it is written says that it lies in a private network: an address of one, or this machine."""
    address = literal(host)
    return host == "localhost" or host.endswith(".localhost") if address is None else not address.is_global


def refusal(address: Address, *, private: bool) -> str:
    """Why `address` may not be contacted, "" where it may. `private`: whether private networks were asked for."""
    for one in (address, *_embedded(address)):
        if one in METADATA or one.is_link_local:
            return f"{one} is a link-local or cloud metadata address"
        if one.is_multicast or one.is_unspecified:
            return f"{one} is no address of a server"
        if not one.is_global and not private and one == address:
            return f"{one} lies in a private network"
    inner = _embedded(address)
    if inner and not private and not all(one.is_global for one in inner):
        return f"{address} stands for {inner[0]}, which lies in a private network"
    return ""


def _embedded(address: Address) -> Sequence[Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    teredo = address.teredo or ()
    nat64 = (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),) if address in NAT64 else ()
    return tuple(one for one in (address.ipv4_mapped, address.sixtofour, *teredo, *nat64) if one is not None)
