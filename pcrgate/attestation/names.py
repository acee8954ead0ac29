"""Compare the names in the chain with the module id: so region, instance and partition become authenticated facts.

Spec: measured on 64 of 64 real documents; facts checklist 24 to 26.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from pcrgate.attestation.chain import LinkedCertificate
from pcrgate.attestation.checklist import Caution
from pcrgate.attestation.document import UnverifiedDocument
from pcrgate.errors import ErrorCode, UntrustedEvidenceError
from pcrgate.units import Sha384

_ROOT_NAME: Final = re.compile(r"([a-z][a-z0-9-]*)\.nitro-enclaves")
_REGIONAL: Final = re.compile(r"[0-9a-f]{1,32}\.")
_ZONAL: Final = re.compile(r"[0-9a-f]{1,32}\.zonal\.")
_AUTHORITY: Final = re.compile(r"[0-9a-f]{1,32}\.(?:zonal\.)?")
_REGION: Final = re.compile(r"[a-z]{2,8}(?:-[a-z]+)+-[0-9]{1,2}")
"""A Region's name: two letters in front, or more as in eusc-de-east-1."""

_LEAF_DOMAIN: Final = "aws"
"""What a leaf's name ends in, as measured in the partition of that name; elsewhere it may be this or the partition."""

_ENCLAVE_LAUNCH: Final = re.compile(r"-enc([0-9a-f]{12})[0-9a-f]{4}")
_ISSUE_LEAD_S: Final = 3
"""A leaf's notBefore lies this long before its issue (in 2021: not at all)."""


def verify_names(document: UnverifiedDocument, chain: tuple[LinkedCertificate, ...]) -> tuple[str, str]:
    """Return (region, partition) once every name in the chain agrees with the module id.

    Args:
        document: the document.
        chain: root first, leaf last.

    Raises:
        UntrustedEvidenceError: ``names-mismatch``.
    """
    names = [linked.certificate.common_name for linked in chain]
    root = _ROOT_NAME.fullmatch(names[0])
    if root is None:
        raise _mismatch(names[0], "PARTITION.nitro-enclaves")
    partition = root.group(1)
    prefix = f"{document.module_id}."
    region, _, suffix = names[-1].removeprefix(prefix).rpartition(".")
    if not names[-1].startswith(prefix) or suffix not in (partition, _LEAF_DOMAIN) or not _REGION.fullmatch(region):
        raise _mismatch(names[-1], f"{prefix}REGION.{partition}")
    domain = f"{region}.{partition}.nitro-enclaves"
    if len(names) < 3 or names[-2] != f"{document.instance_id}.{domain}":
        raise _mismatch(names[-2], f"{document.instance_id}.{domain}")
    between = names[1:-2]
    forms = (_REGIONAL, _ZONAL) if len(between) == len((_REGIONAL, _ZONAL)) else (_AUTHORITY,) * len(between)
    for name, form in zip(between, forms, strict=True):
        if not name.endswith(f".{domain}") or not form.fullmatch(name.removesuffix(domain)):
            raise _mismatch(name, f"HEX.{domain}, and HEX.zonal.{domain} below it")
    return region, partition


def _mismatch(name: str, expected: str) -> UntrustedEvidenceError:
    shown = name if name.isprintable() else "(unprintable)"
    return UntrustedEvidenceError(ErrorCode.NAMES_MISMATCH, f"a certificate is named {shown}, expected {expected}")


def instance_measurement(instance_id: str) -> Sha384:
    """Return what PCR4 of an enclave on this instance is: SHA-384 over 48 zero bytes and the id's ASCII."""
    return Sha384(hashlib.sha384(bytes(48) + instance_id.encode()).digest())


def role_measurement(role_arn: str) -> Sha384:
    """Return what PCR3 of an enclave is whose instance has this IAM role ARN (the role's, not the session's)."""
    return Sha384(hashlib.sha384(bytes(48) + role_arn.encode()).digest())


def instance_matches(pcrs: Mapping[int, Sha384], instance_id: str) -> bool | None:
    """Tell whether PCR4 agrees with the instance id, or None when the document holds no PCR4."""
    return pcrs[4] == instance_measurement(instance_id) if 4 in pcrs else None


def launch_cautions(document: UnverifiedDocument, leaf: LinkedCertificate) -> list[Caution]:
    """Return cautions about the undocumented times in module id and leaf serial; never a reason to refuse."""
    # (26) informational only
    launch = _ENCLAVE_LAUNCH.search(document.module_id)
    if launch is None:
        return []
    cautions: list[Caution] = []
    launched_ms = int(launch.group(1), 16)
    if launched_ms > document.timestamp_ms:
        cautions.append(Caution(label="launch-after-timestamp", detail="the module id's launch time is later"))
    identifier = document.module_id.rpartition("-enc")[2]
    serial = f"{leaf.certificate.serial:032x}"
    issued_s = int(serial[24:], 16)
    if not serial.startswith(f"{identifier}00000000"):
        cautions.append(Caution(label="leaf-serial", detail="the leaf's serial does not start with the module's id"))
    elif not 0 <= issued_s - leaf.certificate.not_before_s <= _ISSUE_LEAD_S:
        cautions.append(Caution(label="leaf-issue-time", detail="the leaf's serial and notBefore tell other times"))
    return cautions
