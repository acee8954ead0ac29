"""Turn the options of ``pcrgate evidence verify`` into a policy; what is not stated is ignored explicitly."""

import re
from typing import Final

from pcrgate.attestation.policy import (
    EnclavePolicy,
    Equal,
    Expectation,
    FieldExpectation,
    NitroTpmPolicy,
    OneOf,
    PcrExpectation,
    ReferenceValue,
)
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.units import PCR_MAX_INDEX, Sha384, parse_hex

_ZERO: Final = "zero"
_INDEX: Final = re.compile(r"[0-9]{1,2}")


def enclave_policy(
    registers: list[str],
    *,
    nonce: str | None,
    user_data: str | None,
    public_key: bytes | None,
    insecure_allow_debug: bool,
) -> EnclavePolicy:
    """Return the policy for an enclave.

    Raises:
        UsageError: for registers that cannot be read, or without PCR0.
    """
    expected = _registers(registers)
    pcr0 = expected.pop(0, None)
    if pcr0 is Expectation.ZERO and insecure_allow_debug:
        pcr0 = OneOf((ReferenceValue(name="debug", value=Sha384(bytes(48))),))
    if pcr0 is Expectation.ZERO:
        raise UsageError(
            ErrorCode.USAGE_POLICY, "a zero PCR0 is that of debug mode, expected --insecure-allow-debug with it"
        )
    if not isinstance(pcr0, OneOf):
        raise UsageError(
            ErrorCode.USAGE_POLICY, "the image is not stated, expected --pcr 0=HEX with the 96 digits of your build"
        )
    return EnclavePolicy(
        pcr0=pcr0,
        nonce=_field(nonce, "the nonce"),
        user_data=_field(user_data, "the user data"),
        public_key=Expectation.IGNORED if public_key is None else Equal(public_key),
        pcrs=expected,
        insecure_allow_debug=insecure_allow_debug,
    )


def nitrotpm_policy(
    registers: list[str], *, nonce: str | None, user_data: str | None, public_key: bytes | None
) -> NitroTpmPolicy:
    """Return the policy for a NitroTPM.

    Raises:
        UsageError: for registers that cannot be read, or without all of PCR4, PCR7 and PCR12.
    """
    expected = _registers(registers)
    pcr4, pcr7, pcr12 = (expected.pop(index, None) for index in (4, 7, 12))
    if not isinstance(pcr4, OneOf) or not isinstance(pcr7, OneOf) or pcr12 is None:
        raise UsageError(
            ErrorCode.USAGE_POLICY, "the boot is not stated, expected --pcr 4=HEX, --pcr 7=HEX and --pcr 12=HEX|zero"
        )
    return NitroTpmPolicy(
        pcr4=pcr4,
        pcr7=pcr7,
        pcr12=pcr12,
        nonce=_field(nonce, "the nonce"),
        user_data=_field(user_data, "the user data"),
        public_key=Expectation.IGNORED if public_key is None else Equal(public_key),
        pcrs=expected,
    )


def _field(text: str | None, what: str) -> FieldExpectation:
    return Expectation.IGNORED if text is None else Equal(parse_hex(text, what))


def _registers(words: list[str]) -> dict[int, PcrExpectation]:
    """Return the expectation of each register from words like ``0=HEX`` and ``12=zero``."""
    values: dict[int, list[ReferenceValue]] = {}
    zeros: set[int] = set()
    for word in words:
        name, separator, text = word.partition("=")
        if not separator or not _INDEX.fullmatch(name) or int(name) > PCR_MAX_INDEX:
            raise UsageError(ErrorCode.USAGE_PCR_INDEX, f"--pcr is N=HEX or N=zero with N from 0 to {PCR_MAX_INDEX}")
        index = int(name)
        if text.lower() == _ZERO:
            zeros.add(index)
        else:
            entries = values.setdefault(index, [])
            entries.append(ReferenceValue(name=f"--pcr {index} ({len(entries) + 1})", value=Sha384.from_hex(text)))
    if both := zeros & values.keys():
        raise UsageError(ErrorCode.USAGE_POLICY, f"PCR{min(both)} is expected to be zero and to have a value")
    expected: dict[int, PcrExpectation] = {index: OneOf(tuple(entries)) for index, entries in values.items()}
    return expected | dict.fromkeys(zeros, Expectation.ZERO)
