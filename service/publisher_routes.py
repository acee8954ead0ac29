"""Take sealed files and signed manifests from publishers. The enclave verifies both; here only names are checked."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Request, Response

from pcrgate.errors import ErrorCode, ServiceError
from pcrgate.manifest.signature import parse_manifest
from pcrgate.manifest.verification import manifest_digest
from pcrgate.units import SHA384_BYTES
from service.encoded import hex_pattern, sha384_from_hex
from service.openapi_document import refusing
from service.parts import Anyone, PartsOf, Publisher, now_ms
from service.rest_shapes import ArtifactEntry, ManifestEntry, UploadState
from service.state_store import Artifact, StoredManifest
from service.uploads import RANGE_PATTERN, announced

router: Final = APIRouter(prefix="/v1", tags=["publisher"])

MANIFEST_TYPE: Final = "application/cose"

_Digest = Annotated[
    str,
    Path(
        description="SHA-384 of all bytes of the file, in hex.",
        examples=["ab" * 48],
        json_schema_extra=hex_pattern(SHA384_BYTES),
    ),
]


@router.put(
    "/artifacts/{digest}",
    status_code=HTTPStatus.CREATED,
    responses={
        200: {"model": ArtifactEntry, "description": "It was there."},
        202: {"model": UploadState, "description": "Bytes are missing; Upload-Offset says where the next part begins."},
        **refusing(409, 411, 422),
    },
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def put_artifact(
    *,
    digest: _Digest,
    request: Request,
    response: Response,
    parts: PartsOf,
    _publisher: Publisher,
    content_length: Annotated[str | None, Header(include_in_schema=False)] = None,  # of HTTP itself, below the API
    content_range: Annotated[
        str | None,
        Header(description="bytes FIRST-LAST/TOTAL, or bytes */TOTAL.", json_schema_extra={"pattern": RANGE_PATTERN}),
    ] = None,
) -> ArtifactEntry | UploadState:
    """Upload a sealed file, whole or in parts; 202 and Upload-Offset while bytes are missing."""
    named = sha384_from_hex(digest, "digest")
    said = announced(content_length, content_range, most=parts.settings.artifact_max_bytes)
    known = await asyncio.to_thread(parts.state.artifact, named)
    if known is not None:
        response.status_code = HTTPStatus.OK
        return _described(known, response)
    received = await parts.uploads.receive(named, said, request.stream(), now_ms=now_ms())
    if isinstance(received, int):
        response.status_code = HTTPStatus.ACCEPTED
        response.headers["Upload-Offset"] = str(received)
        return UploadState(received_bytes=received)
    parts.metrics.artifact()
    response.headers["Location"] = f"/v1/artifacts/{digest}"
    return _described(received, response)


@router.head("/artifacts/{digest}", responses={204: {"description": "Upload-Offset says how much is there."}})
def head_artifact(digest: _Digest, parts: PartsOf, _publisher: Publisher) -> Response:
    """Say how far an upload has come: 200 and an ETag when the file is complete, else 204."""
    named = sha384_from_hex(digest, "digest")
    artifact = parts.state.artifact(named)
    if artifact is not None:
        headers = {"ETag": f'"{digest}"', "Upload-Offset": str(artifact.size_bytes)}
        return Response(status_code=HTTPStatus.OK, headers=headers)
    upload = parts.artifacts.upload(named)
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Upload-Offset": str(upload.received_bytes)})


@router.put(
    "/manifests/{epoch}",
    status_code=HTTPStatus.CREATED,
    responses=refusing(409, 412, 422),
    openapi_extra={
        "requestBody": {
            "content": {MANIFEST_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            "required": True,
        }
    },
)
async def put_manifest(
    epoch: Annotated[int, Path(ge=1, le=1_000_000_000)],
    request: Request,
    response: Response,
    parts: PartsOf,
    _publisher: Publisher,
    if_match: Annotated[str | None, Header(description="ETag of the manifest that this one follows.")] = None,
) -> ManifestEntry:
    """Put the signed manifest of an epoch; the same bytes again change nothing."""
    signed = await request.body()
    claims = parse_manifest(signed).claims()
    if claims.epoch != epoch:
        raise ServiceError(
            ErrorCode.SERVICE_REQUEST, f"the manifest is of epoch {claims.epoch}, expected {epoch} as in the path"
        )
    digest = manifest_digest(signed)
    if if_match is not None:
        current = await asyncio.to_thread(parts.state.manifest)
        if if_match != (None if current is None else _etag(current)):
            raise ServiceError(ErrorCode.SERVICE_PRECONDITION, "the current manifest is not the one in If-Match")
    stored = StoredManifest(epoch=epoch, digest=digest, signed=signed, created_ms=now_ms())
    await asyncio.to_thread(parts.state.add_manifest, stored)
    await asyncio.to_thread(parts.shelf.put_manifest)
    parts.log.info("manifest", epoch=epoch)
    response.headers["ETag"] = _etag(stored)
    return ManifestEntry(epoch=epoch, digest=digest.hex())


@router.get(
    "/manifests/current",
    response_class=Response,
    responses={200: {"content": {MANIFEST_TYPE: {}}, "description": "The manifest as it was signed."}, **refusing(304)},
)
def current_manifest(
    parts: PartsOf, _anyone: Anyone, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """Return the latest signed manifest as it came."""
    found = parts.state.manifest()
    if found is None:
        raise ServiceError(ErrorCode.SERVICE_NOT_FOUND, "no manifest was put yet, expected one")
    headers = {"ETag": _etag(found), "Cache-Control": "no-cache", "Manifest-Epoch": str(found.epoch)}
    if if_none_match == _etag(found):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.signed, media_type=MANIFEST_TYPE, headers=headers)


@router.get("/manifests/{digest}", response_class=Response, responses={200: {"content": {MANIFEST_TYPE: {}}}})
def manifest_with_digest(
    digest: Annotated[
        str,
        Path(
            description="SHA-384 of the signed bytes, in hex.",
            examples=["ab" * 48],
            json_schema_extra=hex_pattern(SHA384_BYTES),
        ),
    ],
    parts: PartsOf,
    _anyone: Anyone,
) -> Response:
    """Return the signed manifest with this digest: the one that an enclave's evidence names."""
    found = parts.state.manifest_by_digest(sha384_from_hex(digest, "digest"))
    if found is None:
        raise ServiceError(ErrorCode.SERVICE_NOT_FOUND, "no manifest with this digest, expected one that was put")
    headers = {"ETag": _etag(found), "Cache-Control": "private, immutable, max-age=86400"}
    return Response(found.signed, media_type=MANIFEST_TYPE, headers=headers)


def _etag(manifest: StoredManifest) -> str:
    return f'"{manifest.digest.hex()}"'


def _described(artifact: Artifact, response: Response) -> ArtifactEntry:
    response.headers["ETag"] = f'"{artifact.digest.hex()}"'
    return ArtifactEntry(
        digest=artifact.digest.hex(),
        header_digest=None if artifact.header_digest is None else artifact.header_digest.hex(),
        size_bytes=artifact.size_bytes,
    )
