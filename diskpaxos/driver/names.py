"""From the name of a resource to the name of its lease.

Every host must come to the same lease, so this mapping never changes:

- a name of 1 to 200 bytes of UTF-8 without control characters is the lease's name, as it is;
- any other (longer, not UTF-8, with control characters, empty) becomes
  ``READABLE~SHA256``: the end of the name, at most 120 bytes of it, with ``_`` for what cannot be
  shown, and the SHA-256 of all its bytes in hexadecimal;
- so does a name that looks like such a result, and the name of the lockspace's own lease
  (``directory``): two resources never share a lease.

Nothing is resolved: two paths to one image are two leases.  Give every host the same text.
"""

from __future__ import annotations

import hashlib
import os
import re

from diskpaxos import _core
from diskpaxos.driver.api import Resource
from diskpaxos.errors import InvalidNameError

_READABLE = 120  # bytes of the hashed form that people can read
_HASHED = re.compile(r"~[0-9a-f]{64}\Z", re.ASCII)


def resource_bytes(resource: Resource) -> bytes:
    """The bytes of a resource's name: text as UTF-8, whatever the locale, so that hosts agree."""
    name = os.fspath(resource)
    if isinstance(name, bytes):
        return name
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        raise InvalidNameError(name, "resource", "it has no form in bytes") from None


def resource_text(resource: Resource) -> str:
    """The same as text, from which the bytes can be had again."""
    return resource_bytes(resource).decode("utf-8", "surrogateescape")


def lease_name(resource: Resource) -> str:
    """The lease of a resource."""
    raw = resource_bytes(resource)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return _hashed(raw)
    plain = _core.name_valid(raw, _core.LEASE_NAME_MAX) and raw != _core.DIRECTORY_NAME and not _HASHED.search(text)
    return text if plain else _hashed(raw)


def _hashed(raw: bytes) -> str:
    tail = raw[-_READABLE:]
    if len(raw) > _READABLE:
        tail = tail.lstrip(bytes(range(0x80, 0xC0)))  # not from the middle of a character
    # Each replaced byte stays one byte, so the limit holds.
    shown = tail.decode("utf-8", "surrogateescape")
    readable = "".join(c if c.isprintable() and not 0xD800 <= ord(c) < 0xE000 else "_" for c in shown)
    return f"{readable}~{hashlib.sha256(raw).hexdigest()}"
