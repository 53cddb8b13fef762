/* Requests between hosts, in the mailboxes of slot records: "your own block there is damaged, write it anew".
 *
 * A request is advice, like a waiter's mark: it makes its addressee look at, and write, a block that nobody else
 * may write.  It stands in the asker's record, since each record has one writer; the addressee meets it in
 * the table that it reads with each heartbeat. */
#include "heart_state.h"

static bool same_mail(const dpx_mail *a, const dpx_mail *b)
{
    return a->kind == b->kind && a->slot == b->slot && a->generation == b->generation && a->area == b->area;
}

bool dpx_heart_ask(dpx_heart *heart, const dpx_incarnation *who, uint32_t area)
{
    dpx_mail *mails = heart->record.mailbox;
    dpx_mail *room = &mails[0];
    const dpx_mail mail = {.kind = DPX_MAIL_REWRITE, .slot = who->slot, .generation = who->generation, .area = area,
                           .serial = heart->mail_serial + 1};
    for (uint32_t i = 0; i < DPX_MAILS; i++) {
        if (same_mail(&mails[i], &mail))
            return false;
        if (mails[i].kind == DPX_MAIL_NONE || (room->kind != DPX_MAIL_NONE && mails[i].serial < room->serial))
            room = &mails[i]; /* the oldest one has been read for the longest time */
    }
    *room = mail;
    heart->mail_serial++;
    heart->hurry = true;
    return true;
}

void dpx_heart_unask(dpx_heart *heart)
{
    for (uint32_t i = 0; i < DPX_MAILS; i++)
        heart->record.mailbox[i] = (dpx_mail){.kind = DPX_MAIL_NONE};
}

/* Each request counts once, however often and on however many disks it is read. */
static bool heard(dpx_heart *heart, const dpx_incarnation *asker, const dpx_mail *mail)
{
    const struct heart_heard it = {.slot = asker->slot, .generation = asker->generation, .serial = mail->serial};
    for (uint32_t i = 0; i < HEART_HEARD; i++) {
        const struct heart_heard *old = &heart->heard[i];
        if (old->generation == it.generation && old->slot == it.slot && old->serial == it.serial)
            return true;
    }
    heart->heard[heart->heard_next++ % HEART_HEARD] = it;
    return false;
}

static void read_one(dpx_heart *heart, const dpx_slot_record *record)
{
    const dpx_world *world = heart->world;
    for (uint32_t i = 0; i < DPX_MAILS; i++) {
        const dpx_mail *mail = &record->mailbox[i];
        bool ours = mail->kind == DPX_MAIL_REWRITE && mail->slot == world->self.slot &&
                    mail->generation == world->self.generation && mail->area < world->geometry->max_leases;
        if (!ours || heart->asked_count == HEART_ASKED) /* no room: it stands there at the next heartbeat, too */
            continue;
        if (!heard(heart, &record->who, mail))
            heart->asked[heart->asked_count++] = mail->area;
    }
}

void dpx_heart_read_mail(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    const struct heart_channel *channel = &heart->channels[disk];
    for (uint32_t slot = 0; slot < geometry->max_hosts; slot++) {
        dpx_slot_record record;
        if (slot == heart->world->self.slot || !channel->sound[slot])
            continue;
        dpx_slot_decode(dpx_heart_row(channel, geometry, slot), &record);
        if (record.state == DPX_SLOT_ACTIVE)
            read_one(heart, &record);
    }
}

bool dpx_heart_asked(dpx_heart *heart, uint32_t *area)
{
    if (heart->asked_count == 0)
        return false;
    *area = heart->asked[--heart->asked_count];
    return true;
}
