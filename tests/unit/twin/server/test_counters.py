from pcrgate.twin.counters import CallCounters


def test_only_operations_that_could_be_attested_count_as_not_attested() -> None:
    counters = CallCounters()
    counters.add("Decrypt", attested=True, outcome="ok")
    counters.add("Decrypt", attested=False, outcome="AccessDeniedException")
    counters.add("Decrypt", attested=True, outcome="ok")
    counters.add("Encrypt", attested=False, outcome="ok")
    assert counters.snapshot() == {
        "attested": 2,
        "not_attested": 1,
        "calls": [
            {"operation": "Decrypt", "attested": False, "outcome": "AccessDeniedException", "count": 1},
            {"operation": "Decrypt", "attested": True, "outcome": "ok", "count": 2},
            {"operation": "Encrypt", "attested": False, "outcome": "ok", "count": 1},
        ],
    }
    counters.clear()
    assert counters.snapshot() == {"attested": 0, "not_attested": 0, "calls": []}
