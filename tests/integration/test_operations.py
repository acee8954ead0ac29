"""The operations guide against the code: commands, settings, metrics, logs, alarms, exit codes, ports, memory."""

import io
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families

from enclave.__main__ import BROKER_PORT
from enclave.listener import ENCLAVE_PORT
from local.__main__ import main as local_main
from pcrgate.cli import main as frame
from pcrgate.cli.mount import build
from pcrgate.errors import ErrorCode
from pcrgate.kms.relay import VSOCK_PROXY_PORT
from service.__main__ import main as service_main
from service.__main__ import production_places
from service.log_lines import FIELDS
from service.metrics import CLASSES, ENDS, EVENTS, ROUTES, Metrics
from service.settings import ServiceSettings
from tests.architecture.sources import ROOT
from tests.support.enclave_stage import open_site, open_stage, running
from tests.support.onnx_model import adding_model

GUIDE = (ROOT / "docs" / "operations.md").read_text()
FENCE = re.compile(r"^```(?:bash|ini)\n(.*?)^```|((?:^ {4}.*\n)+)", re.MULTILINE | re.DOTALL)
"""Fenced blocks of commands and settings, and indented ones."""

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (ROOT, ROOT / "docs", ROOT / "examples")
    for path in folder.glob("*.md")
    if path.name != "cli.md"  # generated from the commands themselves
)
MIB = 1 << 20


def table(heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, cells without back quotes."""
    rows = []
    for line in GUIDE.partition(f"\n{heading}\n")[2].splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in line[1:-1].split("|")])
        elif rows:
            break
    assert len(rows) > 2, heading
    return rows[2:]


# --- commands ------------------------------------------------------------------------------------------------------


def blocks(text: str) -> list[str]:
    """Return the blocks of a document."""
    return [fenced or indented for fenced, indented in FENCE.findall(text)]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every `pcrgate` and `python -m` command in the fenced blocks."""
    for block in blocks(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            inner = re.sub(r"\w+=\$\((.*)\)$", r"\1", line.strip().removeprefix("ExecStart="))
            try:
                words = shlex.split(inner, comments=True)
            except ValueError:  # the middle of a text over several lines
                continue
            yield from _split(words)


def _split(words: list[str]) -> Iterator[list[str]]:
    for start, word in enumerate(words):
        called = word.rpartition("/")[2]
        module = called.startswith("python") and words[start + 1 : start + 2] == ["-m"]
        first = start == 0 or words[start - 1] in {"|", "&&", ";", "do", "then"}
        if (first and word in {"pcrgate", ".venv/bin/pcrgate"}) or module:
            rest = words[start:]
            ends = [index for index, one in enumerate(rest) if re.fullmatch(r"[|;>]|&&|>>|[12]>.*", one)]
            yield rest[: ends[0]] if ends else rest


def fault(words: list[str]) -> str | None:
    """Return what is wrong with a command, None when nothing is."""
    if words[0].rpartition("/")[2] == "pcrgate":
        return _fault_of_pcrgate(words[1:])
    mains: dict[str, Callable[[list[str]], int]] = {"service": service_main, "local": local_main}
    if words[2] not in mains:
        return None  # pip, venv, pytest and scripts of others
    given = [word for word in words[3:] if not word.startswith("-")]
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        mains[words[2]]([*given[:1], "--help"])
    if not out.getvalue():
        return f"no command {given[:1]}"
    unknown = [word for word in words[3:] if word.startswith("--") and word not in out.getvalue()]
    return f"no option {unknown}" if unknown else None


def _fault_of_pcrgate(words: list[str]) -> str | None:
    named = next((word for word in words if not word.startswith("-")), None)
    here: Any = typer.main.get_command(build(named, frame.GROUPS))
    left = list(words)
    while left and getattr(here, "commands", None) and not left[0].startswith("-"):
        name = left.pop(0)
        if name not in here.commands:
            return f"no command {name}"
        here = here.commands[name]
    if getattr(here, "commands", None) and left not in (["--help"], ["-h"], ["--version"]):
        return "no command"
    options = {name for one in here.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
    unknown = [word for word in left if word.startswith("--") and word.partition("=")[0] not in options]
    if unknown:
        return f"no option {unknown}"
    required = [one.opts[0] for one in here.params if one.required and one.opts[0].startswith("--")]
    missing = [name for name in required if name not in left and "--help" not in left]
    # A variable may stand for several options.
    return f"lacks {missing}" if missing and not any(word.startswith("$") for word in left) else None


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_of_the_documents_exist(name: str) -> None:
    found = list(commands((ROOT / name).read_text()))
    assert [(words, why) for words in found if (why := fault(words))] == []


def test_the_guides_commands_are_seen() -> None:
    found = {" ".join(words[:4]) for words in commands(GUIDE)}
    assert {"pcrgate policy explain live.json", "pcrgate policy prove -"} <= found
    assert {"pcrgate measurements verify measurements.json", "pcrgate publish manifest manifest.cbor"} <= found
    assert {" ".join(words[1:4]) for words in commands(GUIDE)} >= {"-m service token-add", "-m service"}


@pytest.mark.parametrize(
    "line",
    [
        "pcrgate manifest keygen",
        "pcrgate policy proof x",
        "pcrgate policy prove x --pcr9 y",
        "x | pcrgate seals --help",
        "a=$(pcrgate measurements verify m --public-keys k)",
        "python -m service token-make caller alice",
        "python -m local demo --plain",
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    (words,) = commands(f"```bash\n{line}\n```\n")
    assert fault(words) is not None


# --- tables ----------------------------------------------------------------------------------------------------------


def test_every_setting_is_told_with_its_default() -> None:
    told = {row[0]: row[1] for row in table("### Settings")}
    fields = ServiceSettings.model_fields
    assert list(told) == list(fields)
    words = {None: "none", "": "(empty)"}
    for name, field in fields.items():
        wanted = "(required)" if field.is_required() else words.get(field.default, str(field.default))
        assert told[name] == wanted, name


def test_every_metric_is_told_with_its_labels() -> None:
    metrics = Metrics()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text(dict.fromkeys(EVENTS, 0)).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    companions = {name for name in found if name.endswith("_created")}
    assert companions <= {f"{name.removesuffix('_total')}_created" for name in found}
    rows = table("## Metrics")
    told = {row[0]: set(row[1].split(", ")) - {""} for row in rows}
    assert told == {name: labels for name, labels in found.items() if name not in companions}
    assert all(row[2] and row[3] for row in rows)
    section = GUIDE.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    assert [value for value in (*ROUTES, *ENDS, *EVENTS, CLASSES[0], CLASSES[-1]) if f"`{value}`" not in section] == []


def test_every_log_field_and_event_is_told() -> None:
    section = GUIDE.partition("\n## Logs\n")[2].partition("\n## ")[0]
    sentence = section.partition("no others:")[2].partition("No path")[0]
    assert set(re.findall(r"`(\w+)`", sentence)) == FIELDS
    source = "".join(path.read_text() for path in (ROOT / "service").glob("*.py"))
    logged = set(re.findall(r"(?:log|lines)\.(?:debug|info|warning|error)\(\s*\"([^\"]+)\"", source))
    assert {row[0] for row in table("## Logs")} == logged


def test_every_alarm_is_told() -> None:
    patterns = (ROOT / "terraform" / "modules" / "audit" / "patterns.tf").read_text()
    names = re.findall(r"^    ([a-z-]+) = \{$", patterns, re.MULTILINE)
    assert len(names) == 6
    assert [row[0] for row in table("## Alarms")] == names


def test_every_code_that_is_named_exists() -> None:
    codes = {member.code for member in ErrorCode}
    section = GUIDE.partition("\n## When something is wrong\n")[2].partition("\nA denied release")[0]
    named = re.findall(r"(?:failure|with|or|,) `([a-z]+(?:-[a-z]+)+)`", section)
    assert len(named) >= 6
    assert [code for code in named if code not in codes] == []


def test_the_exit_codes_are_those_of_the_frame(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {int(row[0]): row[1:] for row in table("## Exit codes")}
    told = {code for code, cells in rows.items() if cells[0]}
    codes = {value for name, value in vars(frame).items() if name.startswith("EXIT_")}
    assert told == codes | {0}
    ends = {}
    for words in (["--version"], ["receipt", "verify", "--nope"], ["evidence", "inspect", str(ROOT / "LICENSE")]):
        with pytest.raises(SystemExit) as left:
            frame.main(words)
        ends[words[0]] = left.value.code
    assert ends == {"--version": 0, "receipt": frame.EXIT_USAGE, "evidence": frame.EXIT_REFUSED}
    assert capsys.readouterr().err.splitlines()[0].startswith("refused: ")
    head = (ROOT / "docs" / "cli.md").read_text().split("##")[0]
    assert all(str(code) in head for code in codes)


# --- the host ----------------------------------------------------------------------------------------------------------


def test_the_services_environment_starts_a_production_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    block = next(block for block in blocks(GUIDE) if block.startswith("PCRGATE_SERVICE_"))
    for line in block.splitlines():
        name, _, value = line.partition("=")
        assert name.removeprefix("PCRGATE_SERVICE_").lower() in ServiceSettings.model_fields
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = ServiceSettings.read()
    assert settings.tls_certificate == Path("/etc/pcrgate/tls.pem")
    places = production_places(settings)
    assert places.upstream is not None
    assert (places.upstream.host, places.upstream.port) == ("kms.eu-central-1.amazonaws.com", 443)


def test_parent_and_enclave_meet_at_the_same_ports() -> None:
    fields = ServiceSettings.model_fields
    defaults = tuple(fields[name].default for name in ("enclave_port", "broker_port", "relay_port"))
    assert defaults == (ENCLAVE_PORT, BROKER_PORT, VSOCK_PROXY_PORT)
    cids = set(re.findall(r"(?:--enclave-cid |ENCLAVE_CID=)(\d+)", GUIDE))
    assert cids == {str(fields["enclave_cid"].default)}


def test_the_sizes_follow_from_the_formula() -> None:
    base, all_models, largest = map(int, re.findall(r"weights:\s+(\d+) \+ (\d) x \(.*?\) \+ (\d) x", GUIDE)[0])
    (image,) = re.findall(r"image:\s+(\d) x", GUIDE)
    examples = re.findall(r"^\| (\d+) MiB \| (none|one|two)(?: of (\d+) MiB)? \| (\d+) MiB \|$", GUIDE, re.MULTILINE)
    assert len(examples) == 3
    for eif, count, size, memory in examples:
        models = [int(size or 0)] * {"none": 0, "one": 1, "two": 2}[count]
        needed = base + all_models * sum(models) + largest * max(models, default=0) + int(image) * int(eif)
        assert int(memory) == needed + needed % 2


@pytest.mark.network
def test_an_enclave_stays_within_what_the_formula_gives_it() -> None:
    """Peak memory of two enclaves that differ in their model alone; what a coverage run adds is in both."""
    size_mib = 48
    peaks = []
    with open_stage() as stage:
        configuration = stage.write_configuration("sized.json", weights_max_bytes=64 * MIB)
        stage.approve(stage.measured(configuration))
        large = stage.seal("adder", adding_model((0.5,) * (size_mib * MIB // 4)), epoch=4)
        for model in (stage.model, large):
            manifest = replace(stage.manifest, secrets=(model.secret,))
            with open_site(stage, manifest=manifest) as site, running(site, configuration=configuration) as process:
                assert process.wait("live").failure is None
                status = Path(f"/proc/{process.process.pid}/status").read_text()
                peaks.append(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024)
    small, with_model = peaks
    assert small <= 120 + 40  # a coverage run holds some of it
    assert 2 * size_mib < with_model - small <= 3 * size_mib + 8
