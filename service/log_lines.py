"""Write one JSON line an event, of listed fields only: no header, no query, no path, no body reaches a log.

A field that is not listed is an error of ours, so it raises: tests see it, not an operator's disk.
"""

import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

FIELDS: Final = frozenset(
    {
        "caller", "code", "count", "duration_ms", "epoch", "event", "level", "method", "request_id", "route",
        "size_bytes", "status", "timestamp", "type",
    }
)  # fmt: skip
"""All fields that a line may have."""


def logger(stream: TextIO | None = None) -> FilteringBoundLogger:
    """Return a logger of JSON lines.

    Args:
        stream: where to; stderr when None.
    """
    made: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(20),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _only_listed,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
    )
    return made


def _only_listed(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if not event.keys() <= FIELDS:
        raise ValueError(f"log fields {sorted(event.keys() - FIELDS)} are not listed")
    return event
