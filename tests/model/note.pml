/* Claims of one slot without any clock: protocol, section 4, rules S17 and S18.
 *
 * claim.pml counts time; here every clock may stand still at any step, for as long as it
 * likes (a paused machine), so "at most T_claim" and "at least 1.5 T_claim" mean nothing.
 * What is left is order: claim, then look at the notes; note, then look at the record.
 * Any claim may look silent, its author dead or asleep: a watcher declares its generation
 * dead, and takes a lease that nobody whom it holds alive has.
 *
 *   -DDAMAGE  the watcher's record may turn to garbage: nobody reads any more that it announces a notice
 */
#ifndef CLAIMERS
#define CLAIMERS 3
#endif
#define NOBODY 255

#define FREE 1
#define CLAIMING 2
#define ACTIVE 3

/* on disk */
byte who = NOBODY, generation, state = FREE; /* the slot's record */
byte moves;               /* … its counter */
byte note;                /* generation in the slot's notice blocks */
byte notice;              /* the watcher's, about this slot, announced: 0, or a generation */
bool damaged;             /* the watcher's record */

/* what is true */
bool owner[CLAIMERS], holds[CLAIMERS], silent[CLAIMERS];
byte mine[CLAIMERS];      /* generation */
byte top_generation;
byte buried;              /* the watcher holds all up to this generation dead */
bool taken;               /* by the watcher */

#ifdef NO_S20 /* a damaged record announces nothing */
#define declared (damaged -> 0 : notice)
#else
#define declared notice
#endif

#define ours (who == c && generation == mine[c] && state == CLAIMING)

#if CLAIMERS == 3
#define nobody_holds (!holds[0] && !holds[1] && !holds[2])
#else
#define nobody_holds (!holds[0] && !holds[1])
#endif

inline write(s)
{
    who = c; generation = mine[c]; state = s; moves++
}

inline hold()
{
    holds[c] = !taken /* else the watcher's flag is in the way */
}

proctype claimer(byte c)
{
    byte noted, known, i;
table:
    atomic { state == FREE -> mine[c] = generation + 1 } /* claim.c:start_table, choose */
    atomic { /* claim_table.c:carry_entries */
        noted = note;
#ifndef NO_S18_TABLE
        if /* claim.c:advance_notices: an owner later than the table, whose note was not known when it was read */
        :: note >= mine[c] && note != known -> known = note; goto table
        :: else
        fi;
#endif
        mine[c] = (note >= mine[c] -> note + 1 : mine[c]);
        mine[c] = (declared >= mine[c] -> declared + 1 : mine[c]);
        known = 0
    }
    atomic { write(CLAIMING) }                           /* claim.c:start_write */
#ifdef NO_S18_LOOK
    atomic { if :: ours :: else -> goto void fi }
#else
    atomic { if :: ours && note <= noted :: else -> goto void fi } /* claim_table.c:dpx_claim_stands */
#endif
#ifndef NO_S18_NOTE
    note = mine[c];                                      /* claim.c:start_note */
    atomic { if :: ours :: else -> goto void fi }
#endif
    atomic { /* claim.c:start_active; nothing is held yet */
        write(ACTIVE);
        owner[c] = true;
        i = 0;
        do
        :: i < CLAIMERS -> assert(i == c || !owner[i]); i++
        :: else -> break
        od;
        i = 0;
        assert(mine[c] > top_generation);
        top_generation = mine[c]
    }
#ifdef NO_S17
    atomic { hold() }
#endif
beat:
    atomic { write(ACTIVE) }                             /* the first heartbeat … */
    atomic { /* heart.c:own_record_stands, heed_entry: … reads */
        if
        :: who != c && state == CLAIMING -> goto beat /* a claim lies over it: rule S8 */
        :: (who == c || state != CLAIMING) && (declared >= mine[c] || who != c) ->
            holds[c] = false; owner[c] = false; goto void
        :: else -> hold()
        fi
    }
    if
    :: atomic { holds[c] = false; owner[c] = false; write(FREE) } /* it leaves */
    :: skip                                                       /* it stays */
    fi;
    goto end;
void:
    silent[c] = true;
end:
    skip
}

/* Claimers die, or fall asleep, while they claim; an owner's death is death.pml's concern. */
proctype sleep(byte c)
{
    atomic { !owner[c] && !holds[c] && who == c && state == CLAIMING -> silent[c] = true }
}

proctype watcher()
{
    byte seen_who, seen_moves, seen, i;
    bool free;
    atomic { /* whoever holds, and is awake, would have overwritten the claim by his heartbeat before T_dead */
        state == CLAIMING && silent[who] && nobody_holds -> seen_who = who; seen_moves = moves; seen = generation
    }
    notice = seen;                                       /* heart_notices.c:dpx_heart_sentence */
    atomic { /* dpx_heart_execute: unmoved after that */
        if
        :: who == seen_who && moves == seen_moves -> buried = seen
        :: else
        fi
    }
    atomic { /* peers.c:dpx_peers_dead, area.c:scan_flag */
        free = true;
        i = 0;
        do
        :: i < CLAIMERS -> free = free && !(holds[i] && mine[i] > buried); i++
        :: else -> break
        od;
        i = 0;
        if
        :: free -> taken = true;
            do
            :: i < CLAIMERS -> assert(!holds[i]); i++
            :: else -> break
            od
        :: else
        fi
    }
}

proctype damage()
{
#ifdef DAMAGE
    damaged = true
#else
    skip
#endif
}

init
{
    byte n;
    atomic {
        for (n : 0 .. CLAIMERS - 1) {
            run claimer(n);
            run sleep(n)
        }
        run watcher();
        run damage()
    }
}
