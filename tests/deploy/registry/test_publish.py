"""Releases published into Debian's own registry and fetched by the device code, as a timer on the device would."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import bcrypt
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toolkit
from toolkit import hashing
from toolkit.artifacts.fleet import Device
from toolkit.bundle.release import release_tree
from toolkit.cli.main import main
from toolkit.deploy.registry.channel_statement import StatementOptions
from toolkit.deploy.registry.device_reports import fetch_reports, parse_report, require_canary
from toolkit.deploy.registry.oci_registry import open_registry
from toolkit.deploy.registry.publish import publish
from toolkit.device.release.oci_registry import MANIFEST, parse_reference
from toolkit.device.release.pull import EMPTY, STATE_TYPE, TITLE
from toolkit.errors import FleetError, UsageError
from toolkit.system import debian_packages
from toolkit.workspace import Workspace

from .token_server import ADDRESS, ISSUER, NAME, PASSWORD, SERVICE, Office

pytestmark = pytest.mark.registry

CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: '{address}:{port}'{tls}}}
{auth}
"""
LOGIN = "auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}"
TLS = ", tls: {{certificate: {office.certificate}, key: {office.key_file}}}"
TOKENS = "auth: {{token: {{realm: '{office.realm}', service: {service}, issuer: {issuer}, rootcertbundle: {office.certificate}}}}}"

Pull = Callable[..., tuple[int, dict[str, Any]]]


class Server:
    """A registry that can be killed and started again."""

    def __init__(
        self, program: str, folder: Path, *, auth: str = "", tls: str = "", address: str = "127.0.0.1"
    ) -> None:
        with socket.create_server((address, 0)) as free:
            self._at = free.getsockname()
        self._argv = [program, "serve", str(folder / "config.yml")]
        text = CONFIG.format(folder=folder, address=address, port=self._at[1], auth=auth, tls=tls)
        (folder / "config.yml").write_text(text)
        self.channel = f"{address}:{self._at[1]}/vision/kitchen:stable"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._argv, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(self._at) == 0:
                    return
            time.sleep(0.05)
        pytest.fail("the registry did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The registry's program: the installed one, else unpacked from Debian's package."""
    actual = shutil.which("docker-registry")
    if actual:
        return actual
    folder = tmp_path_factory.mktemp("docker-registry")
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    archive = debian_packages.Archive(folder / "apt", debian_packages.sources("bookworm"), architecture.stdout.strip())
    debian_packages.unpack(archive.download(["docker-registry"]), folder / "root")
    return str(folder / "root/usr/bin/docker-registry")


@pytest.fixture
def server(program: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(program, tmp_path)
    yield server
    server.kill()


@pytest.fixture
def pull(tmp_path: Path, server: Server) -> Pull:
    """pull(name): what the device of that name says when its timer fires, and its exit code."""

    def run(name: str = "one", *argv: str) -> tuple[int, dict[str, Any]]:
        return pulled(server.channel, tmp_path / "devices" / name, "--report", name, *argv)

    return run


def pulled(channel: str, root: Path, *argv: str | Path) -> tuple[int, dict[str, Any]]:
    """The exit code and the answer of a device that looks at its channel."""
    command = [sys.executable, "-B", "-m", "toolkit.device", "pull", str(channel), "--root", root, *argv]
    folder = Path(toolkit.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return done.returncode, json.loads(done.stdout)


def serves(root: Path) -> str | None:
    """The bundle whose release serves there, after seeing that every byte of it is right."""
    if not (root / "current").is_symlink():
        return None
    release = (root / "current").resolve()
    described = json.loads((release / "release.json").read_text())
    actual = {
        path.relative_to(release).as_posix(): hashing.sha256_file(path)
        for path in release.rglob("*")
        if path.is_file() and path.name != "release.json"
    }
    assert actual == {path: entry["sha256"] for path, entry in described["files"].items()}
    return str(described["bundle"])


def test_pull_serves_what_was_published_once(
    server: Server, pull: Pull, bundle: Path, other_bundle: Path, tmp_path: Path
) -> None:
    first = publish(bundle, server.channel)
    assert (first.changed, first.sent_bytes > 0, first.release) == (True, True, release_tree(bundle).digest)
    assert publish(bundle, server.channel).changed is False
    code, output = pull()
    assert (code, output["outcome"], output["bundle"]) == (0, "deployed", bundle.name)
    assert pull()[1]["outcome"] == "unchanged"
    second = publish(other_bundle, server.channel)
    assert second.sent_bytes < first.sent_bytes / 2, "the device code is there already"
    assert pull()[1]["outcome"] == "deployed"
    assert serves(tmp_path / "devices/one") == other_bundle.name
    (report,) = fetch_reports(server.channel)
    assert (report.device, report.outcome, report.as_published, report.bundle) == (
        "one",
        "deployed",
        True,
        other_bundle.name,
    )
    publish(bundle, server.channel)
    assert not fetch_reports(server.channel)[0].as_published


def test_pull_keeps_the_old_release_when_golden_fails(
    server: Server, pull: Pull, bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    publish(bundle, server.channel)
    pull()
    publish(make_bundle("wrong", golden_shift=0.2), server.channel)
    code, output = pull()
    assert (code, "golden check failed: max_abs 0.2" in output["error"]["what"]) == (1, True)
    assert serves(tmp_path / "devices/one") == bundle.name
    code, output = pull()
    assert (code, output["outcome"], "golden" in output["message"]) == (1, "refused", True)
    assert "golden" in fetch_reports(server.channel)[0].reason
    assert "error" in pull("one", "--again")[1]


def test_pull_takes_only_what_a_trusted_signer_has_signed(
    server: Server, pull: Pull, bundle: Path, signed: Callable[[Path], Path], key: Path, tmp_path: Path
) -> None:
    root = tmp_path / "devices/one"
    root.mkdir(parents=True)
    (root / "allowed_signers").write_text(f"ci@example.org {key.with_suffix('.pub').read_text()}")
    whole = signed(bundle)
    publish(whole, server.channel)
    code, output = pull()
    assert (code, "is not signed" in output["error"]["what"]) == (1, True)
    assert publish(whole, server.channel, key=key).changed
    code, output = pull()
    assert (code, "signed by ci@example.org" in output["signature"]) == (0, True)


@contextmanager
def camera_app(root: Path, folder: Path) -> Iterator[str]:
    """The live app of the device's release, on images that differ from each other; gives its address."""
    folder.mkdir()
    source = np.random.default_rng(3)
    for number in range(40):
        image = np.clip(source.normal((20, 230)[number % 2], 40, (8, 8, 3)), 0, 255).astype(np.uint8)
        large = cv2.resize(image, (64, 64), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{number:02}.png"), large)
    command = [sys.executable, "-B", "-m", "device", "serve", str(root / "current"), "--port", "0", "--fps", "100"]
    with subprocess.Popen(
        [*command, "--source", str(folder), "--stop-on-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=(root / "current").resolve(),
    ) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()
            process.communicate()


def test_canary_that_pulls_decides_whether_the_tag_moves(
    server: Server,
    pull: Pull,
    bundle: Path,
    make_bundle: Callable[..., Path],
    key: Path,
    tmp_path: Path,
    workspace: Workspace,
) -> None:
    canary, root = server.channel.replace(":stable", ":canary"), tmp_path / "devices/one"

    def offer(folder: Path, agreement: float) -> None:
        rule = {"seconds": 600.0, "agreement": agreement, "every": 1}
        publish(folder, canary, key=key, options=StatementOptions(shadow=rule))

    publish(bundle, server.channel)
    pull()
    good, contrary = make_bundle("good", bias=0.01), make_bundle("contrary", bias=-8.0)
    with camera_app(root, tmp_path / "camera") as url:
        offer(contrary, 0.95)
        argv = ("--report", "one", "--app-url", url)
        code, output = pulled(canary, root, *argv)
        assert (code, "agreement is not above 95%" in output["error"]["what"]) == (1, True)
        assert serves(root) == bundle.name
        assert pulled(canary, root, *argv)[1]["outcome"] == "refused", "it is not tried again"
        with pytest.raises(FleetError, match=r"one refused: .*: not switched to: agreement is not above 95%"):
            require_canary(contrary, canary)
        offer(contrary, 0.9)
        assert "agreement is not above 90%" in pulled(canary, root, *argv)[1]["error"]["what"], "another rule"
        offer(good, 0.5)
        with pytest.raises(FleetError, match="no device reports that it compared"):
            require_canary(good, canary)
        code, output = pulled(canary, root, *argv)
        assert (code, output["outcome"]) == (0, "deployed")
        assert output["gates"]["shadow"].startswith("agreement is above 50%: ")
    assert pulled(canary, root, *argv)[1]["outcome"] == "unchanged"
    (report,) = require_canary(good, canary)
    assert (report.device, report.compared, report.serves) == ("one", "passed", release_tree(good).digest)
    for folder, expected in ((contrary, 1), (good, 0)):
        with pytest.raises(SystemExit) as caught:
            main(["publish", str(folder), server.channel, "--after", "canary", "--workspace", str(workspace.root)])
        assert caught.value.code == expected
    assert pull("two")[1]["bundle"] == good.name


def test_a_canary_without_an_app_tries_again_later(
    server: Server, pull: Pull, bundle: Path, other_bundle: Path, key: Path, tmp_path: Path
) -> None:
    publish(bundle, server.channel)
    pull()
    rule = {"seconds": 1.0, "agreement": 0.5, "every": 1}
    publish(other_bundle, server.channel, key=key, options=StatementOptions(shadow=rule))
    for _ in range(2):
        code, output = pull("one", "--app-url", "http://127.0.0.1:1")
        assert (code, "no app answers" in output["error"]["what"]) == (1, True)
    assert serves(tmp_path / "devices/one") == bundle.name
    assert pull("new")[1]["outcome"] == "deployed", "a device that serves nothing has nothing to compare with"


def test_pull_explains_a_channel_without_a_release(server: Server, pull: Pull) -> None:
    code, output = pull()
    assert (code, output["error"]["what"]) == (1, "does not exist")
    assert "toolkit publish" in output["error"]["remedy"]


def test_pull_heals_when_a_blob_was_damaged_in_the_registry(
    server: Server, pull: Pull, bundle: Path, tmp_path: Path
) -> None:
    publish(bundle, server.channel)
    digest = next(file.sha256 for file in release_tree(bundle).files if file.path == "labels.txt")
    blob = tmp_path / "data/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    content = blob.read_bytes()
    blob.write_bytes(content[::-1])
    code, output = pull()
    assert (code, "sends other bytes than" in output["error"]["what"]) == (1, True)
    blob.write_bytes(content)
    assert pull()[1]["outcome"] == "deployed"


def test_publish_and_status_verbs_show_channel_and_devices(
    server: Server, pull: Pull, bundle: Path, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(*argv: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in (*argv, "--workspace", workspace.root)])
        return int(str(caught.value.code)), capfd.readouterr().out

    code, out = run("publish", bundle, server.channel)
    assert (code, "MB sent, not signed" in out) == (0, True)
    assert "nothing to do" in run("publish", bundle, server.channel)[1]
    pull("kitchen")
    code, out = run("status", "--channel", server.channel)
    assert (code, out.splitlines()[1].split()[0], "deployed" in out) == (0, "kitchen", True)
    code, out = run("status", "--channel", server.channel, "--json")
    assert json.loads(out)["devices"][0]["as_published"] is True


class Aftermath(Protocol):
    def hold(
        self, devices: Sequence[Device], old: Path | None, new: Path, output: object, heal: Callable[[], object]
    ) -> None: ...


@pytest.mark.timeout(900)
@pytest.mark.fault("the registry is killed while 30 devices fetch", serves="old or new", reports="does not answer")
def test_thirty_devices_heal_when_the_registry_is_killed(
    server: Server, pull: Pull, make_bundle: Callable[..., Path], tmp_path: Path, aftermath: Aftermath
) -> None:
    names = [f"device-{number}" for number in range(30)]
    new = make_bundle("large", padding_bytes=3_000_000)
    publish(new, server.channel)
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(pull, name) for name in names]
        while sum((tmp_path / "devices" / name / "current").exists() for name in names) < 5:
            time.sleep(0.01)
        server.kill()
        output = [answer.result() for answer in answers]
    codes = [code for code, _ in output]
    assert 0 < codes.count(0) < 30
    assert [serves(tmp_path / "devices" / name) for name in names] == [None if code else new.name for code in codes]

    def heal() -> None:
        server.start()
        with ThreadPoolExecutor(6) as pool:
            assert [code for code, _ in pool.map(pull, names)] == [0] * 30

    devices = [Device(name=name, host="", root=str(tmp_path / "devices" / name)) for name in names]
    aftermath.hold(devices, None, new, [error for code, error in output if code], heal)
    reports = fetch_reports(server.channel)
    assert len(reports) == 30
    assert all(each.as_published for each in reports)


def test_a_registry_takes_what_many_devices_tell_at_once(server: Server, bundle: Path) -> None:
    publish(bundle, server.channel)

    def publish_number(number: int) -> None:
        registry = parse_reference(server.channel)
        config = {"mediaType": EMPTY, **registry.put_blob(b"{}")}
        layer = {"mediaType": STATE_TYPE, **registry.put_blob(json.dumps({"serves": str(number)}).encode())}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        registry.put_manifest(f"stable-device-{number}", manifest)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(publish_number, range(300)))
    assert {each.serves for each in fetch_reports(server.channel)} == {str(number) for number in range(300)}


def test_publish_and_pull_log_in_when_the_registry_asks(
    program: str, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    word = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"fleet:{word}\n")
    (tmp_path / "login").write_text("fleet:secret\n")
    server = Server(program, tmp_path, auth=LOGIN.format(folder=tmp_path))
    try:
        with pytest.raises(FleetError, match="requires a login"):
            publish(bundle, server.channel)
        assert publish(bundle, server.channel, credentials=tmp_path / "login").changed
        login = {"auth": base64.b64encode(b"fleet:secret").decode()}
        (tmp_path / "config.json").write_text(json.dumps({"auths": {server.channel.partition("/")[0]: login}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        assert not publish(bundle, server.channel).changed, "the login of docker counts without --credentials"
        code, output = pulled(server.channel, tmp_path / "root")
        assert (code, output["error"]["what"]) == (1, "requires a login")
        assert pulled(server.channel, tmp_path / "root", "--credentials", tmp_path / "login")[0] == 0
    finally:
        server.kill()


def test_publish_and_pull_use_tokens_over_tls(
    program: str, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(tmp_path)
    with office.open():
        for name, password in (("login", PASSWORD), ("wrong", "guessed")):
            (tmp_path / name).write_text(f"{NAME}:{password}\n{office.realm}\n")
        (tmp_path / "closed").write_text(f"{NAME}:{PASSWORD}\n")  # does not name the token service, which gets nothing
        tokens = TOKENS.format(office=office, service=SERVICE, issuer=ISSUER)
        server = Server(program, tmp_path, auth=tokens, tls=TLS.format(office=office), address=ADDRESS)
        try:
            with pytest.raises(FleetError, match="a certificate that this machine does not trust"):
                publish(bundle, server.channel)
            monkeypatch.setenv("SSL_CERT_FILE", str(office.certificate))
            for credentials in (None, tmp_path / "wrong", tmp_path / "closed"):
                with pytest.raises(FleetError, match="requires a login"):
                    publish(bundle, server.channel, credentials=credentials)
            assert publish(bundle, server.channel, credentials=tmp_path / "login").changed
            root, report = tmp_path / "root", ("--report", "one", "--credentials")
            assert pulled(server.channel, root)[1]["outcome"] == "deployed", "whoever asks may read there"
            refused = pulled(server.channel, root, *report, tmp_path / "wrong")[1]
            assert refused["error"]["what"] == "requires a login"
            assert pulled(server.channel, root, *report, tmp_path / "login")[0] == 0
            assert [one.device for one in fetch_reports(server.channel, credentials=tmp_path / "login")] == ["one"]
        finally:
            server.kill()
    assert {name for name, _ in office.issued} == {"", NAME}


@pytest.mark.parametrize("text", ["", "host", "host/name", "host/Name:tag", "host/name:", "host/name:a b"])
def test_publish_refuses_what_is_not_a_channel(bundle: Path, text: str) -> None:
    with pytest.raises(UsageError, match="is not a valid channel"):
        publish(bundle, text)


@pytest.mark.parametrize("name", ["release.json.sig", "channel.json.sig"])
def test_publish_replaces_a_signature_that_is_garbage(
    server: Server, pull: Pull, bundle: Path, signed: Callable[[Path], Path], key: Path, tmp_path: Path, name: str
) -> None:
    """Whoever may write to the registry could else keep every device from the release: it would count as published."""
    root = tmp_path / "devices/one"
    root.mkdir(parents=True)
    (root / "allowed_signers").write_text(f"ci@example.org {key.with_suffix('.pub').read_text()}")
    whole = signed(bundle)
    assert publish(whole, server.channel, key=key).changed
    assert not publish(whole, server.channel, key=key).changed
    with open_registry(server.channel) as registry:
        _, manifest = registry.tagged("stable")
        for layer in manifest["layers"]:
            if layer["annotations"].get(TITLE) == name:
                layer.update(registry.put_blob(b"garbage"))
        registry.put_manifest("stable", manifest)
    assert pull()[0] == 1
    assert publish(whole, server.channel, key=key).changed
    assert pull()[1]["outcome"] == "deployed"


def test_fetch_reports_reads_the_others_when_one_is_hostile(server: Server, pull: Pull, bundle: Path) -> None:
    publish(bundle, server.channel)
    pull("good")
    with open_registry(server.channel) as registry:
        config = {"mediaType": EMPTY, **registry.put_blob(b"{}")}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config}
        for name, content in (("array", b"[1]"), ("deep", b"[" * 60_000), ("text", b"\xff"), ("large", bytes(70_000))):
            layer = {"mediaType": STATE_TYPE, **registry.put_blob(content)}
            registry.put_manifest(f"stable-device-{name}", manifest | {"layers": [layer]})
        registry.put_manifest("stable-device-none", manifest | {"layers": []})
    outcomes = {each.device: each.outcome for each in fetch_reports(server.channel)}
    assert outcomes == {"good": "deployed"} | dict.fromkeys(("array", "deep", "text", "large", "none"), "unreadable")


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_parse_report_reads_whatever_a_device_sends(content: bytes) -> None:
    report = parse_report("one", content, {"a" * 64})
    assert report.device == "one"
    assert not report.as_published


@given(
    st.dictionaries(st.sampled_from(["serves", "outcome", "reason", "at", "bundle"]), st.none() | st.lists(st.text()))
)
def test_parse_report_takes_texts_alone(fields: dict[str, object]) -> None:
    report = parse_report("one", json.dumps(fields).encode(), {"a" * 64})
    assert (report.serves, report.outcome, report.reason, report.at) == (None, "unknown", "", "")
