from pathlib import Path

from toolkit.device import layout, probe


def test_probe_reads_the_folders_that_the_layout_names(tmp_path: Path) -> None:
    for digest in ("a", "b"):
        (tmp_path / layout.release_path(digest)).mkdir(parents=True)
    (tmp_path / layout.CURRENT).symlink_to(layout.release_path("b"))
    (tmp_path / layout.PREVIOUS).symlink_to(layout.release_path("a"))
    (tmp_path / layout.CURRENT / layout.MANIFEST).write_text('{"name": "masks"}')

    assert probe.releases(str(tmp_path)) == {"current": "b", "previous": "a", "releases": ["a", "b"]}
    assert probe.poll(str(tmp_path), "http://127.0.0.1:9", "")["name"] == "masks"
