/* A claim of one slot, with a hand on each of its requests. */
#ifndef TESTS_NATIVE_CLAIMER_H
#define TESTS_NATIVE_CLAIMER_H

#include "records.h"

typedef struct claimer {
    memory_host host;
    dpx_claim *claim;
    uint32_t tables;  /* whole tables read: attempts */
    uint32_t writes;  /* of the slot record */
    uint32_t notes;   /* … of its notice blocks */
    uint8_t claimed;  /* disks (bits) on which a claiming record was written */
    void (*before)(struct claimer *c, dpx_request *request); /* the request is carried out … */
    void (*after)(struct claimer *c, dpx_request *request);  /* … and completed */
    memory_disks *disks;
} claimer;

static inline void begin_claim_of(claimer *c, memory_disks *disks, uint8_t seed, uint64_t wait_until)
{
    *c = (claimer){.disks = disks};
    host_prepare(&c->host, disks, seed);
    dpx_slot_record me = host_record(&c->host, seed);
    dpx_uuid nonce = {{seed}};
    c->claim = dpx_claim_place(host_memory(&c->host, 1, dpx_claim_memory(&disks->geometry)), &c->host.world);
    dpx_claim_begin(c->claim, &me, &nonce, SLOT, false, wait_until, disks->now);
}

static inline void begin_claim(claimer *c, memory_disks *disks, uint8_t seed)
{
    begin_claim_of(c, disks, seed, disks->now);
}

static inline void note_request(claimer *c, const dpx_request *request)
{
    const dpx_geometry *g = &c->disks->geometry;
    c->tables += request->read_count > 0 && request->reads[0].block == g->slots_at && request->reads[0].count > 1;
    for (uint32_t i = 0; i < request->write_count; i++) {
        dpx_slot_record record;
        dpx_place place = dpx_place_of(g, request->writes[i].block);
        c->notes += place.kind == DPX_KIND_NOTICE;
        if (place.kind != DPX_KIND_SLOT)
            continue;
        c->writes++;
        dpx_slot_decode(request->writes[i].data, &record);
        if (record.state == DPX_SLOT_CLAIMING)
            c->claimed |= (uint8_t)(1u << request->disk);
    }
}

static inline dpx_verdict run_claim(claimer *c)
{
    uint64_t end = c->disks->now + 150 * DPX_SECOND;
    while (dpx_claim_verdict(c->claim) == DPX_RUNNING && c->disks->now < end) {
        dpx_request *request;
        while ((request = dpx_claim_step(c->claim, c->disks->now))) {
            note_request(c, request);
            if (c->before)
                c->before(c, request);
            disks_carry_out(c->disks, request, c->host.world.lifetime_end);
            if (c->after)
                c->after(c, request);
            dpx_claim_complete(c->claim, request, c->disks->now);
        }
        uint64_t wake = dpx_claim_wake(c->claim);
        if (wake != DPX_NEVER && wake > c->disks->now)
            c->disks->now = wake;
    }
    return dpx_claim_verdict(c->claim);
}

#endif
