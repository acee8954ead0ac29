import shlex
from pathlib import Path

from pcrgate.twin.accounts import BootstrapKey
from pcrgate.twin.environment import exports, render_exports

KEY = BootstrapKey.derive(b"seed", "123456789012")


def test_the_variables_point_every_tool_at_the_twin() -> None:
    variables = exports(
        url="http://127.0.0.1:1",
        key=KEY,
        region="eu-west-1",
        ca_path=None,
        pki_dir=Path("/p"),
        root_fingerprint=b"\x01" * 32,
    )
    assert variables["AWS_ENDPOINT_URL"] == variables["AWS_ENDPOINT_URL_KMS"] == "http://127.0.0.1:1"
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert variables["PCRGATE_TWIN_ROOT_SHA256"] == "01" * 32
    assert "AWS_CA_BUNDLE" not in variables


def test_exports_are_safe_for_a_shell() -> None:
    text = render_exports({"B": "a b'c", "A": "plain"})
    assert text.splitlines()[0] == "export A=plain"
    assert shlex.split(text.splitlines()[1]) == ["export", "B=a b'c"]


def test_the_bootstrap_key_looks_like_one_of_awss() -> None:
    assert len(KEY.access_key_id) == 20
    assert KEY.access_key_id.isalnum()
    assert KEY.access_key_id.startswith("AKIA")
    assert len(KEY.secret_access_key) == 40
    assert BootstrapKey.derive(b"seed", "123456789012") == KEY
    assert BootstrapKey.derive(b"seed", "123456789013") != KEY
