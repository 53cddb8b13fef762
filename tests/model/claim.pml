/* Claiming one host slot, on 1 or 3 disks: protocol, section 4.
 *
 * Time is counted in ticks of half a T_claim.  All bounds are closed (at most T_claim, at
 * least 1.5 T_claim), so whole ticks lose nothing against real time.  Nobody is ever forced
 * to act: any step may come arbitrarily late, and so may the landing of any write (a ghost).
 *
 * A write lands and completes in one step: a later completion would only make its writer
 * wait longer.  That an owner's record moves as long as it lives, and that nobody takes a
 * moving record for dead, is death.pml's concern: here a record is dead if no owner lives
 * and it lies unmoved for longer than a lifetime, and drained if its writer has nothing in
 * flight.
 *
 *   -DVOID   the slot shows a claim that came to nothing long ago
 */
#ifndef CLAIMERS
#define CLAIMERS 2
#endif
#ifndef DISKS
#define DISKS 1
#endif
#define MAJORITY (DISKS / 2 + 1)
#define T_CLAIM 2
#ifdef NO_WAIT
#define SETTLE 0
#else
#define SETTLE 3
#endif
#ifdef RECLAIM   /* dead slots are claimed again: lifetimes matter, and T_dead is longer */
#define LIFETIME 6
#define DEAD 7
#else
#define LIFETIME 99
#define DEAD 3   /* no clock need count further */
#endif

#define NOTHING 0
#define FREE 1
#define CLAIMING 2
#define ACTIVE 3

typedef record_t { byte generation; byte who; byte state } /* who: 1 + claimer, the nonce */
typedef row_t { byte on[DISKS] }

record_t disk[DISKS];
byte still[DISKS];         /* ticks since the last write landed there */
row_t air[CLAIMERS + 1];   /* the state that a write in flight would leave; one per disk */
byte generation[CLAIMERS];
byte age[CLAIMERS];        /* ticks since t0; stands still at DEAD */
byte rest[CLAIMERS];       /* ticks since the last completion that counts */
byte good[CLAIMERS];       /* disks (bits) that count in this phase */
bool writing[CLAIMERS];    /* completions count for the claim now */
bool owner[CLAIMERS];      /* active, and within its lifetime */
bool dead[CLAIMERS];
byte top_generation;       /* of all owners so far */

#define bit(d) (1 << (d))
#define count(set) (((set) & 1) + ((set) >> 1 & 1) + ((set) >> 2 & 1))
#if DISKS == 1
#define in_air(c) (air[c].on[0])
#else
#define in_air(c) (air[c].on[0] || air[c].on[1] || air[c].on[2])
#endif

inline nobody_owns(answer)
{
    answer = true;
    i = 0;
    do
    :: i < CLAIMERS -> answer = answer && !owner[i]; i++
    :: else -> break
    od;
    i = 0
}

/* One disk's copy joins what was read so far (peers.c:dpx_record_newer). */
inline merge(d)
{
    if
#ifdef NO_F3
    :: shown_state == NOTHING || disk[d].generation < shown_generation ->
#else
    :: shown_state == NOTHING || disk[d].generation > shown_generation ||
       (disk[d].generation == shown_generation && shown_state == CLAIMING && disk[d].state != CLAIMING) ||
       (disk[d].generation == shown_generation && shown_state == ACTIVE && disk[d].state == FREE) ->
#endif
        shown_generation = disk[d].generation;
        shown_state = disk[d].state;
        shown_who = disk[d].who;
        shown_still = still[d]
    :: else
    fi
}

proctype claimer(byte c)
{
    byte table[DISKS];      /* state on each disk as the table read showed it, 0: not read */
    byte older[DISKS];      /* … and its generation */
    byte shown_generation, shown_state, shown_who, shown_still; /* the newest of these */
    byte seen, d, i;
    bool alone;

    atomic { age[c] = 0 } /* rule S3: t0, then the read (claim.c:start_table) */
    do
    :: atomic { d < DISKS ->
        do /* any disk that was not read yet */
        :: d < DISKS - 1 -> d++
        :: break
        od;
        if
        :: seen & bit(d)
        :: else -> seen = seen | bit(d); table[d] = disk[d].state; older[d] = disk[d].generation; merge(d)
        fi;
        d = 0 }
#ifdef NO_S4 /* what one disk shows is taken to hold for all */
    :: seen -> break
#else
    :: count(seen) >= MAJORITY -> break
#endif
    od;
    atomic { /* claim.c:choose, claim_table.c:slot_rank, dpx_claim_claimable_on */
        nobody_owns(alone);
        if
        :: shown_state == FREE -> alone = true
        :: shown_state != FREE ->
#ifdef RECLAIM
            alone = alone && shown_still == DEAD && !in_air(shown_who - 1) && shown_who != c + 1 &&
                    (shown_state == CLAIMING || dead[shown_who - 1])
#else
            alone = false
#endif
        fi;
        seen = 0;
        if
        :: !alone -> goto void
        :: alone
        fi;
        d = 0;
        do
        :: d < DISKS ->
            if
#ifdef NO_S4
            :: true ->
#else
            :: table[d] == FREE || (table[d] != NOTHING && shown_state != FREE && older[d] <= shown_generation) ->
#endif
                seen = seen | bit(d)
#ifndef NO_S4
            :: else
#endif
            fi;
            table[d] = 0; older[d] = 0;
            d++
        :: else -> break
        od;
        d = 0;
        if
        :: count(seen) < MAJORITY -> goto void
        :: else
        fi;
#ifdef NO_S3
        age[c] = 0;
#endif
        generation[c] = shown_generation + 1;
        shown_generation = 0; shown_state = 0; shown_who = 0; shown_still = 0; alone = false;
        if
        :: age[c] > T_CLAIM -> goto void /* the gate: the clock is read before a write is issued */
        :: else
        fi;
        do
        :: d < DISKS ->
            if
            :: seen & bit(d) -> air[c].on[d] = CLAIMING
            :: else
            fi;
            d++
        :: else -> break
        od;
        d = 0; writing[c] = true
    }
    /* claim.c:advance_write: all have completed, or T_claim is over */
#ifdef NO_S5
    atomic { count(good[c]) >= MAJORITY ->
#else
    atomic { good[c] == seen || age[c] >= T_CLAIM ->
#endif
        writing[c] = false; seen = good[c]; good[c] = 0;
        if
        :: count(seen) < MAJORITY -> goto void
        :: else
        fi
    }
    /* the claim is read back from the disks that count (claim.c:still_ours) */
    rest[c] >= SETTLE;
    do
    :: atomic { d < DISKS ->
        do
        :: d < DISKS - 1 -> d++
        :: break
        od;
        if
        :: seen & bit(d) -> seen = seen & ~bit(d);
            if
            :: disk[d].who == c + 1 && disk[d].generation == generation[c] && disk[d].state == CLAIMING ->
                good[c] = good[c] | bit(d)
            :: else
            fi
        :: else
        fi;
        d = 0 }
    :: count(good[c]) >= MAJORITY -> break
    :: atomic { seen == 0 && count(good[c]) < MAJORITY -> goto void }
    od;
    atomic {
        seen = 0; good[c] = 0;
#ifndef NO_S6
        if
        :: age[c] >= LIFETIME -> goto void
        :: else
        fi;
#endif
        do /* active, wherever no claiming write is still on its way */
        :: d < DISKS ->
            if
            :: air[c].on[d] == NOTHING -> air[c].on[d] = ACTIVE
            :: else
            fi;
            d++
        :: else -> break
        od;
        d = 0
    }
    /* claim.c:advance_active: the lifetime runs from t0 */
    atomic { count(good[c]) >= MAJORITY ->
        good[c] = 0;
#ifndef NO_S6
        if
        :: age[c] >= LIFETIME -> goto void
        :: else
        fi;
#endif
        i = 0;
        do
        :: i < CLAIMERS -> assert(i == c || !owner[i]); i++ /* one owner at a time */
        :: else -> break
        od;
        i = 0;
        assert(generation[c] > top_generation); /* rule S1: generations never come again */
        top_generation = generation[c];
        owner[c] = true; age[c] = DEAD; rest[c] = SETTLE
    }
    do /* heartbeats: the record is written again */
    :: atomic { owner[c] ->
        do
        :: d < DISKS - 1 -> d++
        :: break
        od;
        if
        :: air[c].on[d] == NOTHING && (disk[d].who != c + 1 || disk[d].state != ACTIVE) -> air[c].on[d] = ACTIVE
        :: else
        fi;
        d = 0 }
    :: atomic { owner[c] -> owner[c] = false; dead[c] = true; d = 0; goto end } /* its life ends */
    :: atomic { owner[c] && !in_air(c) -> d = 0; break }                          /* it leaves */
    od;
    atomic {
        good[c] = 0;
        do
        :: d < DISKS -> air[c].on[d] = FREE; d++
        :: else -> break
        od;
        d = 0; owner[c] = false; dead[c] = true; goto end
    }

void: /* nothing is written about it */
    atomic { writing[c] = false; good[c] = 0; seen = 0; rest[c] = SETTLE; age[c] = DEAD;
             shown_generation = 0; shown_state = 0; shown_who = 0; shown_still = 0; alone = false; d = 0;
             do
             :: d < DISKS -> table[d] = 0; older[d] = 0; d++
             :: else -> break
             od;
             d = 0 }
end:
    skip
}

/* Writes land in any order, at any time. */
proctype storage(byte c)
{
    byte d;
end:
    do
    :: atomic { in_air(c) ->
        do
        :: d < DISKS - 1 -> d++
        :: break
        od;
        if
        :: air[c].on[d] ->
            disk[d].state = air[c].on[d];
#ifdef RECLAIM
            still[d] = 0;
#endif
            disk[d].who = c + 1;
#ifdef NO_S1
            disk[d].generation = (disk[d].state == FREE -> 0 : generation[c]);
#else
            disk[d].generation = generation[c];
#endif
            air[c].on[d] = NOTHING;
            if
            :: disk[d].state == CLAIMING && writing[c] ->
                if
#ifndef NO_S5
                :: age[c] > T_CLAIM
#endif
                :: else -> good[c] = good[c] | bit(d); rest[c] = 0
                fi
            :: disk[d].state == ACTIVE && !owner[c] && !dead[c] -> good[c] = good[c] | bit(d)
            :: else
            fi
        :: else
        fi;
        d = 0 }
    od
}

proctype clock()
{
    byte c;
end:
    do
    :: d_step {
        c = 0;
        do
        :: c < CLAIMERS ->
            if
            :: age[c] < DEAD -> age[c]++
            :: else
            fi;
            if
            :: rest[c] < SETTLE -> rest[c]++
            :: else
            fi;
            c++
        :: else -> break
        od;
        c = 0;
        do
        :: c < DISKS ->
            if
            :: still[c] < DEAD -> still[c]++
            :: else
            fi;
            c++
        :: else -> break
        od;
        c = 0 }
    od
}

/* peers.c:dpx_peers_dead: what somebody who reads a majority of records concludes of the owner. */
proctype observer()
{
    byte shown_generation, shown_state, shown_who, shown_still, seen, d, c;
    do
    :: atomic { d < DISKS ->
        do
        :: d < DISKS - 1 -> d++
        :: break
        od;
        if
        :: seen & bit(d)
        :: else -> seen = seen | bit(d); merge(d)
        fi;
        d = 0 }
    :: count(seen) >= MAJORITY -> break
    od;
    atomic {
        do
        :: c < CLAIMERS ->
            if
#ifdef NO_D1
            :: owner[c] ->
#else
            :: owner[c] && shown_state != CLAIMING ->
#endif
                assert(shown_generation < generation[c] ||
                       (shown_generation == generation[c] && shown_who == c + 1 && shown_state != FREE))
            :: else
            fi;
            c++
        :: else -> break
        od;
        c = 0; seen = 0; shown_generation = 0; shown_state = 0; shown_who = 0; shown_still = 0
    }
}

#ifdef NO_S2
/* Somebody tidies a dead slot up without claiming it. */
proctype tidier()
{
    byte i, g;
    bool alone;
    atomic {
        nobody_owns(alone);
        alone && disk[0].state == CLAIMING && still[0] == DEAD && !in_air(disk[0].who - 1) ->
        g = disk[0].generation
    }
    atomic { disk[0].state = FREE; disk[0].who = 0; disk[0].generation = g }
}
#endif

init
{
    atomic {
        byte n;
        for (n : 0 .. DISKS - 1) {
#ifdef VOID
            disk[n].state = CLAIMING;
            disk[n].generation = 1;
            disk[n].who = CLAIMERS + 1;
#else
            disk[n].state = FREE;
#endif
            still[n] = DEAD
        }
        for (n : 0 .. CLAIMERS - 1) {
            rest[n] = SETTLE;
            age[n] = DEAD;
            run claimer(n);
            run storage(n)
        }
        run clock();
#ifdef OBSERVER
        run observer();
#endif
#ifdef NO_S2
        run tidier()
#endif
    }
}
