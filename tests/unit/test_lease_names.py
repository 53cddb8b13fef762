"""From resources to leases: the same on every host, readable where possible, never two in one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskpaxos import _core
from diskpaxos.arguments import mode_number, name_bytes
from diskpaxos.driver import lease_name
from diskpaxos.driver.names import resource_bytes, resource_text
from diskpaxos.errors import InvalidArgumentError, InvalidNameError


def hashed(raw: bytes) -> str:
    return "~" + hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("plain", ["/shared/web-1.qcow2", "lv:vg0/root", "ü ñ 漢", "x" * 200, "~", "a~b"])
def test_a_name_that_fits_stays_as_it_is(plain: str) -> None:
    assert lease_name(plain) == plain
    assert lease_name(plain.encode()) == plain


def test_paths_are_names() -> None:
    assert lease_name(Path("/shared/a.img")) == "/shared/a.img"


def test_a_long_path_keeps_its_readable_end() -> None:
    raw = b"/very" * 60 + b"/disk.qcow2"
    name = lease_name(raw)
    assert name == raw.decode()[-120:] + hashed(raw)


def test_no_character_is_cut_in_two() -> None:
    raw = "ü".encode() * 150 + b"x"
    name = lease_name(raw)
    assert name == "ü" * 59 + "x" + hashed(raw)


@pytest.mark.parametrize(
    ("raw", "readable"),
    [
        (b"", ""),
        (b"a\nb", "a_b"),
        (b"a\x00b", "a_b"),
        (b"caf\xe9", "caf_"),
        (b"\x1b[31mred", "_[31mred"),
        (b"directory", "directory"),  # the lockspace's own lease
        (b"x" * 201, "x" * 120),
    ],
)
def test_what_no_lease_can_be_called_is_hashed(raw: bytes, readable: str) -> None:
    assert lease_name(raw) == readable + hashed(raw)


def test_nobody_can_name_a_resource_like_the_lease_of_another() -> None:
    victim = lease_name(b"a\nb")
    assert lease_name(victim) != victim
    assert lease_name(victim).startswith("a_b~")


@given(st.binary(max_size=400))
def test_every_lease_name_is_valid(raw: bytes) -> None:
    encoded = lease_name(raw).encode("utf-8")
    assert _core.name_valid(encoded, _core.LEASE_NAME_MAX)
    assert encoded != _core.DIRECTORY_NAME


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_two_resources_never_share_a_lease(one: bytes, other: bytes) -> None:
    assert (lease_name(one) == lease_name(other)) == (one == other)


@given(st.binary(max_size=60).filter(lambda raw: b"\0" not in raw))
def test_text_and_bytes_are_the_same_resource(raw: bytes) -> None:
    assert resource_bytes(resource_text(raw)) == raw
    assert lease_name(os.fsdecode(raw)) == lease_name(raw)


def test_text_that_stands_for_no_bytes_is_refused() -> None:
    with pytest.raises(InvalidNameError, match="no form in bytes"):
        lease_name("\ud800")


class Text(str):
    """Of a type of its own."""


ODD = [
    "",
    "directory",
    "x" * 200,
    "x" * 201,
    "ü" * 100,
    "ü" * 101,
    "a\nb",
    "a\x00b",
    "a\x7f",
    "\x85",
    "\ud800",
    "a\udcff",
    "漢",
    "🙂",
]


def accepted(name: str, mode: str) -> tuple[bytes, int, None, bytes] | None:
    try:
        return name_bytes(name, "lease"), mode_number(mode), None, b""
    except (InvalidNameError, InvalidArgumentError):
        return None


@pytest.mark.parametrize("mode", ["exclusive", "shared", "", "Shared", "exclusive ", "none"])
@pytest.mark.parametrize("name", ODD)
def test_the_core_and_the_arguments_accept_the_same(name: str, mode: str) -> None:
    assert _core.plain_ask(name, mode) == accepted(name, mode)


@given(st.text(max_size=210))
def test_the_core_and_the_arguments_accept_the_same_names(name: str) -> None:
    assert _core.plain_ask(name, "exclusive") == accepted(name, "exclusive")


def test_other_types_are_left_to_the_arguments() -> None:
    wrong: list[tuple[object, object]] = [(b"vm", "exclusive"), (None, "exclusive"), (["vm"], "exclusive"), ("vm", 2)]
    for name, mode in [*wrong, (Text("vm"), "exclusive"), ("vm", Text("shared"))]:
        assert _core.plain_ask(name, mode) is None  # type: ignore[arg-type]
