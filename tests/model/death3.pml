/* death.pml on three disks: heartbeats and silence are each what two of them agree on.  Protocol, sections 4 to 6.
 *
 * Disk by disk the watched host writes its record and then reads the notices.  Two such chains make a heartbeat; the
 * lifetime runs from the issue of the older one.  Every write may land late, on any disk, while others go on.
 * Disk by disk the watcher, once it has sentenced the host, writes its notice, and looks at the record.  (A read shows what
 * stands there at one moment; how long it takes is death.pml's concern.)
 *
 *   without -DFREEZE  clocks run: whoever is buried has no holder any more
 *   with -DFREEZE     the watched host is stopped together with its clock, and wakes up at any time.  What it holds on
 *                     account of what it wrote before, no timeout can end; but once a heartbeat was issued after that, it
 *                     is not buried beside it
 *   -DAT_ONCE         … no time passes after it woke up, and nothing was under way when it fell asleep
 *   -DCOVER           once, at any time, somebody's late claim lands over its record on one disk
 *   -DSTALE           what the watcher reads on one disk may be old content of all of it, its own record included
 *   -DLIFE            the watcher is a host like any other: it looks after it wrote its own record, its lifetime comes of
 *                     such chains, and it acts on a burial only within it.  A third host buries it as soon as its record is
 *                     really silent, in one step; then it acts no more
 *   -DPAUSED          … the watcher is stopped once, together with its clock, at any time: what it does before it has
 *                     completed a heartbeat that was issued after that, no timeout can prevent
 */
#define S 2          /* the lifetime */
#define STOPPED 2    /* S + K + W: by then all holders are */
#define T_DEAD 3
#ifndef CHAINS
#define CHAINS 1     /* on each disk, after those that were complete in the beginning */
#endif
#define IDLE 255
#define CLAIM 99

/* on disk */
byte record[3];      /* the watched host's: the number of a write */
bool notice[3];

/* the watched host */
bool holding = true;
#ifdef FREEZE
bool frozen = true;
#else
bool frozen;
#endif
byte proof[3];       /* of the last chain that ran through: its number, … */
byte age[3];         /* … ticks since the issue of its record, … */
bool fresh[3];       /* … and whether that was after it woke up */
byte issue[3] = IDLE; /* ticks since the issue of the record under way */
byte written[3];     /* the last number that landed there */

/* the watcher */
byte known[3];       /* what the record there showed last */
byte still[3];       /* ticks since it showed that first */
byte base[3];        /* what had landed when it looked last */
bool ripe[3];        /* it showed that for T_dead, up to the last look */
bool after[3];       /* … which came after the notice there */
bool sentenced, buried;
hidden byte shown, landed; /* of the present look */
byte old_record, old_landed; /* what the slow path to disk 1 shows … */
bool old_ours;       /* … and the watcher's own last record is there, too */

/* its own record */
byte own_issue = IDLE; /* ticks since the issue of the one under way */
byte own_age[3];       /* ticks since the issue of that of its last chain that ran through, … */
byte own_still[3];     /* … and since the last one landed */
bool own_told[3];      /* the third host's notice */
bool own_buried, own_late, own_later[3]; /* it is held dead; chains that landed after that, and ran through */
bool own_frozen, own_unaware, own_woken, own_fresh[3];
bool own_ended, acted;

#define two(a, b, c) (a && b || a && c || b && c)
#define least(a, b) (a < b -> a : b)
#define most(a, b) (a > b -> a : b)
#ifdef NO_OLDEST     /* from the newest issue */
#define proven(a, b, c) least(a, least(b, c))
#else                /* heart.c:prove */
#define proven(a, b, c) most(least(a, b), least(most(a, b), c))
#endif
#define life proven(age[0], age[1], age[2])
#define own_life proven(own_age[0], own_age[1], own_age[2])
#define later(d) (proof[d] > base[d])
#define overlooked (buried && two(later(0), later(1), later(2)))
#ifdef FREEZE
#define unaware (frozen || !two(fresh[0], fresh[1], fresh[2]))
#else
#define unaware false
#endif
#define awake (!frozen && holding)

proctype watched(byte d)
{
    byte chains;
    bool woken, told;
    do
#ifdef AT_ONCE
    :: atomic { awake && chains < CHAINS -> chains++; issue[d] = 0; woken = true }
#else
    :: atomic { holding && life < S && chains < CHAINS -> chains++; issue[d] = 0; woken = !frozen }
#endif
#ifdef NO_S7
        atomic { awake -> told = notice[d] }
        d_step { record[d] = chains; written[d] = chains } /* it lands some time */
#else
        d_step { record[d] = chains; written[d] = chains } /* it lands some time */
        told = notice[d];
#endif
        atomic { awake ->
            if
            :: told || life >= S ->
#ifndef FREEZE
                assert(life >= S); /* nobody is told that it is dead who is not */
#endif
                holding = false
            :: else -> proof[d] = chains; age[d] = issue[d]; fresh[d] = woken; assert(!overlooked)
            fi;
            issue[d] = IDLE; woken = false; told = false
        }
    :: chains == CHAINS -> break
    od
}

/* The keeper and the watchdog: holders stop once the lifetime is over, by S + K + W. */
proctype keeper()
{
    atomic { holding && !frozen && life >= S -> holding = false }
}

proctype freezer()
{
#ifdef FREEZE
    frozen = false
#else
    skip
#endif
}

inline tick(clock, cap)
{
    if
    :: clock < cap -> clock++
    :: else
    fi
}

#ifdef LIFE
#define time_passes (!acted && !own_ended && !(holding && !frozen && life >= STOPPED))
#elif defined(AT_ONCE)
#define time_passes frozen
#else
#define time_passes (holding && (frozen || life < STOPPED)) /* nothing is left to be seen otherwise */
#endif
proctype clock()
{
end:
    do
    :: d_step { time_passes ->
        if
        :: !frozen -> tick(age[0], S); tick(age[1], S); tick(age[2], S);
            tick(issue[0], S); tick(issue[1], S); tick(issue[2], S)
        :: else
        fi;
        if
        :: !own_frozen -> tick(still[0], T_DEAD); tick(still[1], T_DEAD); tick(still[2], T_DEAD);
#ifdef LIFE
            tick(own_age[0], S); tick(own_age[1], S); tick(own_age[2], S); tick(own_issue, S)
#endif
        :: else
        fi;
#ifdef LIFE
        tick(own_still[0], T_DEAD); tick(own_still[1], T_DEAD); tick(own_still[2], T_DEAD)
#endif
        }
    od
}

#if !defined(STALE)
#define write_own(d) skip
#else
#define write_own(d) old_ours = old_ours && d != 1
#endif
#ifdef NO_S8
#define believable true
#else                /* heart_self.c:dpx_heart_record_stands; else that chain is as good as none */
#define believable old_ours
#endif

inline look(d, noticed) /* peers.c:look */
{
    if
#ifdef STALE
    :: d == 1 && believable -> shown = old_record; landed = old_landed
#endif
    :: shown = record[d]; landed = written[d]
    fi;
    if
#ifdef NO_D6
    :: shown > known[d] && shown != CLAIM ->
#else
    :: shown != known[d] ->
#endif
        known[d] = shown; still[d] = 0; ripe[d] = false;
        after[0] = false; after[1] = false; after[2] = false /* its sentence is void */
    :: else -> ripe[d] = still[d] >= T_DEAD; after[d] = noticed
    fi;
    base[d] = landed
}

#ifdef NO_D3_SILENT /* unmoved since sentence was passed; else heart_notices.c:disks_agreeing */
#define sure(d) after[d]
#else
#define sure(d) (after[d] && ripe[d])
#endif
#ifdef MINORITY
#define enough(a, b, c) (a || b || c)
#else
#define enough(a, b, c) two(a, b, c)
#endif

inline judge() /* heart_notices.c:dpx_heart_sentence, dpx_heart_execute */
{
    if
    :: !sentenced && enough(ripe[0], ripe[1], ripe[2]) -> sentenced = true
    :: sentenced && enough(sure(0), sure(1), sure(2)) ->
        buried = true;
        assert(!overlooked);
        assert(unaware || !holding)
    :: else
    fi
}

#ifdef LIFE
#define watching (!buried && !own_ended)
#define own_awake (!own_frozen && !own_ended)
#define own_overlooked (own_buried && two(own_later[0], own_later[1], own_later[2]))

/* heart.c:dpx_heart_step: notices, if they changed → own record → the look.  One disk after the other, in any order. */
inline own_chain(d)
{
    atomic { own_awake && own_life < S -> noted = notice[d] }
    if
    :: atomic { sentenced -> notice[d] = true; noted = true }
    :: atomic { !sentenced || noted }
    fi;
    atomic { own_awake ->
        if
        :: own_life >= S -> own_ended = true; goto out
        :: else -> own_issue = 0; own_woken = true
        fi
    }
#ifdef NO_S7
    atomic { own_awake -> told = own_told[d] }
    d_step { own_still[d] = 0; own_late = own_buried; write_own(d) }
    atomic { own_awake ->
#else
    d_step { own_still[d] = 0; own_late = own_buried; write_own(d) } /* it lands some time */
    atomic { own_awake -> told = own_told[d];
#endif
        if
        :: told || own_life >= S ->
#ifndef PAUSED
            assert(own_life >= S); /* nobody is told that it is dead who is not */
#endif
            own_ended = true
        :: else ->
            own_age[d] = own_issue; own_later[d] = own_late; own_fresh[d] = own_woken;
            own_unaware = own_unaware && !two(own_fresh[0], own_fresh[1], own_fresh[2]);
            assert(!own_overlooked);
            look(d, noted);
            judge()
        fi;
        own_issue = IDLE; own_late = false; own_woken = false; told = false; noted = false
    }
}
#else
#define watching (holding && !buried)
#endif
inline chain(d)
{
#ifdef NO_D3
    atomic { watching && sentenced -> look(d, true); judge() }
#else
    atomic { watching && sentenced -> notice[d] = true; write_own(d) }
    atomic { look(d, true); judge() }
#endif
}

proctype watcher()
{
#ifdef LIFE
    bool told, noted;
    do
    :: own_chain(0)
    :: own_chain(1)
    :: own_chain(2)
    :: atomic { own_awake && own_life >= S -> own_ended = true; break }
    :: own_ended -> break
#ifdef NO_L4
    :: atomic { own_awake && buried -> /* round_take.c:take */
#else
    :: atomic { own_awake && buried && own_life < S -> /* round_take.c:take */
#endif
        acted = true;
        assert(own_unaware || !own_buried);
        break }
    od;
out:
    skip
#else
    do
    :: atomic { watching && !sentenced -> look(0, false); judge() }
#ifdef STALE
    :: atomic { watching && !sentenced -> write_own(1) }
        atomic { look(1, false); judge() }
#else
    :: atomic { watching && !sentenced -> look(1, false); judge() }
#endif
    :: atomic { watching && !sentenced -> look(2, false); judge() }
    :: chain(0)
    :: chain(1)
    :: chain(2)
    :: !watching -> break
    od
#endif
}

/* It sees what stands on the disks, when it stands there, and its notice is there at once. */
inline bury_watcher(a, b)
{
    own_still[a] >= T_DEAD && own_still[b] >= T_DEAD -> own_told[a] = true; own_told[b] = true; own_buried = true
}

proctype third()
{
    if
    :: d_step { bury_watcher(0, 1) }
    :: d_step { bury_watcher(0, 2) }
    :: d_step { bury_watcher(1, 2) }
    fi
}

proctype pause()
{
    d_step {
        own_frozen = true; own_unaware = true; own_woken = false;
        own_fresh[0] = false; own_fresh[1] = false; own_fresh[2] = false
    }
    own_frozen = false
}

proctype path()
{
end:
    do
    :: atomic { watching && (old_record != record[1] || !old_ours) ->
        old_record = record[1]; old_landed = written[1]; old_ours = true }
    od
}

proctype late_claim()
{
#ifdef COVER
    record[0] = CLAIM
#else
    skip
#endif
}

init
{
    atomic {
        run watched(0); run watched(1); run watched(2); run keeper(); run freezer(); run clock(); run watcher();
#ifdef LIFE
        run third();
#endif
#ifdef PAUSED
        run pause();
#endif
#ifdef STALE
        run path();
#endif
        run late_claim()
    }
}
