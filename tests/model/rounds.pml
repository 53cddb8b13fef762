/* Lease rounds on one disk: protocol, section 3.
 *
 * One process per incarnation.  Incarnations 0 … SLOTS-1 live first; later ones take over
 * slot 0, 1, … once the one before is dead and drained.  Any lifetime may run out at any
 * step (a crash is that too: nothing is done from then on, and what is in flight may land
 * at any time or never).  Some time after that all holders are stopped, and only then may
 * others hold the incarnation dead: that is the timing of section 6, checked by death.pml.
 *
 * Choices that make the model small without losing behaviour:
 *   - a write lands and completes in one step; a completion that comes later only delays
 *     the writer, and every step may be delayed anyway;
 *   - a Look only tells a round what ballot to exceed, so it happens with the raise, or long
 *     before it (the cache);
 *   - -DONE_READ and -DNO_FAILURES leave out reads that change under way and writes that fail,
 *     for three hosts only;
 *   - what reading costs or who waits for whom is no concern of safety.
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef HEIRS
#define HEIRS 0 /* incarnations that follow in slots 0, 1, … */
#endif
#ifndef TRIES
#define TRIES 2 /* rounds that one incarnation starts */
#endif
#ifndef ROUNDS
#define ROUNDS 12 /* no ballot above this round: an attempt that would need it is voided */
#endif
#define ALL (SLOTS + HEIRS)
#define NUMBER byte

bool born[ALL];
bool over[ALL];        /* its lifetime has run out */
bool dead[ALL];        /* others may know it */
bool gone[ALL];        /* it left its slot in good order */
bool trying[ALL];      /* an exclusive attempt is up, neither taken nor voided */
byte holder[ALL];      /* what its holder processes really have: a mode */
byte count[ALL];       /* … and how many they are */

/* What the takings so far say. */
byte top_exclusive;    /* highest exclusive token granted */
byte saved;            /* token of a state that somebody kept for a resume, 0: none */
bool since;            /* the lease was taken exclusively after that */
bool crashed;          /* an exclusive attempt was cut short: "perhaps taken" */

#include "round_rules.pml"

inline check_exclusion()
{
    s = 0;
    do
    :: s < ALL ->
        assert(s == k || holder[s] == NONE || (holder[s] == SHARED && want == SHARED));
        s++
    :: else -> break
    od;
    s = 0
}

inline take()
{
    grant();
    check_exclusion();
    if
    :: want == EXCLUSIVE ->
        assert(token > top_exclusive); /* exclusive tokens strictly increase */
        top_exclusive = token;
        since = true
    :: else ->
        assert(token >= top_exclusive) /* no shared token is below an exclusive one before it */
    fi;
    if
    :: resuming -> saved = 0; since = false
    :: else
    fi;
    trying[k] = false;
    holder[k] = want; count[k] = 1
}

inline forget_round()
{
    want = NONE; resuming = false; own_last = 0; higher = false; lower = false; cut = false;
    top_last = 0
}

proctype incarnation(byte k)
{
    byte ballot, hold, mode, last, top, token; /* dpx_lease: what it knows between rounds */
    bool known;
    byte tries, s, verdict;
    byte want, top_last, own_last;             /* of the present round */
    bool resuming, higher, lower, above;
    bool cut;                                  /* it saw a flag whose owner then died */
    byte seen_hold[SLOTS], seen_who[SLOTS];

idle:
    do
    :: atomic { may_act(k) && !known -> look() }
    :: atomic { /* a taking begins */
        may_act(k) && tries < TRIES && hold == 0 && (known || k < SLOTS) ->
        tries++;
        if
        :: want = EXCLUSIVE
#ifndef NO_SHARED
        :: want = SHARED
#endif
        fi;
#ifndef NO_RESUME
        if
        :: saved -> resuming = true
        :: true
        fi;
#endif
#ifdef NO_L1
        known = true;
#endif
        if
        :: known
        :: look()
        fi;
        known = true;
        own_last = last;
        raise();
        goto raised
    }
#ifdef LOCALS
    :: atomic { /* a second local holder joins what is held shared: no I/O (host/queue.c) */
        may_act(k) && hold && mode == SHARED && count[k] == 1 && tries < TRIES ->
        tries++; count[k] = 2 }
    :: atomic { may_act(k) && count[k] == 2 ->
#ifdef NO_L5
        hold = 0; mode = NONE; issue(0, NONE, last); goto lowered
#else
        count[k] = 1
#endif
        }
#endif
    :: atomic { /* the last local holder is gone: release */
        may_act(k) && hold && count[k] == 1 ->
        if
        :: holder[k] = NONE
#ifndef NO_RESUME
        :: holder[k] = NONE; saved = token; since = false; crashed = false;
            s = 0;
            do /* an attempt that is up now may be cut short later */
            :: s < ALL -> crashed = crashed || (trying[s] && over[s]); s++
            :: else -> break
            od;
            s = 0
#endif
        fi;
        count[k] = 0; token = 0; hold = 0; mode = NONE;
        issue(0, NONE, last);
        goto lowered
    }
    :: atomic { may_act(k) && tries == TRIES && hold == 0 ->
        ballot = 0; last = 0; top = 0;
#ifdef LEAVE
        gone[k] = true; dead[k] = true;
#endif
        goto end }
#ifdef NO_S10 /* it leaves though a write is still on its way: that write timed out */
    :: atomic { may_act(k) && known && tries < TRIES && hold == 0 ->
        want = EXCLUSIVE; raise(); trying[k] = false; gone[k] = true; dead[k] = true; goto end }
#endif
    od;

raised: /* the judging read begins when the write is durable */
#ifdef READ_FIRST
    if
    :: may_act(k)
    :: atomic { over[k] -> goto finished }
    fi;
#else
    if
    :: atomic { may_act(k) && flying[k] -> land() }
#ifndef NO_FAILURES
    :: atomic { may_act(k) && flying[k] -> forget_air(); goto void } /* failed: nothing landed */
    :: atomic { may_act(k) && flying[k] -> land(); goto void }       /* failed, and yet it landed */
#endif
    :: atomic { over[k] -> goto finished }
    fi;
#endif

judge:
    s = (slot_of(k) == 0 -> 1 : 0);
#ifdef ONE_READ
    atomic {
        do
        :: s < SLOTS && s != slot_of(k) -> see(s); s++
        :: s == slot_of(k) -> s++
        :: s >= SLOTS -> break
        od
    }
#endif
    do
    :: atomic { s < SLOTS && s != slot_of(k) -> see(s); s++ }
    :: atomic { s == slot_of(k) -> s++ }
    :: atomic { s >= SLOTS -> s = 0; break }
    od;
#ifdef READ_FIRST
    if
    :: atomic { may_act(k) && flying[k] -> land() }
    :: atomic { over[k] -> goto finished }
    fi;
#endif
    atomic {
        weigh();
        decide();
        if
        :: verdict == FINISHED -> verdict = 0; goto finished
        :: verdict == GIVE_WAY -> verdict = 0; goto void
        :: verdict == LOWER -> verdict = 0; higher = false; lower = false;
            if
            :: top_last = 0; cut = false; goto judge
            :: goto void
            fi
        :: verdict == AGAIN -> verdict = 0;
            if
            :: top / SLOTS < ROUNDS -> top_last = 0; cut = false; raise(); goto raised
            :: else -> goto void
            fi
        :: verdict == STALE -> verdict = 0;
            /* no true state is refused, unless an attempt seems to have been cut short */
            assert(since || crashed || cut || saved == 0);
            goto void
        :: verdict == TAKEN -> verdict = 0;
#ifdef COURTESY
            if
            :: !resuming -> goto void /* somebody who waits comes first: a mark, or none, at will */
            :: skip
            fi;
#endif
            assert(!(resuming && saved) || !since); /* no stale state is believed */
            resuming = resuming && saved;
            take();
            forget_round();
            goto idle
        fi
    }

void:
    if
    :: atomic { may_act(k) ->
        forget_round();
        lower_flag();
        goto lowered }
    :: atomic { over[k] -> goto finished }
    fi;

lowered: /* retried until it is durable, or the lifetime ends */
    if
    :: atomic { may_act(k) && flying[k] -> land(); trying[k] = false; goto idle }
    :: atomic { over[k] -> goto finished }
    fi;

finished:
#ifdef NO_S9 /* … but it comes back, in what it was doing, and believes in what it holds */
    if
    :: atomic { !flying[k] && trying[k] -> over[k] = false; goto judge }
    :: true
    fi;
#endif
    atomic {
        forget_round();
        ballot = 0; hold = 0; mode = 0; last = 0; top = 0; token = 0; tries = 0; known = false
    }
end:
    skip
}

/* ---- what befalls incarnations ---- */

proctype fate(byte k)
{
    if
    :: atomic { born[k] && !over[k] && !gone[k] -> over[k] = true; crashed = crashed || trying[k] }
    :: gone[k] -> goto end
    fi;
    atomic { holder[k] = NONE; count[k] = 0; dead[k] = true } /* all stopped by S + K + W */
end:
    do /* its last write may still come, or not */
    :: atomic { flying[k] && dead[k] -> land() }
    :: atomic { flying[k] && dead[k] -> forget_air() }
    od
}

/* The next life of a slot begins when the one before is drained, or left. */
proctype birth(byte k)
{
#if defined(NO_D4)
    atomic { dead[k - SLOTS] -> born[k] = true }
#elif defined(NO_S10)
    atomic { gone[k - SLOTS] || (dead[k - SLOTS] && !flying[k - SLOTS]) -> born[k] = true }
#else
    atomic { dead[k - SLOTS] && !flying[k - SLOTS] -> born[k] = true }
#endif
}

init
{
    atomic {
        byte k;
        for (k : 0 .. ALL - 1) {
            run incarnation(k);
            run fate(k);
            if
            :: k < SLOTS -> born[k] = true
            :: else -> run birth(k)
            fi
        }
    }
}
