"""Who may: key policies, identity and session policies, boundaries, grants, aliases, accounts, conditions, messages."""

import json
from typing import Any

import pytest

from pcrgate.twin.clients import boto_client, root_credentials
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from tests.support.twin_stage import assume, make_role, refusal, root_client

pytestmark = pytest.mark.network

ROOT = "arn:aws:iam::123456789012:root"
OTHER_ACCOUNT = "444455556666"


def statement(*actions: str, effect: str = "Allow", principal: object = None, **more: object) -> dict[str, object]:
    made: dict[str, object] = {"Effect": effect, "Action": list(actions), "Resource": "*", **more}
    return made if principal is None else made | {"Principal": principal}


def policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


ADMINISTRATION = statement("kms:*", principal={"AWS": ROOT})
DIRECT = statement("kms:Encrypt", "kms:Decrypt")


class Stage:
    """One key, one role, and the role's client."""

    def __init__(self, twin: Twin, *key_statements: dict[str, object], actions: tuple[str, ...] = ()) -> None:
        self.twin = twin
        self.role = make_role(twin, "caller", *actions)
        self.root = root_client(twin, "kms")
        self.arn = self.root.create_key()["KeyMetadata"]["Arn"]
        if key_statements:
            self.put(*key_statements)

    def put(self, *statements: dict[str, object]) -> None:
        text = policy(*statements).replace("ROLE", self.role)
        self.root.put_key_policy(KeyId=self.arn, PolicyName="default", Policy=text)

    def client(self, **parameters: Any) -> Any:
        return boto_client(self.twin, "kms", credentials=assume(self.twin, self.role, **parameters))


def encrypted(client: Any, key_id: str, **parameters: object) -> bytes:
    answer: dict[str, bytes] = client.encrypt(KeyId=key_id, Plaintext=b"x", **parameters)
    return answer["CiphertextBlob"]


def denied(stage: Stage, client: Any, **parameters: object) -> str:
    code, message = refusal(client.encrypt, KeyId=stage.arn, Plaintext=b"x", **parameters)
    assert code == "AccessDeniedException"
    return message


def test_a_key_policy_that_names_the_role_suffices(kms_twin: Twin) -> None:
    stage = Stage(kms_twin, ADMINISTRATION, statement("kms:Encrypt", principal={"AWS": "ROLE"}))
    assert encrypted(stage.client(), stage.arn)


def test_the_account_in_the_key_policy_leaves_it_to_iam(kms_twin: Twin) -> None:
    allowed = Stage(kms_twin, actions=("kms:Encrypt",))
    assert encrypted(allowed.client(), allowed.arn)
    stage = Stage(kms_twin)
    message = denied(stage, stage.client())
    session = stage.role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/session"
    assert message == (
        f"User: {session} is not authorized to perform: kms:Encrypt on resource: {stage.arn} "
        "because no identity-based policy allows the kms:Encrypt action"
    )


def test_without_the_key_policy_iam_says_nothing(kms_twin: Twin) -> None:
    only_root = statement("kms:*", principal={"AWS": ROOT}, Condition={"ArnEquals": {"aws:PrincipalArn": ROOT}})
    stage = Stage(kms_twin, only_root, actions=("kms:*",))
    message = denied(stage, stage.client())
    assert message.endswith("because no resource-based policy allows the kms:Encrypt action")


def test_a_deny_wins_wherever_it_stands(kms_twin: Twin) -> None:
    named = statement("kms:Encrypt", principal={"AWS": "ROLE"})
    stage = Stage(kms_twin, ADMINISTRATION, named, statement("kms:Enc*", effect="Deny", principal={"AWS": "ROLE"}))
    assert denied(stage, stage.client()).endswith("with an explicit deny in a resource-based policy")
    stage.put(ADMINISTRATION, named)
    denying = policy(statement("kms:Encrypt", effect="Deny"))
    name = stage.role.rpartition("/")[2]
    root_client(kms_twin, "iam").put_role_policy(RoleName=name, PolicyName="deny", PolicyDocument=denying)
    assert denied(stage, stage.client()).endswith("with an explicit deny in an identity-based policy")


def test_a_session_policy_narrows(kms_twin: Twin) -> None:
    stage = Stage(kms_twin, ADMINISTRATION, statement("kms:Encrypt", principal={"AWS": "ROLE"}))
    narrow = stage.client(Policy=policy(statement("kms:Decrypt")))
    assert denied(stage, narrow).endswith("because no session policy allows the kms:Encrypt action")
    assert encrypted(stage.client(Policy=policy(statement("kms:Encrypt"))), stage.arn)
    refusing = stage.client(Policy=policy(statement("kms:*"), statement("kms:Encrypt", effect="Deny")))
    assert denied(stage, refusing).endswith("with an explicit deny in a session policy")


def test_managed_policies_narrow_a_session_too(kms_twin: Twin) -> None:
    stage = Stage(kms_twin, ADMINISTRATION, statement("kms:Encrypt", principal={"AWS": "ROLE"}))
    iam = root_client(kms_twin, "iam")
    name = stage.role.rpartition("/")[2]
    arns = [
        iam.create_policy(PolicyName=f"{name}-{number}", PolicyDocument=policy(statement(action)))["Policy"]["Arn"]
        for number, action in enumerate(("kms:Decrypt", "kms:Encrypt"))
    ]
    narrow = stage.client(PolicyArns=[{"arn": arns[0]}])
    assert denied(stage, narrow).endswith("because no session policy allows the kms:Encrypt action")
    both = stage.client(PolicyArns=[{"arn": arn} for arn in arns])
    assert encrypted(both, stage.arn)
    iam.delete_policy(PolicyArn=arns[1])
    assert "session policy" in denied(stage, both)


def test_a_boundary_narrows(kms_twin: Twin) -> None:
    stage = Stage(kms_twin, actions=("kms:Encrypt",))
    iam = root_client(kms_twin, "iam")
    name = stage.role.rpartition("/")[2]
    arn = iam.create_policy(PolicyName=f"{name}-boundary", PolicyDocument=policy(statement("kms:Decrypt")))["Policy"][
        "Arn"
    ]
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=arn)
    assert denied(stage, stage.client()).endswith("because no permissions boundary allows the kms:Encrypt action")


def test_a_managed_policy_counts_with_its_default_version(kms_twin: Twin) -> None:
    stage = Stage(kms_twin)
    iam = root_client(kms_twin, "iam")
    name = stage.role.rpartition("/")[2]
    arn = iam.create_policy(PolicyName=f"{name}-managed", PolicyDocument=policy(statement("kms:Decrypt")))["Policy"][
        "Arn"
    ]
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    denied(stage, stage.client())
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(statement("kms:Encrypt")), SetAsDefault=True)
    assert encrypted(stage.client(), stage.arn)


def test_a_grant_lets_its_grantee_and_nobody_else(kms_twin: Twin) -> None:
    stage = Stage(kms_twin)
    other = boto_client(kms_twin, "kms", credentials=assume(kms_twin, make_role(kms_twin, "other")))
    made = stage.root.create_grant(
        KeyId=stage.arn,
        GranteePrincipal=stage.role,
        Operations=["Encrypt", "Decrypt"],
        Constraints={"EncryptionContextSubset": {"class": "weights"}},
    )
    context = {"class": "weights", "name": "demo"}
    blob = encrypted(stage.client(), stage.arn, EncryptionContext=context)
    assert stage.client().decrypt(CiphertextBlob=blob, EncryptionContext=context)["Plaintext"] == b"x"
    denied(stage, stage.client())
    denied(stage, other, EncryptionContext=context)
    stage.root.revoke_grant(KeyId=stage.arn, GrantId=made["GrantId"])
    denied(stage, stage.client(), EncryptionContext=context)


def test_a_grant_opens_what_the_key_policy_conditions(kms_twin: Twin) -> None:
    """Why CreateGrant is denied in our templates: a grant cannot carry an attestation condition."""
    attested = statement(
        "kms:Decrypt", principal={"AWS": "ROLE"}, Condition={"Null": {"kms:RecipientAttestation:PCR0": "false"}}
    )
    stage = Stage(kms_twin, ADMINISTRATION, attested)
    blob = encrypted(stage.root, stage.arn)
    assert refusal(stage.client().decrypt, CiphertextBlob=blob)[0] == "AccessDeniedException"
    stage.root.create_grant(KeyId=stage.arn, GranteePrincipal=stage.role, Operations=["Decrypt"])
    assert stage.client().decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_the_retiring_principal_needs_no_policy(kms_twin: Twin) -> None:
    stage = Stage(kms_twin)
    grantee = make_role(kms_twin, "grantee")
    made = stage.root.create_grant(
        KeyId=stage.arn, GranteePrincipal=grantee, RetiringPrincipal=stage.role, Operations=["Encrypt"]
    )
    stage.client().retire_grant(GrantToken=made["GrantToken"])
    assert stage.root.list_grants(KeyId=stage.arn)["Grants"] == []


def test_re_encryption_needs_both_keys(kms_twin: Twin) -> None:
    stage = Stage(kms_twin, ADMINISTRATION, statement("kms:ReEncryptFrom", principal={"AWS": "ROLE"}))
    other = stage.root.create_key()["KeyMetadata"]["Arn"]
    blob = encrypted(stage.root, stage.arn)
    code, message = refusal(stage.client().re_encrypt, CiphertextBlob=blob, DestinationKeyId=other)
    assert code == "AccessDeniedException"
    assert f"kms:ReEncryptTo on resource: {other}" in message


@pytest.mark.parametrize(
    ("condition", "parameters"),
    [
        ({"StringEquals": {"kms:EncryptionContext:class": "weights"}}, {"EncryptionContext": {"class": "weights"}}),
        (
            {
                "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["class"]},
                "Null": {"kms:EncryptionContextKeys": "false"},
            },
            {"EncryptionContext": {"class": "any"}},
        ),
        ({"StringEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}}, {}),
        ({"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT", "kms:KeyUsage": "ENCRYPT_DECRYPT"}}, {}),
        ({"StringEquals": {"kms:CallerAccount": "123456789012", "aws:PrincipalAccount": "123456789012"}}, {}),
        ({"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}, {}),
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, {}),
        ({"Bool": {"aws:SecureTransport": "true"}}, {}),
        ({"StringLike": {"aws:userid": "*:session", "aws:UserAgent": "*Boto3*"}}, {}),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, {}),
        ({"NumericGreaterThan": {"aws:EpochTime": "1600000000"}}, {}),
        ({"StringEquals": {"aws:PrincipalType": "AssumedRole"}}, {}),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/caller-*"}}, {}),
        ({"StringEquals": {"aws:PrincipalTag/team": "enclaves"}}, {}),
        ({"StringEquals": {"aws:ResourceTag/class": "weights"}}, {}),
        ({"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/mine"}}, {}),
        ({"Null": {"kms:ViaService": "true"}}, {}),
    ],
)
def test_conditions_hold_or_do_not(kms_twin: Twin, condition: dict[str, Any], parameters: dict[str, Any]) -> None:
    stage = Stage(kms_twin, ADMINISTRATION, statement("kms:Encrypt", principal={"AWS": "ROLE"}, Condition=condition))
    root_client(kms_twin, "iam").tag_role(
        RoleName=stage.role.rpartition("/")[2], Tags=[{"Key": "team", "Value": "enclaves"}]
    )
    stage.root.tag_resource(KeyId=stage.arn, Tags=[{"TagKey": "class", "TagValue": "weights"}])
    stage.root.create_alias(AliasName="alias/mine", TargetKeyId=stage.arn)
    client = stage.client()
    assert encrypted(client, stage.arn, **parameters)
    denying = statement("kms:Encrypt", effect="Deny", principal={"AWS": "ROLE"}, Condition=condition)
    stage.put(ADMINISTRATION, statement("kms:Encrypt", principal={"AWS": "ROLE"}), denying)
    denied(stage, client, **parameters)


def test_plain_http_is_not_secure_transport(kms_twin: Twin) -> None:
    secure = statement("kms:Encrypt", principal={"AWS": "ROLE"}, Condition={"Bool": {"aws:SecureTransport": "true"}})
    stage = Stage(kms_twin, ADMINISTRATION, secure)
    client = stage.client()
    client.meta.events.register(
        "before-sign.kms", lambda request, **_: setattr(request, "url", kms_twin.http_url + "/")
    )
    denied(stage, client)


def test_an_alias_is_authorised_on_the_key_and_its_own_name(kms_twin: Twin) -> None:
    stage = Stage(kms_twin, actions=("kms:Encrypt",))
    stage.root.create_alias(AliasName="alias/one", TargetKeyId=stage.arn)
    assert encrypted(stage.client(), "alias/one")
    code, message = refusal(stage.client().create_alias, AliasName="alias/two", TargetKeyId=stage.arn)
    assert code == "AccessDeniedException"
    assert "kms:CreateAlias" in message


def test_the_alias_of_the_request_is_a_condition(kms_twin: Twin) -> None:
    by_alias = statement(
        "kms:Encrypt", principal={"AWS": "ROLE"}, Condition={"StringEquals": {"kms:RequestAlias": "alias/one"}}
    )
    stage = Stage(kms_twin, ADMINISTRATION, by_alias)
    stage.root.create_alias(AliasName="alias/one", TargetKeyId=stage.arn)
    assert encrypted(stage.client(), "alias/one")
    denied(stage, stage.client())


def test_actions_without_a_key_are_iams_alone(kms_twin: Twin) -> None:
    may = boto_client(kms_twin, "kms", credentials=assume(kms_twin, make_role(kms_twin, "may", "kms:GenerateRandom")))
    may_not = boto_client(kms_twin, "kms", credentials=assume(kms_twin, make_role(kms_twin, "may-not")))
    assert len(may.generate_random(NumberOfBytes=8)["Plaintext"]) == 8
    code, message = refusal(may_not.generate_random, NumberOfBytes=8)
    assert code == "AccessDeniedException"
    assert message.endswith("because no identity-based policy allows the kms:GenerateRandom action")


def test_another_account_needs_both_sides() -> None:
    with Twin(TwinSettings(http_port=0, https_port=0, other_accounts=(OTHER_ACCOUNT,))) as twin:
        stage = Stage(twin, ADMINISTRATION, statement("kms:Encrypt", principal={"AWS": OTHER_ACCOUNT}))
        foreign = boto_client(twin, "kms", credentials=root_credentials(twin, OTHER_ACCOUNT))
        assert encrypted(foreign, stage.arn)
        stage.put(ADMINISTRATION)
        assert "no resource-based policy" in denied(stage, foreign)


def test_context_names_that_differ_in_case_alone_cannot_be_judged(kms_twin: Twin) -> None:
    stage = Stage(kms_twin)
    code, _ = refusal(stage.root.encrypt, KeyId=stage.arn, Plaintext=b"x", EncryptionContext={"a": "1", "A": "2"})
    assert code == "ValidationException"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            policy(statement("kms:*", principal={"AWS": "arn:aws:iam::123456789012:role/nobody"}), ADMINISTRATION),
            "invalid principals",
        ),
        (
            policy(statement("kms:*", principal={"AWS": "arn:aws:iam::123456789012:user/nobody"}), ADMINISTRATION),
            "invalid principals",
        ),
        (policy(statement("kms:*", principal={"AWS": "arn:aws:s3:::bucket"}), ADMINISTRATION), "principal"),
        (policy(statement("kms:Decrypt", principal={"AWS": ROOT})), "will not allow you to update the key policy"),
        (policy(statement("kms:*", principal={"AWS": ROOT}), statement("kms:*")), "not valid"),
    ],
    ids=["no role", "no user", "no principal", "lock-out", "no Principal"],
)
def test_a_key_policy_is_judged_before_it_takes_effect(kms_twin: Twin, text: str, said: str) -> None:
    stage = Stage(kms_twin)
    code, message = refusal(stage.root.put_key_policy, KeyId=stage.arn, PolicyName="default", Policy=text)
    assert code == "MalformedPolicyDocumentException"
    assert said in message


def test_a_lock_out_is_possible_when_asked_for(kms_twin: Twin) -> None:
    stage = Stage(kms_twin)
    stage.root.put_key_policy(
        KeyId=stage.arn,
        PolicyName="default",
        Policy=policy(statement("kms:DescribeKey", principal={"AWS": ROOT})),
        BypassPolicyLockoutSafetyCheck=True,
    )
    assert refusal(stage.root.get_key_policy, KeyId=stage.arn, PolicyName="default")[0] == "AccessDeniedException"


def test_users_sessions_and_roles_are_principals_that_exist(kms_twin: Twin) -> None:
    stage = Stage(kms_twin)
    name = stage.role.rpartition("/")[2]
    user = root_client(kms_twin, "iam").create_user(UserName=name)["User"]["Arn"]
    session = stage.role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/session"
    stage.put(ADMINISTRATION, statement("kms:Encrypt", principal={"AWS": [stage.role, user, session, OTHER_ACCOUNT]}))
    assert encrypted(stage.client(), stage.arn)


def test_group_policies_count_for_their_users(kms_twin: Twin) -> None:
    stage = Stage(kms_twin)
    iam = root_client(kms_twin, "iam")
    name = stage.role.rpartition("/")[2]
    iam.create_user(UserName=name)
    iam.create_group(GroupName=name)
    iam.put_group_policy(GroupName=name, PolicyName="kms", PolicyDocument=policy(statement("kms:Encrypt")))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    client = boto_client(kms_twin, "kms", credentials=root_credentials(kms_twin))
    client._request_signer._credentials.access_key = key["AccessKeyId"]
    client._request_signer._credentials.secret_key = key["SecretAccessKey"]
    denied(stage, client)
    iam.add_user_to_group(GroupName=name, UserName=name)
    assert encrypted(client, stage.arn)
