/* One host watches another: heartbeats, silence, the death notice.  Protocol, sections 4 to 6.
 *
 * Time is counted in ticks; all bounds are closed, so whole ticks lose nothing.  Every I/O
 * may take arbitrarily long: what a read shows is what stands there at some moment between
 * its issue and its completion.
 *
 *   without -DFREEZE  clocks run: whoever is buried has no holder any more
 *   with -DFREEZE     the watched host may be stopped at any step together with its clock,
 *                     once, for any time.  No timeout can see that; what must hold is that a
 *                     heartbeat which the other did not see does not complete beside a burial,
 *                     and, once a heartbeat was issued after that and completed, all as before
 *   -DSTALE           the watcher's reads may show old content of the whole disk
 *   -DCOVER           once, at any time, somebody's late claim lands over the watched host's record
 *   -DHEIR            the slot's last owner is long silent, and the watched host claims the slot at any time; the
 *                     watcher sentences whom a flag names that it met
 *   -DDAMAGE          the watcher's notice block may turn to garbage: nobody reads any more whom it names
 */
#define S 2          /* the lifetime */
#define STOPPED 3    /* S + K + W: by then all holders are */
#define T_DEAD 4     /* … times 1.11 and something: more than that */
#define CAP 5
#define CLAIM 99     /* what a record shows that lies below a claim */
#ifndef BEATS
#define BEATS 3
#endif

/* on disk */
byte beat;           /* the watched host's counter */
bool notice;
bool covered;        /* a claim lies over the record */
bool flag;           /* the watched host's, in some lease */
bool damaged;        /* the watcher's notice block */

/* the watched host */
#ifdef HEIR
bool holding;
#else
bool holding = true;
#endif
bool ended, frozen, was_frozen;
bool unaware;        /* it was stopped, and has not completed a heartbeat since … */
bool fresh;          /* … though one is under way */
byte life = 0;       /* ticks since the issue of the last heartbeat that completed */
byte issue = 0;      /* … of the one under way */
byte completed;      /* counter of the last heartbeat that completed */

/* the watcher */
#ifdef HEIR
byte still = CAP;    /* ticks since the first read that showed `known` completed */
#else
byte still;
#endif
byte known;          /* D6: whatever the disk showed last */
byte written;        /* not on disk: the heartbeat that was written when it was read last */
byte asked;          /* what `still` was at the issue of the present read */
bool met;            /* the flag of the incarnation that is meant, by some round */
bool met_before;     /* … before the present read was issued */
bool buried;
byte base;           /* the counter that was buried */
byte old_beat;       /* a stale path shows this … */
bool old_is_ours;    /* … and it was current after our own last write */

#define sees_the_other (!buried || completed <= base)
#define awake (!frozen && !ended)
#ifdef NO_S20 /* what cannot be believed names nobody; hidden.pml has the exception */
#define perhaps_named false
#else
#define perhaps_named damaged
#endif
#if !defined(HEIR)
#define meant true
#elif defined(NO_D7)
#define meant met
#else
#define meant met_before
#endif

proctype watched()
{
    byte counter;
    bool told, unsure;
#ifdef HEIR
    atomic { life = 0; holding = true } /* it claims the slot */
#endif
    do
    :: atomic { awake && life < S && counter < BEATS -> counter++; issue = 0; fresh = true }
#ifdef NO_S7 /* the notices first, then the own record */
        atomic { awake -> told = notice && !damaged; unsure = perhaps_named }
        d_step { beat = counter; covered = false }
#else
        d_step { beat = counter; covered = false } /* heart_build.c:build_record; it lands some time */
        atomic { awake -> told = notice && !damaged; unsure = perhaps_named } /* … then the notices */
#endif
        atomic { awake -> /* heart_self.c:heed_entry, heart.c:prove */
            if
            :: told || life >= S ->
                assert(was_frozen || life >= S); /* nobody is told that it is dead who is not */
                ended = true; goto end
            :: !told && life < S && unsure /* this chain proves nothing */
            :: else -> life = issue; completed = counter; flag = true; unaware = unaware && !fresh;
                assert(sees_the_other)
            fi;
            told = false; unsure = false
        }
    :: atomic { awake && (life >= S || counter == BEATS) -> goto end }
    od;
end:
    skip
}

/* The keeper and the watchdog: holders stop once the lifetime is over, by S + K + W. */
proctype keeper()
{
    atomic { holding && !frozen && (life >= S || ended) -> holding = false }
}

proctype freezer()
{
#ifdef FREEZE
    atomic { frozen = true; was_frozen = true; unaware = true; fresh = false }
    frozen = false
#else
    skip
#endif
}

proctype clock()
{
end:
    do
    :: d_step { !(holding && !frozen && life >= STOPPED) ->
        if
        :: !frozen && life < CAP -> life++
        :: else
        fi;
        if
        :: !frozen && issue < CAP -> issue++
        :: else
        fi;
        if
        :: still < CAP -> still++
        :: else
        fi }
    od
}

/* One chain: own record, then the other's.  shown: what the read says; fit: it may be counted. */
inline look(shown, fit)
{
    d_step { old_is_ours = false; asked = still; met_before = met } /* the own write lands; the read is issued */
    if
    :: atomic { shown = (covered -> CLAIM : beat); written = beat; fit = true }
#ifdef STALE
    :: atomic { true -> shown = old_beat; written = old_beat;
#ifdef NO_S8
        fit = true
#else
        fit = old_is_ours
#endif
        }
#endif
    fi
}

proctype watcher()
{
    byte shown;
    bool fit;
watch:
    do
    :: look(shown, fit);
        atomic { /* the read completes: peers.c:dpx_peers_observe, dpx_peers_silent */
            if
            :: !fit
#ifdef NO_D6 /* a claim is no heartbeat of the owner: nothing has moved */
            :: fit && shown > known && shown != CLAIM -> known = shown;
#else
            :: fit && shown != known -> known = shown;
#endif
#ifdef NO_D2 /* from the issue of the first read to the completion of the last */
                still = still - asked
#else
                still = 0
#endif
            :: else ->
#ifdef NO_D2
                asked = still;
#endif
                if
                :: asked >= T_DEAD && meant -> shown = 0; fit = false; asked = 0; break
                :: else
                fi
            fi;
            shown = 0; fit = false; asked = 0
        }
    od;
#ifndef NO_D3 /* heart_notices.c:dpx_heart_sentence, dpx_heart_execute */
#ifndef NOTICE_LATE
    notice = true;
#endif
#ifndef NO_REREAD
    do
    :: look(shown, fit);
        if
        :: atomic { fit -> break }
        :: else
        fi
    od;
    if
#ifdef NO_UNMOVED /* whatever it shows */
    :: atomic { false ->
#elif defined(NO_D6)
    :: atomic { shown > known && shown != CLAIM -> /* it lives: a new silence must come first */
#else
    :: atomic { shown != known -> /* it lives, or lived: a new silence must come first */
#endif
        known = shown; shown = 0; fit = false; still = 0; asked = 0;
        notice = false; goto watch }
    :: else
    fi;
#endif
#endif
    atomic {
        base = written; buried = true;
        assert(sees_the_other);
        assert(unaware || !holding);
        shown = 0; fit = false; asked = 0
    }
#ifdef NOTICE_LATE
    notice = true
#endif
}

/* It chose the slot when it was free, and its write was long under way. */
proctype late_claim()
{
#ifdef COVER
    covered = true
#else
    skip
#endif
}

/* A round of the watcher meets the flag: area.c:scan_flag, peers.c:dpx_peers_want. */
proctype meet()
{
#ifdef HEIR
    atomic { flag -> met = true }
#else
    skip
#endif
}

proctype damage()
{
#ifdef DAMAGE
    damaged = true
#else
    skip
#endif
}

/* A path that lags behind: what it shows was current once. */
proctype path()
{
#ifdef STALE
end:
    do
    :: atomic { old_beat != beat || !old_is_ours -> old_beat = beat; old_is_ours = true }
    od
#else
    skip
#endif
}

init
{
    atomic { run watched(); run keeper(); run freezer(); run clock(); run watcher(); run path(); run late_claim();
             run meet(); run damage() }
}
