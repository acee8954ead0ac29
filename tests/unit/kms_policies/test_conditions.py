"""Conditions: every operator against present, missing and multi-valued keys, and what cannot be compared."""

from collections.abc import Mapping
from typing import Any

import pytest

from kms_policies.conditions import compile_condition, present_values
from kms_policies.document import Condition
from kms_policies.operators import OPERATORS, parse_operator, read_date
from kms_policies.patterns import match_glob, parse_template

Present = str | tuple[str, ...] | None

PCR = "a" * 96
USERNAME = {"aws:username": "ann"}


def holds(
    operator: str,
    values: Any,
    present: Present,
    *,
    variables: bool = True,
    context: Mapping[str, str | tuple[str, ...]] | None = None,
) -> bool:
    base, set_operator, if_exists = parse_operator(operator)
    texts = tuple(values) if isinstance(values, list) else (values,)
    condition = Condition(operator=base, set_operator=set_operator, if_exists=if_exists, key="Kms:Key", values=texts)
    carried = dict(context or {}) | ({} if present is None else {"kms:key": present})
    assert present_values(condition, carried) == ((present,) if isinstance(present, str) else present or ())
    return compile_condition(condition, variables=variables).holds(carried)


@pytest.mark.parametrize(
    ("operator", "values", "present", "expected"),
    [
        ("StringEquals", PCR, PCR, True),
        ("StringEquals", PCR, PCR.upper(), False),
        ("StringEquals", ["b", PCR], PCR, True),
        ("StringEquals", "a*", PCR, False),
        ("StringEqualsIgnoreCase", PCR.upper(), PCR, True),
        ("StringEqualsIgnoreCase", PCR[:-1], PCR, False),
        ("StringNotEquals", PCR, PCR, False),
        ("StringNotEquals", ["b", "c"], PCR, True),
        ("StringNotEquals", ["b", PCR], PCR, False),
        ("StringNotEqualsIgnoreCase", PCR.upper(), PCR, False),
        ("StringNotEqualsIgnoreCase", "b", PCR, True),
        ("StringLike", "a*a", PCR, True),
        ("StringLike", "A*", PCR, False),
        ("StringLike", "?" * 96, PCR, True),
        ("StringLike", "?" * 95, PCR, False),
        ("StringLike", "a*b*", "axxbxx", True),
        ("StringLike", "*a*b", "b-a-c", False),
        ("StringLike", "**", "", True),
        ("StringLike", "a.c", "abc", False),
        ("StringLike", "a*", "a\nb", True),
        ("StringNotLike", "a*", PCR, False),
        ("StringNotLike", ["b*", "c*"], PCR, True),
        ("ArnEquals", "arn:aws:iam::1:role/*", "arn:aws:iam::1:role/x", True),
        ("ArnLike", "arn:aws:s:*:1:f/*", "arn:aws:s:r:2:x:1:f/d", False),
        ("ArnLike", "arn:aws:sns:*:*:a:*", "arn:aws:sns:r:1:a:b", True),
        ("ArnLike", "arn:*:*:*:*:*", "arn:aws:s3:::b", True),
        ("ArnNotEquals", "arn:aws:iam::1:role/*", "arn:aws:iam::2:role/x", True),
        ("ArnNotLike", "arn:aws:iam::1:role/*", "arn:aws:iam::1:role/x", False),
        ("NumericEquals", "10", "10.0", True),
        ("NumericEquals", ["9", "10"], "10", True),
        ("NumericNotEquals", "10", "11", True),
        ("NumericNotEquals", ["10", "11"], "11", False),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThan", "10", "-9.5", True),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "10", False),
        ("NumericGreaterThan", "9", "10", True),
        ("NumericGreaterThanEquals", "10", "10", True),
        ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", True),
        ("DateEquals", "2026-01-01", "2026-01-01T00:00Z", True),
        ("DateEquals", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.000Z", True),
        ("DateNotEquals", "2026-01-01", "2026-01-02", True),
        ("DateLessThan", "2026-01-01", "2025-12-31T23:59:59Z", True),
        ("DateLessThanEquals", "2026-01-01", "2026-01-01", True),
        ("DateGreaterThan", "2026", "2026-01-01", False),
        ("DateGreaterThanEquals", "2026-01", "2026-01-01", True),
        ("Bool", "true", "True", True),
        ("Bool", "FALSE", "false", True),
        ("Bool", "true", "false", False),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", True),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ6", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.9", True),
        ("IpAddress", "203.0.113.9", "203.0.113.8", False),
        ("IpAddress", "0.0.0.0/0", "203.0.113.9", True),
        ("IpAddress", "2001:db8::/32", "2001:db8::1", True),
        ("IpAddress", "2001:db8::/32", "203.0.113.9", False),
        ("NotIpAddress", "203.0.113.0/24", "203.0.113.9", False),
        ("NotIpAddress", ["203.0.113.0/24", "10.0.0.0/8"], "2001:db8::1", True),
        ("Null", "true", "x", False),
        ("Null", "false", "x", True),
        ("Null", ["true", "false"], "x", True),
    ],
)
def test_present_key(operator: str, values: Any, present: Present, expected: bool) -> None:
    assert holds(operator, values, present) is expected


LITERALS = {
    "string": "x",
    "arn": "arn:aws:s3:::b",
    "numeric": "1",
    "date": "2026",
    "bool": "true",
    "binary": "QQ==",
    "ip": "10.0.0.1",
}


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "Null"])
def test_missing_key(operator: str) -> None:
    value = LITERALS[OPERATORS[operator].value]
    negated = operator in {
        "StringNotEquals",
        "StringNotEqualsIgnoreCase",
        "StringNotLike",
        "ArnNotEquals",
        "ArnNotLike",
        "NumericNotEquals",
        "DateNotEquals",
        "NotIpAddress",
    }
    for missing in (None, ()):
        assert holds(operator, value, missing) is negated
        assert holds(f"{operator}IfExists", value, missing)
        assert holds(f"ForAllValues:{operator}", value, missing)
        assert not holds(f"ForAnyValue:{operator}", value, missing)
        assert holds(f"ForAnyValue:{operator}IfExists", value, missing)


def test_null_asks_for_presence() -> None:
    assert holds("Null", "true", None)
    assert holds("Null", "TRUE", ())
    assert not holds("Null", "false", None)


def test_if_exists_changes_nothing_for_a_present_key() -> None:
    assert not holds("StringEqualsIfExists", "a", "b")
    assert not holds("StringNotEqualsIfExists", "a", "a")


@pytest.mark.parametrize(
    ("operator", "present", "expected"),
    [
        ("ForAnyValue:StringEquals", ("a", "x"), True),
        ("ForAnyValue:StringEquals", ("x", "y"), False),
        ("ForAllValues:StringEquals", ("a", "b"), True),
        ("ForAllValues:StringEquals", ("a", "x"), False),
        ("ForAnyValue:StringNotEquals", ("a", "x"), True),
        ("ForAnyValue:StringNotEquals", ("a", "b"), False),
        ("ForAllValues:StringNotEquals", ("x", "y"), True),
        ("ForAllValues:StringNotEquals", ("a", "x"), False),
        ("StringEquals", ("x", "a"), True),
        ("StringNotEquals", ("x", "a"), False),
        ("StringNotEquals", ("x", "y"), True),
    ],
)
def test_several_values(operator: str, present: tuple[str, ...], expected: bool) -> None:
    assert holds(operator, ["a", "b"], present) is expected


@pytest.mark.parametrize(
    ("operator", "value", "present"),
    [
        ("NumericEquals", "1", "one"),
        ("NumericNotEquals", "1", "one"),
        ("DateNotEquals", "2026", "soon"),
        ("NotIpAddress", "10.0.0.0/8", "host"),
        ("ArnNotLike", "arn:aws:s3:::b", "no-arn"),
        ("ArnLike", "arn:aws:s3:::b", "no-arn"),
        ("Bool", "true", "yes"),
        ("BinaryEquals", "QQ==", "***"),
        ("StringNotEquals", "${aws:username}", "x"),
        ("StringEquals", "${aws:username}", "x"),
        ("StringNotLike", "${aws:username}*", "x"),
        ("ForAllValues:StringNotEquals", "${aws:username}", ("x",)),
    ],
)
def test_what_cannot_be_compared_fulfils_neither_operator_nor_its_opposite(
    operator: str, value: str, present: Present
) -> None:
    assert not holds(operator, value, present)


def test_one_unresolved_variable_spoils_a_negation_but_not_a_match_beside_it() -> None:
    assert holds("StringEquals", ["${aws:username}", "x"], "x")
    assert not holds("StringNotEquals", ["${aws:username}", "y"], "x")


@pytest.mark.parametrize(
    ("operator", "value", "present", "expected"),
    [
        ("StringEquals", "${aws:username}", "ann", True),
        ("StringEquals", "${AWS:UserName}", "ann", True),
        ("StringEquals", "team-${ aws:username }-x", "team-ann-x", True),
        ("StringEquals", "${aws:none, 'd,e'}", "d,e", True),
        ("StringEquals", "${aws:username, 'd'}", "d", False),
        ("StringEqualsIgnoreCase", "${aws:username}", "ANN", True),
        ("StringLike", "${aws:username}*", "anna", True),
        ("StringLike", "${aws:star}", "anything", False),
        ("StringLike", "${aws:star}", "*", True),
        ("StringLike", "a${*}", "a*", True),
        ("StringLike", "a${*}", "ab", False),
        ("StringLike", "a${?}", "ab", False),
        ("StringEquals", "a${$}{b}", "a${b}", True),
        ("StringEquals", "${aws:many}", "m", False),
        ("StringEquals", "${open", "${open", True),
        ("ArnLike", "arn:aws:iam::1:user/${aws:username}", "arn:aws:iam::1:user/ann", True),
        ("ArnEquals", "${aws:arn}", "arn:aws:s3:::b", True),
        ("ArnEquals", "${aws:username}", "arn:aws:s3:::b", False),
    ],
)
def test_variables(operator: str, value: str, present: str, expected: bool) -> None:
    context: dict[str, str | tuple[str, ...]] = {
        "aws:username": "ann",
        "aws:star": "*",
        "aws:many": ("m",),
        "aws:arn": "arn:aws:s3:::b",
    }
    assert holds(operator, value, present, context=context) is expected


def test_the_old_version_knows_no_variables() -> None:
    assert holds("StringEquals", "${aws:username}", "${aws:username}", variables=False, context=USERNAME)
    assert not holds("StringEquals", "${aws:username}", "ann", variables=False, context=USERNAME)


@pytest.mark.parametrize("text", ["", "20260101", "2026-1-1", "2026-01-01 00:00:00", "2026-02-30", "9" * 12])
def test_dates_that_are_none(text: str) -> None:
    assert (read_date(text) is None) is (text != "20260101")


def test_a_hostile_pattern_is_matched_in_linear_time() -> None:
    pattern = parse_template("*a" * 200 + "b", variables=True).atoms({})
    assert pattern is not None
    # With backtracking this would not end before the test's time limit.
    assert not match_glob(pattern, "a" * 5_000)
