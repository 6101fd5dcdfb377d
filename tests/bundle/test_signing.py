"""Real keys, real ssh-keygen; a bundle is here any folder with a manifest, since nothing else of it is signed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from toolkit.bundle.signing import sign_bundle, verify_signature
from toolkit.cli.main import main
from toolkit.errors import BundleError, MachineError, UsageError

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    text = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "a key for a test", "-f", str(path)]
    subprocess.run(text, check=True)
    return path


def allow(path: Path, name: str, key: Path, options: str = "") -> Path:
    kind, public, *_ = key.with_suffix(".pub").read_text().split()
    path.write_text(f"# who may sign\n{' '.join(word for word in (name, options, kind, public) if word)}\n")
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path / "key")


@pytest.fixture
def allowed(tmp_path: Path, key: Path) -> Path:
    return allow(tmp_path / "allowed_signers", "ci@example.org", key)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "bundle"
    made.mkdir()
    (made / "manifest.json").write_bytes(b'{"format":1}')
    return made


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_verify_signature_names_the_signer_when_allowed(tmp_path: Path, folder: Path, kind: str) -> None:
    own = make_key(tmp_path / kind, kind)
    assert sign_bundle(folder, own) == folder / "manifest.json.sig"
    signer = verify_signature(folder, allow(tmp_path / "signers", "ci@example.org", own))
    assert signer.principal == "ci@example.org"
    assert signer.key.startswith(f"{kind.upper()} key SHA256:")


def test_verify_signature_names_the_key_when_the_signer(tmp_path: Path, folder: Path, allowed: Path, key: Path) -> None:
    sign_bundle(folder, make_key(tmp_path / "other"))
    with pytest.raises(BundleError, match=r"signed with ED25519 key SHA256:\S+, which is not an allowed signer's"):
        verify_signature(folder, allowed)


def test_verify_signature_refuses_when_a_byte_was_changed(folder: Path, allowed: Path, key: Path) -> None:
    sign_bundle(folder, key)
    (folder / "manifest.json").write_bytes(b'{"format":2}')
    with pytest.raises(BundleError, match="does not match this manifest: one of the two was changed"):
        verify_signature(folder, allowed)


@pytest.mark.parametrize("content", [b"", b"not a signature", bytes(200)])
def test_verify_signature_refuses_when_it_is_no_signature(folder: Path, allowed: Path, content: bytes) -> None:
    (folder / "manifest.json.sig").write_bytes(content)
    with pytest.raises(BundleError, match="does not match this manifest"):
        verify_signature(folder, allowed)


def test_verify_signature_says_so_when_it_is_not_signed(folder: Path, allowed: Path) -> None:
    with pytest.raises(BundleError, match=r"not signed\n.*toolkit convert MODEL --sign KEY"):
        verify_signature(folder, allowed)


def test_verify_signature_refuses_when_it_was_made(folder: Path, allowed: Path, key: Path) -> None:
    manifest = folder / "manifest.json"
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(key), str(manifest)], check=True)
    with pytest.raises(BundleError, match="does not match this manifest"):
        verify_signature(folder, allowed)


@pytest.mark.parametrize("options", ['valid-before="20200101"', 'namespaces="git"'])
def test_verify_signature_heeds_options_when_the_line_has_them(
    tmp_path: Path, folder: Path, key: Path, options: str
) -> None:
    sign_bundle(folder, key)
    with pytest.raises(BundleError, match=r"signer's|may not sign"):
        verify_signature(folder, allow(tmp_path / "signers", "ci@example.org", key, options))


def test_verify_signature_says_so_when_there_are_no_allowed(tmp_path: Path, folder: Path, key: Path) -> None:
    sign_bundle(folder, key)
    with pytest.raises(UsageError, match="none: is not a file"):
        verify_signature(folder, tmp_path / "none")


@pytest.mark.parametrize("content", ["", "not a key\n"])
def test_sign_bundle_gives_ssh_keygens_words_when_the_key_is_bad(tmp_path: Path, folder: Path, content: str) -> None:
    bad = tmp_path / "bad"
    bad.write_text(content)
    bad.chmod(0o600)
    with pytest.raises(UsageError, match=r"bad: cannot sign with this key: .+"):
        sign_bundle(folder, bad)
    assert not (folder / "manifest.json.sig").exists()


def test_signatures_say_what_to_install_when_ssh_keygen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, key: Path, allowed: Path
) -> None:
    sign_bundle(folder, key)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match=r"apt-get install openssh-client"):
        sign_bundle(folder, key)
    with pytest.raises(MachineError, match="ssh-keygen"):
        verify_signature(folder, allowed)


@pytest.mark.slow
def test_check_trusts_a_bundle_only_when_an_allowed_signer(
    trained: Any, tmp_path: Path, key: Path, allowed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*text: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as left:
            main([*text, "--json", "--workspace", str(trained.workspace.root)])
        return int(left.value.code or 0), json.loads(capsys.readouterr().out)

    convert = ("convert", "tiny-softmax-top", "--precision", "fp32")
    check = ("check", "tiny-softmax-top-fp32", "--allowed-signers", str(allowed))
    _, (plain,) = run(*convert)
    code, unsigned = run(*check)
    assert (code, [one["outcome"] for one in unsigned["checks"]]) == (1, ["passed", "failed"])
    code, (signed,) = run(*convert, "--sign", str(key))
    assert (code, signed["bundle"]) == (0, plain["bundle"])
    code, result = run(*check)
    assert code == 0
    assert result["checks"][1]["message"].startswith("signed by ci@example.org with ED25519 key SHA256:")
    other = allow(tmp_path / "others", "else@example.org", make_key(tmp_path / "other"))
    assert run(*check[:-1], str(other))[0] == 1
