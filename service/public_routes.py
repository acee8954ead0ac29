"""Tell what is public: receipts, what the parent sees of the enclave, health, counters."""

import asyncio
import contextlib
import secrets
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query, Response

from pcrgate.attestation.cose import parse_sign1
from pcrgate.attestation.document import parse_payload
from pcrgate.envelope.session_identity import parse_identity
from pcrgate.errors import ErrorCode, PcrgateError, ServiceError
from pcrgate.units import SHA384_BYTES
from pcrgate.wire.messages import EvidenceAnswer, EvidenceRequest, StatusAnswer, StatusRequest
from service.encoded import from_hex, hex_pattern, sha384_from_hex, to_base64
from service.openapi_document import refusing
from service.parts import Anyone, Operator, Parts, PartsOf
from service.rest_shapes import EnclaveEntry, EnclaveList, Health, ReceiptEntry, ReceiptList
from service.state_store import ReceiptRecord

router: Final = APIRouter()

RECEIPTS_PAGE_MAX: Final = 256
"""Most receipts in one answer."""

BOOT_ID_BYTES: Final = 32

STATUS_TIMEOUT_S: Final = 2.0
"""Longest wait for the enclave's counters: an enclave that hangs must not hide the service's from whoever looks."""

_NO_EVIDENCE: Final = frozenset({"booting", "failed"})


@router.get("/v1/receipts", tags=["public"])
async def receipts(
    parts: PartsOf,
    _anyone: Anyone,
    boot: Annotated[
        str | None,
        Query(
            description="Boot id, 32 bytes in hex; the current one by default.",
            json_schema_extra=hex_pattern(BOOT_ID_BYTES),
        ),
    ] = None,
    after: Annotated[int, Query(ge=0, le=(1 << 53) - 1, description="Sequence number to begin after.")] = 0,
    limit: Annotated[int, Query(ge=1, le=RECEIPTS_PAGE_MAX)] = RECEIPTS_PAGE_MAX,
) -> ReceiptList:
    """Return receipts of one boot in their order; those the enclave holds are fetched first."""
    current = None
    try:
        current = await parts.desk.collect_receipts()
    except PcrgateError as error:
        if error.code is ErrorCode.SERVICE_STORE:
            raise
        # An enclave that is gone keeps nobody from the receipts that were collected.
    if boot is not None:
        current = from_hex(boot, "boot", least=BOOT_ID_BYTES, most=BOOT_ID_BYTES)
    elif current is None:
        current = next(iter(await asyncio.to_thread(parts.state.boots)), None)
    if current is None:
        return ReceiptList(boot_id=None, receipts=[], next_after=after)
    found = await asyncio.to_thread(parts.state.receipts, current, after=after, limit=limit)
    return ReceiptList(
        boot_id=current.hex(),
        receipts=[_described(record) for record in found],
        next_after=found[-1].sequence if found else after,
    )


@router.get("/v1/receipts/{receipt_id}", tags=["public"], responses=refusing(304))
def receipt(
    receipt_id: Annotated[
        str,
        Path(
            description="SHA-384 of the receipt in hex.",
            examples=["ab" * 48],
            json_schema_extra=hex_pattern(SHA384_BYTES),
        ),
    ],
    parts: PartsOf,
    _anyone: Anyone,
    response: Response,
    if_none_match: Annotated[str | None, Header()] = None,
) -> ReceiptEntry:
    """Return one receipt."""
    found = parts.state.receipt(sha384_from_hex(receipt_id, "receipt_id").hex())
    if found is None:
        raise ServiceError(ErrorCode.SERVICE_NOT_FOUND, "no such receipt, expected one that was collected")
    response.headers.update({"ETag": f'"{receipt_id}"', "Cache-Control": "private, immutable, max-age=86400"})
    if if_none_match == f'"{receipt_id}"':
        response.status_code = HTTPStatus.NOT_MODIFIED
    return _described(found)


@router.get("/v1/enclaves", tags=["public"])
async def enclaves(parts: PartsOf, _anyone: Anyone) -> EnclaveList:
    """Return what the parent sees of its enclave: phase, measurements, manifest. Nothing of it is verified."""
    status = await parts.desk.ask(StatusRequest(), StatusAnswer)
    if status.phase in _NO_EVIDENCE:
        return EnclaveList(enclaves=[EnclaveEntry(phase=status.phase, failure=status.failure)])
    answer = await parts.desk.ask(EvidenceRequest(nonce=secrets.token_bytes(16)), EvidenceAnswer)
    document = parse_payload(parse_sign1(answer.document).payload)
    identity = parse_identity(answer.identity)
    entry = EnclaveEntry(
        phase=status.phase,
        failure=status.failure,
        module_id=document.module_id,
        unverified_pcrs={str(index): value.hex() for index, value in document.pcrs.items() if not value.is_zero},
        boot_id=identity.boot_id.hex(),
        manifest_digest=identity.manifest_digest.hex(),
        manifest_epoch=await asyncio.to_thread(_epoch, parts, identity.manifest_digest.hex()),
    )
    return EnclaveList(enclaves=[entry])


@router.get("/healthz", tags=["operator"])
async def healthz() -> Health:
    """Say that the process answers."""
    return Health(status="ok")


@router.get("/readyz", tags=["operator"], responses={503: {"model": Health}})
async def readyz(parts: PartsOf, response: Response) -> Health:
    """Say whether invocations would be carried out now, and what is in the way."""
    status = "ok"
    if parts.dispatcher.draining:
        status = "draining"
    else:
        try:
            await asyncio.to_thread(parts.state.manifest)
            phase = (await parts.desk.ask(StatusRequest(), StatusAnswer)).phase
            status = "ok" if phase == "live" else f"enclave {phase}"
        except PcrgateError as error:
            status = error.code.code
    if status != "ok":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return Health(status=status)


@router.get("/metrics", tags=["operator"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(parts: PartsOf, _operator: Operator) -> Response:
    """Return counters in Prometheus's text format, those of the enclave among them while it answers."""
    counters = None
    with contextlib.suppress(PcrgateError, TimeoutError):
        async with asyncio.timeout(STATUS_TIMEOUT_S):
            counters = (await parts.desk.ask(StatusRequest(), StatusAnswer)).counters
    return Response(parts.metrics.text(counters), media_type="text/plain; version=0.0.4; charset=utf-8")


def _epoch(parts: Parts, digest: str) -> int | None:
    found = parts.state.manifest()
    return found.epoch if found is not None and found.digest.hex() == digest else None


def _described(record: ReceiptRecord) -> ReceiptEntry:
    return ReceiptEntry(
        boot_id=record.boot_id.hex(),
        sequence=record.sequence,
        receipt_id=record.receipt_id,
        receipt=to_base64(record.receipt),
    )
