/* A history in words, and the names of everything that is counted. */
#include "checker.h"
#include "cores.h"

#include <stdarg.h>
#include <string.h>

const char *const fault_names[FAULT_COUNT] = {
    [FAULT_DELAYED] = "I/O delayed",
    [FAULT_OVER_LIMIT] = "I/O beyond its time limit",
    [FAULT_REORDERED] = "writes of two hosts reordered",
    [FAULT_FAILED] = "I/O failed",
    [FAULT_FAILED_LANDED] = "I/O failed but landed",
    [FAULT_QUEUED] = "request expired in the queue",
    [FAULT_TORN_WRITE] = "write torn for a while",
    [FAULT_TORN_FOREVER] = "write torn for good",
    [FAULT_SPLIT_READ] = "read in pieces",
    [FAULT_BIT_ROT] = "bit rot",
    [FAULT_ZEROED] = "block zeroed",
    [FAULT_GHOST] = "ghost write",
    [FAULT_LATE_GHOST] = "ghost write after the lifetime",
    [FAULT_LOST_WRITE] = "write lost with the power",
    [FAULT_REPLAY] = "completed write replayed",
    [FAULT_DISK_HUNG] = "disk hung",
    [FAULT_DISK_MISSING] = "disk missing",
    [FAULT_DISK_OLD] = "disk back with old content",
    [FAULT_STALE_READS] = "host shown an old disk",
    [FAULT_PATH_LOST] = "host cut off",
    [FAULT_BLACKOUT] = "blackout",
    [FAULT_KILLED] = "process killed",
    [FAULT_POWER] = "power lost",
    [FAULT_FENCED] = "machine fenced",
    [FAULT_STOPPED] = "process stopped",
    [FAULT_STOPPED_LONG] = "process stopped beyond its lifetime",
    [FAULT_PAUSED] = "machine paused with its clock",
    [FAULT_PAUSED_LONG] = "machine paused beyond T_dead",
    [FAULT_CLOCK_EDGE] = "clock off by 5 %",
    [FAULT_CLOCK_BEYOND] = "clock beyond the bound",
    [FAULT_SLOTS_FULL] = "slots full",
    [FAULT_SPACE_FULL] = "lockspace full",
    [FAULT_CLAIM_RACE] = "claims racing",
    [FAULT_AMBUSHED] = "struck at a chosen moment",
    [FAULT_INSIDE] = "stopped between lifetime test and issue",
    [FAULT_UNTOLD] = "stopped between verdict and caller",
    [FAULT_REVERTED] = "machine reverted to a snapshot",
    [FAULT_RESURRECTED] = "… of a process that had ended",
    [FAULT_ANOTHER_LIFE] = "joined again by the same process",
    [FAULT_GHOST_LET_GO] = "ghost let go at a takeover",
    [FAULT_WOKEN] = "paused machine woken at a takeover",
    [FAULT_RECLAIMER_BLIND] = "reclaimer shown an old disk",
    [FAULT_CUT_FOR_LONG] = "host cut off from a minority for long",
};

const char *const outcome_names[OUT_COUNT] = {
    [OUT_JOINED] = "joined",
    [OUT_JOIN_FAILED] = "could not join",
    [OUT_LEFT] = "left",
    [OUT_FINISHED] = "finished",
    [OUT_TAKEN] = "taken exclusively",
    [OUT_TAKEN_SHARED] = "taken shared",
    [OUT_RESUMED] = "resumed",
    [OUT_REFUSED] = "refused",
    [OUT_STALE] = "stale",
    [OUT_TAKE_OTHER] = "not taken for other reasons",
    [OUT_RELEASED] = "released",
    [OUT_CREATED] = "created",
    [OUT_DELETED] = "deleted",
    [OUT_CHANGE_OTHER] = "not created or deleted",
    [OUT_LOST] = "lost",
    [OUT_HEALED] = "own flag raised again",
    [OUT_REWRITTEN] = "own block rewritten",
    [OUT_ASKED] = "asked to rewrite an own block",
    [OUT_RECLAIMED] = "slot reclaimed",
    [OUT_RETIRED] = "slot retired or fenced",
    [OUT_TAKEOVER] = "taken over from the dead",
    [OUT_RESOLVED] = "half-made change resolved",
    [OUT_FREED] = "joined in a lost slot",
    [OUT_MARKED] = "waiter's mark written",
    [OUT_SIGHTED] = "silent, as others had seen",
    [OUT_EXCUSED_PAUSE] = "excused: clock stood still",
    [OUT_EXCUSED_REVERT] = "excused: memory went back",
    [OUT_EXCUSED_CLOCK] = "excused: clock beyond the bound",
    [OUT_EXCUSED_REPLAY] = "excused: replay in a lease",
    [OUT_EXCUSED_MEETING] = "… on the one disk where majorities met",
    [OUT_EXCUSED_NOTE] = "excused: a late note over a dead owner's",
    [OUT_EXCUSED_JOINER] = "excused: joined too slowly to weigh a notice",
    [OUT_EXCUSED_NOTICE] = "excused: notices that nobody could believe in time",
    [OUT_UNCHECKED] = "beyond the checker's tables",
};

const char *const violation_names[VIOLATION_COUNT] = {
    [VIOLATION_NONE] = "none",
    [VIOLATION_EXCLUSION] = "exclusion",
    [VIOLATION_TAKEOVER] = "takeover too early",
    [VIOLATION_TOKEN] = "token did not grow",
    [VIOLATION_STALE_TAKEN] = "stale state believed",
    [VIOLATION_STALE_REFUSED] = "true state refused",
    [VIOLATION_LIFETIME] = "lifetime",
    [VIOLATION_NOT_SHOWN] = "not shown by a majority",
    [VIOLATION_REFUSED] = "refused or lost without reason",
    [VIOLATION_EXISTENCE] = "existence of a lease",
    [VIOLATION_HEADER] = "header changed without the flags",
    [VIOLATION_SLOT] = "slot ownership",
    [VIOLATION_FOREIGN_WRITE] = "foreign block written",
    [VIOLATION_SECOND_WRITE] = "second write in flight",
    [VIOLATION_BUFFER] = "buffer changed in flight",
    [VIOLATION_SEQUENCE] = "sequence restarted",
    [VIOLATION_MARK] = "waiter's mark",
    [VIOLATION_ORDER] = "order of a lease's history",
    [VIOLATION_LIVENESS] = "liveness",
    [VIOLATION_SPIN] = "spinning",
    [VIOLATION_CRASH] = "crash",
};

const char *const unit_names[UNIT_COUNT] = {
    [UNIT_CLAIM] = "claim",       [UNIT_RECLAIM] = "reclaim",   [UNIT_HEART] = "heart",
    [UNIT_CHANGE] = "change",     [UNIT_ROUND] = "round 0",     [UNIT_ROUND + 1] = "round 1",
    [UNIT_ROUND + 2] = "round 2", [UNIT_ROUND + 3] = "round 3", [UNIT_ROUND + 4] = "round 4",
    [UNIT_ROUND + 5] = "round 5",
};

static void stamp(const world *w)
{
    fprintf(w->trace, "%12.6f  ", (double)w->now / 1e9);
}

void trace_line(world *w, const char *format, ...)
{
    va_list arguments;
    stamp(w);
    va_start(arguments, format);
    vfprintf(w->trace, format, arguments);
    va_end(arguments);
    fputc('\n', w->trace);
}

#define MANY(x) ((unsigned long long)(x))

static const char *const slot_states[] = {"free", "claiming", "active"};
static const char *const lease_states[] = {"free", "in use", "tombstone"};
static const char *const modes[] = {"none", "shared", "exclusive"};

static void tell_notices(FILE *out, const dpx_geometry *geometry, const dpx_place *place, const uint8_t *data)
{
    dpx_incarnation who;
    uint64_t sequence;
    dpx_notice entries[DPX_BLOCK_MAX / 8];
    notice_decode(data, geometry, &who, &sequence, entries);
    fprintf(out, "notices of slot %u generation %llu nonce %02x%02x sequence %llu:", place->slot, MANY(who.generation),
            who.nonce.bytes[0], who.nonce.bytes[1], MANY(sequence));
    for (uint32_t i = 0; i < geometry->max_hosts; i++) /* so few slots: all in the first part */
        if (entries[i].about)
            fprintf(out, " slot %u generation %u%s certified %08x", i, entries[i].about & DPX_NOTICE_GENERATION,
                    entries[i].about & DPX_NOTICE_FENCED ? " fenced" : "", entries[i].certificate);
}

static void tell_block(FILE *out, const dpx_geometry *geometry, const dpx_place *place, const uint8_t *data)
{
    dpx_slot_record record;
    dpx_header header;
    dpx_own own;
    switch (place->kind) {
    case DPX_KIND_SLOT:
        dpx_slot_decode(data, &record);
        fprintf(out, "slot %u %s generation %llu nonce %02x%02x sequence %llu counter %llu notices %u", place->slot,
                slot_states[record.state], MANY(record.who.generation), record.who.nonce.bytes[0],
                record.who.nonce.bytes[1], MANY(record.sequence), MANY(record.counter), record.notices);
        break;
    case DPX_KIND_OWN:
        dpx_own_decode(data, &own);
        fprintf(out, "area %u own block of slot %u generation %llu sequence %llu ballot %llu hold %llu %s last %llu"
                     " directory %llu change %llu",
                place->area, place->slot, MANY(own.who.generation), MANY(own.sequence), MANY(own.ballot),
                MANY(own.hold), modes[own.mode], MANY(own.last_exclusive), MANY(own.directory_token),
                MANY(own.change_token));
        break;
    case DPX_KIND_HEADER:
        dpx_header_decode(data, &header);
        fprintf(out, "area %u header %s '%s' directory %llu sequence %llu first %llu", place->area,
                lease_states[header.state], header.name, MANY(header.directory_token), MANY(header.sequence),
                MANY(header.first_ballot));
        break;
    default:
        tell_notices(out, geometry, place, data);
        break;
    }
}

void trace_flight(world *w, const flight *f, const char *what)
{
    if (!w->trace)
        return;
    stamp(w);
    dpx_place place = dpx_place_of(w->geometry, f->block);
    fprintf(w->trace, "   %s h%u disk %u %s block %u", what, f->host, f->disk, f->write ? "write" : "read", f->block);
    if (f->count > 1)
        fprintf(w->trace, "+%u", f->count);
    if (f->error)
        fprintf(w->trace, " error %d", f->error);
    if (!f->extent)
        fprintf(w->trace, " (ghost)");
    if (f->write) {
        fprintf(w->trace, ": ");
        tell_block(w->trace, w->geometry, &place, f->data);
    }
    fputc('\n', w->trace);
}

void violate(world *w, enum violation violation, const char *format, ...)
{
    va_list arguments;
    w->over = true;
    if (w->violation != VIOLATION_NONE)
        return;
    w->violation = violation;
    va_start(arguments, format);
    vsnprintf(w->complaint, sizeof w->complaint, format, arguments);
    va_end(arguments);
    TRACE(w, "VIOLATION (%s): %s", violation_names[violation], w->complaint);
}
