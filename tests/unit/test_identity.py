"""Who this machine is, and which mounts deserve a warning."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from pathlib import Path

import pytest

from diskpaxos import _core, identity, mounts


def test_machine_identity_is_stable_and_does_not_tell_the_machine_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "machine-id"
    monkeypatch.setattr(identity, "_MACHINE_ID", file)
    file.write_text("0123456789abcdef0123456789abcdef\n")
    first = identity.machine_uuid()
    assert first == identity.machine_uuid()
    assert first != uuid.UUID("0123456789abcdef0123456789abcdef")
    file.write_text("0123456789abcdef0123456789abcdee\n")
    assert identity.machine_uuid() != first


@pytest.mark.parametrize("content", [None, "", "uninitialized\n", "0" * 32, "x" * 32])
def test_without_a_machine_id_every_join_is_a_stranger(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    """Two machines must never share an identity: rather none at all."""
    file = tmp_path / "machine-id"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(identity, "_MACHINE_ID", file)
    assert identity.machine_uuid() != identity.machine_uuid()


def test_boot_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert identity.boot_uuid() == uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    monkeypatch.setattr(identity, "_BOOT_ID", tmp_path / "missing")
    assert identity.boot_uuid() != identity.boot_uuid()


def test_where_sightings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISKPAXOS_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    monkeypatch.setattr("os.geteuid", lambda: 7)
    assert identity.runtime_directory() == b"/run/user/7/diskpaxos"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert identity.runtime_directory() == b""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert identity.runtime_directory() == b"/run/diskpaxos"
    for chosen, kept in ("/elsewhere", b"/elsewhere"), ("", b""), ("relative", b""), ("/" + 511 * "x", b""):
        monkeypatch.setenv("DISKPAXOS_RUNTIME_DIR", chosen)
        assert identity.runtime_directory() == kept


@pytest.mark.parametrize("name", ["host", "h" * 100, "ä" * 60, "", "a\nb"])
def test_default_host_name_always_fits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    found = identity.default_host_name()
    assert _core.name_valid(found.encode(), _core.HOST_NAME_MAX)
    assert name.startswith(found) or found == "localhost"


MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:41 / /mnt/three rw,relatime shared:2 - nfs server:/a rw,vers=3,hard,proto=tcp
41 22 0:42 / /mnt/four\\040zero rw shared:3 - nfs4 server:/b rw,vers=4.0,hard
42 22 0:43 / /mnt/soft rw shared:4 - nfs4 server:/c rw,vers=4.2,soft
43 22 0:44 / /mnt/good rw shared:5 master:1 - nfs4 server:/d rw,vers=4.1,hard
broken line
"""


@pytest.mark.parametrize(
    ("device", "words"),
    [((254, 0), []), ((0, 41), ["version 3"]), ((0, 42), ["version 4.0"]), ((0, 43), ["soft"]), ((0, 44), [])],
)
def test_nfs_warnings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    device: tuple[int, int], words: list[str],
) -> None:  # fmt: skip
    mount = mounts.parse_mountinfo(MOUNTINFO, os.makedev(*device))
    assert mount is not None
    monkeypatch.setattr(mounts, "mount_of", lambda path: mount)
    with caplog.at_level(logging.WARNING, "diskpaxos"):
        mounts.warn_about(("/some/path",))
    assert len(caplog.records) == len(words)
    for word in words:
        assert word in caplog.text
        assert "/some/path" in caplog.text
        assert mount.point in caplog.text


def test_mounts_of_real_paths(tmp_path: Path) -> None:
    mount = mounts.mount_of(str(tmp_path))
    assert mount is None or (mount.kind and mount.point)
    assert mounts.mount_of(str(tmp_path / "yet to be made")) == mount
    assert mounts.mount_of(str(tmp_path / "missing" / "folder")) is None
    assert mounts.mount_warnings(str(tmp_path / "missing" / "folder")) == []
    assert mounts.parse_mountinfo(MOUNTINFO, os.makedev(1, 1)) is None


def test_versions_travel_in_slot_records() -> None:
    from diskpaxos._version import __version__, software_number, software_text

    assert software_text(software_number()) == __version__
    assert software_text(0) == ""
    assert software_text((3 << 16) | (14 << 8) | 15) == "3.14.15"
