"""The chain at its edges: the last and first millisecond of validity, and a cache that nothing forged gets into."""

import base64
import dataclasses
import json
from pathlib import Path

import pytest

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.chain import CACHED_CERTIFICATES, ChainCache, link_chain
from pcrgate.attestation.cose import parse_sign1
from pcrgate.attestation.document import parse_payload
from pcrgate.attestation.names import launch_cautions
from pcrgate.attestation.verifier import Live, Recorded, verify
from pcrgate.errors import ErrorCode, EvidenceError
from tests.unit.attestation.documents import ROOTS, document

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "evidence"
DOCUMENT = document(nonce=b"n" * 20)
LEAF = verify(DOCUMENT, ROOTS, Recorded()).chain[-1]
DAY_S = 86_400


def code_at(now_ms: int, *, max_age_s: int = DAY_S, cache: ChainCache | None = None) -> ErrorCode:
    with pytest.raises(EvidenceError) as caught:
        verify(DOCUMENT, ROOTS, Live(now_ms=now_ms, max_age_s=max_age_s), cache=cache)
    return caught.value.code


@pytest.mark.parametrize("cached", [False, True])
def test_a_certificate_ends_with_its_last_second_to_the_millisecond(cached: bool) -> None:
    cache = ChainCache() if cached else None
    last_ms = LEAF.not_after_s * 1000
    verify(DOCUMENT, ROOTS, Live(now_ms=last_ms, max_age_s=DAY_S), cache=cache)
    assert code_at(last_ms + 1, cache=cache) is ErrorCode.CERTIFICATE_EXPIRED


@pytest.mark.parametrize("skew_s", [0, 60])
def test_a_certificate_begins_at_its_first_second_less_the_skew(skew_s: int) -> None:
    def code(now_ms: int) -> ErrorCode:
        with pytest.raises(EvidenceError) as caught:
            verify(DOCUMENT, ROOTS, Live(now_ms=now_ms, max_future_skew_s=skew_s))
        return caught.value.code

    first_ms = (LEAF.not_before_s - skew_s) * 1000
    assert code(first_ms) is ErrorCode.EVIDENCE_FROM_FUTURE  # three seconds before the document; the chain is valid
    assert code(first_ms - 1) is ErrorCode.CERTIFICATE_NOT_YET_VALID


def test_a_launch_is_late_from_the_millisecond_after_the_timestamp() -> None:
    parsed = parse_payload(parse_sign1(DOCUMENT).payload)
    leaf = link_chain(parsed, ROOTS, None, frozenset()).certificates[-1]
    instance = parsed.module_id.partition("-enc")[0]

    def labels(launched_ms: int) -> set[str]:
        module_id = f"{instance}-enc{launched_ms:012x}0000"
        return {caution.label for caution in launch_cautions(dataclasses.replace(parsed, module_id=module_id), leaf)}

    assert "launch-after-timestamp" in labels(parsed.timestamp_ms + 1)
    assert "launch-after-timestamp" not in labels(parsed.timestamp_ms)


def forged() -> list[Path]:
    codes = {ErrorCode.CERTIFICATE_SIGNATURE.code, ErrorCode.SIGNATURE_INVALID.code}
    return [path for path in sorted(VECTORS.rglob("reject-*.json")) if json.loads(path.read_text())["expect"] in codes]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in forged()])
def test_nothing_of_a_document_with_a_wrong_signature_gets_into_the_cache(path: Path) -> None:
    vector = json.loads(path.read_text())
    roots = Roots.pinned(*map(bytes.fromhex, vector["roots"]))
    cache = ChainCache()
    for _ in range(2):
        with pytest.raises(EvidenceError) as caught:
            verify(base64.b64decode(vector["document"]), roots, Recorded(), cache=cache)
        assert caught.value.code.code == vector["expect"]
        assert len(cache) == 0


def path_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


VERIFIED = link_chain(parse_payload(parse_sign1(DOCUMENT).payload), ROOTS, None, frozenset()).certificates[-1]


def test_a_warm_chain_claims_no_signature_and_a_new_leaf_one() -> None:
    parsed = parse_payload(parse_sign1(DOCUMENT).payload)
    cold = link_chain(parsed, ROOTS, None, frozenset())
    assert (len(cold.claims), len(cold.fresh)) == (4, 4)
    cache = ChainCache()
    for path, verified in cold.fresh[:-1]:
        cache.keep(path, verified)
    leaf_alone = link_chain(parsed, ROOTS, cache, frozenset())
    assert (len(leaf_alone.claims), [path for path, _ in leaf_alone.fresh]) == (1, [cold.fresh[-1][0]])
    cache.keep(*cold.fresh[-1])
    warm = link_chain(parsed, ROOTS, cache, frozenset())
    assert (warm.claims, warm.fresh, warm.certificates) == ((), (), cold.certificates)


def test_the_cache_drops_what_was_longest_neither_found_nor_kept() -> None:
    cache = ChainCache(max_certificates=3)
    for number in (1, 2, 3):
        cache.keep(path_of(number), VERIFIED)
    cache.find(path_of(1))
    cache.keep(path_of(2), VERIFIED)
    cache.keep(path_of(4), VERIFIED)  # 3 goes: 1 was found since, 2 was kept again
    assert [number for number in range(1, 5) if cache.find(path_of(number)) is not None] == [1, 2, 4]


@pytest.mark.parametrize(("settings", "bound"), [({}, CACHED_CERTIFICATES), ({"max_certificates": 0}, 0)])
def test_a_cache_holds_its_bound_and_no_more(settings: dict[str, int], bound: int) -> None:
    cache = ChainCache(**settings)
    for number in range(bound + 1):
        assert len(cache) == min(number, bound)
        cache.keep(path_of(number), VERIFIED)
    assert len(cache) == bound


def test_there_are_documents_with_a_wrong_signature() -> None:
    assert len(forged()) > 5
