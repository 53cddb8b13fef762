/* The compiled core, held to the rules of rounds.pml: protocol, section 3.
 *
 * record.c wrote down what lease rounds did in simulated histories.  Each line is replayed here: what
 * the core was shown goes into the model's variables, the model's rule is applied, and what the core
 * made of it must be what the rule says.  The model keeps books of its own (ballot, hold, mode, last,
 * known) and takes nothing from the core but what the protocol leaves open: when to look, which free
 * ballot to choose, when to give way though nobody asks for it.
 */
#define SLOTS 8
#define ALL SLOTS
#define NUMBER int

bool born[ALL] = true;
bool over[ALL], dead[ALL], gone[ALL], trying[ALL];
int saved;

byte k, s, want, mode, verdict;
int ballot, hold, last, top, token, top_last, own_last;
bool known, resuming, higher, lower, above, cut;
int seen_hold[SLOTS];
byte seen_who[SLOTS];

int line;
bool more;
byte kind;
bool changed, meant, durable, forgotten, judging;

#include "round_rules.pml"

c_code {
    enum { E_HISTORY = 1, E_BEGIN, E_LOOK, E_RAISE, E_JUDGE, E_TAKEN, E_LOWER, E_SYNC, E_STEP, E_WRITE };
    enum { FIELDS = 50, STREAMS = 512 };
    /* enum judgement of round_state.h */
    enum { C_TAKEN, C_STALE, C_HIGHER, C_LOWER, C_GIVE_WAY, C_OPEN, C_DAMAGED, C_CHANGED };

    typedef struct event { int code, stream; int at[FIELDS]; } event;
    typedef struct book { int slot, ballot, hold, mode, last, top, known, judged, raised, token, own_last; } book;
    static FILE *log_file;
    static event now_event;
    static book books[STREAMS];
    static long long history;
    static int differences, counts[11], voluntary;

    /* The next line, and the books of its stream. */
    static int next_event(void)
    {
        char text[2048], *at = text;
        event *e = &now_event;
        book *b;
        int n = 0;
        if (!log_file && !(log_file = fopen("trace.log", "r")))
            return 0;
        if (!fgets(text, sizeof text, log_file))
            return 0;
        memset(e, 0, sizeof *e);
        e->code = (int)strtol(at, &at, 10);
        if (e->code == E_HISTORY) {
            history = strtoll(at, &at, 10);
        } else {
            e->stream = (int)strtol(at, &at, 10);
            while (*at && *at != '\n' && n < FIELDS)
                e->at[n++] = (int)strtol(at, &at, 10);
        }
        counts[e->code]++;
        b = &books[e->stream];
        if (e->code == E_BEGIN) {
            memset(b, 0, sizeof *b);
            b->slot = e->at[0];
        }
        return 1;
    }

    static void differ(int line, const char *what, int model, int core)
    {
        if (differences++ < 20)
            printf("history %lld line %d stream %d: %s: the model says %d, the core %d\n",
                   history, line + 1, now_event.stream, what, model, core);
    }

    static void same(int line, const char *what, int model, int core)
    {
        if (model != core)
            differ(line, what, model, core);
    }

    /* Whether the rule's verdict and the core's judgement are the same step. */
    static void judged(int line, int verdict, int core)
    {
        static const int steps[] = {-1, -1, C_GIVE_WAY, C_LOWER, C_HIGHER, C_STALE, C_TAKEN, C_CHANGED};
        if (verdict == 7 && core >= C_OPEN)
            return; /* the header is not what was meant: which of the reasons is directory.pml's concern */
        if (core == C_OPEN && verdict != 7)
            return; /* a dead changer's flag: voided, which is always allowed */
        if (core == C_GIVE_WAY && verdict != 7 && verdict != 2) {
            voluntary++;
            return;
        }
        same(line, "judgement (of enum judgement)", steps[verdict], core);
    }
}

inline load()
{
    c_code {
        const event *e = &now_event;
        const book *b = &books[e->stream];
        int i;
        now.kind = (uchar)e->code;
        now.k = (uchar)b->slot;
        now.ballot = b->ballot; now.hold = b->hold; now.mode = (uchar)b->mode; now.last = b->last;
        now.top = b->top; now.known = (uchar)b->known; now.token = b->token; now.own_last = b->own_last;
        now.verdict = (uchar)b->judged;
        now.top_last = 0; now.higher = now.lower = now.above = now.cut = now.resuming = 0; now.saved = 0;
        now.over[b->slot] = 0;
        for (i = 0; i < 8; i++) {
            memset(&now.disk[i], 0, sizeof now.disk[i]);
            now.dead[i] = 0;
            now.trying[i] = 0;
        }
        switch (e->code) {
        case E_LOOK:
            now.forgotten = e->at[0] == 0;
            now.disk[b->slot].ballot = e->at[1];
            now.disk[b->slot].last = e->at[2];
            break;
        case E_RAISE:
            now.want = (uchar)e->at[0];
            break;
        case E_JUDGE:
            now.want = (uchar)e->at[0];
            now.resuming = (uchar)e->at[1];
            now.saved = e->at[2];
            now.changed = (uchar)e->at[3];
            now.meant = (uchar)e->at[4];
            now.durable = (uchar)e->at[5];
            for (i = 0; i < 8; i++) {
                const int *at = &e->at[7 + 5 * i];
                now.disk[i].who = (uchar)(i + 1);
                now.disk[i].hold = at[0];
                now.disk[i].mode = (uchar)at[1];
                now.disk[i].ballot = at[2];
                now.disk[i].last = at[3];
                now.dead[i] = (uchar)at[4];
            }
            break;
        case E_TAKEN:
        case E_STEP:
            now.over[b->slot] = (uchar)e->at[0];
            break;
        case E_WRITE:
            now.over[b->slot] = 1;
            break;
        default:
            break;
        }
    }
}

inline store()
{
    c_code {
        book *b = &books[now_event.stream];
        b->ballot = now.ballot; b->hold = now.hold; b->mode = now.mode; b->last = now.last;
        b->top = now.top; b->known = now.known; b->token = now.token; b->own_last = now.own_last;
        b->judged = now.verdict;
    }
}

/* What the rules decided to write is what the core writes. */
inline compare_write()
{
    c_code {
        const int *at = &now_event.at[1];
        same(now.line, "ballot written", now.air[now.k].ballot, at[0]);
        same(now.line, "hold written", now.air[now.k].hold, at[1]);
        same(now.line, "mode written", now.air[now.k].hold ? now.air[now.k].mode : 0, at[2]);
        same(now.line, "last_exclusive written", now.air[now.k].last, at[3]);
    }
}

inline replay()
{
    if
    :: kind == 3 -> /* a read was learnt from: what is known of the own block, and of ballots */
        if
        :: forgotten -> known = false
        :: else
        fi;
        top = 0;
        look();
        c_code { if (now_event.at[3] > now.top) now.top = now_event.at[3]; }
    :: kind == 4 -> /* the flag goes up, at a ballot above all that is known */
        verdict = 0; own_last = last;
        c_code {
            if (now_event.at[1] <= now.top || now_event.at[1] <= now.ballot || now_event.at[1] % 8 != now.k)
                differ(now.line, "ballot chosen: above this, of the own slot", now.top, now_event.at[1]);
            if (!now.known)
                differ(now.line, "own block known before the first write", 1, 0);
            /* Of the free ballots it is the core's to choose: a batch has one for all its leases. */
            now.top = (now_event.at[1] / 8 - 1) * 8;
            if (now.ballot > now.top)
                now.ballot = now.top;
        }
        raise();
        compare_write()
    :: kind == 5 -> /* the judging read */
        top = ballot; s = 0;
        do
        :: s < SLOTS && s != slot_of(k) -> see(s); s++
        :: s < SLOTS && s == slot_of(k) -> s++
        :: s >= SLOTS -> break
        od;
        weigh();
        decide();
        if
        :: !meant -> verdict = 7
        :: meant && changed && verdict == TAKEN -> verdict = STALE /* of another lease UUID */
        :: else
        fi;
        c_code {
            judged(now.line, now.verdict, now_event.at[6]);
            if (now_event.at[6] == C_TAKEN)
                same(now.line, "own flag durable in each image, on a majority", 1, now.durable);
            /* The core may judge more cautiously; then it is that what it goes on from. */
            if (now_event.at[6] != C_TAKEN)
                now.verdict = 0;
            now.token = now.want == 1 && now.top_last > now.ballot ? now.top_last : 0;
            now.higher = now.lower = 0;
            books[now_event.stream].raised = now.top_last;
        }
    :: kind == 6 -> /* taken */
        c_code {
            same(now.line, "a judgement before that says taken", 6, now.verdict);
            now.top_last = books[now_event.stream].raised;
            now.want = (uchar)now_event.at[3];
        }
        grant();
        c_code {
            same(now.line, "token", now.token, now_event.at[1]);
            same(now.line, "hold", now.hold, now_event.at[2]);
            same(now.line, "last_exclusive", now.last, now_event.at[4]);
            same(now.line, "lifetime over when taken", 0, now.over[now.k]);
        }
        verdict = 0
    :: kind == 7 -> /* void or release */
        c_code { if (now_event.at[0]) { now.hold = 0; now.mode = 0; now.token = 0; } }
        verdict = 0;
        lower_flag();
        compare_write()
    :: kind == 8 -> /* watching and rewriting are not modelled: goes on from what the core knows */
        c_code {
            now.ballot = now_event.at[0]; now.hold = now_event.at[1]; now.mode = (uchar)now_event.at[2];
            now.last = now_event.at[3]; now.known = (uchar)now_event.at[4];
        }
    :: kind == 9 -> /* a step past the lifetime, or one that ended its machine for that: rule L4 */
        c_code { now.judging = (uchar)now_event.at[1]; now.verdict = 0; }
        if
        :: judging && !may_take(k) -> verdict = FINISHED
        :: !judging && !may_act(k) -> verdict = FINISHED
        :: else
        fi;
        c_code {
            same(now.line, "a machine past its lifetime ends", now.verdict == 1, now_event.at[2]);
            if (now.verdict == 1)
                same(now.line, "a machine past its lifetime asks for I/O", 0, now_event.at[3]);
        }
        judging = false; verdict = 0
    :: kind == 10 -> /* a write is issued */
        if
        :: !may_act(k) -> c_code { differ(now.line, "a write is issued past the lifetime", 0, 1); }
        :: else
        fi
    :: else
    fi
}

active proctype replayer()
{
    d_step {
        c_code { now.more = next_event(); }
        do
        :: more ->
            load();
            replay();
            store();
            forget_air();
            line++;
            c_code { now.more = next_event(); }
        :: else -> break
        od;
        c_code {
            printf("%d events of %d histories: %d looks, %d raised, %d judged, %d taken, %d lowered, %d not followed, "
                   "%d past the end; %d gave way unasked; %d differences\n", now.line, counts[E_HISTORY],
                   counts[E_LOOK], counts[E_RAISE], counts[E_JUDGE], counts[E_TAKEN], counts[E_LOWER], counts[E_SYNC],
                   counts[E_STEP] + counts[E_WRITE], voluntary, differences);
            fflush(stdout);
        }
    }
}
