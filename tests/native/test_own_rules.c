/* Own blocks: takings that are certain, damage that is in other hosts' way, changes by several dead hosts.  One
 * scene per rule of docs/protocol.md, as in test_lease_rules.c. */
#include "scene.h"

/* ---- header changes by several dead hosts ---- */

/* A host that nobody joined as: its record is known, and it is held dead. */
static dpx_incarnation dead_stranger(memory_host *observer, uint32_t slot, bool drained)
{
    const dpx_geometry *g = observer->world.geometry;
    dpx_incarnation who = {.slot = slot, .generation = 3};
    who.nonce.bytes[0] = (uint8_t)(slot + 1);
    dpx_slot_record record = {.who = who, .sequence = 9, .counter = 9, .state = DPX_SLOT_ACTIVE,
                              .outage_tolerance = g->outage_tolerance, .kill_grace = g->kill_grace,
                              .watchdog_timeout = g->watchdog_timeout};
    dpx_peers_learn(observer->world.peers, slot, &record, observer->disks->now);
    dpx_peers_bury(observer->world.peers, slot, who.generation);
    if (drained)
        dpx_peers_drained(observer->world.peers, slot, who.generation, DPX_DRAINED_EXITED);
    return who;
}

static void announce_change(memory_disks *disks, dpx_incarnation who, uint32_t area, uint64_t token)
{
    uint64_t ballot = 1000 * DPX_BALLOT_SLOTS + who.slot;
    put_own(disks, &(dpx_own){.who = who, .sequence = 1, .area = area, .ballot = ballot, .hold = ballot,
                              .last_exclusive = ballot, .mode = DPX_MODE_EXCLUSIVE, .change_token = token});
}

/* ‡L8: two dead hosts have each announced a change in one area; the last writes of only one of them are in. */
static void test_every_author_of_an_open_change_must_be_drained(void)
{
    for (uint32_t drained = 0; drained < 4; drained++) {
        scene s;
        dpx_lease lease;
        dpx_header before, after;
        open_scene(&s, 1);
        const dpx_geometry *g = &s.disks.geometry;
        uint32_t area = 3, slots[2], found = 0;
        for (uint32_t slot = 0; found < 2; slot++)
            if (slot != s.a.world.self.slot && slot != s.b.world.self.slot && slot != s.c.world.self.slot)
                slots[found++] = slot;
        for (uint32_t i = 0; i < 2; i++)
            announce_change(&s.disks, dead_stranger(&s.a, slots[i], drained >> i & 1), area,
                            (500 + i) * DPX_BALLOT_SLOTS + slots[i]);
        uint8_t *block = disk_block(&s.disks, 0, dpx_header_block(g, area));
        dpx_header_decode(block, &before);
        name_lease(&lease, "");
        lease.header.area = area;
        CHECK_EQ(host_change(&s.a, DPX_CHANGE_RESOLVE, &lease, 9), drained == 3 ? DPX_DONE : DPX_UNDRAINED);
        dpx_header_decode(block, &after);
        CHECK((after.directory_token > before.directory_token) == (drained == 3));
        close_scene(&s);
    }
}

int main(void)
{
    RUN(test_every_author_of_an_open_change_must_be_drained);
    return check_finish("test_own_rules");
}
