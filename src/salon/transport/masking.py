"""RFC 6455, section 5.3: XOR with a four-byte key; in C where the `websockets` package is there."""

from __future__ import annotations

from collections.abc import Callable


def xor_mask(data: bytes, mask: bytes) -> bytes:
    """`data` XOR the repeated four-byte `mask`, by one big-integer operation."""
    size = len(data)
    if not size:
        return b""
    repeated = mask * (size // 4) + mask[: size % 4]
    value = int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")
    return value.to_bytes(size, "little")


apply_mask: Callable[[bytes, bytes], bytes]
try:
    from websockets.speedups import apply_mask
except ImportError:  # pragma: no cover - depends on what is installed
    apply_mask = xor_mask
