"""Roll-over documents to start from."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from kms_policies.rendering import Template
from tests.unit.kms_policies.template_inputs import KEY_ARN, PCR0, PCR0_NEXT, input_fields

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
OLD, NEW = "v1", "v2"


def inputs_of(template: Template) -> dict[str, object]:
    return {name: value for name, value in input_fields(template).items() if not name.startswith("pcr")}


def raw_document(**changed: Any) -> dict[str, Any]:
    """Return a document as JSON: one measurement admitted, the next announced."""
    return {
        "version": "1",
        "policies": [
            {"name": "weights", "template": "model_weights_key", "inputs": inputs_of(Template.MODEL_WEIGHTS_KEY)},
            {"name": "session", "template": "session_key", "inputs": inputs_of(Template.SESSION_KEY)},
            {"name": "parent", "template": "parent_role", "inputs": {"key_arns": [KEY_ARN]}},
        ],
        "measurements": [
            {
                "name": OLD,
                "pcrs": {"pcr0": PCR0},
                "state": "admitted",
                "since": "2026-10-01T00:00:00Z",
                "expires": "2027-01-01T00:00:00+00:00",
            },
            {
                "name": NEW,
                "pcrs": {"pcr0": PCR0_NEXT},
                "state": "announced",
                "since": "2026-11-20T00:00:00+02:00",
                "expires": "2027-06-01T00:00:00Z",
            },
        ],
        "changed": "2026-10-01T00:00:00Z",
        "probed": True,
        "drain_s": 600,
        "approvals": [],
    } | changed


def text_document(**changed: Any) -> str:
    return json.dumps(raw_document(**changed))
