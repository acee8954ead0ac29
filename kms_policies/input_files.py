"""Inputs of the templates as JSON: text in, typed inputs out, or a refusal that names the field.

One object holds all fields flat; which are taken depends on the template. PCR values are 96 lower-case hex digits:
upper case is refused, not folded, so that the same file means the same to Terraform, whose variables check the same
pattern.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from kms_policies.inputs import (
    ZERO_IS_MEANT,
    ConditionedPolicyInputs,
    EnclaveMeasurements,
    Inputs,
    KeyPolicyInputs,
    Measurements,
    NitroTpmMeasurements,
    PublisherRoleInputs,
)
from pcrgate.errors import ErrorCode, KeyPolicyError, UsageError
from pcrgate.units import SHA384_BYTES, KeyArn, Sha384

_PCR_HEX_DIGITS: Final = 2 * SHA384_BYTES
_PCR: Final = re.compile(rf"[0-9a-f]{{{_PCR_HEX_DIGITS}}}")
_UPPER: Final = re.compile(rf"[0-9a-fA-F]{{{_PCR_HEX_DIGITS}}}")
_ENCLAVE_PCRS: Final = ("pcr0", "pcr1", "pcr2", "pcr3", "pcr8")
_NITROTPM_PCRS: Final = ("pcr4", "pcr7", "pcr12")

_T = TypeVar("_T")


def parse_pcr(text: object, name: str) -> Sha384:
    """Read one PCR value of an input.

    Args:
        text: 96 lower-case hex digits; not all zero, except for PCR12 of a NitroTPM.
        name: which PCR it is, such as ``PCR0``, at the end of a description for the message.

    Raises:
        KeyPolicyError: ``policy-input-pcr``.
    """
    if not isinstance(text, str):
        raise KeyPolicyError(ErrorCode.POLICY_INPUT_PCR, f"{name} is not text, expected {_PCR_HEX_DIGITS} hex digits")
    if not _PCR.fullmatch(text):
        if _UPPER.fullmatch(text):
            fact = "holds upper-case hex digits, expected lower case (write it as the image build prints it)"
        elif len(text) != _PCR_HEX_DIGITS:
            fact = f"has {len(text)} characters, expected {_PCR_HEX_DIGITS} lower-case hex digits"
        else:
            fact = f"is not hex, expected {_PCR_HEX_DIGITS} lower-case hex digits"
        raise KeyPolicyError(ErrorCode.POLICY_INPUT_PCR, f"{name} {fact}")
    value = Sha384.from_hex(text)
    if value.is_zero and not name.lower().endswith(ZERO_IS_MEANT):
        raise KeyPolicyError(
            ErrorCode.POLICY_INPUT_PCR, f"{name} is all zero, expected a measurement (a debug enclave measures zero)"
        )
    return value


def parse_measurements(data: Mapping[str, object], *, nitrotpm: bool) -> Measurements:
    """Read the PCR fields of an input object: each one value or a list of values.

    Args:
        data: fields ``pcr0``, ``pcr1``, ``pcr2``, ``pcr3``, ``pcr8``, or ``pcr4``, ``pcr7``, ``pcr12``; no others.
        nitrotpm: which of the two sets is expected.

    Raises:
        KeyPolicyError: ``policy-input`` and its kin.
    """
    expected = _NITROTPM_PCRS if nitrotpm else _ENCLAVE_PCRS
    _refuse_unknown(data, expected)
    values = {name: _pcrs(data[name], name.upper()) for name in expected if name in data}
    if nitrotpm:
        return NitroTpmMeasurements(
            pcr4=values.get("pcr4", ()), pcr7=values.get("pcr7", ()), pcr12=values.get("pcr12", ())
        )
    return EnclaveMeasurements(pcr0=values.get("pcr0", ()), **{k: v for k, v in values.items() if k != "pcr0"})


def parse_key_inputs(data: Mapping[str, object], *, nitrotpm: bool) -> KeyPolicyInputs:
    """Read the inputs of a key policy.

    Raises:
        KeyPolicyError: ``policy-input`` and its kin.
    """
    pcrs = _NITROTPM_PCRS if nitrotpm else _ENCLAVE_PCRS
    lists = ("administrators", "parents", "publishers", "workload_accounts")
    switches = ("root_delegation", "root_administers")
    _refuse_unknown(data, (*pcrs, *lists, *switches, "account", "minimum_deletion_window_days"))
    days = data.get("minimum_deletion_window_days", 30)
    if type(days) is not int:
        raise KeyPolicyError(ErrorCode.POLICY_INPUT, "minimum_deletion_window_days is not a whole number of days")
    return KeyPolicyInputs(
        account=_text(data.get("account", ""), "account"),
        administrators=_list(data.get("administrators", []), "administrators", _text),
        parents=_list(data.get("parents", []), "parents", _text),
        publishers=_list(data.get("publishers", []), "publishers", _text),
        workload_accounts=_list(data.get("workload_accounts", []), "workload_accounts", _text),
        minimum_deletion_window_days=days,
        root_delegation=_switch(data, "root_delegation"),
        root_administers=_switch(data, "root_administers"),
        measurements=parse_measurements({k: v for k, v in data.items() if k in pcrs}, nitrotpm=nitrotpm),
    )


def parse_conditioned_inputs(data: Mapping[str, object], *, nitrotpm: bool) -> ConditionedPolicyInputs:
    """Read the inputs of the parent's identity policy or the resource control policy.

    Raises:
        KeyPolicyError: ``policy-input`` and its kin.
    """
    pcrs = _NITROTPM_PCRS if nitrotpm else _ENCLAVE_PCRS
    _refuse_unknown(data, (*pcrs, "key_arns"))
    return ConditionedPolicyInputs(
        key_arns=_list(data.get("key_arns", []), "key_arns", _key_arn),
        measurements=parse_measurements({k: v for k, v in data.items() if k in pcrs}, nitrotpm=nitrotpm),
    )


def parse_publisher_inputs(data: Mapping[str, object]) -> PublisherRoleInputs:
    """Read the inputs of the publisher's identity policy.

    Raises:
        KeyPolicyError: ``policy-input`` and its kin.
    """
    _refuse_unknown(data, ("key_arns",))
    return PublisherRoleInputs(key_arns=_list(data.get("key_arns", []), "key_arns", _key_arn))


def parse_with(data: object, read: Callable[[Mapping[str, object]], Inputs]) -> Inputs:
    """Apply ``read`` to an input document that must be an object.

    Raises:
        KeyPolicyError: ``policy-input`` and its kin.
    """
    if not isinstance(data, Mapping):
        raise KeyPolicyError(ErrorCode.POLICY_INPUT, "the inputs are not a JSON object")
    return read(data)


def _refuse_unknown(data: Mapping[str, object], known: tuple[str, ...]) -> None:
    unknown = sorted(data.keys() - set(known))
    if unknown:
        raise KeyPolicyError(
            ErrorCode.POLICY_INPUT, f"unknown input {unknown[0][:80]!a}, expected {', '.join(sorted(known))}"
        )


def _list(value: object, name: str, read: Callable[[object, str], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise KeyPolicyError(ErrorCode.POLICY_INPUT, f"{name} is not a list")
    return tuple(read(member, name) for member in value)


def _pcrs(value: object, name: str) -> tuple[Sha384, ...]:
    return _list([value] if isinstance(value, str) else value, name, parse_pcr)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise KeyPolicyError(ErrorCode.POLICY_INPUT, f"{name} is empty or not text")
    return value


def _switch(data: Mapping[str, object], name: str) -> bool:
    value = data.get(name, False)
    if not isinstance(value, bool):
        raise KeyPolicyError(ErrorCode.POLICY_INPUT, f"{name} is not true or false")
    return value


def _key_arn(value: object, name: str) -> KeyArn:
    try:
        return KeyArn.parse(_text(value, name))
    except UsageError as refusal:
        raise KeyPolicyError(ErrorCode.POLICY_INPUT, f"{name}: {refusal.message}") from refusal
