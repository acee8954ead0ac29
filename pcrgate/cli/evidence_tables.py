"""Show evidence to a person: what it says, its registers, its chain, and what was and was not compared."""

from pcrgate.attestation.appraisal import AttestationResult
from pcrgate.attestation.evidence import EnclaveEvidence, VerifiedEvidence
from pcrgate.attestation.report import format_time_ms
from pcrgate.cli.output import console, table

SHOWN_FIELD_BYTES = 64
"""Most bytes of a free-form field in a table; the JSON has all."""

_ROLES = ("root", "regional", "zonal", "instance", "leaf")


def show_evidence(evidence: VerifiedEvidence, verdict: str) -> None:
    """Print the verdict and the tables of one document."""
    out = console()
    out.print(verdict, style="bold green")
    is_debug = isinstance(evidence, EnclaveEvidence) and evidence.is_debug
    if is_debug:
        out.print("debug mode: the enclave's memory can be read from outside", style="bold red")
    kind = "enclave" if isinstance(evidence, EnclaveEvidence) else "NitroTPM"
    rows = [
        ("kind", kind + (" in debug mode" if is_debug else "")),
        ("module id", evidence.module_id),
        ("region", f"{evidence.region} ({evidence.partition})"),
        ("timestamp", format_time_ms(evidence.timestamp_ms)),
        ("public key", _field(evidence.public_key)),
        ("user data", _field(evidence.user_data)),
        ("nonce", _field(evidence.nonce)),
        ("payload map", "indefinite" if evidence.indefinite_payload else "definite"),
        ("document SHA-384", evidence.document_sha384.hex()),
    ]
    out.print(table("Document", ("field", "value"), rows))
    out.print(table("Registers", ("PCR", "value"), _registers(evidence)))
    chain = [
        (
            _ROLES[index] if len(evidence.chain) == len(_ROLES) else str(index),
            certificate.common_name,
            format_time_ms(certificate.not_before_s * 1000),
            format_time_ms(certificate.not_after_s * 1000),
            certificate.sha256.hex()[:16],
        )
        for index, certificate in enumerate(evidence.chain)
    ]
    out.print(table("Chain", ("role", "name", "not before", "not after", "SHA-256"), chain))
    for caution in evidence.cautions:
        out.print(f"warning: {caution.label}: {caution.detail}", style="yellow")


def show_result(result: AttestationResult) -> None:
    """Print an accepted document, what was compared and what was not."""
    show_evidence(result.evidence, "accepted")
    for caution in result.cautions[len(result.evidence.cautions) :]:
        console().print(f"warning: {caution.label}: {caution.detail}", style="yellow")
    made = [(entry.check.number, entry.check.label, entry.detail) for entry in result.checks]
    console().print(table("Checked", ("no.", "check", "what"), made))
    omitted = [(entry.check.number, entry.subject, entry.reason) for entry in result.omitted]
    console().print(table("Not checked", ("no.", "subject", "why"), omitted))


def _field(value: bytes | None) -> str:
    if value is None:
        return "absent"
    shown = value[:SHOWN_FIELD_BYTES].hex()
    more = len(value) - SHOWN_FIELD_BYTES
    return f"{shown}{f' and {more} bytes more' if more > 0 else ''} ({len(value)} bytes)" if value else "empty"


def _registers(evidence: VerifiedEvidence) -> list[tuple[str, str]]:
    """Return one row a register that is not zero, and one for all that are."""
    rows = [(str(index), value.hex()) for index, value in sorted(evidence.pcrs.items()) if not value.is_zero]
    zeros = sorted(index for index, value in evidence.pcrs.items() if value.is_zero)
    return [*rows, (_ranges(zeros), "zero")] if zeros else rows


def _ranges(numbers: list[int]) -> str:
    """Return ascending numbers in short: ``3, 5-7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
