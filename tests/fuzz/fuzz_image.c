/* Whole lockspace images (image.h) given to the compiled machines, over disks in memory and in simulated time.
 *
 * Two hosts join and do as the input says; hosts of the image live on or are dead, as it says.  What must hold
 * whatever the image holds: no assertion, no report of a sanitizer, an end within bounded steps and simulated time,
 * sound writes to own blocks only, and verdicts that do not contradict what is settled on the disks (truth.h). */
#include "truth.h"

enum { ACTORS = 2, ACTS = 12, STEPS = 200000, BLOCKS = 64 };

#define OUTLIVES (5 * TOLERANCE / 2) /* longer than T_dead */

typedef struct actor {
    dpx_lease leases[NAMES];
    bool held[NAMES];
    bool shaken[NAMES];  /* old content came back, no majority shows the flag: others may take it until it looks … */
    uint8_t overrun[NAMES]; /* … and these (bits) have, exclusively */
    enum dpx_mode modes[NAMES];
    dpx_uuid state_lease[NAMES];
    uint64_t state_token[NAMES];
    uint8_t lives_lived;
    bool stalled; /* its heart stands still until it acts again; what it protects runs on */
} actor;

static stage scene;
static actor actors[ACTORS];
static uint8_t earlier[DPX_MAX_DISKS][BLOCKS][DPX_BLOCK_MIN]; /* what a block held before it was written last */
static bool rewritten[DPX_MAX_DISKS][BLOCKS];

static bool lives(uint32_t h)
{
    const memory_host *host = &scene.hosts[h];
    return (scene.lives[h] || actors[h].stalled) && dpx_heart_end(host->heart) == DPX_ALIVE && !host->world.finished &&
           scene.disks.now < host->world.lifetime_end;
}

/* What it holds may be in use: one that stalled finds out late, and its guests are stopped K + W later at most. */
static bool protects(uint32_t h)
{
    const dpx_geometry *geometry = &scene.disks.geometry;
    uint64_t stops = scene.hosts[h].world.lifetime_end + geometry->kill_grace + geometry->watchdog_timeout;
    return lives(h) || (actors[h].stalled && scene.disks.now < stops);
}

static void forget_leases(uint32_t h)
{
    actors[h].stalled = false;
    for (uint32_t n = 0; n < NAMES; n++) {
        dpx_lease_reset(&actors[h].leases[n], lease_name(n), strlen(lease_name(n)));
        actors[h].held[n] = actors[h].shaken[n] = false;
        actors[h].overrun[n] = 0;
    }
}

/* Only for an I/O that does not return does a machine wait longer than the scene goes on: that host is out of it. */
static bool unending(uint32_t h, dpx_verdict verdict, const char *what)
{
    if (verdict != DPX_RUNNING)
        return false;
    MUST(scene.hit && scene.fault >= FAULT_LATE, "%s without an end", what);
    stage_kill(&scene, h);
    forget_leases(h);
    return true;
}

static void join(uint32_t h, uint32_t slot, uint64_t patience)
{
    if (lives(h))
        return;
    forget_leases(h);
    dpx_verdict verdict = stage_join_in(&scene, h, (uint8_t)(11 + h + 2 * actors[h].lives_lived++ % 8), slot, patience);
    unending(h, verdict, "a claim");
}

static bool conflict(uint32_t h, uint32_t other, uint32_t n, enum dpx_mode mode)
{
    return other != h && protects(other) && actors[other].held[n] &&
           (mode == DPX_MODE_EXCLUSIVE || actors[other].modes[n] == DPX_MODE_EXCLUSIVE);
}

/* Nobody else may hold what was just taken. */
static void taken(uint32_t h, uint32_t n, const dpx_wish *wish)
{
    actor *me = &actors[h];
    judge_taken(&scene, &scene.hosts[h], wish);
    for (uint32_t other = 0; other < ACTORS; other++) {
        if (!conflict(h, other, n, wish->mode))
            continue;
        MUST(actors[other].shaken[n], "%s: taken by %u although %u holds it", lease_name(n), h, other);
        if (wish->mode == DPX_MODE_EXCLUSIVE)
            actors[other].overrun[n] |= (uint8_t)(1u << h);
    }
    me->held[n] = true;
    me->shaken[n] = false;
    me->overrun[n] = 0;
    me->modes[n] = wish->mode;
    me->state_lease[n] = wish->lease->header.lease;
    me->state_token[n] = wish->token;
}

static void take(uint32_t h, const record *act)
{
    uint32_t n = act->field % NAMES, count = 1 + act->other % 2, free = 0;
    dpx_wish wishes[2];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t name = (n + i) % NAMES;
        bool resume = act->how & 2;
        if (actors[h].held[name])
            return;
        wishes[free++] = (dpx_wish){.lease = &actors[h].leases[name],
                                    .mode = act->how & 1 ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE,
                                    .resume = resume,
                                    .resume_lease = actors[h].state_lease[name],
                                    .resume_token = act->how & 4 ? act->value : actors[h].state_token[name],
                                    .label_length = 4,
                                    .label = "fuzz"};
    }
    uint64_t patience = act->at % 8 == 7 ? OUTLIVES : act->at % 8 * 50 * DPX_MS;
    dpx_verdict verdict = stage_round(&scene, h, DPX_ROUND_TAKE, wishes, count, patience, NULL);
    if (unending(h, verdict, "a take"))
        return;
    for (uint32_t i = 0; verdict == DPX_DONE && i < count; i++)
        taken(h, (n + i) % NAMES, &wishes[i]);
    if (verdict == DPX_NOT_FOUND && count == 1 && scene.fault == FAULT_NONE)
        judge_missing(&scene, wishes[0].lease);
}

static void release(uint32_t h, uint32_t n)
{
    dpx_wish wish = {.lease = &actors[h].leases[n]};
    dpx_own own;
    if (!actors[h].held[n])
        return;
    actors[h].held[n] = actors[h].shaken[n] = false;
    actors[h].overrun[n] = 0;
    uint32_t area = wish.lease->header.area;
    dpx_verdict verdict = stage_round(&scene, h, DPX_ROUND_RELEASE, &wish, 1, 0, NULL);
    if (unending(h, verdict, "a release"))
        return;
    if (verdict == DPX_DONE)
        MUST(settled_own(&scene, area, scene.hosts[h].world.self.slot, &own) && own.hold == 0,
             "released, and a majority shows the flag");
}

/* A majority shows the flag of what it holds. */
static bool stands(uint32_t h, uint32_t n)
{
    dpx_own own;
    uint32_t area = actors[h].leases[n].header.area;
    return settled_own(&scene, area, scene.hosts[h].world.self.slot, &own) && own.hold != 0 &&
           own.mode == actors[h].modes[n] && dpx_incarnation_equal(&own.who, &scene.hosts[h].world.self);
}

/* It was told that it still holds this. */
static void kept(uint32_t h, uint32_t n)
{
    actor *me = &actors[h];
    MUST(stands(h, n), "%s: kept by %u, and no majority shows it", lease_name(n), h);
    MUST(!me->overrun[n], "%s: kept by %u although it was taken since", lease_name(n), h);
    for (uint32_t other = 0; other < ACTORS; other++)
        MUST(!conflict(h, other, n, me->modes[n]) || actors[other].shaken[n], "%s: kept by %u although %u holds it",
             lease_name(n), h, other);
    me->shaken[n] = false;
}

static void watch(uint32_t h)
{
    dpx_wish wishes[NAMES];
    uint32_t names[NAMES], count = 0;
    for (uint32_t n = 0; n < NAMES; n++) {
        if (!actors[h].held[n])
            continue;
        names[count] = n;
        wishes[count++] = (dpx_wish){.lease = &actors[h].leases[n]};
    }
    if (count == 0)
        return;
    dpx_verdict verdict = stage_round(&scene, h, DPX_ROUND_WATCH, wishes, count, 0, NULL);
    if (unending(h, verdict, "watching"))
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (wishes[i].outcome == DPX_LOST)
            release(h, names[i]); /* as the engine does */
        else if (wishes[i].outcome == DPX_DONE && scene.fault == FAULT_NONE && lives(h))
            kept(h, names[i]);
    }
}

/* The own block of what it holds falls back, on one disk, to what it held before: a completed write was sent again. */
static void relapse(uint32_t h, const record *act)
{
    const dpx_geometry *geometry = &scene.disks.geometry;
    uint32_t n = act->field % NAMES, disk = act->disks % geometry->disks;
    uint64_t block = dpx_own_block(geometry, actors[h].leases[n].header.area, scene.hosts[h].world.self.slot);
    if (!actors[h].held[n] || !rewritten[disk][block])
        return;
    memcpy(disk_block(&scene.disks, disk, block), earlier[disk][block], geometry->block_size);
    rewritten[disk][block] = false;
    actors[h].shaken[n] = !stands(h, n);
    for (uint32_t other = 0; other < ACTORS && actors[h].shaken[n]; other++)
        actors[other].overrun[n] &= (uint8_t)~(1u << h); /* nothing tells of that taking any more, but who did it */
}

static void find(uint32_t h, const record *act)
{
    dpx_wish wish = {.lease = stage_lease(&scene, lease_name(act->field))};
    dpx_verdict verdict = stage_round(&scene, h, DPX_ROUND_FIND, &wish, 1, 0, NULL);
    if (unending(h, verdict, "a search"))
        return;
    if (verdict == DPX_DONE && wish.outcome == DPX_NOT_FOUND && scene.fault == FAULT_NONE)
        judge_missing(&scene, wish.lease);
}

static void change(uint32_t h, const record *act)
{
    uint32_t n = act->field % NAMES;
    dpx_lease *area = stage_lease(&scene, ""), *lease = &actors[h].leases[n];
    dpx_change_kind kind = act->how % 3 == 0   ? DPX_CHANGE_CREATE
                           : act->how % 3 == 1 ? DPX_CHANGE_DELETE
                                               : DPX_CHANGE_RESOLVE;
    area->located = true;
    area->header.area = act->other % AREAS;
    if (kind == DPX_CHANGE_RESOLVE && area->header.area == DPX_DIRECTORY_AREA)
        return; /* lease 0 is not created, deleted or resolved: no caller asks for it */
    for (uint32_t i = 0; i < NAMES; i++)
        if (actors[h].held[i] && (i == n || kind == DPX_CHANGE_RESOLVE))
            return;
    changing = true;
    dpx_verdict verdict = stage_change(&scene, h, kind, kind == DPX_CHANGE_RESOLVE ? area : lease,
                                       (uint8_t)(act->value | 128), act->at % 4 * TOLERANCE / 8);
    changing = false;
    if (unending(h, verdict, "a change"))
        return;
    if (verdict == DPX_NOT_FOUND && scene.fault == FAULT_NONE)
        judge_missing(&scene, lease);
    dpx_header header;
    if (verdict == DPX_DONE && kind == DPX_CHANGE_CREATE && settled_header(&scene, lease->header.area, &header))
        MUST(header.state == DPX_LEASE_IN_USE && memcmp(header.name, lease->name, lease->name_length) == 0, "created");
}

/* A damaged own block of one's own: nothing may be held there. */
static void rewrite(uint32_t h, const record *act)
{
    dpx_wish wish = {.lease = stage_lease(&scene, "")};
    wish.lease->located = true;
    wish.lease->header.area = act->other % AREAS;
    for (uint32_t n = 0; n < NAMES; n++)
        if (actors[h].held[n])
            return;
    dpx_verdict verdict = stage_round(&scene, h, DPX_ROUND_REWRITE, &wish, 1, 0, NULL);
    unending(h, verdict, "rewriting");
}

/* By an administrator's order that slot is dead: whoever lived there does not count any more. */
static void retire(uint32_t h, const record *act)
{
    uint32_t slot = act->other % HOSTS;
    const dpx_peer *peer = &scene.hosts[h].world.peers->slots[slot];
    if (slot == scene.hosts[h].world.self.slot || !peer->seen)
        return;
    owners[slot].beats = false;
    for (uint32_t other = 0; other < ACTORS; other++)
        if (other != h && scene.lives[other] && scene.hosts[other].world.self.slot == slot)
            forget_leases(other);
    dpx_heart_retire(scene.hosts[h].heart, slot, peer->record.who.generation);
    stage_pass(&scene, TOLERANCE / 20);
}

static void reclaim(uint32_t h, const record *act)
{
    static memory_host helper; /* a life of its own, as the engine does it */
    uint32_t slot = act->other % HOSTS;
    if (slot == scene.hosts[h].world.self.slot || dpx_peers_drain(scene.hosts[h].world.peers, slot) == DPX_NOT_DRAINED)
        return;
    for (uint32_t other = 0; other < ACTORS; other++)
        if (lives(other) && other != h && scene.hosts[other].world.self.slot == slot)
            return;
    helper = (memory_host){.disks = &scene.disks};
    helper.world = (dpx_world){.geometry = &scene.disks.geometry, .peers = scene.hosts[h].world.peers, .random = 5};
    claims_others = true;
    dpx_verdict verdict = stage_claim(&scene, &helper, (uint8_t)(50 + h), slot, true, 0);
    claims_others = false;
    unending(h, verdict, "a reclaim");
}

static void perform(const record *act)
{
    uint32_t h = act->block % ACTORS;
    enum { JOIN, TAKE, RELEASE, WATCH, FIND, CHANGE, REWRITE, RETIRE, RECLAIM, LEAVE, PASS, KILL, RELAPSE,
           STALL, KINDS };
    uint32_t kind = act->what % 16;
    if (kind >= KINDS)
        kind = TAKE;
    if (kind == PASS) {
        stage_pass(&scene, act->at % 4 == 3 ? OUTLIVES : (1 + act->at % 4) * TOLERANCE / 12);
        return;
    }
    if (actors[h].stalled) {
        actors[h].stalled = false;
        scene.lives[h] = true;
        stage_catch_up(&scene);
    }
    if (!lives(h)) {
        bool chosen = kind == JOIN && act->how < 128;
        join(h, chosen ? act->other % HOSTS : DPX_ANY_SLOT, kind == JOIN ? act->at % 2 * OUTLIVES : 0);
        return;
    }
    switch (kind) {
    case TAKE: take(h, act); break;
    case RELEASE: release(h, act->field % NAMES); break;
    case WATCH: watch(h); break;
    case FIND: find(h, act); break;
    case CHANGE: change(h, act); break;
    case REWRITE: rewrite(h, act); break;
    case RETIRE: retire(h, act); break;
    case RECLAIM: reclaim(h, act); break;
    case LEAVE:
        for (uint32_t n = 0; n < NAMES; n++)
            release(h, n);
        if (lives(h) && scene.hung_count == 0)
            stage_leave(&scene, h);
        break;
    case RELAPSE: relapse(h, act); break;
    case STALL:
        actors[h].stalled = true;
        scene.lives[h] = false;
        break;
    case KILL:
        stage_kill(&scene, h);
        forget_leases(h);
        break;
    default: break;
    }
}

/* Called when a write is issued, before it lands. */
static void issued(stage *s, const memory_host *host, uint32_t disk, const dpx_extent *extent)
{
    judge_write(s, host, disk, extent);
    memcpy(earlier[disk][extent->block], disk_block(&s->disks, disk, extent->block), s->disks.geometry.block_size);
    rewritten[disk][extent->block] = true;
}

static void set_scene(const record *head)
{
    const base *from = base_image(head->what);
    memset(&scene, 0, sizeof scene);
    memset(actors, 0, sizeof actors);
    memset(owners, 0, sizeof owners);
    memset(rewritten, 0, sizeof rewritten);
    MUST(from->geometry.total_blocks <= BLOCKS && from->geometry.block_size == DPX_BLOCK_MIN, "a larger base");
    scene.disks.geometry = from->geometry;
    scene.disks.now = from->now + TOLERANCE / 40;
    size_t bytes = (size_t)from->geometry.total_blocks * from->geometry.block_size;
    for (uint32_t d = 0; d < from->geometry.disks; d++) {
        scene.disks.blocks[d] = aligned_alloc(4096, bytes);
        memcpy(scene.disks.blocks[d], from->blocks[d], bytes);
    }
    scene.tick_at = DPX_NEVER;
    scene.random = head->value;
    for (uint32_t h = 0; h < ACTORS; h++)
        forget_leases(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size}, again;
    record head, next;
    take_bytes(&in, &head, sizeof head);
    again = in;
    set_scene(&head);
    while (again.left >= sizeof next) {
        take_bytes(&again, &next, sizeof next);
        if (next.what < 128)
            edit_image(&scene, &next);
    }
    for (uint32_t slot = 0; slot < HOSTS; slot++)
        if (head.block >> slot & 1)
            meet_owner(&scene, slot);
    scene.tick = owners_beat;
    scene.written = issued;
    owners_beat(&scene);
    scene.fault = (stage_fault)(head.how % (2 * STAGE_FAULTS));
    if (scene.fault >= STAGE_FAULTS)
        scene.fault = FAULT_NONE;
    scene.fault_at = head.at % 512;
    for (uint32_t acts = 0; in.left >= sizeof next && acts < ACTS;) {
        take_bytes(&in, &next, sizeof next);
        if (next.what < 128)
            continue;
        perform(&next);
        acts++;
        MUST(scene.steps < STEPS, "no end after %llu steps", (unsigned long long)scene.steps);
    }
    stage_close(&scene);
    return 0;
}

/* ---- mutations keep to whole records ---- */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t limit);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed)
{
    uint32_t roll = seed * 2654435761u;
    size_t count = size / RECORD;
    if (count == 0) {
        memset(data, 0, RECORD);
        count = 1;
    }
    size_t which = (roll >> 4) % count;
    switch (roll >> 28) {
    case 0: case 1: case 2: case 3: /* one more record, arbitrary or like another */
        if ((count + 1) * RECORD <= limit && count < 24) {
            memmove(data + (which + 1) * RECORD, data + which * RECORD, (count - which) * RECORD);
            count++;
            which += which == 0;
            LLVMFuzzerMutate(data + which * RECORD, RECORD, RECORD);
            data[which * RECORD] = (uint8_t)(roll & 8 ? 128 + (roll >> 8) % 16 : (roll >> 8) % 128);
        }
        break;
    case 4: /* one less */
        if (count > 1 && which > 0) {
            memmove(data + which * RECORD, data + (which + 1) * RECORD, (count - which - 1) * RECORD);
            count--;
        }
        break;
    case 5: /* another order */
        if (count > 2 && which > 0) {
            uint8_t moved[RECORD];
            size_t other = 1 + (roll >> 16) % (count - 1);
            memcpy(moved, data + which * RECORD, RECORD);
            memmove(data + which * RECORD, data + other * RECORD, RECORD);
            memcpy(data + other * RECORD, moved, RECORD);
        }
        break;
    case 6: /* an extreme value */
        for (int i = 0; i < 8; i++)
            data[which * RECORD + 8 + (size_t)i] = (uint8_t)(roll & 1 ? 0xff : 0);
        data[which * RECORD + 8 + (roll >> 1) % 8] ^= (uint8_t)(roll >> 8);
        break;
    default: /* one byte, or one field, of one record */
        if (roll & 1)
            data[which * RECORD + (roll >> 1) % RECORD] = (uint8_t)(roll >> 8);
        else
            LLVMFuzzerMutate(data + which * RECORD, RECORD, RECORD);
    }
    return count * RECORD;
}
