/* note.pml on three disks: claim, check, note, look, and the first heartbeat, each of what two of them show.
 * Protocol, section 4, rules S1, S10, S17, S18, S19 and S21 as they are, without any clock.
 *
 * A write of a claimer lands on a disk at once; one in a history comes late, at any time, or never, and fails for its
 * author.  What is read is any two disks, or all, at one moment.
 * A watcher (unless -DUNWATCHED) takes a claim for dead whose author is silent: notice, then look, on two disks; then it takes a lease that
 * nobody has whom it holds alive.  (-DMINORITY: its notice is on one disk.)  An owner's death is the concern of death3.pml.
 */
#ifndef CLAIMERS
#define CLAIMERS 2
#endif
#ifndef LATE
#define LATE 1       /* writes in a history that come late */
#endif
#define NOBODY 255

#define NOTHING 0
#define CLAIMING 1
#define ACTIVE 2
#define FREE 3
#define NOTE 4

/* on disk */
byte who[3] = NOBODY, generation[3], state[3] = FREE; /* the slot's record */
byte note[3];             /* generation in the slot's notice blocks */
byte notice[3];           /* the watcher's, about this slot: 0, or a generation */

/* writes that are still on their way */
byte air[CLAIMERS], where[CLAIMERS];
byte late;

/* what is true */
bool owner[CLAIMERS], holds[CLAIMERS], silent[CLAIMERS];
byte mine[CLAIMERS];      /* generation */
byte top_generation;
bool taken;               /* by the watcher */

#define bit(d) (1 << (d))
#define count(set) (((set) & 1) + ((set) >> 1 & 1) + ((set) >> 2 & 1))
#define most(set, of) \
    ((set & 1 && of[0] >= of[1] * (set >> 1 & 1) && of[0] >= of[2] * (set >> 2 & 1)) -> of[0] : \
     (((set & 2) && of[1] >= of[2] * (set >> 2 & 1)) -> of[1] : of[2]))
#define ours(d) (who[d] == c && generation[d] == mine[c] && state[d] == CLAIMING)
#if CLAIMERS == 3
#define nobody_holds (!holds[0] && !holds[1] && !holds[2])
#else
#define nobody_holds (!holds[0] && !holds[1])
#endif

inline put(d, kind)
{
    if
    :: kind == NOTE -> note[d] = mine[c]
    :: else -> who[d] = c; generation[d] = mine[c]; state[d] = kind
    fi
}

/* good: where it completed */
inline write(set, kind)
{
    good = 0;
    d = 0;
    do
    :: d < 3 && (set & bit(d)) && !(air[c] && where[c] == d) ->
        if
        :: put(d, kind); good = good | bit(d)
        :: late < LATE && !air[c] -> late++; air[c] = kind; where[c] = d
        fi;
        d++
    :: d < 3 && (!(set & bit(d)) || air[c] && where[c] == d) -> d++
    :: else -> break
    od;
    d = 0
}

inline any_majority(set)
{
    if
    :: set = 3
    :: set = 5
    :: set = 6
    :: set = 7
    fi
}

/* Of copies of one slot the newest, as peers.c:dpx_record_newer; FREE where a majority shows it so (rule S10). */
inline learn(set)
{
    newest = NOBODY;
    do
    :: d < 3 ->
        if
        :: (set & bit(d)) && (newest == NOBODY || generation[d] > generation[newest] ||
             generation[d] == generation[newest] && state[d] > state[newest]) -> newest = d
        :: else
        fi;
        d++
    :: else -> break
    od;
    d = 0
}

proctype claimer(byte c)
{
    byte set, good, newest, noted, known, d;
table:
    atomic { /* claim.c:start_table, choose; claim_table.c:dpx_claim_claimable_on */
        any_majority(set);
        d_step {
            learn(set);
            good = 0;
            do
            :: d < 3 ->
                if
                :: (set & bit(d)) && state[d] == FREE && generation[d] == generation[newest] -> good = good | bit(d)
                :: else
                fi;
                d++
            :: else -> break
            od;
            d = 0;
            set = (state[newest] == FREE -> good : 0);
            good = 0;
            mine[c] = generation[newest] + 1;
            newest = 0
        }
        if
        :: count(set) < 2 -> goto end
        :: else
        fi
    }
    atomic { /* claim_table.c:dpx_claim_take_notices, on those disks */
        noted = most(set, note);
#ifndef NO_S18_TABLE
        if
        :: noted >= mine[c] && noted != known -> known = noted; noted = 0; goto table
        :: else
        fi;
#endif
        known = 0;
        mine[c] = (noted >= mine[c] -> noted + 1 : mine[c]);
        mine[c] = (most(set, notice) >= mine[c] -> most(set, notice) + 1 : mine[c])
    }
    atomic { write(set, CLAIMING); set = good; good = 0;             /* claim.c:advance_write */
        if
        :: count(set) < 2 -> goto void
        :: else
        fi
    }
    atomic { /* the check: claim_table.c:dpx_claim_stands */
#ifdef NO_S18_LOOK
#define unnoted(d) true
#else
#define unnoted(d) (note[d] <= noted)
#endif
        if
        :: ((set & 1) && ours(0) && unnoted(0)) + ((set & 2) && ours(1) && unnoted(1)) +
           ((set & 4) && ours(2) && unnoted(2)) >= 2
        :: else -> goto void
        fi;
        noted = 0
    }
#ifndef NO_S18_NOTE
    atomic { write(set, NOTE); /* claim.c:start_note, look_again */
        set = good;
        if
        :: count(good) < 2 -> good = 0; goto void
        :: else -> good = 0
        fi
    }
    atomic {
        if
        :: ((set & 1) && ours(0)) + ((set & 2) && ours(1)) + ((set & 4) && ours(2)) >= 2
        :: else -> goto void
        fi
    }
#endif
    atomic { write(set, ACTIVE);                     /* claim.c:start_active; nothing is held yet */
        if
        :: count(good) < 2 -> good = 0; goto void
        :: else -> good = 0
        fi;
        owner[c] = true;
        do
        :: d < CLAIMERS -> assert(d == c || !owner[d]); d++
        :: else -> break
        od;
        d = 0;
        assert(mine[c] > top_generation);
        top_generation = mine[c]
    }
#ifdef NO_S17
    atomic { holds[c] = !taken }
#endif
beat:
    atomic { /* the first heartbeat: heart_self.c:dpx_heart_look_ok, its notices where they do not stand, its record … */
        any_majority(set);
        if
        :: air[c] -> set = set & ~bit(where[c])
        :: else
        fi;
        do
        :: d < 3 && (set & bit(d)) ->
            if
            :: note[d] > mine[c] ||
               state[d] != CLAIMING && who[d] != c && generation[d] >= mine[c] -> good = 255; break
            :: else -> note[d] = mine[c]; put(d, ACTIVE)
            fi;
            d++
        :: d < 3 && !(set & bit(d)) -> d++
        :: else -> break
        od;
        d = 0;
        if
        :: good == 255 -> goto ended
        :: good != 255 && count(set) < 2 -> goto beat
        :: else
        fi
    }
    atomic { /* … and what it reads: dpx_heart_record_stands, dpx_heart_nobody_names_us */
        if
        :: (set & 1) && notice[0] >= mine[c] || (set & 2) && notice[1] >= mine[c] || (set & 4) && notice[2] >= mine[c] ->
            goto ended
        :: else
        fi;
        if
        :: ((set & 1) && who[0] == c) + ((set & 2) && who[1] == c) + ((set & 4) && who[2] == c) >= 2 ->
            holds[c] = !taken /* else the watcher's flag is in the way */
        :: else -> goto beat /* a claim lies over it */
        fi
    }
    if
    :: atomic { !air[c] -> /* it leaves, where its notices are */
        holds[c] = false; owner[c] = false;
        write(((note[0] == mine[c]) + 2 * (note[1] == mine[c]) + 4 * (note[2] == mine[c])), FREE);
        good = 0 }
    :: skip /* it stays */
    fi;
    goto end;
ended:
    atomic { holds[c] = false; owner[c] = false }
void:
    silent[c] = true;
end:
    skip;
    d_step { set = 0; good = 0; noted = 0; known = 0; d = 0 }
}

proctype storage(byte c)
{
    byte d;
    atomic { air[c] -> d = where[c]; put(d, air[c]); air[c] = NOTHING; where[c] = 0; d = 0 }
}

/* A claimer dies, or falls asleep, while it claims. */
proctype sleep(byte c)
{
    atomic { !owner[c] && !holds[c] && (ours(0) || ours(1) || ours(2)) -> silent[c] = true }
}

#define unmoved(d) (who[d] == seen_who[d] && generation[d] == seen_generation[d] && state[d] == seen_state[d])
#define keep(d) seen_who[d] = who[d]; seen_generation[d] = generation[d]; seen_state[d] = state[d]

proctype watcher()
{
    byte seen_who[3], seen_generation[3], seen_state[3], newest, dead, a, b, d;
    bool free;
    atomic { /* whoever holds, and is awake, would have overwritten the claim by his heartbeat before T_dead */
        nobody_holds ->
        if
        :: a = 0; b = 1
        :: a = 0; b = 2
        :: a = 1; b = 2
        fi;
        newest = (generation[b] > generation[a] || generation[b] == generation[a] && state[b] > state[a] -> b : a);
        if
        :: state[newest] == CLAIMING && silent[who[newest]] -> dead = generation[newest]; keep(a); keep(b); newest = 0
        :: else -> goto end
        fi
    }
    notice[a] = dead;
#ifndef MINORITY
    notice[b] = dead;
#endif
    atomic { if :: unmoved(a) :: else -> goto end fi }
    atomic { if :: unmoved(b) :: else -> goto end fi }
    atomic { /* area.c:scan_flag, peers.c:dpx_peers_dead */
        free = true;
        do
        :: d < CLAIMERS -> free = free && !(holds[d] && mine[d] > dead); d++
        :: else -> break
        od;
        d = 0;
        if
        :: free -> taken = true; assert(nobody_holds)
        :: else
        fi
    }
end:
    skip;
    d_step { free = false; dead = 0; newest = 0 }
}

init
{
    byte n;
    atomic {
        for (n : 0 .. CLAIMERS - 1) {
            run claimer(n);
            run storage(n);
            run sleep(n)
        }
#ifndef UNWATCHED
        run watcher()
#endif
    }
}
