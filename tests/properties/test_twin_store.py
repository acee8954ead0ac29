"""Whatever was done to a twin, a restart changes nothing: the journal holds the whole state."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcrgate.twin.kms.interface import Caller
from pcrgate.twin.kms.keyring import Keyring
from pcrgate.twin.kms.service import KmsService
from pcrgate.twin.kms.service_errors import AwsError
from pcrgate.twin.kms.store import DirectoryStore

CALLER = Caller(account="111122223333", region="eu-central-1", arn="arn:aws:iam::111122223333:root")
ROLE = "arn:aws:iam::111122223333:role/r"
ON_KEY: dict[str, dict[str, Any]] = {
    "CancelKeyDeletion": {},
    "CreateGrant": {"GranteePrincipal": ROLE, "RetiringPrincipal": ROLE, "Operations": ["Decrypt"], "Name": "g"},
    "DisableKey": {},
    "DisableKeyRotation": {},
    "EnableKey": {},
    "EnableKeyRotation": {"RotationPeriodInDays": 90},
    "PutKeyPolicy": {"Policy": '{"Statement": []}'},
    "ReplicateKey": {"ReplicaRegion": "eu-west-1"},
    "RotateKeyOnDemand": {},
    "ScheduleKeyDeletion": {"PendingWindowInDays": 7},
    "TagResource": {"Tags": [{"TagKey": "ä", "TagValue": "\n"}]},
    "UntagResource": {"TagKeys": ["ä"]},
    "UpdateKeyDescription": {"Description": "d"},
    "UpdatePrimaryRegion": {"PrimaryRegion": "eu-west-1"},
}
NEW: dict[str, dict[str, Any]] = {
    "single": {},
    "multi": {"MultiRegion": True},
    "external": {"Origin": "EXTERNAL"},
    "mac": {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"},
}
STEPS = st.one_of(
    st.tuples(st.just("CreateKey"), st.sampled_from(sorted(NEW))),
    st.tuples(st.sampled_from(sorted(ON_KEY)), st.integers(0, 3)),
    st.tuples(st.sampled_from(["CreateAlias", "UpdateAlias", "DeleteAlias"]), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.integers(1, 100)),
)


@given(st.lists(STEPS, min_size=3, max_size=25))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_restart_changes_nothing(steps: list[tuple[str, Any]]) -> None:
    now_ms = 1_700_000_000_000
    with tempfile.TemporaryDirectory() as folder:
        service = KmsService(store=DirectoryStore(Path(folder)), clock_ms=lambda: now_ms)
        made = ["none"]
        for operation, choice in [("CreateKey", "multi"), *steps]:
            if operation == "wait":
                now_ms += choice * 86_400_000
                continue
            try:
                answer: Any = service.prepare(operation, _members(operation, choice, made), CALLER).execute()
            except AwsError:
                continue  # refused in this state: nothing may have changed then, which is compared below
            if operation == "CreateKey":
                made.append(answer["KeyMetadata"]["KeyId"])
        keyring = service._resources.keyring
        service.close()
        store = DirectoryStore(Path(folder))
        again = Keyring(store, lambda: now_ms)
        store.close()
    assert again._keys == keyring._keys
    assert again._aliases == keyring._aliases


def _members(operation: str, choice: Any, made: list[str]) -> dict[str, Any]:
    if operation == "CreateKey":
        return NEW[choice]
    key_id = made[choice % len(made)]
    if operation == "DeleteAlias":
        return {"AliasName": "alias/one"}
    if operation in {"CreateAlias", "UpdateAlias"}:
        return {"AliasName": "alias/one", "TargetKeyId": key_id}
    return {"KeyId": key_id} | ON_KEY[operation]
