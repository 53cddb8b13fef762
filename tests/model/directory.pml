/* Header changes of one area on three disks, cut short at any step: protocol, section 4a.
 *
 * Lease 0 and the area's own lease are taken here in one step each, among the living: how
 * is rounds.pml's concern.  An own block is written on a majority before its round goes on,
 * so every later read of a majority shows it: one copy of it is enough.  Header copies are
 * three, and a write of one may come arbitrarily late, from the living and from the dead.
 *
 *   -DFAIL      the last header write of a changer may fail, and those of a dead one never come
 *   -DSETTLES   what was reported must stand on a majority once nothing is in flight
 *   -DIMMORTAL  nobody dies
 *   -DUNUSED    nobody takes the lease
 *
 * A header's value is the number of the changer that created it, or 0 once it was deleted.
 */
#ifndef CHANGERS
#define CHANGERS 2
#endif
#define NOBODY 255
#define TAKER 254

typedef header_t { byte token; byte value }
typedef writes_t { bool on[3] }

header_t disk[3];
writes_t air[CHANGERS];      /* header writes in flight: content under work_token, work_value */
byte work_token[CHANGERS];
byte work_value[CHANGERS];
byte change_token[CHANGERS]; /* in the own block of the area, while its flag is up */
byte own_token[CHANGERS];    /* the directory token there */
bool dead[CHANGERS];
byte directory = NOBODY;     /* who holds lease 0 … */
byte area = NOBODY;          /* … and the area */
byte top_token;
byte truth;                  /* the value that was last reported, or settled by a resolver */

#define drained(k) (!air[k].on[0] && !air[k].on[1] && !air[k].on[2])

#define is_free(lease) (lease == NOBODY || (lease < CHANGERS && dead[lease]))

/* What one disk's image says of own blocks and of changes under way. */
inline see_own()
{
    i = 0;
    do
    :: i < CHANGERS -> seen_own = (own_token[i] > seen_own -> own_token[i] : seen_own); i++
    :: else -> break
    od;
    i = 0
}

/* A read of two disks, one after the other; of copies the highest token (area.c:newest_copy). */
inline read_header(alive)
{
    d = 0; token = 0; value = 0; seen_own = 0;
    if
    :: atomic { alive -> d = 0 }
    :: atomic { alive -> d = 1 }
    :: atomic { alive -> d = 2 }
    :: atomic { !(alive) -> goto out }
    fi;
    atomic { token = disk[d].token; value = disk[d].value; first = d; d = 0; see_own() }
    if
    :: atomic { (alive) && first != 0 -> d = 0 }
    :: atomic { (alive) && first != 1 -> d = 1 }
    :: atomic { (alive) && first != 2 -> d = 2 }
    :: atomic { !(alive) -> goto out }
    fi;
    atomic {
        if
#ifdef NO_F3
        :: true ->
#else
        :: disk[d].token >= token ->
#endif
            token = disk[d].token; value = disk[d].value
        :: disk[d].token < token
        fi;
        d = 0; first = 0;
        see_own()
    }
}

/* area.c:scan_change, dpx_view_scan: header_stale; round_take.c:undrained */
inline scan()
{
    d = 0; open = false; wait = false; stale = false;
    do
    :: d < CHANGERS ->
        if
#ifndef NO_OPEN
        :: dead[d] && change_token[d] && token <= change_token[d] ->
            open = true;
            wait = wait || !drained(d)
#endif
        :: else
        fi;
        d++
    :: else -> break
    od;
#ifndef NO_STALE
    stale = seen_own > token;
#endif
    seen_own = 0;
    d = 0
}

proctype changer(byte k)
{
    byte token, value, d, i, first, meant, seen_own;
    bool open, wait, stale, resolving, changed;

    atomic { !dead[k] && is_free(directory) -> directory = k; top_token++; work_token[k] = top_token }
    read_header(!dead[k]);
    atomic {
        if
        :: dead[k] -> goto out
        :: else
        fi;
        scan();
        if
        :: stale -> goto release /* damaged: reported */
#ifndef NO_DRAIN
        :: !stale && open && wait -> goto release
#endif
        :: else
        fi;
        resolving = open; meant = token
    }
#ifndef L8_AREA
    atomic { dead[k] || is_free(area) ->
        if
        :: dead[k] -> goto out
        :: else -> area = k;
#ifndef L8_ANNOUNCE
            change_token[k] = work_token[k];
#endif
            own_token[k] = (token > own_token[k] -> token : own_token[k])
        fi
    }
#endif
    read_header(!dead[k]);
    atomic { /* the judging read */
        if
        :: dead[k] -> goto out
        :: else
        fi;
        scan();
        if
        :: stale || (open && !resolving) || (token != meant && !resolving) -> goto release
        :: else
        fi;
        /* change.c:compose */
        if
        :: resolving -> work_value[k] = value
        :: else ->
            assert(value == truth); /* a change starts from what was settled */
            work_value[k] = (value == 0 -> k + 1 : 0)
        fi;
        assert(area != TAKER); /* nobody holds what changes */
        air[k].on[0] = true; air[k].on[1] = true; air[k].on[2] = true
    }
#ifdef L8_DURABLE
    dead[k] || !air[k].on[0] || !air[k].on[1] || !air[k].on[2];
#else
    dead[k] || air[k].on[0] + air[k].on[1] + air[k].on[2] <= 1; /* change.c:advance_blocks */
#endif
    changed = true;
release:
    atomic {
        if
        :: dead[k] -> goto out
        :: else
        fi;
        if /* reported once this is durable; the own block names the new header's token */
        :: changed -> truth = work_value[k]; own_token[k] = work_token[k]
        :: else
        fi;
        change_token[k] = 0; open = false; wait = false; stale = false; resolving = false; changed = false;
        token = 0; value = 0; meant = 0;
        if
        :: area == k -> area = NOBODY
        :: else
        fi;
        if
        :: directory == k -> directory = NOBODY
        :: else
        fi
    }
out:
    skip
}

/* A host that takes the lease by name, as it found it. */
proctype taker()
{
    byte token, value, d, i, first, meant, seen_own;
    bool open, wait, stale;
    do
    ::  read_header(true);
        atomic {
            scan();
            if
            :: stale || open || value == 0 -> goto next
            :: else -> meant = value
            fi
        }
        atomic { is_free(area) -> area = TAKER } /* the flag is up, and no other in the way */
        read_header(true);
        atomic {
            scan();
            if
            :: stale || open -> area = NOBODY; goto next
#ifndef NO_L2
            :: !stale && !open && value != meant -> area = NOBODY; goto next
#endif
            :: else
            fi;
            assert(meant == truth) /* it holds the lease that there is */
        }
        area = NOBODY;
next:
        atomic { token = 0; value = 0; meant = 0; open = false; wait = false; stale = false }
    od;
out:
    skip
}

proctype storage(byte k)
{
    byte d;
end:
    do
    :: atomic { !drained(k) ->
        do
        :: d < 2 -> d++
        :: break
        od;
        if
        :: air[k].on[d] -> air[k].on[d] = false; disk[d].token = work_token[k]; disk[d].value = work_value[k]
#ifdef FAIL
        :: air[k].on[d] && (dead[k] || own_token[k] == work_token[k]) -> /* it never comes, or fails at last */
            air[k].on[d] = false
#endif
        :: else
        fi;
        d = 0 }
    od
}

#ifdef SETTLES
/* Once nothing is on its way any more, whatever was reported still stands on a majority. */
proctype monitor()
{
    byte n, top, copies;
    atomic {
        drained(0) && drained(1) && area == NOBODY && directory == NOBODY ->
        top = (own_token[0] > own_token[1] -> own_token[0] : own_token[1]);
        for (n : 0 .. 2) {
            copies = copies + (disk[n].token >= top)
        }
        assert(copies >= 2)
    }
}
#endif

proctype fate(byte k)
{
    dead[k] = true
}

init
{
    atomic {
        byte k;
        for (k : 0 .. CHANGERS - 1) {
            run changer(k);
            run storage(k);
#ifndef IMMORTAL
            run fate(k)
#endif
        }
#ifndef UNUSED
        run taker();
#endif
#ifdef SETTLES
        run monitor()
#endif
    }
}
