/* Why an attempt to claim a slot came to nothing: what people are told, and how often it is worth another one. */
#include "claim_state.h"

#include <errno.h>

#define SLOW_ATTEMPTS 3u /* each may leave a void claim in a slot: slow storage must not use them all up */

bool dpx_claim_takes_part(const dpx_claim *claim, const struct claim_channel *channel)
{
    if (claim->phase == PHASE_TABLE)
        return true;
    bool records = claim->phase == PHASE_ACTIVE || claim->phase == PHASE_FREE;
    return records ? channel->noted : channel->counts;
}

/* The gravest is told about: an error that a disk gave, then one that was too slow, then one that is missing. */
static uint32_t gravity(int error)
{
    if (error == 0)
        return 0;
    return error == -ENODEV ? 1 : error == -ETIMEDOUT ? 2 : 3;
}

static int error_of(const struct claim_channel *channel)
{
    int error = channel->request.outstanding || channel->late ? -ETIMEDOUT : channel->request.error;
    return error == -ETIME ? -ETIMEDOUT : error; /* the gate was closed: what came before took too long */
}

/* Where one answered in time, and yet is no good, it shows somebody else's claim, and no disk is to blame.  Where all
 * are good, we slept. */
void dpx_claim_blame(dpx_claim *claim)
{
    claim->cause = DPX_NO_CAUSE;
    for (uint32_t d = 0; d < claim->world->geometry->disks; d++) {
        const struct claim_channel *channel = &claim->channels[d];
        int error = error_of(channel);
        if (!dpx_claim_takes_part(claim, channel) || channel->good)
            continue;
        if (error == 0) {
            claim->cause = DPX_NO_CAUSE;
            return;
        }
        if (gravity(error) <= gravity(claim->cause.error))
            continue;
        claim->cause.error = error;
        claim->cause.disk = d;
    }
    if (claim->cause.error == 0)
        claim->cause.error = -ETIMEDOUT;
    claim->slow += claim->cause.error == -ETIMEDOUT && claim->phase != PHASE_TABLE;
}

dpx_verdict dpx_claim_gives_up(const dpx_claim *claim, uint64_t now)
{
    bool storage = claim->cause.error != 0;
    bool timed_out = claim->cause.error == -ETIMEDOUT;
    bool late = storage && now >= claim->wait_until && (claim->attempt >= 3 || timed_out);
    /* An outage costs no slot and says nothing of T_claim: who has time waits for its end, as holders do. */
    bool outage = claim->unanswered && storage && now < claim->wait_until;
    if (outage || (claim->attempt < CLAIM_ATTEMPTS && claim->slow < SLOW_ATTEMPTS && !late))
        return DPX_RUNNING;
    return storage ? DPX_STORAGE : claim->cause.flaw != DPX_SOUND ? DPX_DAMAGED : DPX_BUSY;
}

void dpx_claim_time(struct claim_channel *channel)
{
    const dpx_request *request = &channel->request;
    uint64_t read = request->read_completed_at - request->read_issued_at;
    uint64_t written = request->write_completed_at - request->write_issued_at;
    dpx_claim_pace *pace = &channel->pace;
    if (request->error != 0)
        return;
    if (channel->asked == PHASE_TABLE && read > pace->table)
        pace->table = read;
    else if (channel->asked == PHASE_NOTICES && read > pace->notices)
        pace->notices = read;
    else if (channel->asked == PHASE_WRITE && written > pace->write)
        pace->write = written;
}

dpx_claim_pace dpx_claim_paced(const dpx_claim *claim)
{
    uint32_t disk = claim->cause.disk == DPX_NO_DISK ? 0 : claim->cause.disk;
    return claim->channels[disk].pace;
}
