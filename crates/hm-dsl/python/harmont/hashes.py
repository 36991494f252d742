"""The hash function of cache keys."""
from __future__ import annotations

try:
    # What hashlib has under the same name, without the milliseconds that loading OpenSSL takes.
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib


def hasher(data: bytes = b"") -> hashlib.blake2b:
    """Return a hash of 32 bytes that has taken in ``data``."""
    return blake2b(data, digest_size=32)
