"""How often each operation was asked for, attested or not, and how it ended."""

import threading
from collections import Counter
from collections.abc import Mapping

from kms_policies.operations import RECIPIENT_OPERATIONS


class CallCounters:
    """Count finished requests; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, bool, str]] = Counter()

    def add(self, operation: str, *, attested: bool, outcome: str) -> None:
        """Count one request.

        Args:
            operation: API name.
            attested: whether it carried a Recipient.
            outcome: ``ok`` or the error code.
        """
        with self._lock:
            self._calls[operation, attested, outcome] += 1

    def clear(self) -> None:
        """Start again from zero."""
        with self._lock:
            self._calls.clear()

    def snapshot(self) -> Mapping[str, object]:
        """Return the counts: ``attested`` and ``not_attested`` calls that KMS answered, and every line.

        ``not_attested`` counts only the five operations that could have carried a Recipient: a client that always
        attests keeps it at zero.
        """
        with self._lock:
            calls = dict(self._calls)
        attestable = {key: count for key, count in calls.items() if key[0] in RECIPIENT_OPERATIONS}
        return {
            "attested": sum(count for (_, attested, _), count in attestable.items() if attested),
            "not_attested": sum(count for (_, attested, _), count in attestable.items() if not attested),
            "calls": [
                {"operation": operation, "attested": attested, "outcome": outcome, "count": count}
                for (operation, attested, outcome), count in sorted(calls.items())
            ],
        }
