"""Write to a parent's stores for ever, and say on stdout what was acknowledged; whoever started it ends it."""

import hashlib
import itertools
import os
import sys
from pathlib import Path

from pcrgate.units import Sha384
from service.artifact_files import FileArtifactStore
from service.state_sqlite import SqliteStateStore
from service.state_store import Artifact, Invocation, ReceiptRecord, ResultState, StoredManifest


def write(directory: Path) -> None:
    """Write one of everything in turn; a line is printed only after the stores returned."""
    files, state = FileArtifactStore(directory / "files"), SqliteStateStore(directory / "state.db")
    for number in itertools.count(1):
        content = number.to_bytes(8, "big") + os.urandom(4096)
        digest = Sha384(hashlib.sha384(content).digest())
        files.append(digest, 0, content)
        size = files.finish(digest)
        state.add_artifact(Artifact(digest=digest, header_digest=None, size_bytes=size, created_ms=number))
        print("artifact", digest.hex(), flush=True)
        state.add_manifest(StoredManifest(epoch=number, digest=digest, signed=content, created_ms=number))
        print("manifest", number, flush=True)
        begun = Invocation(
            result_id=f"{number:032x}", caller="c", session_id=bytes(16), request=content, created_ms=number
        )
        state.begin_invocation(begun)
        print("invocation", begun.result_id, flush=True)
        receipt = ReceiptRecord(boot_id=bytes(32), sequence=number, receipt_id=digest.hex(), receipt=content)
        ended = Invocation(
            result_id=begun.result_id, caller="c", session_id=bytes(16), request=content, created_ms=number,
            state=ResultState.DONE, result=content, receipt=content,
        )  # fmt: skip
        state.finish_invocation(ended, receipt)
        print("result", begun.result_id, flush=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
