"""What is told of the enclave: its declared counters, under listed names, and whether it answers."""

from enclave.counters import Counter, Counters
from service.metrics import EVENTS, Metrics


def told(counters: dict[str, int] | None) -> list[str]:
    """Return the samples about the enclave."""
    lines = Metrics().text(counters).decode().splitlines()
    return [line for line in lines if line.startswith("pcrgate_enclave")]


def test_the_names_are_those_that_an_enclave_declares() -> None:
    assert list(EVENTS) == sorted(counter.value for counter in Counter)


def test_every_counter_of_an_enclave_is_told_as_it_said() -> None:
    counters = Counters()
    for _ in range(5):
        counters.add(Counter.RELEASES)
    said = told(counters.declared())
    assert said[0] == "pcrgate_enclave_up 1.0"
    assert [line for line in said if 'event="releases"' in line] == [
        'pcrgate_enclave_events_total{event="releases"} 4.0'
    ]
    assert len(said) == 1 + len(Counter)


def test_what_is_not_listed_is_left_out() -> None:
    assert told({"agent_alice": 1, "busy": 2}) == [
        "pcrgate_enclave_up 1.0",
        'pcrgate_enclave_events_total{event="busy"} 2.0',
    ]


def test_an_enclave_that_does_not_answer_is_told_as_down() -> None:
    assert told(None) == ["pcrgate_enclave_up 0.0"]
