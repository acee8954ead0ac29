"""Strings between wildcards: found where there is one, refuted where there is none, given up at the limit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kms_policies.patterns import match_arn, match_glob, parse_template
from kms_policies.prover_counterexample import find_new_string
from kms_policies.prover_witness import PCR_HEX, Impossible, Pattern, find_string

ROLE = "arn:aws:iam::111122223333:role/"


@pytest.mark.parametrize(
    ("matching", "failing"),
    [
        ((f"{ROLE}?*",), ("*Admin*", f"{ROLE}x*")),
        (("*a*b*",), ("*ab*",)),
        (("*",), ()),
        ((), ("*z",)),
        (("?",), ("x", "y")),
    ],
)
def test_a_found_string_fits(matching: tuple[str, ...], failing: tuple[str, ...]) -> None:
    wanted, unwanted = tuple(map(Pattern.of, matching)), tuple(map(Pattern.of, failing))
    found = find_string(wanted, unwanted)
    assert isinstance(found, str)
    assert all(pattern.matches(found) for pattern in wanted)
    assert not any(pattern.matches(found) for pattern in unwanted)


@pytest.mark.parametrize(
    ("matching", "failing"), [(("a*",), ("a*",)), (("*",), ("*",)), (("ab*", "b*"), ()), (("?",), ("??", "*"))]
)
def test_what_cannot_be_is_refuted(matching: tuple[str, ...], failing: tuple[str, ...]) -> None:
    assert find_string(tuple(map(Pattern.of, matching)), tuple(map(Pattern.of, failing))) is Impossible.NONE


def test_a_measurement_has_96_lower_case_hex_digits() -> None:
    found = find_string((Pattern.of("ab*"),), (Pattern.of("aba*"),), PCR_HEX)
    assert isinstance(found, str)
    assert len(found) == 96
    assert bytes.fromhex(found).hex() == found
    assert isinstance(find_string((Pattern.of("?" * 96),), (), PCR_HEX), str)
    for never in ("?" * 95, "?" * 97, "AB*", "sha384:*"):
        assert find_string((Pattern.of(never),), (), PCR_HEX) is Impossible.NONE


def test_case_is_told_apart_unless_it_is_ignored() -> None:
    folded = Pattern.literal("AbC", folded=True)
    found = find_string((folded,), (Pattern.literal("AbC"), Pattern.literal("abc")))
    assert isinstance(found, str)
    assert found.lower() == "abc"
    assert found not in {"AbC", "abc"}
    variants = tuple(Pattern.literal(text) for text in ("ab", "aB", "Ab", "AB"))
    assert find_string((Pattern.literal("ab", folded=True),), variants) is Impossible.NONE


def test_the_search_is_given_up_at_its_limit() -> None:
    hard = tuple(Pattern.of(f"*{letter}{'?' * 12}{letter}*") for letter in "abcd")
    assert find_string((Pattern.of("?" * 40),), hard) is Impossible.UNKNOWN
    assert find_string((Pattern.of("x" * 601),), ()) is Impossible.UNKNOWN
    assert isinstance(find_string((Pattern.of("x" * 600),), ()), str)


def test_literals_are_left_out_as_they_turn_up() -> None:
    first = find_string((Pattern.of("a*"),), ())
    assert isinstance(first, str)
    second = find_new_string([Pattern.of("a*")], [], frozenset({first}), "aws:username")
    assert second not in {first, Impossible.NONE, Impossible.UNKNOWN}
    assert find_new_string([Pattern.literal("a")], [], frozenset({"a"}), "aws:username") is Impossible.NONE


PIECES = st.text("ab:*?", max_size=12)


@settings(max_examples=400, deadline=None)
@given(PIECES, st.text("ab:c", max_size=12))
def test_patterns_match_as_the_evaluator_matches(pattern: str, text: str) -> None:
    atoms = parse_template(pattern, variables=False).atoms({}) or ()
    assert Pattern.glob(atoms).matches(text) is match_glob(atoms, text)
    arn = Pattern.arn(atoms)
    expected = match_arn(atoms, text)
    assert (arn is not None and arn.matches(text)) is bool(expected)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=2), st.lists(PIECES, max_size=2), st.text("ab:x", max_size=6))
def test_nothing_refuted_exists(matching: list[str], failing: list[str], text: str) -> None:
    wanted, unwanted = tuple(map(Pattern.of, matching)), tuple(map(Pattern.of, failing))
    found = find_string(wanted, unwanted)
    if all(p.matches(text) for p in wanted) and not any(p.matches(text) for p in unwanted):
        assert found is not Impossible.NONE
    if isinstance(found, str):
        assert all(p.matches(found) for p in wanted)
        assert not any(p.matches(found) for p in unwanted)
