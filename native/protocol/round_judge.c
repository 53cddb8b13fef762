/* What the images of a round mean, lease by lease.  No I/O, no phases: only decisions. */
#include <string.h>

#include "round_state.h"

bool dpx_judge_header(const dpx_view *view, const dpx_wish *wish)
{
    const dpx_lease *lease = wish->lease;
    const dpx_header *meant = &lease->header;
    if (wish->change_token != 0) /* exactly as it was when the change was decided */
        return view->header.state == meant->state && view->header.sequence == meant->sequence &&
               view->header.directory_token == meant->directory_token;
    return view->header.state == DPX_LEASE_IN_USE && dpx_uuid_equal(&view->header.lease, &meant->lease) &&
           view->header.name_length == lease->name_length &&
           memcmp(view->header.name, lease->name, lease->name_length) == 0;
}

static bool stale(const dpx_view *view, const dpx_wish *wish)
{
    return !dpx_uuid_equal(&view->header.lease, &wish->resume_lease) ||
           wish->lease->last_exclusive > wish->resume_token || view->last_exclusive > wish->resume_token;
}

enum judgement dpx_judge(const dpx_view *view, const dpx_wish *wish, uint64_t ballot)
{
    if (view->header_stale)
        return JUDGE_DAMAGED;
    if (view->change_open && !wish->resolving)
        return JUDGE_OPEN;
    if (!dpx_judge_header(view, wish))
        return JUDGE_CHANGED;
    if (view->higher.hold != 0)
        return JUDGE_GIVE_WAY;
    if (view->lower.hold != 0)
        return JUDGE_LOWER;
    if (wish->mode == DPX_MODE_EXCLUSIVE && view->top_others > ballot)
        return JUDGE_HIGHER;
    if (view->overridden > ballot) /* whoever was held dead goes by which of us came later (L12) */
        return JUDGE_HIGHER;
    if (wish->resume && stale(view, wish))
        return JUDGE_STALE;
    return JUDGE_TAKEN;
}

/* While the own flag was visible throughout, whoever saw it gives way, and a higher last_exclusive is such an
 * attempt, or one whose host died in it (whoever owns that slot next carries it on).  Whoever holds us dead
 * does not: it writes that its taking is certain, and that decides.  Once the flag had vanished, any higher
 * last_exclusive may be a taking: also one below the own token, since our ballot had vanished with the flag. */
bool dpx_judge_kept(const dpx_view *view, const dpx_lease *lease, bool after_regress)
{
    const dpx_header *header = &view->header;
    bool same = header->state == DPX_LEASE_IN_USE && dpx_uuid_equal(&header->lease, &lease->header.lease);
    if (!same && !view->header_stale) /* an older one does not say that the lease is gone (history 11091138) */
        return false;
    if (view->certainly_taken > lease->token || view->certain_sharer)
        return false;
    return !after_regress || (view->last_exclusive <= lease->token && view->last_exclusive <= lease->others_exclusive);
}

/* drawn: the area's last sequence when the read began; what was drawn since may not be in it. */
static void carry_on(const dpx_world *world, dpx_lease *lease, const dpx_view *view, uint64_t drawn)
{
    lease->known = true;
    if (world->sequences)
        lease->sequence = drawn != DPX_NEVER ? drawn : 0;
    dpx_lease_ballot(world, lease, view->own_seen ? view->own.ballot : lease->ballot);
    if (!view->own_seen)
        return;
    lease->last_exclusive = view->own.last_exclusive;
    lease->certainly_taken = view->own.certainly_taken;
    lease->directory_token = view->own.directory_token;
    dpx_lease_inherit(world, lease, &view->own);
    /* This incarnation wrote here before, under a name that is gone: its sequence goes on.
     * No round ends before its last write is durable, so a majority shows the highest. */
    if (view->own.who.generation == world->self.generation && view->own.sequence > lease->sequence)
        lease->sequence = view->own.sequence;
}

void dpx_judge_learn(const dpx_world *world, dpx_wish *wish, const dpx_view *view, const dpx_flag *flag,
                     uint64_t drawn)
{
    dpx_lease *lease = wish->lease;
    if (!lease->known)
        carry_on(world, lease, view, drawn);
    lease->top_ballot = view->top;
    if (wish->change_token == 0) {
        lease->header = view->header;
        lease->undecided = view->change_pending;
    }
    bool same = flag->hold != 0 && flag->hold == lease->flag.hold &&
                dpx_incarnation_equal(&flag->who, &lease->flag.who);
    uint64_t first_seen = same ? lease->flag.seen_at : flag->seen_at;
    lease->flag = *flag;
    lease->flag.seen_at = first_seen;
    lease->cached = !view->change_pending;
    lease->top_ticket = view->line.top;
    lease->waiters = view->line.waiters;
    lease->ahead = view->line.ahead;
    if (!view->line.passed_stands)
        lease->passed = (dpx_mark){0};
}

dpx_attempt dpx_judge_attempt(const dpx_round *round, uint32_t i, uint64_t ballot)
{
    const dpx_wish *wish = &round->wishes[i];
    return (dpx_attempt){.ballot = ballot,
                         .mode = round->kind == DPX_ROUND_TAKE ? wish->mode : DPX_MODE_NONE,
                         .ticket = round->ticket,
                         .passed = wish->lease->passed};
}

uint64_t dpx_judge_ballot(const dpx_round *round)
{
    uint64_t top = 0;
    for (uint32_t i = 0; i < round->count; i++) {
        const dpx_lease *lease = round->wishes[i].lease;
        if (lease->top_ballot > top)
            top = lease->top_ballot;
        if (lease->ballot > top)
            top = lease->ballot;
        if (lease->least_ballot > top)
            top = lease->least_ballot;
    }
    return dpx_ballot_above(round->world, top, 1);
}

static void set_label(dpx_own *content, const char *label, uint8_t length)
{
    content->label_length = length;
    memcpy(content->label, label, length);
}

/* Whoever quoted an undecided header would make the area unreadable (simulated history 200014994). */
static void start_content(const dpx_round *round, struct round_item *item, const dpx_lease *lease)
{
    uint64_t sequence = item->content.sequence;
    item->content = (dpx_own){.who = round->world->self,
                              .sequence = sequence,
                              .written_at = round->world->wall,
                              .area = lease->header.area,
                              .lease = lease->header.lease,
                              .directory_token = lease->directory_token,
                              .ballot = lease->ballot,
                              .certainly_taken = lease->certainly_taken};
    if (!lease->undecided && lease->header.directory_token > lease->directory_token)
        item->content.directory_token = lease->header.directory_token;
}

void dpx_content_raise(dpx_round *round, struct round_item *item, const dpx_wish *wish, uint64_t ballot)
{
    dpx_lease *lease = wish->lease;
    lease->ballot = ballot; /* used up, whatever becomes of it */
    item->ballot = ballot;
    start_content(round, item, lease);
    item->content.hold = ballot;
    item->content.mode = wish->mode;
    item->content.last_exclusive = wish->mode == DPX_MODE_EXCLUSIVE ? ballot : lease->last_exclusive;
    item->content.change_token = wish->change_token;
    item->content.target = wish->target;
    item->content.held_since = round->world->wall;
    set_label(&item->content, wish->label, wish->label_length);
}

/* A void writes mode, hold and last_exclusive as this incarnation held them before the attempt. */
void dpx_content_held(dpx_round *round, struct round_item *item, const dpx_wish *wish)
{
    const dpx_lease *lease = wish->lease;
    start_content(round, item, lease);
    item->content.hold = lease->hold;
    item->content.mode = lease->mode;
    item->content.last_exclusive = lease->last_exclusive;
    if (lease->hold == 0) { /* whoever looks here must still learn of it (simulated history 153055) */
        bool open = lease->inherited != 0 && lease->header.directory_token <= lease->inherited;
        item->content.change_token = open ? lease->inherited : 0;
        return;
    }
    item->content.change_token = lease->change_token;
    item->content.target = lease->target;
    item->content.held_since = lease->held_since;
    item->content.taken = true;
    set_label(&item->content, lease->label, lease->label_length);
}

/* A mark changes nothing but the mark: what is held stays held.  The mode is that of what is
 * waited for, the label says who waits. */
void dpx_content_mark(dpx_round *round, struct round_item *item, const dpx_wish *wish)
{
    dpx_content_held(round, item, wish);
    if (wish->lease->hold != 0)
        return;
    item->content.ticket = round->ticket;
    item->content.ticket_at = round->world->wall;
    item->content.mode = wish->mode;
    set_label(&item->content, wish->label, wish->label_length);
}
