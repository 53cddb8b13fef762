"""Exit codes of the command line: the one table, printed in docs/cli.md and in `--help`.

Below 64 there are only the three that every program has.  The rest follow sysexits.h where that
has a fitting one; none collides with what a shell uses (126, 127, 128 + signal).
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command ends with; ``meaning`` is for people."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """An int with a text."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    OK = 0, "done"
    FAILED = 1, "something else went wrong; the message says what"
    USAGE = 2, "the command line is wrong"
    NOT_LOCKSPACE = 65, "no lockspace there, of another release, or of other disks than given"
    NOT_FOUND = 66, "no such path, lease or block"
    IN_USE = 69, "refused: what would be overwritten or retired is, or may be, in use"
    INTERNAL = 70, "a defect of diskpaxos: please report it"
    OS_ERROR = 71, "the system refused something: memory, processes and threads, descriptors, asynchronous I/O"
    FULL = 73, "no free host slot, no room for another lease, or no space on the device"
    STORAGE = 74, "the storage does not answer in time, or answers with errors"
    HELD = 75, "somebody else holds the lease, as the last look showed; try again later (`run -E` changes this one)"
    LOST = 76, "the lease was lost while the command ran; the command was ended"
    NO_PERMISSION = 77, "permission denied"
    DAMAGED = 78, "damage was found (check), or is in the way, or is left (repair)"
    CANNOT_EXECUTE = 126, "run: the command cannot be executed"
    COMMAND_NOT_FOUND = 127, "run: there is no such command"


#: Added to the number of a signal that ended the command, or diskpaxos itself.
SIGNALLED = 128


def table() -> str:
    """The codes as lines of text, for `--help`."""
    lines = [f"  {code.value:>3}  {code.meaning}" for code in ExitCode]
    lines.append(f"  {SIGNALLED}+n  ended by signal n")
    return "\n".join(lines)
