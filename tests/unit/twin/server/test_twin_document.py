"""``docs/twin.md`` says what the code does: its table is compared with the service, with moto and with the API's model."""

import re
from pathlib import Path

import pytest
from moto.kms.responses import KmsResponse

from kms_policies.operations import OPERATIONS, RECIPIENT_OPERATIONS
from pcrgate.twin.audit import ENCLAVE_PCRS, NITROTPM_PCRS
from pcrgate.twin.kms.service import OPERATIONS as IMPLEMENTED
from pcrgate.twin.mode_json import modes_to_json
from pcrgate.twin.settings import ModeSettings, OutageKind

TEXT = (Path(__file__).resolve().parents[4] / "docs" / "twin.md").read_text(encoding="utf-8")
ROWS = {
    row[0]: row[1:]
    for row in (
        [cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| ")
    )
    if row[0] in OPERATIONS
}


def test_every_operation_has_its_row() -> None:
    assert set(ROWS) == set(OPERATIONS)


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_a_row_says_what_the_twin_and_moto_do(operation: str) -> None:
    twin, moto, *_ = ROWS[operation]
    if operation not in IMPLEMENTED:
        assert twin == "refused"
    else:
        assert twin == ("attested" if operation in RECIPIENT_OPERATIONS else "yes")
    handler = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
    assert (moto != "absent") is hasattr(KmsResponse, handler)


def test_modes_outages_and_audit_fields_are_named() -> None:
    for name in (*modes_to_json(ModeSettings()), *(kind.value for kind in OutageKind)):
        assert f"`{name}" in TEXT
    for index in (*ENCLAVE_PCRS[1:], *NITROTPM_PCRS[1:]):
        assert f"`{index}`" in TEXT
