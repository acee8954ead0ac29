"""Bound what messages carry."""

from typing import Final

HANDSHAKE_MAX_BYTES: Final = 24 << 10
"""Longest handshake message or ticket: a wrapped blob of 6144 bytes and two hybrid keys fit twice over."""

RECORD_MAX_BYTES: Final = 1 << 20
"""Longest sealed request or result with its header and tag, 1 MiB."""

RECEIPT_MAX_BYTES: Final = 4 << 10
"""Longest receipt: a COSE_Sign1 of a closed claim map is below 2 KiB."""

COUNTERS_MAX: Final = 64
"""Most counters in a status."""

RECEIPTS_MAX: Final = 128
"""Most receipts in one answer; whoever wants more asks again with a later sequence number."""
