/* Three hosts on disks in memory, and short ways to ask them: what tests of the machines share. */
#ifndef TESTS_NATIVE_SCENE_H
#define TESTS_NATIVE_SCENE_H

#include "check.h"
#include "memory_disks.h"

#define HOSTS 8u
#define LEASES 16u

typedef struct scene {
    memory_disks disks;
    memory_host a, b, c;
} scene;

static inline void open_scene(scene *s, uint32_t disks)
{
    disks_format(&s->disks, disks, HOSTS, LEASES);
    CHECK(host_join(&s->a, &s->disks, 1) == DPX_DONE);
    CHECK(host_join(&s->b, &s->disks, 2) == DPX_DONE);
    CHECK(host_join(&s->c, &s->disks, 3) == DPX_DONE);
    CHECK(s->a.world.self.slot != s->b.world.self.slot);
    host_beat(&s->a);
}

static inline void close_scene(scene *s)
{
    host_forget(&s->a);
    host_forget(&s->b);
    host_forget(&s->c);
    disks_free(&s->disks);
}

static inline void name_lease(dpx_lease *lease, const char *name)
{
    dpx_lease_reset(lease, name, strlen(name));
}

static inline dpx_verdict take(memory_host *host, dpx_lease *lease, enum dpx_mode mode, dpx_wish *wish)
{
    *wish = (dpx_wish){.lease = lease, .mode = mode};
    return host_round(host, DPX_ROUND_TAKE, wish, 1, 0, NULL);
}

static inline dpx_verdict release(memory_host *host, dpx_lease *lease)
{
    dpx_wish wish = {.lease = lease};
    return host_round(host, DPX_ROUND_RELEASE, &wish, 1, 0, NULL);
}

static inline void put_own(memory_disks *disks, const dpx_own *own)
{
    const dpx_geometry *g = &disks->geometry;
    for (uint32_t d = 0; d < g->disks; d++)
        dpx_own_encode(disk_block(disks, d, dpx_own_block(g, own->area, own->who.slot)), g, d, own);
}

static inline dpx_own own_of(memory_disks *disks, uint32_t area, uint32_t slot)
{
    dpx_own own;
    dpx_own_decode(disk_block(disks, 0, dpx_own_block(&disks->geometry, area, slot)), &own);
    return own;
}

/* Beats of everybody, period by period. */
static inline void pass_time(scene *s, uint64_t duration, int with_a)
{
    for (uint64_t end = s->disks.now + duration; s->disks.now < end; s->disks.now += DPX_SECOND) {
        if (with_a)
            host_beat(&s->a);
        host_beat(&s->b);
        host_beat(&s->c);
    }
}

static inline void create_lease(scene *s, dpx_lease *at_a)
{
    name_lease(at_a, "vm1");
    CHECK(host_change(&s->a, DPX_CHANGE_CREATE, at_a, 9) == DPX_DONE);
}

/* A creates "vm1", and has announced a change of its header when the scene goes on: nothing is written yet. */
static inline void half_made_change(scene *s, dpx_lease *at_a)
{
    dpx_wish wish;
    create_lease(s, at_a);
    CHECK(take(&s->a, &s->a.directory, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    wish = (dpx_wish){.lease = at_a, .mode = DPX_MODE_EXCLUSIVE, .change_token = s->a.directory.token};
    CHECK(host_round(&s->a, DPX_ROUND_TAKE, &wish, 1, 0, NULL) == DPX_DONE);
}

/* A round over one lease, to be stepped by hand; the caller frees *memory. */
static inline dpx_round *place_round(memory_host *host, void **memory)
{
    size_t bytes = (dpx_round_memory(&host->disks->geometry, 1) + 4095) & ~(size_t)4095;
    *memory = aligned_alloc(4096, bytes);
    memset(*memory, 0, bytes);
    return dpx_round_place(*memory, &host->world, 1);
}

#endif
