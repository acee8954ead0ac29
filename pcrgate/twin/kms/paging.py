"""Cut long lists into pages: Limit and Marker in, NextMarker and Truncated out."""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

from pcrgate.twin.kms.fields import Fields
from pcrgate.twin.kms.service_errors import AwsCode, AwsError

_PREFIX: Final = b"pcrgate-marker:"

DEFAULT_LIMIT: Final = 50
"""Page size without Limit. Spec: KMS API, ListAliases, ListGrants, ListResourceTags."""

KEYS_DEFAULT_LIMIT: Final = 100
"""Page size of ListKeys and ListKeyRotations without Limit. Spec: KMS API, ListKeys."""


def page(
    items: Sequence[tuple[str, object]], member: str, request: Fields, *, default_limit: int = DEFAULT_LIMIT
) -> dict[str, object]:
    """Return one page of a list.

    Args:
        items: sort key (unique) and entry, ordered by sort key; the marker names the last sort key shown, so that
            pages stay right while items come and go.
        member: name of the list in the answer.
        request: Limit and Marker are read from it.
        default_limit: page size when no Limit is given.

    Raises:
        AwsError: InvalidMarkerException.
    """
    after = _read(request.optional_text("Marker"))
    rest = [(key, entry) for key, entry in items if after is None or key > after]
    limit = request.number("Limit") or default_limit
    shown = rest[:limit]
    answer: dict[str, object] = {member: [entry for _, entry in shown], "Truncated": len(rest) > limit}
    if len(rest) > limit:
        answer["NextMarker"] = base64.urlsafe_b64encode(_PREFIX + shown[-1][0].encode()).decode("ascii")
    return answer


def _read(marker: str | None) -> str | None:
    if marker is None:
        return None
    try:
        data = base64.b64decode(marker.encode("ascii"), altchars=b"-_", validate=True)
        if data.startswith(_PREFIX):
            return data.removeprefix(_PREFIX).decode()
    except (binascii.Error, ValueError):
        pass
    raise AwsError(AwsCode.INVALID_MARKER, "The marker is invalid: use a NextMarker of the same operation")
