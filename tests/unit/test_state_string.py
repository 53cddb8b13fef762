"""State strings of the driver: safe in XML, versioned, and refused when anything is wrong with them."""

from __future__ import annotations

import uuid
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskpaxos.driver.errors import UnusableStateError
from diskpaxos.driver.names import lease_name
from diskpaxos.driver.states import ALPHABET, State, key_of
from diskpaxos.errors import InvalidStateError
from diskpaxos.lease import SavedState

VM = uuid.UUID("3f84bb1f-222d-469c-91f9-d36ca8f71fe4")
SPACE = uuid.UUID("345cf5c4-bb34-403c-9933-50e05682e92e")
LEASE = uuid.UUID("e02a3579-572e-4a92-996a-ce2be940797d")

uuids = st.uuids(allow_nil=True)
saved = st.builds(SavedState, uuids, st.integers(0, (1 << 64) - 1))
states = st.builds(State, uuids, uuids, st.dictionaries(st.text(min_size=1, max_size=9).map(key_of), saved, max_size=5))


@given(states)
def test_what_is_written_is_read_back(state: State) -> None:
    assert State.parse(str(state)) == state


@given(states)
def test_only_characters_that_need_no_quoting(state: State) -> None:
    assert ALPHABET.fullmatch(str(state))


def test_the_text_is_the_documented_one() -> None:
    text = str(State(VM, SPACE, {key_of("/shared/web.img"): SavedState(LEASE, 131073)}))
    body = f"diskpaxos/1;vm={VM.hex};ls={SPACE.hex};{key_of('/shared/web.img')}={LEASE.hex}:131073;"
    assert text == f"{body}sum={zlib.crc32(body.encode()):08x}"


def test_one_state_has_one_text() -> None:
    """Whatever the order of the resources: a manager compares texts."""
    entries = {key_of(name): SavedState(LEASE, number) for number, name in enumerate("abcdef")}
    backwards = dict(reversed(entries.items()))
    assert str(State(VM, SPACE, entries)) == str(State(VM, SPACE, backwards))


@pytest.mark.parametrize("resource", ["/shared/images/secret name <&>.qcow2", "x" * 5000, "/ü/\udcff"])
def test_no_path_gets_out(resource: str) -> None:
    name = lease_name(resource)
    text = str(State(VM, SPACE, {key_of(name): SavedState(LEASE, 1)}))
    assert "shared" not in text
    assert ALPHABET.fullmatch(text)
    assert len(text) < 200


@given(states, st.data())
def test_a_state_that_lost_its_end_is_refused(state: State, data: st.DataObject) -> None:
    """It would protect fewer leases than it was made for."""
    text = str(state)
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.raises(UnusableStateError):
        State.parse(text[:cut])


@given(states, st.data())
def test_a_changed_character_is_refused(state: State, data: st.DataObject) -> None:
    text = str(state)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("0123456789abcdef:;=/AZ< \n").filter(lambda c: c != text[at]))
    with pytest.raises(UnusableStateError):
        State.parse(text[:at] + other + text[at + 1 :])


@given(states)
def test_entries_cannot_be_moved_between_states(state: State) -> None:
    """An entry dropped together with its bytes changes the sum."""
    text = str(state)
    head, *entries, end = text.split(";")[:3], *text.split(";")[3:-1], text.split(";")[-1]
    if entries:
        with pytest.raises(UnusableStateError):
            State.parse(";".join([*head, *entries[1:], end]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("diskpaxos/2;vm=0;sum=00000000", "version 2"),
        ("sanlock/1;abc", "made by the driver 'sanlock'"),
        ("S1:whatever", "not made by this driver"),
        ("", "not made by this driver"),
        (f"1:{LEASE.hex}:17", "not made by this driver"),
        ("diskpaxos/1;", "damaged"),
    ],
)
def test_the_reason_is_told(text: str, reason: str) -> None:
    with pytest.raises(UnusableStateError, match=reason) as caught:
        State.parse(text)
    assert caught.value.state == text
    assert isinstance(caught.value, InvalidStateError)


def test_a_token_beyond_64_bits_is_refused() -> None:
    body = f"diskpaxos/1;vm={VM.hex};ls={SPACE.hex};{key_of('a')}={LEASE.hex}:{1 << 64};"
    with pytest.raises(UnusableStateError, match="impossible"):
        State.parse(f"{body}sum={zlib.crc32(body.encode()):08x}")


def test_bytes_are_no_state() -> None:
    with pytest.raises(UnusableStateError, match="not text"):
        State.parse(b"diskpaxos/1;")  # type: ignore[arg-type]
