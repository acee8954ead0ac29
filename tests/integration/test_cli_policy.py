"""``pcrgate policy`` as a user runs it: real files, exit codes, and what is printed; standard input in its own process."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from kms_policies.document import PolicyKind, parse_policy
from kms_policies.prover import ApprovedMeasurements, Question, prove
from kms_policies.rendering import Template, parse_inputs, render
from kms_policies.rollover_files import parse_rollover
from pcrgate.cli import policy_rollover
from pcrgate.cli.main import main
from pcrgate.cli.policy_proofs import overall, show_proof
from pcrgate.units import Sha384
from tests.unit.attestation.documents import PCR0 as EVIDENCE_PCR0
from tests.unit.attestation.documents import PKI, document, nsm
from tests.unit.kms_policies.rollover_documents import text_document
from tests.unit.kms_policies.template_inputs import (
    ACCOUNT,
    ADMINISTRATOR,
    KEY_ARN,
    PARENT,
    PCR0,
    PCR0_NEXT,
    PCR4,
    PCR7,
    PCR12,
    PUBLISHER,
    SECOND_ADMINISTRATOR,
    input_fields,
)

Run = Callable[..., tuple[int, str, str]]
ADMINISTRATORS = ("--administrator", ADMINISTRATOR, "--administrator", SECOND_ADMINISTRATOR)
APPROVED = ("--pcr0", PCR0, "--pcr0", PCR0_NEXT)
DECRYPT = ("--principal", PARENT, "--action", "Decrypt", "--key", KEY_ARN, "--encryption-context", "class=weights")
AT = ("--at", "2026-11-23T12:00:00Z")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["policy", *words])
        out, err = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, out, err

    return call


def run_json(run: Run, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(*words, "--json")
    found = json.loads(out)
    assert isinstance(found, dict)
    return code, found


def policy_text(template: Template = Template.MODEL_WEIGHTS_KEY, **changed: object) -> str:
    return render(template, parse_inputs(template, input_fields(template) | changed))


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "weights.json"
    path.write_text(policy_text())
    return str(path)


@pytest.fixture
def leaky(tmp_path: Path) -> str:
    """Return a policy whose gate is gone and whose Allow accepts requests without attestation."""
    made = json.loads(policy_text())
    made["Statement"] = [one for one in made["Statement"] if one["Sid"] != "DenyReleaseUnlessPCR0"]
    allow = next(one for one in made["Statement"] if one["Sid"] == "AllowReleaseToMeasuredEnclave")
    allow["Condition"]["StringEqualsIgnoreCaseIfExists"] = allow["Condition"].pop("StringEqualsIgnoreCase")
    path = tmp_path / "leaky.json"
    path.write_text(json.dumps(made))
    return str(path)


# --- render ---------------------------------------------------------------------------------------------------------


def test_render_from_a_file_and_from_options(run: Run, tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text(json.dumps(input_fields(Template.MODEL_WEIGHTS_KEY)))
    code, out, err = run("render", "model_weights_key", "--input", "inputs.json", "--compact")
    assert (code, out.strip(), err) == (0, policy_text(), "")
    options = [f"--set=pcr0={PCR0}", f"--set=pcr0={PCR0_NEXT}", f"--set=account={ACCOUNT}", f"--set=parents={PARENT}"]
    options += [f"--set=administrators={arn}" for arn in (ADMINISTRATOR, SECOND_ADMINISTRATOR)]
    code, out, _ = run("render", "model_weights_key", *options, f"--set=publishers={PUBLISHER}")
    assert code == 0
    assert json.loads(out) == json.loads(policy_text())
    assert out.startswith("{\n  ")


def test_render_overrides_a_file_with_options_and_warns(run: Run, tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_text(json.dumps(input_fields(Template.SESSION_KEY)))
    code, out, err = run(
        "render", "session_key", "--input", "inputs.json", "--set", "minimum_deletion_window_days=7",
        "--set", "root_delegation=true", "--set", f"administrators={ADMINISTRATOR}",
    )  # fmt: skip
    assert code == 0
    assert "AllowAccountDelegation" in out
    assert err.count("warning: ") == 2
    code, found = run_json(run, "render", "session_key", "--input", "inputs.json")
    assert (code, found["kind"], found["warnings"]) == (0, "key policy", [])
    assert found["size_bytes"] < found["max_bytes"] == 32768


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["weights"], "policy-template"),
        (["session_key"], "policy-input"),
        (["session_key", "--set", "account"], "usage-arguments"),
        (["session_key", "--set", "account=1", "--set", "account=2"], "usage-arguments"),
        (["session_key", "--set", "root_delegation=maybe", "--set", f"account={ACCOUNT}"], "policy-input"),
        (["session_key", "--set", f"account={ACCOUNT}", "--set", "pcr0=" + "A" * 96], "policy-input-pcr"),
        (["session_key", "--input", "missing.json"], "usage-file"),
        (["session_key", "--input", "list.json"], "policy-input"),
        (["session_key", "--input", "text.json"], "policy-input"),
    ],
)
def test_render_refuses_with_exit_code_2(run: Run, tmp_path: Path, words: list[str], code: str) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.json").write_text("pcr0: ab")
    left, out, err = run("render", *words)
    assert (left, out) == (2, "")
    assert err.startswith(f"refused: {code}: ")


# --- prove ----------------------------------------------------------------------------------------------------------


def test_prove_a_shipped_policy(run: Run, policy: str) -> None:
    code, out, err = run("prove", policy, *APPROVED, *ADMINISTRATORS)
    assert (code, err) == (0, "")
    assert out.startswith("policy: proven\n")
    assert "counterexample" not in out
    assert "Trust anchors" in out
    assert "is trusted" in out
    code, found = run_json(run, "prove", policy, *APPROVED, *ADMINISTRATORS)
    assert (code, found["verdict"]) == (0, "proven")
    assert found["policies"][0]["counterexamples"] == []
    assert {one["principal"] for one in found["policies"][0]["can_mint"]} == {PUBLISHER}


def test_prove_shows_who_gets_through_by_which_statement(run: Run, leaky: str) -> None:
    code, out, _ = run("prove", leaky, *APPROVED, *ADMINISTRATORS)
    assert code == 1
    assert out.startswith("policy: NOT proven\n")
    assert "assumed-role/enclave-parent" in out
    assert "kms:Decrypt" in out
    assert "AllowReleaseToMeasuredEnclave" in out
    assert '"weights"' in out


def test_a_counterexample_is_a_request_that_explain_and_evaluate_read(
    run: Run, leaky: str, policy: str, tmp_path: Path
) -> None:
    code, found = run_json(run, "prove", leaky, *APPROVED, *ADMINISTRATORS)
    assert (code, found["verdict"]) == (1, "counterexample")
    (example,) = found["policies"][0]["counterexamples"]
    assert (example["tier"], example["class"], example["replayed"]) == ("plaintext", "if-exists", True)
    (tmp_path / "request.json").write_text(json.dumps(example["request"]))
    request = example["request"] | {"key": KEY_ARN}
    (tmp_path / "request.json").write_text(json.dumps(request))
    assert run("evaluate", leaky, "--request", "request.json")[0] == 0
    assert run("evaluate", policy, "--request", "request.json")[0] == 1


def test_an_undeclared_administrator_or_a_missing_approval_fails(run: Run, policy: str) -> None:
    assert run("prove", policy, *APPROVED)[0] == 1
    assert run("prove", policy, "--pcr0", PCR0, *ADMINISTRATORS)[0] == 1
    assert run("prove", policy, *APPROVED, *ADMINISTRATORS, "--availability")[0] == 1


def test_prove_takes_grants_metadata_identities_and_controls(run: Run, policy: str, tmp_path: Path) -> None:
    grant = {"GranteePrincipal": PARENT, "Operations": ["Decrypt"], "GrantId": "g"}
    (tmp_path / "grants.json").write_text(json.dumps({"Grants": [grant], "Truncated": False}))
    metadata = {
        "Arn": KEY_ARN, "KeyState": "Enabled", "Origin": "AWS_KMS", "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT", "MultiRegion": False,
    }  # fmt: skip
    (tmp_path / "key.json").write_text(json.dumps({"KeyMetadata": metadata}))
    (tmp_path / "parent.json").write_text(policy_text(Template.PARENT_ROLE))
    (tmp_path / "control.json").write_text(policy_text(Template.RESOURCE_CONTROL_POLICY))
    code, found = run_json(
        run, "prove", policy, *APPROVED, *ADMINISTRATORS, "--key-metadata", "key.json",
        "--identity", f"{PARENT}=parent.json", "--identity", "parent.json", "--identity-complete", ACCOUNT,
        "--resource-control", "control.json",
    )  # fmt: skip
    assert code == 0
    assert not any("no key metadata" in one for one in found["policies"][0]["assumptions"])
    made = json.loads(policy_text())
    made["Statement"] = [one for one in made["Statement"] if not one["Sid"].startswith("Deny")]
    (tmp_path / "allows.json").write_text(json.dumps(made))
    assert run("prove", "allows.json", *APPROVED, *ADMINISTRATORS)[0] == 0
    code, found = run_json(run, "prove", "allows.json", *APPROVED, *ADMINISTRATORS, "--grants", "grants.json")
    assert code == 1
    assert found["policies"][0]["counterexamples"][0]["class"] == "grant"


def test_a_solver_that_gives_up_is_said_so(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    proof = prove(
        Question(
            key_policy=parse_policy(Path(policy).read_text(), kind=PolicyKind.KEY),
            approved=ApprovedMeasurements(pcr0=frozenset({Sha384.from_hex(PCR0)})),
            solver_steps=1,
        )
    )
    assert overall({"policy": proof}) == "unknown"
    show_proof("policy", replace(proof, incomplete=True))
    shown = capsys.readouterr().out
    assert "the solver gave up: " in shown
    assert "left out" in shown


def test_what_did_not_replay_is_said_so(leaky: str, capsys: pytest.CaptureFixture[str]) -> None:
    proof = prove(
        Question(
            key_policy=parse_policy(Path(leaky).read_text(), kind=PolicyKind.KEY),
            approved=ApprovedMeasurements(pcr0=frozenset({Sha384.from_hex(PCR0)})),
        )
    )
    (one,) = [one for one in proof.counterexamples if one.tier.value == "plaintext"]
    show_proof("policy", replace(proof, counterexamples=(replace(one, replayed=False, note="a note"),)))
    shown = capsys.readouterr().out
    assert "note       a note" in shown
    assert "did not replay" in shown


def test_prove_nitrotpm_and_further_registers(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tpm.json").write_text(policy_text(Template.NITROTPM_SESSION_KEY))
    registers = [f"--nitrotpm-pcr={index}={value}" for index, value in ((4, PCR4), (7, PCR7), (12, PCR12))]
    assert run("prove", "tpm.json", *registers, *ADMINISTRATORS)[0] == 0
    assert run("prove", "tpm.json", *registers[:2], *ADMINISTRATORS)[0] == 2
    (tmp_path / "eight.json").write_text(policy_text(Template.SESSION_KEY, pcr8=["8" * 96]))
    eight = ("prove", "eight.json", *APPROVED, *ADMINISTRATORS, "--pcr")
    assert run(*eight, "8=" + "8" * 96)[0] == 0
    assert run(*eight, "8=" + "9" * 96)[0] == 1


def test_the_hash_of_a_policy_is_told_by_digest_and_by_prove(run: Run, policy: str, leaky: str) -> None:
    expected = {path: hashlib.sha384(Path(path).read_bytes()).hexdigest() for path in (policy, leaky)}
    code, out, _ = run("digest", policy, leaky)
    assert (code, out.splitlines()) == (0, [f"{digest}  {path}" for path, digest in expected.items()])
    code, found = run_json(run, "digest", policy)
    assert (code, found) == (0, {"policies": [{"address": "policy", "policy_sha384": expected[policy]}]})
    assert run("digest", str(Path(policy).parent / "nothing"))[0] == 2
    _, proven = run_json(run, "prove", policy, *APPROVED, *ADMINISTRATORS)
    assert proven["policies"][0]["policy_sha384"] == expected[policy]
    assert f"policy SHA-384 {expected[leaky]}" in run("prove", leaky, *APPROVED, *ADMINISTRATORS)[1]


def test_prove_every_policy_of_a_plan_and_several_files(run: Run, policy: str, leaky: str, tmp_path: Path) -> None:
    def resource(name: str, text: str, **values: object) -> dict[str, object]:
        return {
            "address": f"aws_kms_key.{name}", "mode": "managed", "type": "aws_kms_key",
            "values": {"policy": text, **values},
        }  # fmt: skip

    def plan(*resources: dict[str, object]) -> str:
        return json.dumps({"format_version": "1.2", "planned_values": {"root_module": {"resources": resources}}})

    good, bad = Path(policy).read_text(), Path(leaky).read_text()
    (tmp_path / "plan.json").write_text(plan(resource("good", good), resource("bad", bad)))
    code, found = run_json(run, "prove", "plan.json", *APPROVED, *ADMINISTRATORS)
    assert (code, found["verdict"]) == (1, "counterexample")
    assert {one["address"]: one["proven"] for one in found["policies"]} == {
        "aws_kms_key.good": True, "aws_kms_key.bad": False,
    }  # fmt: skip
    (tmp_path / "regions.json").write_text(plan(resource("multi", good, multi_region=True)))
    assert run("prove", "regions.json", *APPROVED, *ADMINISTRATORS)[0] == 0
    allows = json.loads(good)
    allows["Statement"] = [one for one in allows["Statement"] if not one["Sid"].startswith("Deny")]
    allows["Statement"][0]["Action"].append("kms:ReplicateKey")
    for multi_region, expected in ((False, 0), (True, 1)):
        text = plan(resource("m", json.dumps(allows), multi_region=multi_region))
        (tmp_path / "replicas.json").write_text(text)
        assert run("prove", "replicas.json", *APPROVED, "--administrator", SECOND_ADMINISTRATOR)[0] == 1
        _, shown, _ = run("prove", "replicas.json", *APPROVED)
        assert ("kms:ReplicateKey" in shown) is bool(expected)
    (tmp_path / "answer.json").write_text(json.dumps({"Policy": good}))
    code, found = run_json(run, "prove", policy, "answer.json", "plan.json", *APPROVED, *ADMINISTRATORS)
    assert [one["address"] for one in found["policies"]] == [
        policy, "answer.json", "plan.json: aws_kms_key.good", "plan.json: aws_kms_key.bad",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["prove", "weights.json"], "usage-policy"),
        (["prove", "weights.json", "--pcr0", "ab"], "policy-input-pcr"),
        (["prove", "weights.json", "--pcr0", "0" * 96], "policy-input-pcr"),
        (["prove", "weights.json", "--pcr0", PCR0, "--pcr", "8"], "usage-pcr-index"),
        (["prove", "weights.json", "--pcr0", PCR0, "--pcr", "32=" + PCR0], "usage-pcr-index"),
        (["prove", "weights.json", "--nitrotpm-pcr", "4=" + PCR0], "usage-policy"),
        (["prove", "weights.json", "--pcr0", PCR0, "--administrator", "admin"], "prove-question"),
        (["prove", "weights.json", "--pcr0", PCR0, "--grants", "weights.json"], "policy-request"),
        (["prove", "broken.json", "--pcr0", PCR0], "policy-json"),
        (["prove", "empty.json", "--pcr0", PCR0], "policy-source"),
        (["prove", "empty.json", "weights.json", "--pcr0", PCR0], "policy-source"),
        (["prove", "-", "-", "--pcr0", PCR0], "usage-arguments"),
        (["prove", "missing.json", "--pcr0", PCR0], "usage-file"),
        (["lint", "broken.json"], "policy-json"),
        (["diff", "weights.json", "empty.json"], "policy-source"),
        (["diff", "weights.json", "two.json"], "policy-source"),
        (["evaluate", "weights.json"], "usage-arguments"),
        (["evaluate", "weights.json", *DECRYPT, "--request", "empty.json"], "usage-arguments"),
        (["evaluate", "weights.json", "--request", "empty.json"], "policy-request"),
        (["evaluate", "weights.json", *DECRYPT, "--context", "novalue"], "usage-arguments"),
        (["evaluate", "weights.json", *DECRYPT, "--context", "a=b", "--context", "a=c"], "usage-arguments"),
        (["evaluate", "weights.json", *DECRYPT, "--pcr", "x=" + PCR0], "usage-pcr-index"),
        (["evaluate", "weights.json", "--principal", "nobody", *DECRYPT[2:]], "policy-request"),
        (["prove", "weights.json", "--pcr0", PCR0, "--grants", "huge.json"], "input-too-large"),
        (["prove", "weights.json", "--pcr0", PCR0, "--key-metadata", "huge.json"], "input-too-large"),
        (["evaluate", "weights.json", "--request", "huge.json"], "input-too-large"),
        (["rollover", "plan", "empty.json"], "rollover-document"),
        (["rollover", "status", "r.json", "--at", "noon"], "usage-time"),
        (["rollover", "status", "r.json", "--at", "2026-11-23T12:00:00"], "usage-time"),
        (["rollover", "advance", "r.json", "v9", "admitted"], "rollover-document"),
        (["rollover", "policies", "r.json", "--output", "weights.json"], "usage-file"),
        (["rollover", "advance", "r.json", "v2", "admitted", *AT, "--output", "no/where.json"], "usage-file"),
    ],
)
def test_usage_and_invalid_files_leave_with_2(
    run: Run, policy: str, tmp_path: Path, words: list[str], code: str
) -> None:
    (tmp_path / "broken.json").write_text('{"Statement": ')
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "huge.json").write_bytes(b" " * 17_000_000)
    (tmp_path / "r.json").write_text(text_document())
    resources = [
        {"address": f"aws_kms_key.{name}", "type": "aws_kms_key", "values": {"policy": Path(policy).read_text()}}
        for name in "ab"
    ]
    plan = {"format_version": "1.2", "planned_values": {"root_module": {"resources": resources}}}
    (tmp_path / "two.json").write_text(json.dumps(plan))
    left, _, err = run(*words)
    assert (left, err.partition(": ")[2].partition(":")[0]) == (2, code)


def test_an_invalid_policy_in_json_says_so_on_stdout_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"Version": "2020-01-01", "Statement": []}')
    code, found = run_json(run, "prove", "old.json", "--pcr0", PCR0)
    assert (code, found["verdict"], found["code"]) == (2, "invalid", "policy-version")


def test_standard_input() -> None:
    words = [sys.executable, "-m", "pcrgate.cli.main", "policy", "prove", "-", *APPROVED, *ADMINISTRATORS]
    done = subprocess.run(words, input=policy_text().encode(), capture_output=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith(b"policy: proven")


# --- lint, evaluate, explain, diff ------------------------------------------------------------------------------------


def test_lint(run: Run, policy: str, leaky: str, tmp_path: Path) -> None:
    assert run("lint", policy) == (0, "policy: nothing found\n", "")
    code, out, _ = run("lint", leaky)
    assert code == 1
    assert "if-exists" in out
    code, found = run_json(run, "lint", leaky)
    assert (code, found["verdict"]) == (1, "rejected")
    assert found["policies"][0]["findings"][0]["code"] == "if-exists"
    (tmp_path / "warned.json").write_text(policy_text(root_delegation=True))
    assert run("lint", "warned.json")[0] == 0
    assert run("lint", "warned.json", "--strict")[0] == 1
    (tmp_path / "role.json").write_text(policy_text(Template.PARENT_ROLE))
    assert run("lint", "role.json", "--kind", "identity") == (0, "policy: nothing found\n", "")
    assert run("lint", "role.json")[0] == 2


def test_evaluate(run: Run, policy: str, tmp_path: Path) -> None:
    code, out, _ = run("evaluate", policy, *DECRYPT, "--pcr", f"0={PCR0}")
    assert code == 0
    assert out.startswith("allowed: ")
    code, found = run_json(run, "evaluate", policy, *DECRYPT)
    assert (code, found["verdict"], found["outcome"]) == (1, "denied", "explicit-deny")
    assert "DenyReleaseUnlessPCR0" in found["statement"]
    assert found["request"]["action"] == "kms:Decrypt"
    service = run("evaluate", policy, "--principal", "s3.amazonaws.com", *DECRYPT[2:])
    assert service[0] == 1
    grant = {"GranteePrincipal": PARENT, "Operations": ["RetireGrant"]}
    (tmp_path / "grants.json").write_text(json.dumps([grant]))
    (tmp_path / "role.json").write_text(policy_text(Template.PARENT_ROLE))
    words = (*DECRYPT, "--pcr", f"0={PCR0}", "--grants", "grants.json", "--identity", f"{PARENT}=role.json")
    assert run("evaluate", policy, *words)[0] == 0


def test_explain_names_the_register_and_what_would_change_it(run: Run, policy: str) -> None:
    code, out, _ = run("explain", policy, *DECRYPT, "--pcr", "0=" + "c" * 96)
    assert code == 0
    assert "PCR0 is cccccccccccccccc" in out
    assert f"change: attest PCR0 = {PCR0}" in out
    code, found = run_json(run, "explain", policy, *DECRYPT)
    assert (code, found["works"], found["verdict"]) == (0, True, "denied")
    assert found["changes"][0].startswith("attach a fresh attestation document")
    assert run("explain", policy, *DECRYPT, "--pcr", f"0={PCR0}")[1].startswith("allowed: ")
    code, out, _ = run("explain", policy, "--principal", PARENT, "--action", "CreateGrant", "--key", KEY_ARN)
    assert "no request can pass" in out


def test_explain_reads_the_evidence_that_came_along(run: Run, policy: str, tmp_path: Path) -> None:
    (tmp_path / "evidence.bin").write_bytes(document())
    root = ("--root-fingerprint", PKI.root_fingerprint.hex())
    code, out, _ = run("explain", policy, *DECRYPT, "--evidence", "evidence.bin", *root)
    assert code == 0
    assert f"PCR0 is {EVIDENCE_PCR0.hex()[:16]}" in out
    (tmp_path / "mine.json").write_text(policy_text(pcr0=[EVIDENCE_PCR0.hex()]))
    assert run("evaluate", "mine.json", *DECRYPT, "--evidence", "evidence.bin", *root)[0] == 0
    request = {"principal": PARENT, "action": "Decrypt", "key": KEY_ARN, "encryption_context": {"class": "weights"}}
    (tmp_path / "request.json").write_text(json.dumps(request))
    words = ("evaluate", "mine.json", "--request", "request.json")
    assert run(*words)[0] == 1
    assert run(*words, "--evidence", "evidence.bin", *root)[0] == 0
    code, _, err = run(*words, "--evidence", "evidence.bin")
    assert code == 1
    assert err.startswith("refused: root-unpinned: ")


def test_evidence_of_nitrotpm_fills_its_own_registers(run: Run, tmp_path: Path) -> None:
    registers = {4: EVIDENCE_PCR0, 7: EVIDENCE_PCR0, 12: Sha384(bytes(48))}
    (tmp_path / "tpm.bin").write_bytes(document(nsm(kind="nitrotpm", pcrs=registers)))
    listed = {f"pcr{index}": [value.hex()] for index, value in registers.items()}
    (tmp_path / "tpm.json").write_text(policy_text(Template.NITROTPM_MODEL_WEIGHTS_KEY, **listed))
    words = (*DECRYPT, "--evidence", "tpm.bin", "--root-fingerprint", PKI.root_fingerprint.hex())
    assert run("evaluate", "tpm.json", *words)[0] == 0


def test_diff(run: Run, policy: str, leaky: str, tmp_path: Path) -> None:
    assert run("diff", policy, policy) == (0, "the same\n", "")
    code, out, _ = run("diff", policy, leaky)
    assert code == 1
    assert "removed DenyReleaseUnlessPCR0" in out
    assert "with attestation" in out
    code, found = run_json(run, "diff", policy, leaky)
    assert (code, found["same"]) == (1, False)
    assert found["access"] == [
        {"principal": PARENT, "actions": ["kms:Decrypt"], "before": "with attestation", "after": "allowed"}
    ]
    (tmp_path / "one.json").write_text(policy_text(pcr0=[PCR0]))
    code, found = run_json(run, "diff", policy, "one.json")
    assert [one["value"] for one in found["measurements_removed"]] == [PCR0_NEXT]
    assert run("diff", policy, "one.json")[0] == 1


# --- rollover -------------------------------------------------------------------------------------------------------


@pytest.fixture
def rollover(tmp_path: Path) -> str:
    path = tmp_path / "rollover.json"
    path.write_text(text_document())
    return str(path)


def test_a_whole_roll_over(run: Run, rollover: str, tmp_path: Path) -> None:
    code, out, _ = run("rollover", "plan", rollover, *AT)
    assert code == 0
    assert out.startswith("1. v2: announced -> admitted\n")
    assert "proven    no plaintext without evidence of v1, v2" in out
    assert "undo" in out
    code, out, _ = run("rollover", "advance", rollover, "v2", "admitted", *AT)
    assert code == 0
    assert "weights: proven" in out
    assert "--probed" in out
    code, out, err = run("rollover", "advance", rollover, "v1", "draining", "--at", "2026-11-23T12:04:59Z", "--probed")
    assert code == 1
    assert err.startswith("refused: rollover-not-ready: ")
    later = ("--at", "2026-11-23T12:05:00Z")
    assert run("rollover", "advance", rollover, "v1", "draining", *later)[0] == 1
    assert run("rollover", "advance", rollover, "v1", "draining", *later, "--probed")[0] == 0
    code, out, _ = run("rollover", "policies", rollover, "--output", "policies")
    assert sorted(Path(line).name for line in out.split()) == ["parent.json", "session.json", "weights.json"]
    assert PCR0 in (tmp_path / "policies" / "weights.json").read_text()
    end = ("--at", "2026-11-23T12:15:00Z")
    code, found = run_json(run, "rollover", "advance", rollover, "v1", "removed", *end)
    assert (code, found["verdict"], found["written"]) == (0, "proven", rollover)
    run("rollover", "policies", rollover, "--output", "policies")
    assert PCR0 not in (tmp_path / "policies" / "weights.json").read_text()
    assert run("prove", "policies/weights.json", "--pcr0", PCR0_NEXT, *ADMINISTRATORS)[0] == 0
    assert run("rollover", "plan", rollover, *end) == (0, "nothing to do\n", "")


def test_status_proves_and_names_what_is_overdue(run: Run, rollover: str) -> None:
    code, out, _ = run("rollover", "status", rollover, *AT)
    assert code == 0
    assert "weights: proven" in out
    run("rollover", "advance", rollover, "v2", "admitted", *AT)
    assert "not confirmed" in run("rollover", "status", rollover, *AT)[1]
    late = ("--at", "2027-01-01T00:00:00Z")
    code, found = run_json(run, "rollover", "status", rollover, *late)
    assert (code, found["verdict"], found["overdue"]) == (1, "counterexample", ["v1"])
    assert found["policies"][0]["counterexamples"][0]["class"]
    assert "OVERDUE" in run("rollover", "status", rollover, *late)[1]
    assert run("rollover", "status", rollover, "--at", "2028-01-01T00:00:00Z")[0] == 2


def test_a_plan_in_json_and_one_that_cannot_be_carried_out(run: Run, rollover: str) -> None:
    code, found = run_json(run, "rollover", "plan", rollover, *AT, "--keep", "v1")
    assert (code, found["verdict"]) == (0, "proven")
    assert [(one["name"], one["from"], one["to"], one["verdict"]) for one in found["steps"]] == [
        ("v2", "announced", "admitted", "proven")
    ]
    late = ("--at", "2027-12-01T00:00:00Z")
    code, found = run_json(run, "rollover", "plan", rollover, *late)
    assert (code, found["verdict"], found["code"]) == (1, "rejected", "rollover-expired")
    assert run("rollover", "plan", rollover, *late)[0] == 1


def test_announce_and_revoke(run: Run, rollover: str, tmp_path: Path) -> None:
    words = ("rollover", "announce", rollover, "v3", "--pcr", "0=" + "c" * 96, *AT, "--expires")
    assert run(*words, "2026-01-01T00:00:00Z")[0] == 1
    code, out, _ = run(*words, "2027-03-01T00:00:00Z", "--output", "-")
    assert code == 0
    assert json.loads(out)["measurements"][2]["state"] == "announced"
    assert "v3" not in Path(rollover).read_text()
    assert run(*words, "2027-03-01T00:00:00Z")[0] == 0
    assert run("rollover", "advance", rollover, "v2", "admitted", *AT)[0] == 0
    code, found = run_json(run, "rollover", "advance", rollover, "v1", "removed", "--revoke", *AT)
    assert (code, found["verdict"]) == (0, "proven")
    assert run("rollover", "advance", rollover, "v2", "draining", *AT, "--probed")[0] == 1
    assert (
        run("rollover", "announce", rollover, "v4", "--pcr", "0=00", "--expires", "2027-03-01T00:00:00Z", *AT)[0] == 2
    )
    code, found = run_json(run, "rollover", "advance", rollover, "v1", "admitted", *AT)
    assert (code, found["code"]) == (1, "rollover-transition")


def test_what_has_expired_can_still_be_replaced(run: Run, rollover: str) -> None:
    late = ("--at", "2027-01-02T00:00:00Z")
    assert run("rollover", "plan", rollover, *late)[0] == 0
    assert run("rollover", "advance", rollover, "v2", "admitted", *late)[0] == 0
    assert run("rollover", "status", rollover, *late)[0] == 1
    assert run("rollover", "advance", rollover, "v1", "removed", "--revoke", *late)[0] == 0
    assert run("rollover", "status", rollover, *late)[0] == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_a_document_whose_policies_are_not_proven_is_not_written(
    rollover: str, leaky: str, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    unproven = prove(
        Question(
            key_policy=parse_policy(Path(leaky).read_text(), kind=PolicyKind.KEY),
            approved=ApprovedMeasurements(pcr0=frozenset({Sha384.from_hex(PCR0)})),
        )
    )
    before = Path(rollover).read_text()
    with pytest.raises(typer.Exit) as left:
        policy_rollover._finish(rollover, None, parse_rollover(before), {"weights": unproven}, as_json=as_json)
    assert left.value.exit_code == 1
    assert Path(rollover).read_text() == before
    assert "counterexample" in capsys.readouterr().out


def test_rollover_of_nitrotpm_measurements(run: Run, tmp_path: Path) -> None:
    inputs = {name: value for name, value in input_fields(Template.NITROTPM_SESSION_KEY).items() if "pcr" not in name}
    policies = [{"name": "session", "template": "nitrotpm_session_key", "inputs": inputs}]
    raw = json.loads(text_document(policies=policies))
    for index, one in enumerate(raw["measurements"]):
        one["pcrs"] = {"pcr4": PCR4 if index else PCR0, "pcr7": PCR7, "pcr12": PCR12}
    (tmp_path / "tpm.json").write_text(json.dumps(raw))
    assert run("rollover", "plan", "tpm.json", *AT)[0] == 0
    empty = {**raw, "measurements": raw["measurements"][1:]}
    (tmp_path / "empty.json").write_text(json.dumps(empty))
    assert run("rollover", "status", "empty.json", *AT)[0] == 0
    assert run("rollover", "advance", "empty.json", "v2", "admitted", *AT)[0] == 0
