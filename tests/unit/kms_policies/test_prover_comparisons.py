"""The prover's own comparisons agree with the evaluator's on every operator, and its candidates leave nothing out."""

from hypothesis import given, settings
from hypothesis import strategies as st

from kms_policies.conditions import compile_condition
from kms_policies.operators import OPERATORS, ValueType
from kms_policies.prover_comparisons import Comparison, Match
from kms_policies.prover_domains import Open, build_domain, is_measurement
from kms_policies.statements import Condition

KEY = "aws:principaltag/x"
TEXTS = st.one_of(
    st.text("abAB*?", max_size=4),
    st.sampled_from(["arn:aws:iam::1:role/a", "arn:aws:iam::1:role/*", "arn:*:*:*:*:*", "*", "a", "A"]),
)
NUMBERS = st.sampled_from(["1", "1.0", "-2.5", "1000", "60", "1" + "0" * 40, "0.3333333333333333333"])
DATES = st.sampled_from(
    ["2026-01-01", "2026-01-01T00:00:00Z", "1767225600", "2026-06-01T12:00:00.5Z", "9999-12-31T23:59:59Z"]
)
NETWORKS = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "::/0", "2001:db8::/32", "255.255.255.255"])
BY_TYPE = {
    ValueType.STRING: TEXTS,
    ValueType.ARN: TEXTS,
    ValueType.NUMERIC: NUMBERS,
    ValueType.DATE: DATES,
    ValueType.IP: NETWORKS,
    ValueType.BOOL: st.sampled_from(["true", "False"]),
    ValueType.BINARY: st.sampled_from(["YQ==", "YWI="]),
}
COMPARING = sorted(name for name, kind in OPERATORS.items() if kind is not ValueType.PRESENCE)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    operator = draw(st.sampled_from(COMPARING))
    values = draw(st.lists(BY_TYPE[OPERATORS[operator]], min_size=1, max_size=3))
    return Condition(operator=operator, set_operator=None, if_exists=False, key=KEY, values=tuple(values))


REQUESTED = st.one_of(*BY_TYPE.values(), st.text("ab1:/.", max_size=5))


@settings(max_examples=1500, deadline=None)
@given(conditions(), REQUESTED)
def test_a_comparison_answers_as_the_evaluator_does(condition: Condition, value: str) -> None:
    answer = Comparison.of(condition, variables=True).answer(value)
    holds = compile_condition(condition, variables=True).holds({KEY: value})
    assert holds is (answer is (Match.NO if condition.negated else Match.YES))


@settings(max_examples=600, deadline=None)
@given(st.lists(conditions(), min_size=1, max_size=3), REQUESTED)
def test_every_value_is_covered_by_one_of_the_domain(found: list[Condition], value: str) -> None:
    comparisons = [Comparison.of(condition, variables=True) for condition in found]
    domain = build_domain(KEY, comparisons, many=False, further=(), mark=lambda _: frozenset())
    wanted = [comparison.answer(value) for comparison in domain.comparisons]

    def covers(answers: tuple[Match | Open, ...]) -> bool:
        return all(isinstance(a, Open) or a is w for a, w in zip(answers, wanted, strict=True))

    assert any(covers(one.answers) for one in domain.values), (value, wanted)


def test_equal_measurements_fall_together() -> None:
    texts = tuple(f"{i:096x}" for i in range(1, 401))
    comparisons = [
        Comparison("StringEqualsIgnoreCase", texts, variables=False),
        Comparison("StringEquals", texts[:200], variables=False),
    ]
    domain = build_domain(
        "kms:recipientattestation:pcr0", comparisons, many=False, further=(), mark=lambda _: frozenset()
    )
    assert len(domain.values) == 3


def test_measurement_keys_are_told_from_misspelt_ones() -> None:
    for good in ("pcr0", "pcr31", "imagesha384", "nitrotpmpcr0", "nitrotpmpcr23"):
        assert is_measurement(f"kms:recipientattestation:{good}")
    for bad in ("pcr", "pcr32", "pcr00", "pcro", "nitrotpmpcr24", "imagesha256", ""):
        assert not is_measurement(f"kms:recipientattestation:{bad}")
    assert not is_measurement("pcr0")
