"""The bench's own arithmetic: bounds, medians in turns, groups that grow into one file."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.bench import __main__ as bench
from tests.bench.figure import Figure, interleaved


@pytest.mark.parametrize(("value", "ok"), [(5.9, True), (6.0, True), (6.01, False)])
def test_at_most(value: float, ok: bool) -> None:
    assert Figure.at_most("cold", value, "x", 6) == Figure(name="cold", value=value, unit="x", bound="at most 6", ok=ok)


@pytest.mark.parametrize(("value", "ok"), [(1.59, False), (1.6, True), (2.0, True)])
def test_at_least(value: float, ok: bool) -> None:
    assert Figure.at_least("cold", value, "x", 1.6).ok is ok


def test_plain_has_no_bound() -> None:
    assert Figure.plain("rate", 3.0, "1/s") == Figure(name="rate", value=3.0, unit="1/s", bound="", ok=True)


def test_samples_are_taken_in_turns_and_both_ways() -> None:
    calls: list[str] = []
    medians = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 4, min_time_s=0)
    assert set(medians) == {"a", "b"}
    assert all(value > 0 for value in medians.values())
    assert "".join(calls) == "aabb" + "abba" * 2  # warm-up and trial, then the turns


def test_a_group_is_a_module_that_has_figures() -> None:
    found = bench.groups()
    assert {"attestation", "policy", "weights"} <= set(found)
    assert not {"policy_evaluator", "figure", "__main__"} & set(found)


def test_one_group_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = tmp_path / "build" / "bench.json"
    figures = {"one": [Figure.at_most("a", 1, "x", 2)], "two": [Figure.at_most("b", 3, "x", 2)]}
    monkeypatch.setattr(bench, "groups", lambda: ["one", "two"])
    monkeypatch.setattr(bench, "measure", figures.__getitem__)
    assert bench.main(["--group", "one", "--result", str(result)]) == 0
    assert json.loads(result.read_text()) == {"one": {"a": {"value": 1, "unit": "x", "bound": "at most 2", "ok": True}}}
    assert bench.main(["--group", "two", "--result", str(result)]) == 1
    assert set(json.loads(result.read_text())) == {"one", "two"}
    figures["one"] = [Figure.plain("c", 1, "x")]
    assert bench.main(["--result", str(result)]) == 1
    assert set(json.loads(result.read_text())["one"]) == {"c"}


def test_table_shows_what_is_not_kept() -> None:
    out = io.StringIO()
    bench.show({"g": [Figure.at_most("slow", 3, "x", 2), Figure.plain("n", 1, "s")]}, Console(file=out, width=100))
    assert "NO" in out.getvalue()


def test_groups_are_the_modules_beside_the_frame() -> None:
    assert not {"figure", "__main__", "__init__"} & set(bench.groups())
