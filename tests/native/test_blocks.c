/* The host room when blocks change under it: healing, losing, damage, half-made header
 * changes, rewriting; and callers who lose patience. */
#include "hosts.h"

#include <pthread.h>

#define LIFE (600 * MS)

static void fresh(lockspace *made, const char *name, uint32_t disks)
{
    dpx_geometry geometry = geometry_for(disks, 8, 16, LIFE);
    make_lockspace(made, name, &geometry);
}

static void get(const lockspace *made, uint32_t disk, uint64_t block, uint8_t *data)
{
    int fd = open(made->paths[disk], O_RDONLY | O_CLOEXEC);
    CHECK_EQ(pread(fd, data, 512, (off_t)(block * 512)), 512);
    close(fd);
}

static void put(const lockspace *made, uint32_t disk, uint64_t block, const uint8_t *data)
{
    int fd = open(made->paths[disk], O_WRONLY | O_CLOEXEC);
    CHECK_EQ(pwrite(fd, data, 512, (off_t)(block * 512)), 512);
    close(fd);
}

/* The area whose header carries this name. */
static uint32_t area_of(const lockspace *made, const char *name)
{
    uint8_t data[512];
    for (uint32_t area = 1; area < made->geometry.max_leases; area++) {
        dpx_header header;
        get(made, 0, dpx_header_block(&made->geometry, area), data);
        dpx_header_decode(data, &header);
        if (header.state == DPX_LEASE_IN_USE && strcmp(header.name, name) == 0)
            return area;
    }
    CHECK(!"found");
    return 0;
}

typedef struct scene {
    lockspace made;
    dpx_space *space;
    dpx_host *host;
    dpx_ask ask;
    uint32_t slot;
    uint32_t area;
    uint64_t own;
} scene;

/* A host that holds "vm1". */
static void set(scene *scene_of, const char *name, uint32_t disks)
{
    dpx_failure failure;
    fresh(&scene_of->made, name, disks);
    scene_of->space = open_space(&scene_of->made);
    scene_of->host = join_as(scene_of->space, "alpha", 1);
    scene_of->ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(scene_of->host, &scene_of->ask, 0, &failure), DPX_OK);
    scene_of->slot = dpx_host_state(scene_of->host).who.slot;
    scene_of->area = area_of(&scene_of->made, "vm1");
    scene_of->own = dpx_own_block(&scene_of->made.geometry, scene_of->area, scene_of->slot);
}

static void strike(scene *it)
{
    CHECK_EQ(let_go(it->host, &it->ask), DPX_OK);
    end_host(it->host, it->space);
}

/* ---- what is held ---- */

static void own_block_regressed(void)
{
    scene it;
    dpx_event event;
    uint8_t before[512], now[512];
    set(&it, "regressed", 1);
    CHECK_EQ(let_go(it.host, &it.ask), DPX_OK);
    get(&it.made, 0, it.own, before);
    dpx_failure failure;
    CHECK_EQ(take(it.host, &it.ask, 0, &failure), DPX_OK);
    put(&it.made, 0, it.own, before); /* a storage that forgot */
    CHECK(await_event(it.host, DPX_EVENT_HEALED, LIFE, &event));
    CHECK(strcmp(event.name, "vm1") == 0);
    CHECK_EQ(dpx_host_hold(it.host, it.ask.handle).state, DPX_HOLD_HELD);
    dpx_own own;
    get(&it.made, 0, it.own, now);
    dpx_own_decode(now, &own);
    CHECK_EQ(own.hold, it.ask.token);
    strike(&it);
}

static void own_block_damaged(void)
{
    scene it;
    dpx_event event;
    uint8_t zeros[512] = {0};
    set(&it, "flawed", 3);
    put(&it.made, 1, it.own, zeros);
    /* A look that two other disks answer first does not see it; one of the next will. */
    CHECK(await_event(it.host, DPX_EVENT_HEALED, 60 * LIFE, &event));
    CHECK_EQ(dpx_host_hold(it.host, it.ask.handle).state, DPX_HOLD_HELD);
    strike(&it);
}

static void another_block_damaged(void)
{
    scene it;
    dpx_event event;
    uint8_t good[512], zeros[512] = {0};
    dpx_failure failure;
    set(&it, "neighbour", 1);
    uint64_t block = dpx_own_block(&it.made.geometry, it.area, (it.slot + 1) % 8);
    get(&it.made, 0, block, good);
    put(&it.made, 0, block, zeros);
    CHECK(await_event(it.host, DPX_EVENT_DAMAGED, LIFE, &event));
    CHECK(event.disk == 0 && event.block == block && strcmp(event.name, "vm1") == 0);
    CHECK_EQ(dpx_host_hold(it.host, it.ask.handle).state, DPX_HOLD_HELD);
    CHECK_EQ(let_go(it.host, &it.ask), DPX_OK);
    dpx_ask again = it.ask;
    CHECK_EQ(take(it.host, &again, 0, &failure), DPX_E_DAMAGED);
    CHECK(failure.block == block && failure.flaw == DPX_FLAW_ZEROED);
    put(&it.made, 0, block, good);
    CHECK_EQ(take(it.host, &again, 0, &failure), DPX_OK);
    it.ask = again;
    strike(&it);
}

static void take_header_away(const scene *it, uint32_t area)
{
    dpx_header header;
    uint8_t data[512];
    get(&it->made, 0, dpx_header_block(&it->made.geometry, area), data);
    dpx_header_decode(data, &header);
    header.state = DPX_LEASE_FREE;
    header.directory_token += DPX_BALLOT_SLOTS;
    header.name_length = 0;
    memset(header.name, 0, sizeof header.name);
    memset(&header.lease, 0, sizeof header.lease);
    dpx_header_encode(data, &it->made.geometry, 0, &header);
    put(&it->made, 0, dpx_header_block(&it->made.geometry, area), data);
}

/* The header says that the lease is gone: the holder is told, and may be told once only. */
static void header_gone(void)
{
    scene it;
    dpx_event event;
    dpx_failure failure;
    set(&it, "gone", 1);
    take_header_away(&it, it.area);
    CHECK(await_event(it.host, DPX_EVENT_LOST, LIFE, &event) && event.handle == it.ask.handle);
    CHECK_EQ(dpx_host_hold(it.host, it.ask.handle).state, DPX_HOLD_LOST);
    CHECK_EQ(dpx_host_state(it.host).end, DPX_ALIVE);
    dpx_ask again = it.ask;
    CHECK_EQ(take(it.host, &again, 0, &failure), DPX_E_HELD_HERE); /* the loser has not let go yet */
    CHECK_EQ(let_go(it.host, &it.ask), DPX_OK);
    CHECK_EQ(take(it.host, &again, SECOND, &failure), DPX_OK);
    CHECK(!await_event(it.host, DPX_EVENT_LOST, LIFE, &event));
    it.ask = again;
    strike(&it);
}

/* What two threads share is lost to both; nobody joins them in it, and who lets go of it without having read that it
 * is lost does not take the news of another loss with it. */
static void lost_share(void)
{
    scene it;
    dpx_event event;
    dpx_failure failure;
    dpx_ask first = ask_for("image", DPX_MODE_SHARED), second = first, third = first;
    set(&it, "share", 1);
    CHECK_EQ(take(it.host, &first, 0, &failure), DPX_OK);
    CHECK_EQ(take(it.host, &second, 0, &failure), DPX_OK);
    take_header_away(&it, area_of(&it.made, "image"));
    uint64_t deadline = dpx_now() + 2 * LIFE;
    while (dpx_host_hold_state(it.host, first.handle) == DPX_HOLD_HELD && dpx_now() < deadline)
        usleep(1000);
    CHECK_EQ(dpx_host_hold_state(it.host, first.handle), DPX_HOLD_LOST);
    CHECK_EQ(dpx_host_hold_state(it.host, second.handle), DPX_HOLD_LOST);
    CHECK_EQ(dpx_host_hold_state(it.host, it.ask.handle), DPX_HOLD_HELD);
    CHECK_EQ(take(it.host, &third, 0, &failure), DPX_E_HELD_HERE);
    CHECK_EQ(let_go(it.host, &first), DPX_OK);
    CHECK_EQ(take(it.host, &third, 0, &failure), DPX_E_HELD_HERE);
    CHECK_EQ(let_go(it.host, &second), DPX_OK);
    CHECK_EQ(take(it.host, &third, SECOND, &failure), DPX_OK);
    take_header_away(&it, it.area);
    CHECK(await_event(it.host, DPX_EVENT_LOST, 2 * LIFE, &event) && event.handle == it.ask.handle);
    CHECK_EQ(dpx_host_hold_state(it.host, third.handle), DPX_HOLD_HELD);
    CHECK_EQ(let_go(it.host, &third), DPX_OK);
    strike(&it);
}

/* The storage forgot the holder's flag, and somebody else took the lease to share it: it is not raised again. */
static void flag_gone_and_a_sharer_came(void)
{
    scene it;
    dpx_event event;
    dpx_failure failure;
    uint8_t before[512];
    set(&it, "sharer", 1);
    dpx_host *other = join_as(it.space, "beta", 2);
    CHECK_EQ(let_go(it.host, &it.ask), DPX_OK);
    get(&it.made, 0, it.own, before);
    CHECK_EQ(take(it.host, &it.ask, 0, &failure), DPX_OK);
    dpx_ask ask = ask_for("vm1", DPX_MODE_SHARED);
    put(&it.made, 0, it.own, before);
    CHECK_EQ(take(other, &ask, 0, &failure), DPX_OK);
    CHECK(await_event(it.host, DPX_EVENT_LOST, LIFE, &event) && event.handle == it.ask.handle);
    CHECK_EQ(dpx_host_hold_state(it.host, it.ask.handle), DPX_HOLD_LOST);
    CHECK_EQ(dpx_host_hold_state(other, ask.handle), DPX_HOLD_HELD);
    CHECK_EQ(let_go(other, &ask), DPX_OK);
    CHECK_EQ(dpx_host_leave(other, SECOND, &failure), DPX_OK);
    dpx_host_destroy(other);
    strike(&it);
}

/* A block of a newer incarnation of our slot: our life is over. */
static void superseded(void)
{
    scene it;
    dpx_event event;
    dpx_failure failure;
    dpx_own own;
    uint8_t data[512];
    set(&it, "superseded", 1);
    get(&it.made, 0, it.own, data);
    dpx_own_decode(data, &own);
    own.who.generation++;
    dpx_own_encode(data, &it.made.geometry, 0, &own);
    put(&it.made, 0, it.own, data);
    CHECK(await_event(it.host, DPX_EVENT_FINISHED, LIFE, &event));
    CHECK_EQ(event.end, DPX_END_OWN_BLOCK);
    CHECK_EQ(dpx_host_state(it.host).end, DPX_END_OWN_BLOCK);
    CHECK_EQ(dpx_host_state(it.host).remaining, 0);
    CHECK_EQ(take(it.host, &it.ask, 0, &failure), DPX_E_FINISHED);
    CHECK_EQ(failure.end, (int)DPX_END_OWN_BLOCK);
    CHECK_EQ(dpx_host_hold(it.host, it.ask.handle).state, DPX_HOLD_LOST);
    dpx_host_destroy(it.host);
    dpx_space_close(it.space);
}

/* A guest that runs a host releases the lease, another host takes it, and the guest is set back to a snapshot with its
 * memory: it holds until it first reads its own block. */
static void set_back(void)
{
    scene it;
    dpx_failure failure;
    dpx_event event;
    dpx_own own;
    uint8_t data[512];
    set(&it, "setback", 1);
    dpx_host *other = join_as(it.space, "beta", 2);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    get(&it.made, 0, it.own, data);
    dpx_own_decode(data, &own);
    own.sequence++;
    own.hold = 0;
    own.mode = DPX_MODE_NONE;
    dpx_own_encode(data, &it.made.geometry, 0, &own);
    put(&it.made, 0, it.own, data);
    CHECK_EQ(take(other, &ask, LIFE, &failure), DPX_OK);
    CHECK(await_event(it.host, DPX_EVENT_FINISHED, LIFE, &event));
    CHECK_EQ(event.end, DPX_END_REVERTED);
    CHECK_EQ(dpx_host_hold(it.host, it.ask.handle).state, DPX_HOLD_LOST);
    CHECK_EQ(dpx_host_hold(other, ask.handle).state, DPX_HOLD_HELD);
    CHECK_EQ(let_go(other, &ask), DPX_OK);
    dpx_host_destroy(it.host);
    end_host(other, it.space);
}

/* ---- header changes that a dead host left half made ---- */

static void half_made(void)
{
    scene it;
    dpx_failure failure;
    uint8_t data[512];
    set(&it, "half", 1);
    CHECK_EQ(let_go(it.host, &it.ask), DPX_OK);
    dpx_host *other = join_as(it.space, "beta", 2);
    dpx_incarnation who = dpx_host_state(other).who;
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(other, &ask, 0, &failure), DPX_OK);
    get(&it.made, 0, dpx_own_block(&it.made.geometry, it.area, who.slot), data);
    CHECK_EQ(let_go(other, &ask), DPX_OK);
    CHECK_EQ(dpx_host_leave(other, SECOND, &failure), DPX_OK);
    dpx_host_destroy(other);
    /* As if it had died in the middle of a deletion, its slot freed since. */
    dpx_own own;
    dpx_own_decode(data, &own);
    own.sequence += 10;
    own.change_token = own.directory_token + DPX_BALLOT_SLOTS;
    dpx_own_encode(data, &it.made.geometry, 0, &own);
    put(&it.made, 0, dpx_own_block(&it.made.geometry, it.area, who.slot), data);
    usleep((useconds_t)(LIFE / 1000));
    dpx_status status = take(it.host, &it.ask, 5 * SECOND, &failure);
    CHECK_EQ(status, DPX_OK);
    if (status != DPX_OK)
        fprintf(stderr, "  %s\n", dpx_status_text(status));
    dpx_header header;
    get(&it.made, 0, dpx_header_block(&it.made.geometry, it.area), data);
    dpx_header_decode(data, &header);
    CHECK(header.directory_token > own.change_token);
    CHECK_EQ(let_go(it.host, &it.ask), DPX_OK);
    CHECK_EQ(dpx_host_resolve(it.host, it.area, SECOND, &failure), DPX_OK); /* nothing to do is fine */
    end_host(it.host, it.space);
}

/* ---- rewriting an own block ---- */

static void rewritten(void)
{
    scene it;
    dpx_failure failure;
    uint8_t data[512], zeros[512] = {0};
    dpx_own before, after;
    set(&it, "rewritten", 1);
    CHECK_EQ(dpx_host_rewrite(it.host, it.area, 0, &failure), DPX_E_HELD_HERE);
    CHECK_EQ(let_go(it.host, &it.ask), DPX_OK);
    get(&it.made, 0, it.own, data);
    dpx_own_decode(data, &before);
    put(&it.made, 0, it.own, zeros);
    CHECK_EQ(dpx_host_rewrite(it.host, it.area, 0, &failure), DPX_OK);
    get(&it.made, 0, it.own, data);
    CHECK_EQ(dpx_block_check(data, &it.made.geometry, DPX_KIND_OWN, 0, it.own), DPX_SOUND);
    dpx_own_decode(data, &after);
    CHECK(after.ballot >= before.ballot && after.hold == 0);
    uint64_t unknown = dpx_own_block(&it.made.geometry, 7, it.slot); /* an area never met */
    put(&it.made, 0, unknown, zeros);
    CHECK_EQ(dpx_host_rewrite(it.host, 7, 0, &failure), DPX_OK);
    get(&it.made, 0, unknown, data);
    CHECK_EQ(dpx_block_check(data, &it.made.geometry, DPX_KIND_OWN, 0, unknown), DPX_SOUND);
    CHECK_EQ(take(it.host, &it.ask, 0, &failure), DPX_OK);
    strike(&it);
}

/* ---- patience ---- */

static atomic_bool enough;

static bool had_enough(void *context)
{
    (void)context;
    return enough;
}

static void *lose_patience(void *argument)
{
    usleep(250000);
    enough = true;
    return argument;
}

static void impatient_caller(void)
{
    scene it;
    dpx_failure failure;
    pthread_t thread;
    dpx_host *host = NULL;
    dpx_join_options options = options_of("beta", 2);
    options.impatient = had_enough;
    set(&it, "patience", 1);
    CHECK_EQ(dpx_host_join(it.space, &options, 0, &host, &failure), DPX_OK);
    dpx_ask ask = it.ask, another = ask_for("vm2", DPX_MODE_EXCLUSIVE);
    uint64_t start = dpx_now();
    pthread_create(&thread, NULL, lose_patience, NULL);
    CHECK_EQ(take(host, &ask, DPX_FOREVER, &failure), DPX_E_HELD);
    CHECK(failure.lowering); /* its mark is being taken back, and nobody waits for that */
    CHECK(dpx_now() - start > 240 * MS && dpx_now() - start < 500 * MS);
    pthread_join(thread, NULL);
    enough = false;
    CHECK_EQ(take(host, &another, 0, &failure), DPX_OK);
    CHECK_EQ(let_go(host, &another), DPX_OK);
    CHECK_EQ(dpx_host_leave(host, SECOND, &failure), DPX_OK);
    dpx_host_destroy(host);
    strike(&it);
}

/* ---- damage that is in another host's way ---- */

static bool sound(const scene *it, uint64_t block)
{
    uint8_t data[512];
    get(&it->made, 0, block, data);
    return dpx_block_check(data, &it->made.geometry, DPX_KIND_OWN, 0, block) == DPX_SOUND;
}

/* Nobody holds the lease; whoever's block is damaged there goes on as if nothing were. */
static void healed_when_met(void)
{
    scene it;
    dpx_failure failure;
    dpx_event event;
    uint8_t zeros[512] = {0};
    set(&it, "met", 1);
    CHECK_EQ(let_go(it.host, &it.ask), DPX_OK);
    put(&it.made, 0, it.own, zeros);
    dpx_host *late = join_as(it.space, "late", 3); /* knows nothing of the area */
    uint64_t unknown = dpx_own_block(&it.made.geometry, it.area, dpx_host_state(late).who.slot);
    put(&it.made, 0, unknown, zeros);
    CHECK(dpx_host_rewrite(it.host, it.area, SECOND, &failure) == DPX_OK);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(late, &ask, 0, &failure), DPX_OK);
    CHECK(await_event(late, DPX_EVENT_HEALED, LIFE, &event) && strcmp(event.name, "vm1") == 0);
    CHECK(sound(&it, unknown));
    CHECK_EQ(let_go(late, &ask), DPX_OK);
    CHECK_EQ(dpx_host_leave(late, SECOND, &failure), DPX_OK);
    dpx_host_destroy(late);
    end_host(it.host, it.space);
}

/* … and of another living host's block its owner is asked. */
static void healed_when_asked(void)
{
    scene it;
    dpx_failure failure;
    dpx_event event;
    uint8_t zeros[512] = {0};
    set(&it, "asked", 1);
    CHECK_EQ(let_go(it.host, &it.ask), DPX_OK);
    dpx_host *other = join_as(it.space, "beta", 2);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    put(&it.made, 0, it.own, zeros);
    CHECK_EQ(take(other, &ask, 0, &failure), DPX_E_DAMAGED); /* tries once; but it has asked */
    CHECK(await_event(it.host, DPX_EVENT_HEALED, LIFE, &event) && strcmp(event.name, "vm1") == 0);
    CHECK(sound(&it, it.own));
    CHECK_EQ(take(other, &ask, 0, &failure), DPX_OK);
    CHECK_EQ(let_go(other, &ask), DPX_OK);
    put(&it.made, 0, it.own, zeros);
    CHECK_EQ(take(other, &ask, 2 * LIFE, &failure), DPX_OK); /* waits for it */
    CHECK(await_event(it.host, DPX_EVENT_HEALED, LIFE, &event));
    put(&it.made, 0, it.own, zeros); /* and what is held is looked at: */
    CHECK(await_event(it.host, DPX_EVENT_HEALED, 2 * LIFE, &event));
    CHECK(sound(&it, it.own));
    CHECK_EQ(dpx_host_hold(other, ask.handle).state, DPX_HOLD_HELD);
    CHECK_EQ(let_go(other, &ask), DPX_OK);
    CHECK_EQ(dpx_host_leave(other, SECOND, &failure), DPX_OK);
    usleep((useconds_t)(LIFE / 1000)); /* known to have left by then */
    CHECK_EQ(dpx_host_ask(it.host, dpx_host_state(other).who.slot, it.area, &failure), DPX_E_NOT_FOUND);
    dpx_host_destroy(other);
    end_host(it.host, it.space);
}

int main(int count, char **arguments)
{
    if (!prepare_hosts(count, arguments, "test_blocks"))
        return 0;
    RUN(own_block_regressed);
    RUN(own_block_damaged);
    RUN(another_block_damaged);
    RUN(header_gone);
    RUN(lost_share);
    RUN(flag_gone_and_a_sharer_came);
    RUN(superseded);
    RUN(set_back);
    RUN(half_made);
    RUN(rewritten);
    RUN(healed_when_met);
    RUN(healed_when_asked);
    RUN(impatient_caller);
    return check_finish("test_blocks");
}
