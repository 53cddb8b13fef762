/* A holder that others hold dead, and that lives: protocol, section 3, rule L12.
 *
 * A holds the lease, and its clock stands still.  Takers hold A dead, and take the lease one after the other: each
 * says that its taking is certain by one more write some time later, by its release, or never (it dies).  The slot of
 * whoever is gone has a next owner, who carries on what it finds.  An attempter, who holds nobody dead, raises its flag
 * any number of times, above all: it gives way, hangs for ever, or dies in it.  A reads all blocks at any time.
 *
 *   -DSHARED         A is a sharer (its token is its ballot: the lowest one that matters)
 *   -DSHARING        the attempter has a sharer's modes, too
 *
 * What must hold: A is told "lost" only if somebody certainly took the lease in conflict with it; and once that has
 * been said durably, A's next look tells.  Blocks are read one after the other.
 */
#define NONE 0
#define SHARES 1
#define EXCLUSIVE 2
#define TAKER 0
#define OTHER 1
#define TRIES 2

#ifdef SHARED
#define A_MODE SHARES
#else
#define A_MODE EXCLUSIVE
#endif
#define A_TOKEN 1
#define CONFLICT(m) (m == EXCLUSIVE || (m == SHARES && A_MODE == EXCLUSIVE))

byte hold[2], mode[2], last[2], certain[2]; /* own blocks of the taker's slot and the attempter's */
bool sure[2];                               /* `taken` */
byte ballot = A_TOKEN;                      /* the highest used */
bool taken;                                 /* somebody was told "taken" in conflict with A */
bool must_know;                             /* … and a block that will keep saying so, or says so now, is durable */
bool now;                                   /* … by a flag that stands */

/* Owners of one slot, one life after the other, all of whom hold A dead. */
proctype takers()
{
    byte mine, kept, tries, m;
    do
    :: tries < TRIES ->
        atomic {
            tries++;
            kept = certain[TAKER];
#ifdef NO_CARRY
            kept = 0;
#endif
            if
            :: m = EXCLUSIVE
            :: m = SHARES
            fi;
            ballot++; mine = ballot;
            hold[TAKER] = mine; mode[TAKER] = m; certain[TAKER] = kept; sure[TAKER] = false; now = false;
            last[TAKER] = (m == EXCLUSIVE -> mine : last[TAKER])
        }
        if
        :: atomic { hold[OTHER] != 0 && (m == EXCLUSIVE || mode[OTHER] == EXCLUSIVE) -> /* void */
            hold[TAKER] = 0; mode[TAKER] = NONE; mine = 0 }
        :: atomic { hold[OTHER] == 0 || (m == SHARES && mode[OTHER] == SHARES) ->
            taken = taken || CONFLICT(m) }
            if
            :: atomic { /* the write after it */
#ifndef NO_TELL
                sure[TAKER] = true;
                certain[TAKER] = (m == EXCLUSIVE -> mine : kept);
#endif
#ifdef SHARER_IS_TAKER
                certain[TAKER] = mine;
#endif
                must_know = must_know || m == EXCLUSIVE;
                now = CONFLICT(m) }
            :: true
            fi;
            if
            :: atomic { /* release */
                hold[TAKER] = 0; mode[TAKER] = NONE; sure[TAKER] = false;
                certain[TAKER] = (m == EXCLUSIVE -> mine : kept);
                must_know = must_know || (m == EXCLUSIVE); now = false; mine = 0 }
            :: atomic { now = false; mine = 0 } /* it dies: the slot's next owner comes */
            fi
        fi
    :: break
    od
}

/* Heeds every flag; its host may hang, or die with its flag up, and the slot's next owner lowers it. */
proctype attempter()
{
    byte tries, before;
    do
    :: tries < TRIES ->
        atomic {
            tries++; before = last[OTHER];
            ballot++; hold[OTHER] = ballot; mode[OTHER] = EXCLUSIVE;
#ifdef SHARING
            if
            :: mode[OTHER] = SHARES
            :: true
            fi;
#endif
            last[OTHER] = (mode[OTHER] == EXCLUSIVE -> ballot : last[OTHER])
#ifdef ATTEMPT_TELLS
            ; certain[OTHER] = ballot; sure[OTHER] = true
#endif
        }
        if
        :: atomic { hold[OTHER] = 0; mode[OTHER] = NONE; last[OTHER] = before } /* void */
        :: atomic { hold[OTHER] = 0; mode[OTHER] = NONE }                       /* the heir: "perhaps taken" */
        :: break                                                                /* it hangs */
        fi
    :: break
    od
}

/* A, whose flag stands all the time. */
proctype watcher()
{
    byte s, c, sharer, must, flags;
    do
    :: s = 0; sharer = 0; c = 0; flags = 0;
        atomic { must = must_know }
        do
        :: s < 2 -> atomic {
            c = (certain[s] > c -> certain[s] : c);
            sharer = sharer || (hold[s] && CONFLICT(mode[s]) && mode[s] == SHARES && sure[s] && hold[s] > A_TOKEN);
            flags = flags || (hold[s] > A_TOKEN && CONFLICT(mode[s]));
#ifdef BY_LAST
            c = (last[s] > c -> last[s] : c);
#endif
            s++ }
        :: else -> break
        od;
        atomic {
            bool lost = c > A_TOKEN || sharer;
#ifdef BY_FLAG
            lost = lost || flags;
#endif
            assert(!lost || taken);
            assert(lost || !must);
            lost = false
        }
    :: atomic { /* all at once: what a flag says now */
        assert(!now || certain[TAKER] > A_TOKEN || (CONFLICT(mode[TAKER]) && mode[TAKER] == SHARES && sure[TAKER]));
        break }
    od
}

init { atomic { run takers(); run attempter(); run watcher() } }
