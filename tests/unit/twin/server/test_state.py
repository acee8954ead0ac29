from pathlib import Path

import pytest

from pcrgate.errors import UsageError
from pcrgate.twin.settings import TwinSettings
from pcrgate.twin.state import open_identity

OTHER = "222233334444"


def test_an_identity_is_kept_in_its_folder(tmp_path: Path) -> None:
    first = open_identity(TwinSettings(), tmp_path)
    second = open_identity(TwinSettings(), tmp_path)
    assert first.pki.root_fingerprint == second.pki.root_fingerprint
    assert first.bootstrap == second.bootstrap
    assert first.tls.ca_path.read_bytes() == second.tls.ca_path.read_bytes()
    assert (first.starts, second.starts) == (0, 1)


def test_a_seed_gives_the_same_identity_in_any_folder(tmp_path: Path) -> None:
    seeded = TwinSettings(seed=b"seed", other_accounts=(OTHER,))
    one, two = open_identity(seeded, tmp_path / "one"), open_identity(seeded, tmp_path / "two")
    other = open_identity(TwinSettings(seed=b"another"), tmp_path / "three")
    assert one.pki.root_fingerprint == two.pki.root_fingerprint != other.pki.root_fingerprint
    assert one.bootstrap == two.bootstrap
    assert one.bootstrap[0].secret_access_key != other.bootstrap[0].secret_access_key
    assert [key.account for key in one.bootstrap] == ["123456789012", OTHER]
    assert one.bootstrap[0].secret_access_key != one.bootstrap[1].secret_access_key


def test_without_a_seed_every_twin_is_another(tmp_path: Path) -> None:
    one, two = (open_identity(TwinSettings(), tmp_path / name) for name in ("one", "two"))
    assert one.pki.root_fingerprint != two.pki.root_fingerprint
    assert one.bootstrap[0].secret_access_key != two.bootstrap[0].secret_access_key


def test_a_folder_of_another_seed_is_refused(tmp_path: Path) -> None:
    open_identity(TwinSettings(seed=b"one"), tmp_path)
    open_identity(TwinSettings(seed=b"one"), tmp_path)
    open_identity(TwinSettings(), tmp_path)
    with pytest.raises(UsageError, match="twin-settings"):
        open_identity(TwinSettings(seed=b"two"), tmp_path)


def test_secrets_are_readable_by_their_owner_alone_and_hidden(tmp_path: Path) -> None:
    identity = open_identity(TwinSettings(), tmp_path)
    assert (tmp_path / "twin-seed.private").stat().st_mode & 0o077 == 0
    assert identity.bootstrap[0].secret_access_key not in repr(identity.bootstrap)


@pytest.mark.parametrize("name", ["twin-seed.private", "twin-starts"])
def test_a_damaged_file_is_said(tmp_path: Path, name: str) -> None:
    open_identity(TwinSettings(), tmp_path)
    (tmp_path / name).write_text("nonsense")
    with pytest.raises(UsageError, match="usage-file"):
        open_identity(TwinSettings(), tmp_path)
