"""Keep sealed files in a bucket: parts go up as one multipart upload, reads are ranged.

S3 itself remembers unfinished uploads, so another process finds them. A finished upload is read back and hashed under a
name of its own before the file appears under its digest: a bucket is as untrusted as a disk.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from pcrgate.units import Sha384
from service.artifact_store import (
    READ_BYTES,
    Upload,
    digests_named,
    no_such_artifact,
    require_offset,
    store_failed,
    wrong_digest,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import PartTypeDef

PART_BYTES: Final = 8 << 20
"""Length of a part, 8 MiB; S3 takes 5 MiB to 5 GiB and 10 000 parts, so files up to 78 GiB."""

_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_BEYOND: Final = frozenset({"416", "InvalidRange"})


class S3ArtifactStore:
    """Keep files in one bucket below one prefix.

    Attributes:
        part_bytes: 8 MiB.
    """

    def __init__(self, client: "S3Client", bucket: str, *, prefix: str = "pcrgate/") -> None:
        """Take a client that may read, write, list and delete below the prefix.

        Args:
            client: of boto3, with the parent's role.
            bucket: its name.
            prefix: what all names begin with.
        """
        self.part_bytes = PART_BYTES
        self._client: Final = client
        self._bucket: Final = bucket
        self._prefix: Final = prefix

    def upload(self, digest: Sha384) -> Upload:
        """Return how far the upload of a file has come.

        Raises:
            ServiceError: ``service-store``.
        """
        with _as_store_failure():
            if (size := self._size(self._blob(digest))) is not None:
                return Upload(received_bytes=size, complete=True)
            upload_id = self._upload_id(digest)
            return Upload(
                received_bytes=sum(size for _, _, size in self._parts(digest, upload_id)) if upload_id else 0,
                complete=False,
            )

    def append(self, digest: Sha384, offset: int, part: bytes) -> None:
        """Send one part of the multipart upload.

        Raises:
            ServiceError: ``service-upload-offset``, ``service-store``.
        """
        require_offset(self.upload(digest), offset, self.part_bytes)
        key = self._incoming(digest)
        with _as_store_failure():
            upload_id = self._upload_id(digest)
            if upload_id is None:
                upload_id = self._client.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"]
            number = offset // self.part_bytes + 1
            self._client.upload_part(Bucket=self._bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=part)

    def finish(self, digest: Sha384) -> int:
        """Complete the upload, read it back, compare the digest, copy it to its name.

        Raises:
            ServiceError: ``service-digest``, ``service-store``.
        """
        key = self._incoming(digest)
        with _as_store_failure():
            upload_id = self._upload_id(digest)
            if upload_id is not None:  # else a process before this one completed it and was killed then
                parts = [{"PartNumber": number, "ETag": tag} for number, tag, _ in self._parts(digest, upload_id)]
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]  # a list of the dictionaries it asks for
                )
            hashed, size = hashlib.sha384(), 0
            for piece in self._pieces(key, 0):
                hashed.update(piece)
                size += len(piece)
            if hashed.digest() == digest.digest:
                self._client.copy({"Bucket": self._bucket, "Key": key}, self._bucket, self._blob(digest))
            self._client.delete_object(Bucket=self._bucket, Key=key)
        if hashed.digest() != digest.digest:
            raise wrong_digest(digest)
        return size

    def discard(self, digest: Sha384) -> None:
        """Abort the multipart upload, and drop what a process completed that was killed before it compared the digest.

        Raises:
            ServiceError: ``service-store``.
        """
        key = self._incoming(digest)
        with _as_store_failure():
            upload_id = self._upload_id(digest)
            if upload_id is not None:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def unfinished(self, before_ms: int) -> list[Sha384]:
        """Return the uploads whose last part came before a time, and what was completed before it and not compared.

        Raises:
            ServiceError: ``service-store``.
        """
        prefix = f"{self._prefix}incoming/"
        touched: dict[str, dt.datetime] = {}
        with _as_store_failure():
            uploads = self._client.get_paginator("list_multipart_uploads")
            for page in uploads.paginate(Bucket=self._bucket, Prefix=prefix):
                for upload in page.get("Uploads", []):
                    arrived = [part["LastModified"] for part in self._listed(upload["Key"], upload["UploadId"])]
                    touched[upload["Key"]] = max(arrived, default=upload["Initiated"])
            objects = self._client.get_paginator("list_objects_v2")
            for found in objects.paginate(Bucket=self._bucket, Prefix=prefix):
                for entry in found.get("Contents", []):
                    touched.setdefault(entry["Key"], entry["LastModified"])
        return digests_named(
            key.removeprefix(prefix) for key, last in touched.items() if last.timestamp() * 1000 < before_ms
        )

    def read(self, digest: Sha384, offset: int = 0) -> Iterator[bytes]:
        """Yield a whole file from an offset on, by a ranged request.

        Raises:
            ServiceError: ``service-not-found``, ``service-store``.
        """
        with _as_store_failure():
            if self._size(self._blob(digest)) is None:
                raise no_such_artifact(digest)
            yield from self._pieces(self._blob(digest), offset)

    def local_file(self, digest: Sha384) -> None:
        """Return None: a bucket is not on this machine."""

    def _pieces(self, key: str, offset: int) -> Iterator[bytes]:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, Range=f"bytes={offset}-")
        except ClientError as error:
            if error.response["Error"]["Code"] in _BEYOND:
                return  # nothing lies there: an empty file, or its end
            raise
        with answer["Body"] as body:
            while piece := body.read(READ_BYTES):
                yield piece

    def _size(self, key: str) -> int | None:
        try:
            return self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT:
                return None
            raise

    def _upload_id(self, digest: Sha384) -> str | None:
        key = self._incoming(digest)
        listed = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key)
        return next((entry["UploadId"] for entry in listed.get("Uploads", []) if entry["Key"] == key), None)

    def _parts(self, digest: Sha384, upload_id: str) -> list[tuple[int, str, int]]:
        """Return number, tag and size in bytes of every part."""
        listed = self._listed(self._incoming(digest), upload_id)
        return [(part["PartNumber"], part["ETag"], part["Size"]) for part in listed]

    def _listed(self, key: str, upload_id: str) -> "list[PartTypeDef]":
        pages = self._client.get_paginator("list_parts").paginate(Bucket=self._bucket, Key=key, UploadId=upload_id)
        return [part for page in pages for part in page.get("Parts", [])]

    def _incoming(self, digest: Sha384) -> str:
        return f"{self._prefix}incoming/{digest.hex()}"

    def _blob(self, digest: Sha384) -> str:
        return f"{self._prefix}blobs/{digest.hex()}"


@contextmanager
def _as_store_failure() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise store_failed(f"the bucket answers {error.response['Error']['Code']}") from error
    except (BotoCoreError, Boto3Error) as error:
        raise store_failed(f"the bucket cannot be reached ({type(error).__name__})") from error
