"""The catalogue: everything the installed botocore knows is sorted, and what is not sorted is taken for the worst."""

from itertools import combinations

from kms_policies.key_states import REFUSED_IN
from kms_policies.operations import (
    ALL_ACTIONS,
    ATTESTABLE_ACTIONS,
    CLASSES,
    CLASSIFIED_ACTIONS,
    FUTURE_ACTION,
    KEY_ACTIONS,
    KEYLESS_ACTIONS,
    OPERATIONS,
    PERMISSION_ONLY_ACTIONS,
    PLAINTEXT_ACTIONS,
    RECIPIENT_OPERATIONS,
    UNCLASSIFIED_ACTIONS,
    read_operations,
    unclassified_actions,
)
from kms_policies.request import KeyState


def test_every_operation_of_the_installed_botocore_is_sorted() -> None:
    assert sorted(UNCLASSIFIED_ACTIONS) == [], "botocore has operations that no class of kms_policies.operations holds"


def test_every_sorted_action_exists_in_botocore_or_is_permission_only() -> None:
    known = {action for operation in OPERATIONS.values() for action in operation.actions}
    assert known | PERMISSION_ONLY_ACTIONS == CLASSIFIED_ACTIONS


def test_classes_overlap_nowhere_and_only_random_and_reading_need_no_key() -> None:
    for (_, one), (_, other) in combinations(CLASSES.items(), 2):
        assert not one & other
    assert not KEYLESS_ACTIONS & (CLASSES["plaintext"] | CLASSES["escalation"] | CLASSES["minting"])
    assert KEY_ACTIONS | KEYLESS_ACTIONS == ALL_ACTIONS
    assert FUTURE_ACTION not in ALL_ACTIONS


def test_five_operations_take_a_recipient_and_four_of_them_a_key() -> None:
    assert {
        "Decrypt",
        "DeriveSharedSecret",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateRandom",
    } == RECIPIENT_OPERATIONS
    assert {f"kms:{name}" for name in RECIPIENT_OPERATIONS} - {"kms:GenerateRandom"} == ATTESTABLE_ACTIONS


def test_operations_that_answer_with_a_secret_are_plaintext_capable() -> None:
    assert ATTESTABLE_ACTIONS | {"kms:Encapsulate", "kms:Decapsulate"} == PLAINTEXT_ACTIONS


def test_reencrypt_is_two_actions() -> None:
    assert OPERATIONS["ReEncrypt"].actions == ("kms:ReEncryptFrom", "kms:ReEncryptTo")
    assert OPERATIONS["ReEncrypt"].takes_encryption_context
    assert OPERATIONS["ReEncrypt"].takes_dry_run
    assert not OPERATIONS["GenerateRandom"].names_key
    assert not OPERATIONS["DescribeKey"].takes_encryption_context


def test_an_operation_that_nobody_sorted_is_taken_for_plaintext() -> None:
    model = {
        "operations": {"Decrypt": {"input": {"shape": "In"}}, "RevealKey": {"input": {"shape": "In"}}, "Ping": {}},
        "shapes": {"In": {"members": {"Recipient": {}, "DryRun": {}, "EncryptionContext": {}}}},
    }
    operations = read_operations(model)
    assert unclassified_actions(operations) == {"kms:RevealKey", "kms:Ping"}
    assert operations["RevealKey"].takes_recipient
    assert operations["RevealKey"].names_key
    assert not operations["Ping"].takes_recipient


def test_every_state_is_known_and_refuses_only_actions_on_keys() -> None:
    assert set(REFUSED_IN) == set(KeyState)
    for actions in REFUSED_IN.values():
        assert actions <= KEY_ACTIONS
    for state in set(KeyState) - {KeyState.ENABLED, KeyState.UPDATING}:
        assert REFUSED_IN[state] >= PLAINTEXT_ACTIONS, state
