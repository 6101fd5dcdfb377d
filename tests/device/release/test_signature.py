"""Real keys and ssh-keygen on releases in a ROOT that holds allowed_signers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit import hashing
from toolkit.bundle.release import release_tree
from toolkit.bundle.signing import sign_bundle
from toolkit.device.layout import MANIFEST_SIGNATURE
from toolkit.device.release import signature
from toolkit.system import ssh_signatures

Command = Callable[..., Any]
Allow = Callable[..., Path]


def make_key(path: Path, kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "a key for a test", "-f", str(path)], check=True)
    return path


def line_of(key: Path, name: str = "ci@example.org", options: str = "") -> str:
    kind, public, *_ = key.with_suffix(".pub").read_text().split()
    return " ".join(word for word in (name, options, kind, public) if word) + "\n"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys") / "key")


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys") / "other")


@pytest.fixture
def put(tiny_bundle: Path, tmp_path: Path) -> Callable[[Path | None], Path]:
    """put(key): the release of the tiny bundle, signed with that key or not at all."""

    def make(key: Path | None) -> Path:
        bundle = tmp_path / "bundle" / tiny_bundle.name
        shutil.copytree(tiny_bundle, bundle)
        if key is not None:
            sign_bundle(bundle, key)
        tree = release_tree(bundle)
        folder = tmp_path / "root" / "releases" / tree.digest
        for file in tree.files:
            place = folder / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.source if isinstance(file.source, bytes) else file.source.read_bytes())
        return folder

    return make


@pytest.fixture
def allow(tmp_path: Path) -> Allow:
    """allow("line…"): ROOT/allowed_signers."""

    def write(*lines: str) -> Path:
        path = tmp_path / "root" / "allowed_signers"
        path.parent.mkdir(exist_ok=True)
        path.write_text("# who may sign\n" + "".join(lines))
        return path

    return write


def bad(run: Command, release: Path) -> str:
    answer = run("verify", release)
    assert (answer.code, answer.document["ok"]) == (1, False), answer
    return "\n".join(answer.document["problems"])


@pytest.mark.parametrize("namespace", [signature.RELEASE, signature.CHANNEL, signature.DOWNGRADE, "git", "file"])
def test_verify_fails_on_a_signature_of_another_namespace(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path, namespace: str
) -> None:
    release = put(key)
    allow(line_of(key))
    other = ssh_signatures.sign((release / "manifest.json").read_bytes(), key, namespace)
    (release / MANIFEST_SIGNATURE).write_bytes(other)
    assert "manifest.json.sig: the signature is not of this manifest" in bad(run, release)


def test_verify_fails_if_the_signature_is_a_link(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path, tmp_path: Path
) -> None:
    release = put(key)
    allow(line_of(key))
    (release / MANIFEST_SIGNATURE).rename(tmp_path / "signature")
    (release / MANIFEST_SIGNATURE).symlink_to(tmp_path / "signature")
    assert "manifest.json.sig: is a link" in bad(run, release)


def test_verify_says_unchecked_when_there_are_no_allowed_signers(
    run: Command, put: Callable[..., Path], key: Path
) -> None:
    result = run("verify", put(key)).document
    assert result["ok"]
    assert not result["signature"]["checked"]
    assert result["signature"]["message"].startswith("signed, and not checked: this device has no ")


def test_verify_says_not_signed_when_neither_is_there(run: Command, put: Callable[..., Path]) -> None:
    assert run("verify", put(None)).document["signature"]["message"].startswith("not signed, and not checked")


@pytest.mark.parametrize("command", ["verify", "golden"])
def test_release_is_used_when_an_allowed_signer_signed_it(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path, command: str
) -> None:
    allow(line_of(key))
    answer = run(command, put(key))
    assert answer.code == 0, answer
    if command == "verify":
        result = answer.document["signature"]
        assert (result["checked"], result["signer"]) == (True, "ci@example.org")
        assert result["message"].startswith("signed by ci@example.org with ED25519 key SHA256:")


def test_verify_refuses_when_unsigned(run: Command, put: Callable[..., Path], allow: Allow, key: Path) -> None:
    allow(line_of(key))
    assert "manifest.json.sig: the bundle is not signed, and " in bad(run, put(None))


def test_verify_refuses_when_the_key_is_unknown(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path, other_key: Path
) -> None:
    allow(line_of(other_key))
    assert "manifest.json.sig: signed with ED25519 key SHA256:" in bad(run, put(key))


def test_verify_refuses_when_nobody_is_allowed(
    run: Command, put: Callable[..., Path], tmp_path: Path, key: Path
) -> None:
    release = put(key)
    (tmp_path / "root" / "allowed_signers").symlink_to("nowhere")
    assert "does not name" in bad(run, release)


def test_verify_refuses_when_the_key_was_revoked(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path
) -> None:
    allowed = allow(line_of(key))
    allowed.with_name("revoked_signers").write_text(key.with_suffix(".pub").read_text())
    document = bad(run, put(key))
    assert "ci@example.org may not sign this: " in document
    assert "revoked_signers names the key" in document


@pytest.mark.parametrize("options", ['valid-before="20200101"', 'valid-after="20990101"', 'namespaces="git"'])
def test_verify_refuses_when_the_line_does_not_cover_it(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path, options: str
) -> None:
    allow(line_of(key, options=options))
    assert "manifest.json.sig: " in bad(run, put(key))


def test_verify_names_one_of_those_who_share_the_key(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path
) -> None:
    allow(line_of(key, "ci@example.org,release@example.org"))
    assert run("verify", put(key)).document["signature"]["signer"] == "ci@example.org"


def test_verify_refuses_when_signed_for_another_purpose(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path
) -> None:
    allow(line_of(key))
    release = put(None)
    manifest = release / "manifest.json"
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(key), str(manifest)], check=True)
    assert "not of this manifest" in bad(run, release)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sig"])
def test_verify_refuses_when_byte_and_all_digests_are_changed(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path, name: str
) -> None:
    """Digests alone do not protect from somebody who can compute them; the signature does."""
    allow(line_of(key))
    release = put(key)
    if name == "manifest.json":
        manifest = json.loads((release / name).read_bytes())
        (release / name).write_bytes(hashing.canonical_json(manifest | {"labels": ["light", "dark"]}))
    else:
        content = bytearray((release / name).read_bytes())
        content[120] ^= 1
        (release / name).write_bytes(content)
    stated = json.loads((release / "release.json").read_bytes())
    stated["bundle"] = hashing.sha256_file(release / "manifest.json")
    stated["files"][name] = {
        "sha256": hashing.sha256_file(release / name),
        "size_bytes": (release / name).stat().st_size,
    }
    (release / "release.json").write_bytes(hashing.canonical_json(stated))
    moved = release.rename(release.with_name(hashing.sha256_file(release / "release.json")))
    answer = run("verify", moved)
    assert (answer.code, len(answer.document["problems"])) == (1, 1)
    assert answer.document["problems"][0].startswith("manifest.json.sig: the signature is not of this manifest")


@pytest.mark.parametrize(
    ("command", "damage"), [("golden", "unsigned"), ("predict", "changed"), ("bench", "unsigned"), ("bench", "changed")]
)
def test_nothing_of_the_release_is_run_when_it_cannot_be_trusted(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path, images: Path, command: str, damage: str
) -> None:
    allow(line_of(key))
    release = put(key if damage == "changed" else None)
    (release / "model.xml").write_text("would fail otherwise, were it read")
    more = {"predict": [images / "000000.png"], "bench": ["--scenario", "offline", "--images", images]}
    answer = run(command, release, *more.get(command, []))
    assert answer.code == 1
    assert "this device runs only intact, signed releases: " in answer.document["error"]["what"]


def test_verify_ends_with_4_when_there_is_no_ssh_keygen(
    run: Command, put: Callable[..., Path], allow: Allow, key: Path, tmp_path: Path
) -> None:
    allow(line_of(key))
    answer = run("verify", put(key), environment={"PATH": str(tmp_path)})
    assert (answer.code, answer.document["error"]["remedy"]) == (4, "install openssh-client")


@pytest.mark.parametrize("kind", ["ecdsa"])
def test_verify_takes_other_kinds_of_keys(
    run: Command, put: Callable[..., Path], allow: Allow, tmp_path: Path, kind: str
) -> None:
    own = make_key(tmp_path / kind, kind)
    allow(line_of(own))
    assert run("verify", put(own)).document["signature"]["key"].startswith(f"{kind.upper()} key SHA256:")
