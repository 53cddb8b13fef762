/* Claims of one slot without any clock: protocol, section 4, rules S17 and S18.
 *
 * claim.pml counts time; here every clock may stand still at any step, for as long as it
 * likes (a paused machine), so "at most T_claim" and "at least 1.5 T_claim" mean nothing.
 * What is left is order: claim, then look at the notes; note, then look at the record.
 * Any claim may look silent, its author dead or asleep: a watcher declares its generation
 * dead, and takes a lease that nobody whom it holds alive has.
 *
 *   -DDAMAGE       the watcher's notice may turn to garbage: nobody reads any more whom it names
 *   -DCERTIFICATE  its notice certifies the record that it rests on, and a reader on another machine takes the lease on that
 *                  account: rules D8, D9, D10.  What the watcher believes itself is not looked at
 *   -DLOST         … and the watcher's notice may be lost by whoever owns its slot next
 *   -DFALLS_BACK   the copy of a claim that came to nothing is damaged: the slot shows again what lay below it
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
byte notice;              /* the watcher's, about this slot: 0, or a generation */
bool damaged;             /* … and it cannot be read */
bool beaten;              /* the watcher's record, which it writes after the notice */
#ifdef CERTIFICATE
byte certified_who, certified_moves; /* the record that the notice certifies */
byte second;              /* the reader's notice */
#endif

/* what is true */
bool owner[CLAIMERS], holds[CLAIMERS], silent[CLAIMERS];
byte mine[CLAIMERS];      /* generation */
byte top_generation;
byte buried;              /* the watcher holds all up to this generation dead */
bool taken;               /* by the watcher */

#ifdef CERTIFICATE
#define declared (notice > second && !damaged -> notice : second)
#else
#define declared (damaged -> 0 : notice)
#endif
#ifdef NO_S20 /* what cannot be read names nobody */
#define perhaps_named false
#else         /* unless the watcher's record is the one that our claim saw before it was written */
#define perhaps_named (damaged && beaten != vouched)
#endif
#define UNREAD 10 /* how far a claim jumps ahead then: 2^10 */

#define ours (who == c && generation == mine[c] && state == CLAIMING)

#if CLAIMERS == 3
#define nobody_holds (!holds[0] && !holds[1] && !holds[2])
#define nobody_owns (!owner[0] && !owner[1] && !owner[2])
#else
#define nobody_holds (!holds[0] && !holds[1])
#define nobody_owns (!owner[0] && !owner[1])
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
    bool vouched;
table:
    atomic { state == FREE -> mine[c] = generation + 1; vouched = beaten } /* claim.c:start_table, choose */
    atomic { /* claim_table.c:dpx_claim_take_notices */
        noted = note;
#ifndef NO_S18_TABLE
        if /* claim.c:advance_notices: an owner later than the table, whose note was not known when it was read */
        :: note >= mine[c] && note != known -> known = note; goto table
        :: else
        fi;
#endif
        mine[c] = (note >= mine[c] -> note + 1 : mine[c]);
        mine[c] = (declared >= mine[c] -> declared + 1 : mine[c]);
#ifndef NO_S1_UNREAD /* claim_table.c:dpx_claim_generation_step */
        mine[c] = mine[c] + (damaged -> UNREAD : 0);
#endif
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
    atomic { /* heart_self.c: … reads */
        if
        :: who != c && state == CLAIMING -> goto beat /* a claim lies over it: rule S8 */
        :: (who == c || state != CLAIMING) && declared < mine[c] && who == c && perhaps_named -> goto void /* it proves nothing */
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

/* area.c:scan_flag: it takes the lease if nobody is in the way whom it does not hold dead. */
inline take(dead)
{
    atomic { /* peers.c:dpx_peers_dead */
        free = true;
        i = 0;
        do
        :: i < CLAIMERS -> free = free && !(holds[i] && mine[i] > dead); i++
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

#ifdef NO_D10_CLAIM /* a mere claim above it, which may be void */
#define past(named) (generation > named || state == FREE && generation == named)
#elif defined(NO_D10_FREE) /* free, at whatever generation */
#define past(named) (state != CLAIMING && generation > named || state == FREE)
#else /* heart_notices.c:served_its_purpose */
#define past(named) (state != CLAIMING && generation > named || state == FREE && generation == named)
#endif

proctype watcher()
{
    byte seen_who, seen_moves, seen;
#ifndef CERTIFICATE
    byte i;
    bool free;
#endif
    atomic { /* whoever holds, and is awake, would have overwritten the claim by his heartbeat before T_dead */
        state == CLAIMING && silent[who] && nobody_holds -> seen_who = who; seen_moves = moves; seen = generation
    }
    d_step { /* heart_notices.c:dpx_heart_sentence */
        notice = seen; damaged = false;
#ifdef CERTIFICATE
        certified_who = seen_who; certified_moves = seen_moves
#endif
    }
    beaten = true;
    atomic { /* dpx_heart_execute: unmoved after that */
        if
        :: who == seen_who && moves == seen_moves -> buried = seen
        :: else
        fi
    }
#ifdef CERTIFICATE
    if
    :: atomic { past(seen) -> notice = 0 }
#ifdef LOST
    :: notice = 0
#endif
    :: skip
    fi
#else
    take(buried)
#endif
}

proctype reader() /* heart_notices.c:sentence_by_certificate, dpx_heart_execute */
{
#ifdef CERTIFICATE
    byte i, dead, its_who, its_moves;
    bool free;
    atomic { notice != 0 && !damaged -> dead = notice; its_who = certified_who; its_moves = certified_moves }
#ifndef NO_D9_NOTICE
    second = dead;
#endif
    atomic {
        if
#ifdef NO_D8_NONCE /* two claims of one generation look alike */
        :: generation == dead && state == CLAIMING
#else
        :: who == its_who && moves == its_moves
#endif
        :: else -> goto end
        fi
    }
    if
#ifdef NO_D10 /* withdrawn, but its author goes on holding dead */
    :: second = 0
#endif
    :: atomic { past(dead) -> second = 0 }
    :: skip
    fi;
    take(dead);
end:
    skip
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

/* The copy of a claim that came to nothing is damaged, or what lay below it lies over it. */
proctype fall_back()
{
#ifdef FALLS_BACK
    byte before;
    atomic { state == FREE -> before = generation }
    atomic { state == CLAIMING && silent[who] && nobody_owns && note <= before && generation > before ->
        state = FREE; generation = before; who = NOBODY; moves++ }
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
        run reader();
        run fall_back();
        run damage()
    }
}
