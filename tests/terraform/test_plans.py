"""Plans without AWS: a plan shows the policies that ``render`` makes, and refuses bad inputs by what to do about them."""

import json
from pathlib import Path
from typing import Any

import pytest

from kms_policies.document import POLICY_MAX_BYTES, PolicyKind
from kms_policies.plans import read_policies
from kms_policies.rendering import TRAITS, Template, parse_inputs, render
from tests.terraform.module_calls import ENDS, audit_call, bucket_call, host_call, key_call
from tests.terraform.working_copy import OFFLINE_PROVIDER, WorkingCopy
from tests.unit.kms_policies.template_inputs import (
    ACCOUNT,
    ADMINISTRATOR,
    KEY_ARN,
    OTHER_ACCOUNT,
    PARENT,
    PCR0,
    PCR0_NEXT,
    PCR1,
    PUBLISHER,
    input_fields,
)

pytestmark = [pytest.mark.terraform, pytest.mark.slow]

KEY_TEMPLATES = [template for template in Template if TRAITS[template].kind is PolicyKind.KEY]
FOLDER = "offline"


def write(copy: WorkingCopy, calls: dict[str, dict[str, Any]]) -> Path:
    """Write one file for each module call, named after it, and initialise."""
    folder = copy.root / "terraform" / FOLDER
    folder.mkdir()
    (folder / "provider.tf").write_text(OFFLINE_PROVIDER)
    for name, call in calls.items():
        (folder / f"{name}.tf.json").write_text(json.dumps({"module": {name: call}}))
    copy.init(FOLDER)
    return folder


def test_a_plan_shows_the_policies_that_render_makes(working_copy: WorkingCopy) -> None:
    wanted = {
        f"{template.value}_{'every' if every else 'plain'}": (template, every)
        for template in KEY_TEMPLATES
        for every in (False, True)
    }
    write(working_copy, {name: key_call(template, every=every) for name, (template, every) in wanted.items()})
    working_copy.run(FOLDER, "plan", "-input=false", "-out=plan.out")
    plan = working_copy.run(FOLDER, "show", "-json", "plan.out").stdout
    shown = {
        resource["address"]: resource["values"]
        for child in json.loads(plan)["planned_values"]["root_module"]["child_modules"]
        for resource in child["resources"]
    }
    for name, (template, every) in wanted.items():
        rendered = render(template, parse_inputs(template, input_fields(template, every=every)))
        key = shown[f"module.{name}.aws_kms_key.this"]
        assert json.loads(key["policy"]) == json.loads(rendered), name
        assert len(key["policy"]) <= POLICY_MAX_BYTES
        usual = ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", False, True)
        found = ("customer_master_key_spec", "key_usage", "multi_region", "enable_key_rotation")
        assert tuple(key[field] for field in found) == usual
    # What the prover reads of a plan: every key, under its address, known before it is applied.
    assert {one.address for one in read_policies(plan.encode())} == {
        f"module.{name}.aws_kms_key.this" for name in wanted
    }


def weights(**changed: Any) -> dict[str, Any]:
    return key_call(Template.MODEL_WEIGHTS_KEY) | changed


def measured(**fields: str | None) -> list[dict[str, str]]:
    """Return one measurement with fields changed or, where None, left out."""
    made = {"name": "v1", "expires": ENDS, "pcr0": PCR0} | fields
    return [{name: value for name, value in made.items() if value is not None}]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    # what decides who gets plaintext
    "no_measurement": (weights(measurements=[]), "measurements is empty: list at least one approved measurement"),
    "zero_pcr": (weights(measurements=measured(pcr0="0" * 96)), "all zero, which is what a debug enclave measures: build"),
    "zero_pcr1": (weights(measurements=measured(pcr1="0" * 96)), "all zero, which is what a debug enclave measures"),
    "short_pcr": (weights(measurements=measured(pcr0=PCR0[:-1])), "v1: pcr0 has 95 characters. Copy it from"),
    "long_pcr": (weights(measurements=measured(pcr0=PCR0 + "a")), "v1: pcr0 has 97 characters"),
    "upper_pcr": (weights(measurements=measured(pcr0="A" * 96)), "not 96 lower-case hex digits"),
    "line_end": (weights(measurements=measured(pcr0=PCR0 + "\n")), "not 96 lower-case hex digits"),
    "empty_pcr": (weights(measurements=measured(pcr0="")), "v1: pcr0 has 0 characters"),
    "no_pcr0": (weights(measurements=measured(pcr0=None, pcr8=PCR1)), "lacks a register: give every one pcr0"),
    "misspelt": (weights(measurements=measured(pcrl=PCR1)), "unknown field: write name, expires, pcr0"),
    "other_kind": (weights(measurements=measured(pcr4=PCR1)), "register of the other kind of attester: use only pcr0"),
    "not_alike": (
        weights(measurements=measured() + measured(name="v2", pcr0=PCR0_NEXT, pcr1=PCR1)),
        "name different registers: give each the same",
    ),
    "no_end": (weights(measurements=measured(expires=None)), "Every measurement ends: give each expires"),
    "no_date": (weights(measurements=measured(expires="2027-13-01T00:00:00Z")), "Every measurement ends"),
    "expired": (weights(measurements=measured(expires="2020-01-01T00:00:00Z")), "has expired: v1. Remove it"),
    "one_name": (weights(measurements=measured() + measured(pcr0=PCR0_NEXT)), "a name of its own"),
    "half_a_tpm": (
        key_call(Template.NITROTPM_SESSION_KEY)
        | {"measurements": measured(pcr0=None, pcr4=PCR0, pcr7=PCR0)},
        "lacks a register: give every one pcr4, pcr7, pcr12",
    ),
    # who is named
    "no_administrator": (weights(administrators=[]), "administrators is empty: name at least one role"),
    "no_parent": (weights(parents=[]), "parents is empty: name the role"),
    "no_publisher": (weights(publishers=[]), "publishers is empty: name who seals"),
    "session_publisher": (
        key_call(Template.SESSION_KEY) | {"publishers": [PUBLISHER]},
        "publishers is given for a session key: leave it out",
    ),
    "anybody": (weights(parents=["*"]), "parents holds a wildcard or variable: name each role"),
    "any_role": (weights(parents=[f"arn:aws:iam::{ACCOUNT}:role/*"]), "parents holds a wildcard"),
    "any_publisher": (weights(publishers=["*"]), "publishers holds a wildcard"),
    "any_administrator": (weights(administrators=[f"arn:aws:iam::{ACCOUNT}:role/ad?in"]), "administrators holds a wildcard"),
    "a_session": (
        weights(parents=[f"arn:aws:sts::{ACCOUNT}:assumed-role/parent/session"]),
        "parents holds something else than ARNs of roles or users: write arn:aws:iam",
    ),
    "an_account": (weights(publishers=[ACCOUNT]), "publishers holds something else than ARNs"),
    "root_parent": (weights(parents=[f"arn:aws:iam::{ACCOUNT}:root"]), "parents holds something else than ARNs"),
    "root_administrator": (weights(administrators=[f"arn:aws:iam::{ACCOUNT}:root"]), "holds an account root: name a role"),
    "two_roles": (weights(parents=[ADMINISTRATOR]), "has two of the roles administrator, publisher and parent"),
    "foreign": (weights(parents=[f"arn:aws:iam::{OTHER_ACCOUNT}:role/parent"]), "list its account in workload_account_ids"),
    "partitions": (
        weights(parents=[f"arn:aws-us-gov:iam::{ACCOUNT}:role/parent"]),
        "The principals are of several partitions",
    ),
    "own_account_twice": (weights(workload_account_ids=[ACCOUNT]), "An account stands twice"),
    # the rest
    "no_class": (weights(**{"class": "all"}), "class is weights, session or credentials: make one key"),
    "hasty": (weights(deletion_window_days=6), "deletion_window_days is a whole number from 7 to 30"),
    "too_late": (weights(deletion_window_days=31), "deletion_window_days is a whole number from 7 to 30"),
    "host_unmeasured": (host_call(approved_registers={"pcr1": [PCR1]}), "approved_registers has no pcr0: pass"),
    "host_debug": (host_call(approved_registers={"pcr0": ["0" * 96]}), "something else than non-zero measurements"),
    "host_too_small": (host_call(instance_type="t3.large"), "cannot hold an enclave: use a Nitro type"),
    "host_open": (host_call(client_cidrs=["0.0.0.0/0"]), "as wide as the Internet: name the networks"),
    "host_latest_image": (host_call(ami_id="resolve:ssm:/aws/ami"), "ami_id is an id such as ami-0123456789abcdef0"),
    "host_gated_bucket": (
        host_call(bucket_arns=["arn:aws:s3:::weights"], bucket_key_arns=[KEY_ARN]),
        "A gated key encrypts a bucket: give the bucket another key",
    ),
    "bucket_for_all": (bucket_call(readers=["*"]), "readers is empty or holds something else than full ARNs"),
    "bucket_foreign": (
        bucket_call(readers=[PARENT]),
        "A reader or writer is of another account, which cannot use AWS's own key for S3: give kms_key_arn",
    ),
    "bucket_lock": (bucket_call(object_lock={"mode": "FOREVER", "days": 1}), "object_lock is { mode, days }"),
    "audit_of_nothing": (audit_call(key_arns={}), "key_arns is empty"),
    "audit_short": (audit_call(retention_days=7), "retention_days is one of 365"),
}  # fmt: skip

ACCEPTED = {
    "control_key": weights(),
    "control_root": weights(administrators=[ADMINISTRATOR, f"arn:aws:iam::{ACCOUNT}:root"], root_administers=True),
    "control_bounds": weights(deletion_window_days=7, measurements=measured(pcr1=PCR1)),
    "control_zero_pcr12": key_call(Template.NITROTPM_CREDENTIALS_KEY)
    | {"measurements": measured(pcr0=None, pcr4=PCR0, pcr7=PCR0, pcr12="0" * 96)},
    "control_host": host_call(),
    "control_bucket": bucket_call(),
    "control_audit": audit_call(),
}


TOGETHER = {
    "no_pcr0", "other_kind", "not_alike", "expired", "half_a_tpm", "no_publisher", "session_publisher", "root_administrator",
    "two_roles", "foreign", "partitions", "own_account_twice", "host_gated_bucket", "bucket_foreign",
}  # fmt: skip
"""Inputs that are wrong only together. Terraform looks at each input by itself first, and only then at these."""


@pytest.mark.parametrize("together", [False, True], ids=["each by itself", "together"])
def test_a_plan_refuses_and_says_what_to_do(working_copy: WorkingCopy, together: bool) -> None:
    cases = {name: case for name, case in REFUSED.items() if (name in TOGETHER) is together}
    write(working_copy, {name: call for name, (call, _) in cases.items()} | ACCEPTED)
    done = working_copy.run(FOLDER, "plan", "-input=false", "-json", code=1)
    diagnostics = [json.loads(line)["diagnostic"] for line in done.stdout.splitlines() if '"diagnostic"' in line]
    assert {one["severity"] for one in diagnostics} == {"error"}
    details = [" ".join(one["detail"].split()) for one in diagnostics]
    # One mistake, one refusal, with its own message; what is right beside it is not complained of.
    assert len(details) == len(cases), details
    matched = {name: [one for one in details if message in one] for name, (_, message) in cases.items()}
    assert {name: found for name, found in matched.items() if not found} == {}
    assert {detail for found in matched.values() for detail in found} == set(details)
    if not together:  # then Terraform says at which call
        files = sorted(one["range"]["filename"].removesuffix(".tf.json") for one in diagnostics)
        assert files == sorted(cases)
