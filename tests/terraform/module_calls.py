"""Module calls as Terraform's JSON, from the same inputs that the templates' own tests use."""

from typing import Any

from kms_policies.rendering import TRAITS, Template
from tests.unit.kms_policies.template_inputs import OTHER_ACCOUNT, PCR0, input_fields

ENDS = "2099-01-01T00:00:00Z"
REGISTERS = ("pcr0", "pcr1", "pcr2", "pcr3", "pcr4", "pcr7", "pcr8", "pcr12")


def key_call(template: Template, *, every: bool = False) -> dict[str, Any]:
    """Return the call of ``pcr_gated_key`` that must yield what ``render`` yields for these inputs."""
    fields = input_fields(template, every=every)
    call: dict[str, Any] = {
        "source": "../modules/pcr_gated_key",
        "name": f"{template.value}-{'every' if every else 'plain'}",
        "class": template.value.removeprefix("nitrotpm_").removeprefix("model_").removesuffix("_key"),
        "attester": "nitrotpm" if TRAITS[template].nitrotpm else "enclave",
        "account_id": fields["account"],
        "administrators": fields["administrators"],
        "parents": fields["parents"],
        "publishers": fields.get("publishers", []),
        "measurements": measurements_of(fields),
    }
    if every:
        call |= {
            "workload_account_ids": fields["workload_accounts"],
            "deletion_window_days": fields["minimum_deletion_window_days"],
            "root_delegation": fields["root_delegation"],
        }
    return call


def measurements_of(fields: dict[str, Any]) -> list[dict[str, str]]:
    """Return the lists of values, one a register, as measurements: one value of each register in each."""
    lists = {
        name: [fields[name]] if isinstance(fields[name], str) else fields[name] for name in REGISTERS if name in fields
    }
    count = max(len(values) for values in lists.values())
    return [
        {
            "name": f"release-{number}",
            "expires": ENDS,
            **{name: values[min(number, len(values) - 1)] for name, values in lists.items()},
        }
        for number in range(count)
    ]


def host_call(**changed: Any) -> dict[str, Any]:
    """Return a call of ``enclave_host``."""
    return {
        "source": "../modules/enclave_host",
        "name": "parent",
        "account_id": OTHER_ACCOUNT,
        "region": "eu-central-1",
        "ami_id": "ami-0123456789abcdef0",
        "enclave_memory_mib": 4096,
        "vpc_id": "vpc-0123456789abcdef0",
        "subnet_id": "subnet-0123456789abcdef0",
        "route_table_ids": ["rtb-0123456789abcdef0"],
        "client_cidrs": ["10.0.0.0/16"],
        "key_arns": {"weights": "arn:aws:kms:eu-central-1:111122223333:key/12345678-90ab-cdef-1234-567890abcdef"},
        "approved_registers": {"pcr0": [PCR0]},
    } | changed


def bucket_call(**changed: Any) -> dict[str, Any]:
    """Return a call of ``weights_bucket``."""
    return {
        "source": "../modules/weights_bucket",
        "bucket": "sealed-weights",
        "account_id": OTHER_ACCOUNT,
        "readers": [f"arn:aws:iam::{OTHER_ACCOUNT}:role/parent"],
        "writers": [f"arn:aws:iam::{OTHER_ACCOUNT}:role/publisher"],
    } | changed


def audit_call(**changed: Any) -> dict[str, Any]:
    """Return a call of ``audit``."""
    return {
        "source": "../modules/audit",
        "name": "watch",
        "account_id": "111122223333",
        "region": "eu-central-1",
        "key_arns": {"weights": "arn:aws:kms:eu-central-1:111122223333:key/12345678-90ab-cdef-1234-567890abcdef"},
        "trail_bucket": "trail-records",
    } | changed
