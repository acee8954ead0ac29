"""Bound what messages carry."""

from typing import Final

RECORD_MAX_BYTES: Final = 1 << 20
"""Longest sealed request or result with its header and tag, 1 MiB."""

RECEIPT_MAX_BYTES: Final = 4 << 10
"""Longest receipt: what pcrgate.receipts takes, which this package does not import; a test compares the two."""

MANIFEST_MAX_BYTES: Final = (1 << 20) + 256
"""Longest signed manifest: what pcrgate.manifest takes; compared likewise."""

COUNTERS_MAX: Final = 64
"""Most counters in a status."""

RECEIPTS_MAX: Final = 128
"""Most receipts in one answer; whoever wants more asks again with a later sequence number."""
