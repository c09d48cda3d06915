"""The addresses that webhooks may be sent to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING = "webhook_allow"

_NEVER = [
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host, in some stacks
        "169.254.0.0/16",  # link-local, with most clouds' metadata in it
        "100.100.100.200/32",  # metadata
        "192.0.0.192/32",  # metadata
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "fe80::/10",
        "fd00:ec2::254/128",  # metadata
        "ff00::/8",
    )
]
_LOOPBACK = [ip_network(text) for text in ("127.0.0.0/8", "::1/128")]
_PRIVATE = [
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "fec0::/10",
        "64:ff9b:1::/48",
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # RFC 2765
_COMPATIBLE = IPv6Network("::/96")


@dataclass(frozen=True, slots=True)
class AddressRules:
    """The addresses allowed besides public ones."""

    networks: Sequence[Network] = ()
    names: frozenset[str] = frozenset()
    loopback: bool = False

    @classmethod
    def read(cls, allowed: Sequence[str], *, loopback: bool) -> AddressRules:
        """Return the rules for `allowed`, a list of networks in CIDR form and host names."""
        networks: list[Network] = []
        names: set[str] = set()
        for text in allowed:
            try:
                networks.append(ip_network(text, strict=False))
            except ValueError:
                names.add(text.lower())
        return cls(networks, frozenset(names), loopback)

    def refusal(self, address: Address, *, name: str = "") -> str | None:
        """Return the reason to refuse a webhook to `address`, resolved from `name`, or None if it is allowed."""
        inner = _embedded(address)
        if inner is not None:
            if _in(inner, _NEVER) or _in(inner, _LOOPBACK) or not _public(inner):
                return f"{address} stands for {inner}; the setting {SETTING} allows that address only in its own form"
            return None
        if _in(address, _NEVER):
            return f"{address} is link-local, metadata, multicast or reserved, which not even {SETTING} allows"
        if _public(address) or _in(address, self.networks) or name.lower() in self.names:
            return None
        if self.loopback and _in(address, _LOOPBACK):
            return None
        return f"{address} is not a public address; the setting {SETTING} allows networks and names"


def read_url(text: str) -> SplitResult:
    """Return the parts of a webhook's URL. Raise ValueError with the allowed form."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("must be an http:// or https:// address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError("must be an http:// or https:// address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must carry no user name or password")
    if any(letter == " " or not letter.isprintable() for letter in text):
        raise ValueError("must carry no spaces or control characters")
    if not _plain(parts.hostname):
        raise ValueError(f"IP addresses must be in dotted or colon notation (see {SETTING})")
    return parts


@lru_cache(maxsize=256)
def receiver_of(url: str) -> str:
    """Return scheme://host:port of a URL. Raise ValueError for a malformed one."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _plain(host: str) -> bool:
    """Return True for a host name or a standard IP address; False for forms such as 0x7f.1 or 2130706433."""
    last = host.rstrip(".").rpartition(".")[2]
    if not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", last):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _public(address: Address) -> bool:
    return address.is_global and not _in(address, _NEVER) and not _in(address, _PRIVATE) and not address.is_multicast


def _embedded(address: Address) -> IPv4Address | None:
    """Return the IPv4 address embedded in an IPv6 one, to which a router may translate it."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or address in _TRANSLATED or (address in _COMPATIBLE and int(address) > 1):
        return low
    return None
