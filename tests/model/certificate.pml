/* Certified silence on three disks: rules D8 and D9, without any clock.
 *
 * An observer saw a host silent for long enough, and its notice certifies on each disk what that disk showed
 * throughout.  The host itself may stand still at any step, wake up, and beat; it never sees what the observer wrote
 * (that was carried on from a wrong copy, lies under a late note, is damaged, is gone).  A reader holds the host dead by that
 * certificate.  Must hold: then no heartbeat completes that the certificate does not know of; nor has one.
 *
 * Disk by disk the host writes its record and then reads; two disks make a heartbeat.
 * (Where the observer is the reader itself this is rule D3 on three disks: notice, then look, disk by disk.)
 *   -DGHOST          once, a write of the host that no disk has shown comes late, over its record
 *   -DCOVER          once, somebody's late claim lands over its record
 *   -DOWN_LOOKS      the reader compares with what it has seen itself, not with the certificate
 */
#ifndef CHAINS
#define CHAINS 2     /* of the host, on each disk */
#endif
#define NONE 255
#define CLAIM 99
#define EARLY 0      /* the number of that ghost */

/* on disk */
byte record[3] = 1;  /* the host's */
bool notice[3];      /* the reader's notice about the host */

/* what is true */
byte written[3] = 1; /* the number of the host's last write on that disk */
byte proof[3] = 1;   /* … of its last chain that ran through */
byte base[3] = NONE; /* numbers above it were written after the observer's last look */
byte certified[3] = NONE; /* what its notice says */
bool believed;       /* the reader holds the host dead */

#define later(d) (proof[d] > base[d])
#define overlooked (believed && (later(0) && later(1) || later(0) && later(2) || later(1) && later(2)))

proctype host(byte d)
{
    byte chains;
    bool told;
    do
    :: atomic { chains < CHAINS && !told -> chains++; written[d]++; record[d] = written[d] }
        atomic { /* what is read after it */
            told = notice[d];
            proof[d] = (told -> proof[d] : written[d]);
            assert(!overlooked)
        }
    :: else -> break
    od
}

#ifdef OWN_LOOKS
#define find(d) certificate[d] = (certified[d] != NONE -> record[d] : NONE)
#else
#define find(d) certificate[d] = certified[d]
#endif
#ifdef NO_D9_EXACT
#define shows(d) (record[d] <= certificate[d])
#elif defined(NO_D9_CLAIMS)
#define shows(d) (record[d] == certificate[d] || record[d] == CLAIM)
#else
#define shows(d) (record[d] == certificate[d])
#endif
#ifdef NO_D9_MAJORITY
#define ENOUGH 1
#else
#define ENOUGH 2
#endif

inline confirm(d)
{
    if
    :: atomic { certificate[d] != NONE && shows(d) -> confirmed++ }
    :: else
    fi
}

/* One chain: its notice, its record (of which nothing depends), then the look. */
inline chain(d)
{
#ifdef NO_D9_AFTER
    confirm(d);
#endif
#ifndef NO_D9_NOTICE
    notice[d] = true;
#endif
#ifdef NO_D9_LOOK
    confirmed = confirmed + (certificate[d] != NONE -> 1 : 0)
#elif !defined(NO_D9_AFTER)
    confirm(d)
#else
    skip
#endif
}

/* What it certifies was silent for long enough, as far as it can tell: on a majority, and perhaps on the third disk.
 * heart_notices.c:dpx_heart_sentence, peers.c:dpx_peers_certificate. */
inline certify(d)
{
    d_step { certified[d] = record[d]; base[d] = written[d] }
}

proctype reader() /* heart_notices.c:sentence_by_certificate, confirms */
{
    byte certificate[3] = NONE, first, confirmed;
    certify(0);
    certify(1);
    if
    :: certify(2)
    :: d_step { base[2] = written[2] }
    fi;
    find(0);
    find(1);
    find(2);
    if
    :: first = 0; chain(0)
    :: first = 1; chain(1)
    :: first = 2; chain(2)
    fi;
    if
    :: confirmed >= ENOUGH -> goto dead
    :: else
    fi;
    if
    :: first != 0 -> chain(0)
    :: first != 1 -> chain(1)
    :: first != 2 -> chain(2)
    fi;
    if
    :: confirmed >= ENOUGH -> goto dead
    :: else -> goto end
    fi;
dead:
    atomic { believed = true; assert(!overlooked) }
end:
    skip;
    d_step { certificate[0] = 0; certificate[1] = 0; certificate[2] = 0; first = 0; confirmed = 0 }
}

proctype ghost()
{
#ifdef GHOST
    if
    :: record[0] = EARLY
    :: record[1] = EARLY
    :: record[2] = EARLY
    fi
#else
    skip
#endif
}

proctype late_claim()
{
#ifdef COVER
    if
    :: record[0] = CLAIM
    :: record[1] = CLAIM
    :: record[2] = CLAIM
    fi
#else
    skip
#endif
}

init
{
    atomic {
        run host(0); run host(1); run host(2); run reader(); run ghost(); run late_claim()
    }
}
