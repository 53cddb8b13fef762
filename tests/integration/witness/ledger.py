"""The guard's book: what work was accepted for which lease, and what must never be in it.

A *session* is the work done under one token.  The ledger refuses work under a token below the
highest that it has seen (that is what fencing tokens are for), and writes down as a violation
whatever shows that two holders existed at once:

* two workers with one token;
* a session that begins before the life of the one that it replaces was over (every piece of
  work says until when its holder may act, and every session when its lease had been granted);
* a worker that is refused although its library says that it still holds the lease;
* a token that was asked for after a higher one had been seen;
* work after the session's own end or loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field

OPEN, ENDED, LOST = "open", "ended", "lost"


@dataclass
class Session:
    lease: str
    token: int
    who: str
    until: int  # CLOCK_BOOTTIME, ns: when the holder's life ends, by its library's latest word; 0: it has said nothing
    first: int
    last: int
    pieces: int = 0
    state: str = OPEN
    replaced: bool = False
    bounced: int = 0


@dataclass
class Ledger:
    sessions: dict[tuple[str, int], Session] = field(default_factory=dict)
    current: dict[str, Session] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def work(self, lease: str, token: int, who: str, asked: int, granted: int, until: int, now: int) -> bool:
        """A piece of work; whether it is accepted.  The lease was granted between two times:
        ``asked`` before the taking began, ``granted`` after it was reported."""
        session = self.sessions.get((lease, token))
        if session is None:
            session = self._begin(Session(lease, token, who, until, now, now), asked, granted)
        if session.who != who:
            self.violations.append(f"{lease}: token {token} used by {session.who} and by {who}")
        if session.state is not OPEN:
            self.violations.append(f"{lease}: {who} works under {token} after it had {session.state}")
        session.until = max(session.until, until)
        session.last = now
        if session.replaced:
            session.bounced += 1
            return False
        session.pieces += 1
        return True

    def _begin(self, session: Session, asked: int, granted: int) -> Session:
        newest = self.current.get(session.lease)
        got = f"{session.lease}: {session.who} got token {session.token}"
        if newest is not None and session.token < newest.token:
            session.replaced = True
            if asked > newest.first:
                self.violations.append(f"{got} after {newest.token} had been used")
        else:
            if newest is not None and newest.state is not ENDED:
                newest.replaced = True
                if granted < newest.until:
                    early = f"{(newest.until - granted) / 1e6:.1f} ms before the life of {newest.who}"
                    self.violations.append(f"{got} {early} (token {newest.token}) was over")
            self.current[session.lease] = session
        self.sessions[session.lease, session.token] = session
        return session

    def end(self, lease: str, token: int, who: str, now: int) -> bool:
        """The last piece of work of a session, just before its lease is released."""
        session = self.sessions[lease, token]
        accepted = self.work(lease, token, who, now, now, session.until, now)
        if accepted:
            session.state = ENDED
        return accepted

    def lost(self, lease: str, token: int) -> None:
        """A worker's library told it that the lease is lost."""
        session = self.sessions.get((lease, token))
        if session is not None:
            session.state = LOST

    def still_held(self, lease: str, token: int, who: str) -> None:
        """A worker was refused and its library nevertheless says that it holds the lease."""
        self.violations.append(f"{lease}: {who} was refused under {token}, and its library says: held")

    def never_learned(self, killed: set[str]) -> list[str]:
        """Sessions that were replaced under a living worker that never came to know of it."""
        return [
            f"{s.lease}: {s.who} never learned that token {s.token} is lost"
            for s in self.sessions.values()
            if s.replaced and s.state is OPEN and s.who not in killed
        ]
