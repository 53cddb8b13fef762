/* Silence that several have measured, with clocks, on one disk: rules D8, D9 and D11.
 *
 * death.pml with its one watcher replaced by short-lived processes of one machine, which share a file of sightings: what
 * a slot showed, and the clock when that read was complete.  Each goes on where the last one stopped.
 *
 *   without -DCERTIFICATE  the process that completes the silence writes its notice, reads once more, and buries
 *   with -DCERTIFICATE     it certifies what it saw; another machine, whose own clock is not asked, buries on that
 *                          account.  The watched host sees nothing of what the first one wrote
 *   -DFREEZE               the watched host may be stopped at any step together with its clock, once, for any time
 *   -DCOVER                once, at any time, somebody's late claim lands over the watched host's record
 *   -DHEIR                 the slot's last owner is long silent, and the file says so; the watched host claims the slot at any
 *                          time, and who is sentenced is whom a flag names that was met
 *   -DOTHER_CLOCK          the clock of who reads the file is ahead: another time namespace, another boot
 */
#define S 2          /* the lifetime */
#define STOPPED 3    /* S + K + W: by then all holders are */
#define T_DEAD 4     /* … times 1.11 and something: more than that */
#define CAP 6
#define CLAIM 99     /* what a record shows that lies below a claim */
#ifndef BEATS
#define BEATS 2
#endif
#ifndef PROCESSES
#define PROCESSES 2
#endif
#ifndef LOOKS
#define LOOKS 1      /* of each */
#endif
#ifdef OTHER_CLOCK
#define AHEAD 2
#else
#define AHEAD 0
#endif

/* on disk */
byte beat;           /* the watched host's counter; with HEIR 0 is the last owner's */
bool covered;        /* a claim lies over the record */
bool notice;         /* of who buries, about the watched host */
bool flag;           /* the watched host's, in some lease */

/* the watched host */
#ifdef HEIR
bool holding;
#else
bool holding = true;
#endif
bool ended, frozen, was_frozen;
byte life;           /* ticks since the issue of the last heartbeat that completed */
byte issue;          /* … of the one under way */
byte completed;      /* counter of the last heartbeat that completed */

/* the machine that watches */
bool noted;          /* the file holds a sighting: */
byte sighted;        /* what the record showed … */
byte since;          /* … and the ticks since that read was complete */
byte read_since[PROCESSES]; /* of each process, the ticks since its last read was complete */
bool met;            /* the flag of the incarnation that is meant, by some round */

/* who buries */
bool certified;
byte certificate;
bool buried;
byte base;           /* the counter that was buried */

#define sees_the_other (!buried || completed <= base)
#define awake (!frozen && !ended)
#define shown (covered -> CLAIM : beat)
#if !defined(HEIR)
#define meant true
#elif defined(NO_D7)
#define meant met
#else
#define meant met_before
#endif
#ifdef NO_D6 /* a claim is no heartbeat of the owner: nothing has moved */
#define same(now, before) (now == before || now == CLAIM)
#else
#define same(now, before) (now == before)
#endif

proctype watched() /* death.pml */
{
    byte counter;
    bool told;
#ifdef HEIR
    atomic { life = 0; holding = true }
#endif
    do
    :: atomic { awake && life < S && counter < BEATS -> counter++; issue = 0 }
        d_step { beat = counter; covered = false }
        atomic { awake -> told = notice }
        atomic { awake ->
            if
            :: told || life >= S -> assert(was_frozen || life >= S); ended = true; goto end
            :: else -> life = issue; completed = counter; flag = true; assert(sees_the_other)
            fi;
            told = false
        }
    :: atomic { awake && (life >= S || counter == BEATS) -> goto end }
    od;
end:
    skip
}

proctype keeper()
{
    atomic { holding && !frozen && (life >= S || ended) -> holding = false }
}

proctype freezer()
{
#ifdef FREEZE
    atomic { frozen = true; was_frozen = true }
    frozen = false
#else
    skip
#endif
}

inline tick(age)
{
    if
    :: age < CAP -> age++
    :: else
    fi
}

proctype clock()
{
    byte i;
end:
    do
    :: d_step { !(holding && !frozen && life >= STOPPED) ->
        if
        :: !frozen -> tick(life); tick(issue)
        :: else
        fi;
        if
        :: noted -> tick(since)
        :: else
        fi;
        i = 0;
        do
        :: i < PROCESSES -> tick(read_since[i]); i++
        :: else -> break
        od;
        i = 0 }
    od
}

proctype late_claim()
{
#ifdef COVER
    covered = true
#else
    skip
#endif
}

proctype meet()
{
#ifdef HEIR
    atomic { flag -> met = true }
#else
    skip
#endif
}

inline forget()
{
    now = 0; had = false; before = 0; asked = 0; met_before = false; silent = false
}

inline bury(content, upto)
{
    if
    :: !buried && same(shown, content) ->
        buried = true;
        base = upto;
        assert(sees_the_other);
        assert(was_frozen || !holding)
    :: else
    fi
}

proctype watcher(byte p)
{
    byte looks, now, before, asked;
    bool had, met_before, silent;
    do
    :: looks < LOOKS && !buried ->
        looks++;
        /* the file is read, then the look is issued */
        d_step {
            had = noted; before = sighted; asked = since + AHEAD; met_before = met; read_since[p] = 0
        }
        now = shown; /* at some moment between issue and completion */
        d_step {     /* complete: the clock is read */
#ifndef NO_D2_FROM   /* else the sighting is as old as the issue of its look */
            read_since[p] = 0;
#endif
#ifdef NO_D2_TO      /* silence up to the completion of the last look */
            asked = (had -> since + AHEAD : 0);
#endif
            if
            :: had && same(now, before) -> silent = asked >= T_DEAD && meant
            :: else -> silent = false; had = false
            fi
        }
        if
        :: !had -> d_step { /* the file is written, some time later: sightings.c:dpx_sighting_merge */
            if
            :: noted && (sighted == now || since < read_since[p]) /* of one content the earlier stays, else the later */
            :: else -> noted = true; sighted = now; since = read_since[p]
            fi }
        :: had && silent -> break
        :: else
        fi;
        d_step { forget() }
    :: else -> goto end
    od;
#ifdef CERTIFICATE
    atomic { certified = true; certificate = now; forget(); looks = 0 }
#else
    before = now;
    notice = true;
    atomic { bury(before, beat); forget(); looks = 0 }
#endif
end:
    skip
}

proctype reader() /* another machine */
{
#ifdef CERTIFICATE
    byte number;
    atomic { certified ->
#if defined(HEIR) && !defined(NO_D9_GENERATION) /* content 0 is of the last owner's generation */
        if
        :: certificate == 0 -> goto end
        :: else
        fi;
#endif
        skip
    }
#ifndef NO_D9_NOTICE
    notice = true;
#endif
    atomic { number = (certificate == CLAIM -> beat : certificate); bury(certificate, number) };
end:
    skip
#else
    skip
#endif
}

init
{
    byte n;
    atomic {
        run watched(); run keeper(); run freezer(); run clock(); run late_claim(); run meet(); run reader();
        for (n : 0 .. PROCESSES - 1) {
            run watcher(n)
        }
#ifdef HEIR
        noted = true; sighted = 0; since = CAP
#endif
    }
}
