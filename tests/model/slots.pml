/* What late writes leave of a slot on three disks, and who may claim it then: protocol, sections 4 and 5,
 * rules S4, S10, S16, S19 and D5.
 *
 * Life 1 owns the slot; 2, 3, … claim it, own it, leave it or die.  Life 0 is over: it left before that, or gave up
 * a claim beside the owner's, and some of its writes are still on their way.  Some more writes land at any time,
 * long after their author has gone; others at once, or never.  Of two claims that overlap at most one passes: that
 * is claim.pml's concern, and given here (a claim is void if another one passed since it began), so no time need be
 * counted.  Deaths are known rightly (death.pml); whoever is dead is drained once nothing of it is on its way.
 *
 * A write lands and completes in one step.  Lives differ in nothing but their order: they begin in it.
 */
#ifndef LIVES
#define LIVES 4
#endif
#ifndef LATE
#define LATE 2 /* writes in a history that come late; all others land at once, or fail */
#endif
#define DISKS 3
#define MAJORITY 2
#define NOBODY 255

#define NOTHING 0
#define CLAIMING 1
#define ACTIVE 2
#define FREE 3

typedef row_t { byte on[DISKS] }

/* on disk: an author has one generation only */
byte who[DISKS];
byte state[DISKS] = ACTIVE;
row_t air[LIVES];         /* the state that a write in flight would leave; one per disk (rule L9) */

/* what is true */
byte generation[LIVES];
bool owner[LIVES], gone[LIVES];
byte passed;              /* claims that passed so far */
byte begun = 2;
byte late;

#define bit(d) (1 << (d))
#define count(set) (((set) & 1) + ((set) >> 1 & 1) + ((set) >> 2 & 1))
#define drained(c) (!air[c].on[0] && !air[c].on[1] && !air[c].on[2])

inline write(d, s)
{
    if
    :: air[c].on[d] == NOTHING -> who[d] = c; state[d] = s
    :: true
    :: air[c].on[d] == NOTHING && late < LATE -> air[c].on[d] = s; late++
    fi
}

/* peers.c:count_copy, learn_shown: what counts as the slot's record.  Of one generation active and free
 * outrank claiming, and free comes last.  Who left on a minority only is gone, but its slot is not free. */
inline learn()
{
    newest = NOBODY;
    do
    :: d < DISKS ->
        if
        :: (seen & bit(d)) && (newest == NOBODY || generation[seen_who[d]] > generation[newest] ||
             (generation[seen_who[d]] == generation[newest] && seen_state[d] > newest_state)) ->
            newest = seen_who[d]; newest_state = seen_state[d]; free = 0
        :: else
        fi;
        d++
    :: else -> break
    od;
    d = 0;
    do
    :: d < DISKS ->
        if
        :: (seen & bit(d)) && newest_state == FREE && seen_who[d] == newest && seen_state[d] == FREE ->
            free = free | bit(d)
        :: else
        fi;
        d++
    :: else -> break
    od;
    d = 0;
    if
    :: newest_state == FREE && count(free) < MAJORITY ->
        newest_state = NOTHING;
        do
        :: d < DISKS ->
            if
            :: (seen & bit(d)) && seen_state[d] != FREE && generation[seen_who[d]] == generation[newest] &&
               seen_state[d] > newest_state -> author = seen_who[d]; newest_state = seen_state[d]
            :: else
            fi;
            d++
        :: else -> break
        od;
        d = 0;
        if
        :: newest_state != NOTHING -> newest = author; author = 0
        :: else -> newest_state = FREE
        fi
    :: else
    fi
}

#ifdef NO_D5 /* the process of a claimer is gone: so its slot is drained */
#define claimable_state (newest_state == ACTIVE || newest_state == CLAIMING)
#else
#define claimable_state (newest_state == ACTIVE)
#endif
#ifdef NO_S10_PARTLY /* it said that it left */
#define no_more_comes (drained(newest) || free)
#else
#define no_more_comes drained(newest)
#endif

/* claim_table.c:slot_rank, dpx_claim_claimable_on: the disks that count. */
inline choose()
{
    good = 0;
    do
    :: d < DISKS ->
        if
        :: (seen & bit(d)) && newest_state == FREE ->
            if
#ifdef NO_S19_FREE /* anybody's */
            :: seen_state[d] == FREE -> good = good | bit(d)
#else
            :: (free & bit(d)) -> good = good | bit(d)
#endif
            :: else
            fi
        :: (seen & bit(d)) && claimable_state && gone[newest] && no_more_comes ->
            if
#ifdef NO_S19_DEAD /* whatever is no newer */
            :: generation[seen_who[d]] <= generation[newest] -> good = good | bit(d)
#else
            :: seen_who[d] == newest -> good = good | bit(d)
#endif
            :: else
            fi
        :: else
        fi;
        d++
    :: else -> break
    od;
    d = 0;
#ifdef NO_S4 /* if a majority is claimable, all that was read counts */
    good = (count(good) >= MAJORITY -> seen : 0)
#endif
}

inline forget()
{
    d = 0;
    do
    :: d < DISKS -> seen_who[d] = 0; seen_state[d] = 0; d++
    :: else -> break
    od;
    d = 0; seen = 0; free = 0; newest = 0; newest_state = 0; author = 0
}

proctype life(byte c)
{
    byte seen, seen_who[DISKS], seen_state[DISKS];
    byte newest, newest_state, author, free, good, began, d;

    if
    :: atomic { c == 1 -> goto owns }
    :: atomic { begun == c -> begun++; began = passed } /* t0 */
    fi;
#ifdef ONE_READ /* the whole table in one step, of any majority */
    atomic {
        if
        :: seen = 3
        :: seen = 5
        :: seen = 6
        :: seen = 7
        fi;
        d_step {
            do
            :: d < DISKS && (seen & bit(d)) -> seen_who[d] = who[d]; seen_state[d] = state[d]; d++
            :: d < DISKS && !(seen & bit(d)) -> d++
            :: else -> break
            od;
            d = 0
        }
#else
    do
    :: atomic { seen != 7 ->
        if
        :: !(seen & 1) -> d = 0
        :: !(seen & 2) -> d = 1
        :: !(seen & 4) -> d = 2
        fi;
        seen = seen | bit(d); seen_who[d] = who[d]; seen_state[d] = state[d]; d = 0 }
    :: count(seen) >= MAJORITY -> break
    od;
    atomic {
#endif
        d_step {
            learn();
            choose();
            generation[c] = generation[newest] + 1;
            forget()
        }
        if
        :: count(good) < MAJORITY -> generation[c] = 0; good = 0; began = 0; gone[c] = true; goto end
        :: else
        fi;
        do
        :: d < DISKS && (good & bit(d)) -> write(d, CLAIMING); d++
        :: d < DISKS && !(good & bit(d)) -> d++
        :: else -> break
        od;
        d = 0
    }
    if
    :: atomic { /* it stands on a majority of the disks that count: from now on the slot is its own */
        passed == began &&
        ((good & 1) && who[0] == c) + ((good & 2) && who[1] == c) + ((good & 4) && who[2] == c) >= MAJORITY ->
        do
        :: d < LIVES -> assert(!owner[d]); d++
        :: else -> break
        od;
        d = 0; good = 0; began = 0;
        owner[c] = true; passed++ }
    :: atomic { true -> goto void }
    fi;
owns:
    do
    :: atomic { owner[c] && (who[0] != c || state[0] != ACTIVE) -> write(0, ACTIVE) } /* a heartbeat */
    :: atomic { owner[c] && (who[1] != c || state[1] != ACTIVE) -> write(1, ACTIVE) }
    :: atomic { owner[c] && (who[2] != c || state[2] != ACTIVE) -> write(2, ACTIVE) }
    :: atomic { owner[c] -> owner[c] = false; break } /* it dies */
    :: atomic { owner[c] && drained(c) -> /* it leaves */
        write(0, FREE); write(1, FREE); write(2, FREE);
        owner[c] = false;
#ifdef NO_S16
        goto retries
#else
        break
#endif
        }
    od;
void: /* nothing is written about it */
    atomic { good = 0; began = 0; gone[c] = true; goto end }
#ifdef NO_S16
retries: /* a FREE that failed, and landed */
    atomic { write(0, FREE); gone[c] = true }
#endif
end:
    skip
}

/* Late writes land in any order, at any time. */
proctype storage(byte c)
{
    byte d;
end:
    do
    :: atomic { !drained(c) ->
        if
        :: air[c].on[0] -> d = 0
        :: air[c].on[1] -> d = 1
        :: air[c].on[2] -> d = 2
        fi;
        who[d] = c; state[d] = air[c].on[d]; air[c].on[d] = NOTHING; d = 0 }
    od
}

init
{
    atomic {
        byte n;
        for (n : 0 .. LIVES - 1) {
            if
            :: n == 0 -> gone[0] = true
            :: else -> run life(n)
            fi;
            run storage(n)
        }
        generation[1] = 1; owner[1] = true; who[0] = 1; who[1] = 1; who[2] = 1;
        if
        :: who[0] = 0; air[0].on[0] = FREE /* two disks were free when the owner claimed the slot, this one was not */
        :: air[0].on[0] = FREE             /* … and was written by the owner since */
        :: generation[0] = 1; air[0].on[0] = CLAIMING; /* a claim beside the owner's */
            if
            :: air[0].on[1] = CLAIMING
            :: true
            fi
        fi
    }
}
