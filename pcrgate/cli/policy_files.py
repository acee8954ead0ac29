"""What the policy commands read: policies from any source, identity policies with their owner, PCR options."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import typer

from kms_policies.document import Policy, PolicyKind, parse_policy
from kms_policies.grants import (
    GRANTS_TEXT_MAX_BYTES,
    KEY_METADATA_TEXT_MAX_BYTES,
    parse_grants,
    parse_key_metadata,
)
from kms_policies.input_files import parse_pcr
from kms_policies.plans import SOURCE_MAX_BYTES, SourcedPolicy, read_policies
from kms_policies.prover_question import ANY_PRINCIPAL, ApprovedMeasurements
from kms_policies.request import Grant, KeyMetadata
from pcrgate.cli.main import EXIT_USAGE, tell_refusal
from pcrgate.cli.output import STANDARD_INPUT, print_json, read_input
from pcrgate.errors import ErrorCode, KeyPolicyError, PcrgateError, UsageError
from pcrgate.units import PCR_MAX_INDEX, Sha384

NITROTPM_SET: Final = (4, 7, 12)
"""The registers that together say what a NitroTPM instance booted."""


@contextmanager
def invalid_is_usage(*, as_json: bool) -> Iterator[None]:
    """End with exit code 2 when a policy, or what goes with it, is refused or too large: 1 is kept for verdicts."""
    try:
        yield
    except PcrgateError as refusal:
        if not isinstance(refusal, KeyPolicyError) and refusal.code is not ErrorCode.INPUT_TOO_LARGE:
            raise
        if as_json:
            code = refusal.code
            print_json({"verdict": "invalid", "code": code.code, "message": refusal.message, "advice": code.advice})
        tell_refusal(refusal)
        raise typer.Exit(EXIT_USAGE) from refusal


def read_sources(files: list[str]) -> list[SourcedPolicy]:
    """Return every key policy of the files, each named by its file where there are several.

    Raises:
        KeyPolicyError: whatever is refused, named by its file where there are several.
    """
    if files.count(STANDARD_INPUT) > 1:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "standard input is named twice, expected once")
    found: list[SourcedPolicy] = []
    for name in files:
        try:
            sources = read_policies(read_input(name, SOURCE_MAX_BYTES))
        except KeyPolicyError as refusal:
            raise (refusal if len(files) == 1 else KeyPolicyError(refusal.code, f"{name}: {refusal.message}")) from None
        found += [_named(name, one) if len(files) > 1 else one for one in sources]
    return found


def _named(file: str, one: SourcedPolicy) -> SourcedPolicy:
    return replace(one, address=file if one.address == "policy" else f"{file}: {one.address}")


def read_policy(file: str, kind: PolicyKind) -> Policy:
    """Return the one policy of a file.

    Raises:
        KeyPolicyError: also when the file is a plan that holds several.
    """
    found = read_policies(read_input(file, SOURCE_MAX_BYTES), kind=kind)
    if len(found) > 1:
        raise KeyPolicyError(ErrorCode.POLICY_SOURCE, f"{file} holds {len(found)} policies, expected one")
    return found[0].policy


def read_identities(options: list[str] | None) -> dict[str, tuple[Policy, ...]]:
    """Return identity policies by their owner: ``ARN=FILE``, or ``FILE`` for one that anybody may have."""
    found: dict[str, tuple[Policy, ...]] = {}
    for option in options or []:
        owner, equals, file = option.partition("=")
        if not equals or Path(option).exists():
            owner, file = ANY_PRINCIPAL, option
        found[owner] = (*found.get(owner, ()), read_policy(file, PolicyKind.IDENTITY))
    return found


def read_controls(files: list[str] | None) -> tuple[Policy, ...]:
    """Return resource control policies."""
    return tuple(
        parse_policy(read_input(file, SOURCE_MAX_BYTES), kind=PolicyKind.RESOURCE_CONTROL) for file in files or []
    )


def read_grants(file: str | None) -> tuple[Grant, ...]:
    """Return the grants of a file, none without one."""
    return () if file is None else parse_grants(read_input(file, GRANTS_TEXT_MAX_BYTES))


def read_metadata(file: str | None) -> KeyMetadata | None:
    """Return the key's metadata, None without a file."""
    return None if file is None else parse_key_metadata(read_input(file, KEY_METADATA_TEXT_MAX_BYTES))


def parse_approved(
    pcr0: list[str] | None, further: list[str] | None, nitrotpm: list[str] | None
) -> ApprovedMeasurements:
    """Return the approved measurements that the options name.

    Args:
        pcr0: values of PCR0.
        further: ``N=HEX``; a repeated N adds alternatives.
        nitrotpm: ``N=HEX``; every combination of the values is approved.

    Raises:
        UsageError: when nothing is approved, or an option is not ``N=HEX``.
        KeyPolicyError: ``policy-input-pcr`` for a value.
    """
    if not pcr0 and not nitrotpm:
        raise UsageError(ErrorCode.USAGE_POLICY, "nothing is approved, expected --pcr0 HEX or --nitrotpm-pcr N=HEX")
    registers = parse_registers(nitrotpm, "NitroTPM PCR")
    if registers and not set(NITROTPM_SET) <= registers.keys():
        raise UsageError(ErrorCode.USAGE_POLICY, "NitroTPM registers are a set, expected 4=HEX, 7=HEX and 12=HEX")
    indexes = sorted(registers)
    combined = [
        dict(zip(indexes, values, strict=True)) for values in itertools.product(*(registers[i] for i in indexes))
    ]
    return ApprovedMeasurements(
        pcr0=frozenset(parse_pcr(value, "PCR0") for value in pcr0 or []),
        further={index: frozenset(values) for index, values in parse_registers(further, "PCR").items()},
        nitrotpm=tuple(combined) if registers else (),
    )


def parse_registers(options: list[str] | None, what: str) -> dict[int, list[Sha384]]:
    """Return the values by index of options ``N=HEX``.

    Raises:
        UsageError: ``usage-pcr-index`` when an option is not of that form.
        KeyPolicyError: ``policy-input-pcr`` for a value.
    """
    found: dict[int, list[Sha384]] = {}
    for option in options or []:
        index, equals, digest = option.partition("=")
        if not equals or not index.isascii() or not index.isdigit() or int(index) > PCR_MAX_INDEX:
            raise UsageError(ErrorCode.USAGE_PCR_INDEX, f"{what}: expected N=HEX with N from 0 to {PCR_MAX_INDEX}")
        found.setdefault(int(index), []).append(parse_pcr(digest, f"{what}{int(index)}"))
    return found


def parse_pairs(options: list[str] | None, what: str) -> Mapping[str, str]:
    """Return the pairs of options ``NAME=VALUE``.

    Raises:
        UsageError: ``usage-arguments`` when an option is not of that form, or a name is given twice.
    """
    found: dict[str, str] = {}
    for option in options or []:
        name, equals, value = option.partition("=")
        if not equals or not name or name in found:
            raise UsageError(ErrorCode.USAGE_ARGUMENTS, f"{what}: expected NAME=VALUE, each name once")
        found[name] = value
    return found
