"""A laboratory of real hosts on one machine: guests with their own kernels, shared storage, faults from outside.

\b
Each host h1, h2, … is a QEMU guest with Debian's kernel. Its root is this machine's root, read-only, below a tmpfs:
every program and build found here runs there at the same path, and nothing that a guest writes reaches this machine
(except below `--share PATH:rw`). A host that is killed or reset loses everything but its disks. In each host:

\b
  /dev/lab/san        the shared disk, virtio-blk, no host cache (512-byte sectors); faults reach it
  /dev/lab/san-scsi   the same disk through virtio-scsi (sd driver, SCSI time-outs)
  /dev/lab/san-4k     the same once more, with blocks of 4096 bytes
  /dev/lab/guard      another shared disk, which no fault reaches: what holders write
  /dev/lab/local      a private disk that outlives resets and kills
  /dev/watchdog       an emulated i6300esb: QEMU resets the host when nobody pets it
  eth0 10.77.0.N      a network that reaches only the other hosts; h1, h2, … are in /etc/hosts
  /lab/nfs-server     exports an ext4 on /dev/lab/local as /srv/nfs (v3, v4.0 to 4.2)
  /lab/iscsi-target   exports a file there as an iSCSI disk (LIO); /lab/iscsi-login h1 makes it /dev/lab/iscsi

Commands travel over virtio-serial, so they work while the network is cut.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from lab import table
from lab.checker import judge
from lab.guests import Lab
from lab.history import read as read_history
from lab.storage import STORAGES
from lab.suite import TERMS, Setting, Suite, read_results
from lab.system import LabError

pass_lab = click.make_pass_decorator(Lab)


@click.group(help=__doc__)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="where it lives; default: $DISKPAXOS_LAB or /var/tmp/diskpaxos-lab",
)
@click.pass_context
def main(context: click.Context, folder: Path | None) -> None:
    """Entry point."""
    context.obj = Lab(folder.resolve() if folder else None)


@main.command()
@pass_lab
def build(lab: Lab) -> None:
    """Make what guests boot from (QEMU and Debian packages by apt); kept for later."""
    lab.build.build(click.echo)


@main.command()
@click.argument("count", type=int)
@click.option("--mem", default=512, help="MiB for each host")
@click.option("--san-mib", default=64, help="size of the shared disk")
@click.option("--share", multiple=True, metavar="PATH[:rw]", help="mount it uncached, at the same path")
@pass_lab
def up(lab: Lab, count: int, mem: int, san_mib: int, share: tuple[str, ...]) -> None:
    """Start h1 … hCOUNT on empty shared disks, and wait until they answer."""
    began = time.monotonic()
    shares = [(path.removesuffix(":rw"), "rw" if path.endswith(":rw") else "ro") for path in share]
    hosts = lab.up(count, mem, san_mib, shares)
    click.echo(f"up: {' '.join(host.name for host in hosts)} in {time.monotonic() - began:.1f} s")


@main.command()
@pass_lab
def status(lab: Lab) -> None:
    """What each host does."""
    for host in lab.hosts():
        click.echo(f"{host.name} {host.qmp('query-status')['status'] if host.alive() else 'off'}")


@main.command()
@pass_lab
def down(lab: Lab) -> None:
    """Stop all hosts; logs and disks stay until the next `up`."""
    lab.down()


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--timeout", default=60.0, help="seconds; then the command is killed")
@click.argument("host")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_lab
def run(lab: Lab, timeout: float, host: str, words: tuple[str, ...]) -> None:
    """Run a command in HOST: its output and its exit status.  After HOST, write `--`."""

    def emit(name: str, data: bytes) -> None:
        stream = sys.stdout if name == "out" else sys.stderr
        stream.buffer.write(data)
        stream.flush()

    rc = lab.host(host).run(list(words), timeout, on_output=emit).rc
    sys.exit(rc if rc >= 0 else 128 - rc)


@main.command()
@click.argument("host")
@click.option("--process", is_flag=True, help="SIGSTOP for QEMU: the host's clock jumps when it goes on")
@pass_lab
def pause(lab: Lab, host: str, process: bool) -> None:
    """Stop the processors of HOST; its clock and its watchdog stop, too."""
    lab.host(host).pause(process)


@main.command()
@click.argument("host")
@pass_lab
def cont(lab: Lab, host: str) -> None:
    """Let HOST go on after a pause."""
    lab.host(host).cont()


@main.command()
@click.argument("host")
@pass_lab
def kill(lab: Lab, host: str) -> None:
    """Power HOST off."""
    lab.host(host).kill()


@main.command()
@click.argument("host")
@pass_lab
def start(lab: Lab, host: str) -> None:
    """Power HOST on, and wait until it answers."""
    guest = lab.host(host)
    guest.start()
    guest.wait()


@main.command()
@click.argument("host")
@pass_lab
def reset(lab: Lab, host: str) -> None:
    """Press the reset button of HOST."""
    lab.host(host).reset()


@main.command()
@click.argument("host")
@pass_lab
def panic(lab: Lab, host: str) -> None:
    """Crash the kernel of HOST, which then stands there until `kill` and `start`."""
    lab.host(host).panic()


@main.command()
@click.argument("host")
@click.option("--iops", default=0)
@click.option("--bps", default=0)
@pass_lab
def throttle(lab: Lab, host: str, iops: int, bps: int) -> None:
    """Slow down HOST's way to the shared disk; without a limit: no longer."""
    lab.host(host).throttle(iops, bps)


@main.command("fail-disk")
@click.argument("host")
@click.option("--mode", type=click.Choice(["error", "read", "write", "hang"]), default="error")
@pass_lab
def fail_disk(lab: Lab, host: str, mode: str) -> None:
    """Let requests of HOST to the shared disk fail with EIO, or hang."""
    lab.host(host).fail_disk(mode)


@main.command("heal-disk")
@click.argument("host")
@pass_lab
def heal_disk(lab: Lab, host: str) -> None:
    """End `fail-disk` and `throttle`."""
    lab.host(host).heal_disk()


@main.command("unlink-net")
@click.argument("host")
@pass_lab
def unlink_net(lab: Lab, host: str) -> None:
    """Pull the network cable of HOST."""
    lab.host(host).link(False)


@main.command("link-net")
@click.argument("host")
@pass_lab
def link_net(lab: Lab, host: str) -> None:
    """Plug it in again."""
    lab.host(host).link(True)


@main.command()
@click.argument("host")
@pass_lab
def events(lab: Lab, host: str) -> None:
    """What QEMU told about HOST: WATCHDOG, RESET, …"""
    for event in lab.host(host).events():
        click.echo(json.dumps(event))


@main.command()
@click.argument("host")
@click.argument("command")
@click.argument("arguments", default="{}")
@pass_lab
def qmp(lab: Lab, host: str, command: str, arguments: str) -> None:
    """One command to HOST's QEMU; ARGUMENTS is a JSON object."""
    click.echo(json.dumps(lab.host(host).qmp(command, **json.loads(arguments)), indent=1))


@main.command()
@click.option("--storage", "names", multiple=True, type=click.Choice(list(STORAGES)), help="default: san and nfs42")
@click.option("--faults", "count", default=10, help="on each storage")
@click.option("--minutes", type=float, help="begin no fault after so long")
@click.option("--seed", default=1, help="of the schedule, which goes on where it ended")
@click.option("--kind", "kinds", multiple=True, help="only this fault; with a seed of its own")
@click.option("--hosts", default=2, help="with 3, the server of NFS and iSCSI holds no leases")
@click.option("--results", type=click.Path(path_type=Path), help="where results add up; default: results.jsonl in DIR")
@click.option("--broken", is_flag=True, help="the library's holder ignores what it is told: the checker must notice")
@pass_lab
def suite(
    lab: Lab,
    names: tuple[str, ...],
    count: int,
    minutes: float | None,
    seed: int,
    kinds: tuple[str, ...],
    hosts: int,
    results: Path | None,
    broken: bool,
) -> None:
    """Inject faults while holders write; judge what was seen.  Exit status 1: something was violated."""
    path = results or lab.folder / "results.jsonl"
    lab.build.build(click.echo)
    end = time.monotonic() + minutes * 60 if minutes else float("inf")
    violated = 0
    for name in names or ("san", "nfs42"):
        if time.monotonic() > end:
            break
        setting = Setting(STORAGES[name], seed, hosts, list(kinds) or None, broken, click.echo)
        with Suite(lab, setting, path) as running:
            for _ in range(count):
                if time.monotonic() > end:
                    break
                row = running.next()
                violated += len(row["violations"])
                click.echo(_line(row))
    click.echo(table.page(read_results(path)))
    sys.exit(1 if violated else 0)


def _line(row: dict[str, Any]) -> str:
    times = ", ".join(f"{takeover['lease']} after {takeover['seconds']:.1f} s" for takeover in row["takeovers"])
    text = f"{row['storage']} {row['number']}: {row['kind']} {row['what']} on {row['target']} for {row['seconds']} s"
    text += f"; took {row['took']} s; taken over: {times or 'nothing'}"
    for what in ("violations", "late_writes", "late_processors"):
        text += "".join(f"\n  {what}: {item}" for item in row[what])
    return text


@main.command("table")
@click.option("--results", type=click.Path(path_type=Path), help="default: results.jsonl in DIR")
@pass_lab
def show_table(lab: Lab, results: Path | None) -> None:
    """The results so far, as Markdown."""
    click.echo(table.page(read_results(results or lab.folder / "results.jsonl")))


@main.command()
@click.argument("history", type=click.Path(path_type=Path, exists=True))
def check(history: Path) -> None:
    """Judge a HISTORY again.  Exit status 1: something is violated."""
    verdict = judge(read_history(history), TERMS)
    for name in ("violations", "late_writes", "late_processors", "losses", "takeovers"):
        for item in getattr(verdict, name):
            click.echo(f"{name}: {item}")
    click.echo(f"{verdict.sessions} sessions, {verdict.writes_seen} writes seen, {verdict.writes_unseen} not")
    sys.exit(0 if verdict.sound else 1)


def entry() -> int:
    """Run; the exit status of what failed."""
    try:
        main(standalone_mode=True)
    except (LabError, TimeoutError) as problem:
        click.echo(f"lab: {problem}", err=True)
        return 125 if isinstance(problem, LabError) else 124
    return 0


if __name__ == "__main__":
    sys.exit(entry())
