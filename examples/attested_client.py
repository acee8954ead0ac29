"""An attested boto3 client against the twin: the key releases to one image, and to nobody else.

    python examples/attested_client.py

In an enclave the same client comes from ``pcrgate.kms.client``, with the device for NSM and the relay for the network.
"""

import hashlib

from botocore.exceptions import ClientError

from kms_policies.inputs import EnclaveMeasurements, KeyPolicyInputs
from kms_policies.rendering import Template, render
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.twin.clients import attested_client, boto_client, session_credentials
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import TwinSettings
from pcrgate.units import KeyArn, Sha384

CONTEXT = {"class": "weights", "name": "demo", "epoch": "1"}
IMAGE, OTHER_IMAGE = (Sha384(hashlib.sha384(name).digest()) for name in (b"our image", b"another image"))


def main() -> None:
    """Make roles and a key, seal a secret, and ask for it in three ways."""
    with Twin(TwinSettings(http_port=0, https_port=0)) as twin:
        iam, sts = boto_client(twin, "iam"), boto_client(twin, "sts")
        arns = {
            name: iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
            for name in ("administrator", "publisher", "parent")
        }
        roles = {
            name: session_credentials(sts.assume_role(RoleArn=arn, RoleSessionName="example"))
            for name, arn in arns.items()
        }
        # 1. The key's policy compares PCR0, and names who may do what.
        policy = render(
            Template.MODEL_WEIGHTS_KEY,
            KeyPolicyInputs(
                account=twin.settings.account,
                administrators=(arns["administrator"],),
                publishers=(arns["publisher"],),
                parents=(arns["parent"],),
                measurements=EnclaveMeasurements(pcr0=(IMAGE,)),
            ),
        )
        root = boto_client(twin, "kms")
        key = root.create_key(Policy=policy, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]["Arn"]

        # 2. The publisher seals a secret with plain boto3; it cannot open what it sealed.
        publisher = boto_client(twin, "kms", credentials=roles["publisher"])
        blob = publisher.encrypt(KeyId=key, Plaintext=b"a secret", EncryptionContext=CONTEXT)["CiphertextBlob"]
        request = {"KeyId": key, "CiphertextBlob": blob, "EncryptionContext": CONTEXT}

        # 3. The enclave's client: each call carries fresh evidence with a one-time key; only what is expected opens.
        expected = ReleaseExpectation(operation="Decrypt", key_arn=KeyArn.parse(key), encryption_context=CONTEXT)
        for name, image in (("our image", IMAGE), ("another image", OTHER_IMAGE)):
            nsm = SoftwareNsm(pki=twin.pki, pcrs={0: image}, clock=twin.clock)
            enclave = attested_client(twin, nsm, expected, credentials=roles["parent"])
            try:
                print(f"{name}: released {enclave.decrypt(**request)['Plaintext']!r}")
            except ClientError as refusal:
                print(f"{name}: {refusal.response['Error']['Code']}")

        # 4. The parent by itself has the same credentials, and no evidence.
        try:
            boto_client(twin, "kms", credentials=roles["parent"]).decrypt(**request)
        except ClientError as refusal:
            print(f"the parent by itself: {refusal.response['Error']['Code']}")


if __name__ == "__main__":
    main()
