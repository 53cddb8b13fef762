/* Machines at work: their memory, their requests, their timers, their end. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROMPT_BYTES (1u << 20) /* what is larger is given back at once */

/* ---- one machine or the other ---- */

static dpx_request *machine_step(dpx_task *task, uint64_t now)
{
    switch (task->kind) {
    case DPX_TASK_ROUND: return dpx_round_step(task->machine.round, now);
    case DPX_TASK_CHANGE: return dpx_change_step(task->machine.change, now);
    case DPX_TASK_CLAIM: return dpx_claim_step(task->machine.claim, now);
    case DPX_TASK_HEART: return dpx_heart_step(task->machine.heart, now);
    }
    return NULL;
}

static void machine_complete(dpx_task *task, dpx_request *request, uint64_t now)
{
    switch (task->kind) {
    case DPX_TASK_ROUND: dpx_round_complete(task->machine.round, request, now); break;
    case DPX_TASK_CHANGE: dpx_change_complete(task->machine.change, request, now); break;
    case DPX_TASK_CLAIM: dpx_claim_complete(task->machine.claim, request, now); break;
    case DPX_TASK_HEART: dpx_heart_complete(task->machine.heart, request, now); break;
    }
}

static uint64_t machine_wake(const dpx_task *task)
{
    switch (task->kind) {
    case DPX_TASK_ROUND: return dpx_round_wake(task->machine.round);
    case DPX_TASK_CHANGE: return dpx_change_wake(task->machine.change);
    case DPX_TASK_CLAIM: return dpx_claim_wake(task->machine.claim);
    case DPX_TASK_HEART: return dpx_heart_wake(task->machine.heart);
    }
    return DPX_NEVER;
}

dpx_verdict dpx_task_verdict(const dpx_task *task)
{
    switch (task->kind) {
    case DPX_TASK_ROUND: return dpx_round_verdict(task->machine.round);
    case DPX_TASK_CHANGE: return dpx_change_verdict(task->machine.change);
    case DPX_TASK_CLAIM: return dpx_claim_verdict(task->machine.claim);
    case DPX_TASK_HEART: break;
    }
    return DPX_RUNNING;
}

const dpx_cause *dpx_task_cause(const dpx_task *task)
{
    switch (task->kind) {
    case DPX_TASK_CHANGE: return dpx_change_cause(task->machine.change);
    case DPX_TASK_CLAIM: return dpx_claim_cause(task->machine.claim);
    default: return dpx_round_cause(task->machine.round);
    }
}

bool dpx_task_quiet(const dpx_task *task)
{
    if (task->outstanding > 0)
        return false;
    switch (task->kind) {
    case DPX_TASK_ROUND: return dpx_round_quiet(task->machine.round);
    case DPX_TASK_CHANGE: return dpx_change_quiet(task->machine.change);
    case DPX_TASK_CLAIM: return dpx_claim_quiet(task->machine.claim);
    case DPX_TASK_HEART: return dpx_heart_quiet(task->machine.heart);
    }
    return true;
}

bool dpx_task_lowering(const dpx_task *task)
{
    return task->kind == DPX_TASK_ROUND && dpx_round_lowering(task->machine.round);
}

void dpx_task_cancel(dpx_task *task)
{
    if (task->kind == DPX_TASK_ROUND)
        dpx_round_cancel(task->machine.round);
    else if (task->kind == DPX_TASK_CHANGE)
        dpx_change_cancel(task->machine.change);
    dpx_task_drive(task);
}

/* ---- memory ---- */

static size_t machine_memory(const dpx_host *host, dpx_task_kind kind, uint32_t capacity)
{
    switch (kind) {
    case DPX_TASK_ROUND: return dpx_round_memory(&host->geometry, capacity);
    case DPX_TASK_CHANGE: return dpx_change_memory(&host->geometry);
    case DPX_TASK_CLAIM: return dpx_claim_memory(&host->geometry);
    case DPX_TASK_HEART: return dpx_heart_memory(&host->geometry);
    }
    return 0;
}

/* A heart is placed by whoever joins (it starts from a claim); so is the world of a claim. */
static void machine_place(dpx_task *task)
{
    dpx_host *host = task->host;
    if (task->kind == DPX_TASK_ROUND)
        task->machine.round = dpx_round_place(task->memory, &host->world, task->capacity);
    else if (task->kind == DPX_TASK_CHANGE)
        task->machine.change = dpx_change_place(task->memory, &host->world, &host->directory->lease);
}

dpx_task *dpx_task_new(dpx_host *host, dpx_task_kind kind, uint32_t capacity)
{
    dpx_task *task = calloc(1, sizeof *task);
    if (!task)
        return NULL;
    task->host = host;
    task->kind = kind;
    task->capacity = capacity;
    task->world = &host->world;
    task->alarm = kind == DPX_TASK_HEART ? &host->heart_alarm : &host->steward_alarm;
    task->wishes = &task->one_wish;
    task->entries = &task->one_entry;
    if (capacity > 1) {
        task->wishes = calloc(capacity, sizeof *task->wishes);
        task->entries = calloc(capacity, sizeof *task->entries);
    }
    task->bytes = machine_memory(host, kind, capacity);
    if (kind == DPX_TASK_ROUND && capacity == 1)
        task->memory = dpx_arena_take(&host->arena);
    if (!task->memory)
        task->memory = dpx_buffer_new(task->bytes);
    if (!task->wishes || !task->entries || !task->memory) {
        dpx_task_free(task);
        return NULL;
    }
    machine_place(task);
    return task;
}

void dpx_task_free(dpx_task *task)
{
    dpx_writer_leave(&task->writer);
    if (task->memory && !dpx_arena_give(&task->host->arena, task->memory))
        dpx_buffer_free(task->memory, task->bytes);
    if (task->wishes != &task->one_wish)
        free(task->wishes);
    if (task->entries != &task->one_entry)
        free(task->entries);
    free(task);
}

/* A batch of leases reads into megabytes, and a page that is new costs as much as what is read into
 * it: the next batch gets the same ones. */
static dpx_task *take_spare(dpx_host *host, uint32_t capacity)
{
    dpx_task *task = host->spare_batch;
    if (!task || task->capacity < capacity)
        return NULL;
    host->spare_batch = NULL;
    return task;
}

static void discard(dpx_task *task)
{
    dpx_host *host = task->host;
    task->next = host->trash;
    host->trash = task;
    if (task->bytes >= PROMPT_BYTES)
        dpx_alarm_sooner(&host->steward_alarm, 0);
}

/* The larger one is kept. */
static void keep_spare(dpx_task *task)
{
    dpx_host *host = task->host;
    dpx_task *spare = host->spare_batch;
    if (spare && spare->capacity >= task->capacity) {
        discard(task);
        return;
    }
    host->spare_batch = task;
    task->next = NULL;
    if (spare)
        discard(spare);
}

void dpx_task_tidy(dpx_host *host, uint64_t now)
{
    dpx_task *spare = host->spare_batch;
    if (!spare || now < spare->fitted_at + DPX_SPARE_KEEP)
        return;
    host->spare_batch = NULL;
    discard(spare);
}

dpx_task *dpx_task_round(dpx_host *host, uint32_t capacity)
{
    dpx_task *task = capacity == 1 ? host->pool : take_spare(host, capacity);
    if (capacity == 1 && task) {
        host->pool = task->next;
        host->pooled--;
    } else if (!task) {
        dpx_unlock(host); /* a batch needs megabytes */
        task = dpx_task_new(host, DPX_TASK_ROUND, capacity);
        dpx_lock(host);
    }
    if (!task)
        return NULL;
    task->next = task->previous = NULL;
    if (capacity > task->capacity / 4)
        task->fitted_at = dpx_now();
    return task;
}

static void activate(dpx_task *task)
{
    dpx_host *host = task->host;
    if (task->active)
        return;
    task->active = true;
    task->previous = NULL;
    task->next = host->active;
    if (host->active)
        host->active->previous = task;
    host->active = task;
}

/* Quiet, and nobody's any more: to the pool, or to be freed without the lock. */
static void retire(dpx_task *task)
{
    dpx_host *host = task->host;
    if (task->active) {
        if (task->previous)
            task->previous->next = task->next;
        else
            host->active = task->next;
        if (task->next)
            task->next->previous = task->previous;
    }
    if (task == host->claim)
        host->claim = NULL;
    dpx_writer_leave(&task->writer);
    task->active = task->reported = task->keeps = false;
    task->caller = NULL;
    task->ended = NULL;
    task->count = 0;
    if (task->kind == DPX_TASK_CHANGE && !host->spare_change) {
        host->spare_change = task;
        return;
    }
    if (task->kind == DPX_TASK_ROUND && task->capacity > 1) {
        keep_spare(task);
    } else if (task->kind == DPX_TASK_ROUND && host->pooled < DPX_POOL_KEEP) {
        task->next = host->pool;
        host->pool = task;
        host->pooled++;
    } else {
        discard(task);
    }
}

/* ---- requests ---- */

static void fail_extents(dpx_extent *extents, uint32_t count, int error)
{
    for (uint32_t i = 0; i < count; i++)
        extents[i].error = error;
}

static void fail_request(dpx_request *request, int error)
{
    request->error = error;
    request->writes_issued = false;
    request->write_issued_at = request->write_completed_at = 0;
    request->read_issued_at = request->read_completed_at = 0;
    fail_extents(request->writes, request->write_count, error);
    fail_extents(request->reads, request->read_count, error);
}

static dpx_entry *writer_of(dpx_task *task, uint32_t area, uint32_t *at)
{
    for (uint32_t i = 0; i < task->count; i++, (*at)++) {
        *at %= task->count; /* extents come in the order of the wishes: found at once */
        const dpx_lease *lease = &task->entries[*at]->lease;
        if (lease->located && lease->header.area == area)
            return task->entries[*at];
    }
    return NULL;
}

/* Every lease area that is about to be written in must be this task's to write in. */
static bool may_write(dpx_task *task, const dpx_request *request)
{
    uint32_t at = 0;
    if (task->kind != DPX_TASK_ROUND && task->kind != DPX_TASK_CHANGE)
        return true;
    for (uint32_t n = 0; n < request->write_count; n++) {
        dpx_host *host = task->host;
        uint32_t area = dpx_place_of(&host->geometry, request->writes[n].block).area;
        dpx_entry *writer = writer_of(task, area, &at);
        bool resolved = host->resolver && host->resolver != task && host->resolved_area == area;
        if (resolved || !dpx_area_claim(host, writer, area))
            return false;
        if (!writer) {
            host->resolver = task;
            host->resolved_area = area;
        }
    }
    return true;
}

/* Our record is durable on a disk: the heart has looked there first. */
static void note_beat(const dpx_task *task, const dpx_request *request)
{
    dpx_host *host = task->host;
    const dpx_extent *write = request->writes;
    dpx_slot_record record;
    if (task->kind != DPX_TASK_HEART || request->write_count != 1 || !request->writes_issued || write->error != 0 ||
        write->block != dpx_slot_block(&host->geometry, host->world.self.slot) ||
        task->out_since[request->disk] != host->downs[request->disk])
        return;
    dpx_slot_decode(write->data, &record);
    host->beaten[request->disk] = record.sequence;
    host->unlooked[request->disk] = false;
}

static void completed(void *context, dpx_request *request)
{
    dpx_task *task = context;
    dpx_host *host = task->host;
    int error = request->error;
    uint32_t disk = request->disk;
    dpx_lock(host);
    host->outstanding--;
    task->outstanding--;
    task->out[disk]--;
    if (host->destroyed) { /* the last one out closes the door */
        bool last = host->outstanding == 0;
        dpx_unlock(host);
        if (last)
            dpx_host_free(host);
        return;
    }
    note_beat(task, request);
    if (error != 0 && error != -ETIME && error != -ETIMEDOUT && error != -ECANCELED)
        dpx_space_doubt(host->space, disk, error);
    host->stalled[disk] = host->stalled[disk] && dpx_stalled(host, disk, dpx_now());
    machine_complete(task, request, dpx_now());
    if (task == host->claim && host->joined) { /* the write of our slot that the heart waited for */
        dpx_heart_suspect(host->heart->machine.heart, disk, dpx_claim_busy(task->machine.claim, disk));
        dpx_task_drive(host->heart);
    }
    dpx_task_drive(task);
    if (host->waiter)
        dpx_wake_caller(host, host->waiter);
    dpx_rest(host);
    dpx_unlock(host);
}

/* To the disk, unless it is no use: then the machine learns of it at once. */
static void issue(dpx_task *task, dpx_request *request)
{
    dpx_host *host = task->host;
    dpx_lane lane = task->kind == DPX_TASK_HEART ? DPX_LANE_HEART : DPX_LANE_WORK;
    dpx_disk *disk = dpx_space_disk_of(host->space, request->disk);
    int error = 0;
    bool unlooked = host->unlooked[request->disk] && task->kind != DPX_TASK_HEART && request->write_count > 0;
    if (!disk || unlooked) /* what it shows of us comes first: the slot may be another's there */
        error = -ENODEV;
    else if (host->stalled[request->disk] && lane == DPX_LANE_WORK)
        error = -ETIMEDOUT;
    else if (!may_write(task, request))
        error = -EBUSY;
    if (error != 0) {
        fail_request(request, error);
        machine_complete(task, request, dpx_now());
        return;
    }
    const _Atomic uint64_t *gate = task->kind == DPX_TASK_CLAIM ? &task->gate : &host->gate;
    host->outstanding++;
    task->outstanding++;
    task->out[request->disk]++;
    task->out_since[request->disk] = host->downs[request->disk];
    if (task->near)
        dpx_disk_submit_near(disk, lane, request, gate, completed, task);
    else
        dpx_disk_submit(disk, lane, request, gate, completed, task);
}

/* ---- stepping ---- */

/* A claim's attempt opens its gate for what it writes, and closes it when it fails: what still waits to be issued
 * on some disk is not issued any more then. */
static void set_gate(dpx_task *task)
{
    const dpx_host *host = task->host;
    bool own = task == host->claim && (host->joined || host->over); /* the heart moves the lifetime from now on */
    if (task->kind == DPX_TASK_CLAIM && !own)
        atomic_store(&task->gate, task->world->lifetime_end);
}

static void note_voids(const dpx_task *task)
{
    const dpx_void *voids;
    uint32_t count = dpx_claim_voids(task->machine.claim, &voids);
    dpx_voids_add(voids, count);
}

static void settle(dpx_task *task)
{
    dpx_host *host = task->host;
    if (task->kind == DPX_TASK_HEART)
        return;
    if (!task->reported && dpx_task_verdict(task) != DPX_RUNNING) {
        task->reported = true;
        if (task->kind == DPX_TASK_CLAIM)
            note_voids(task);
        if (host->resolver == task)
            host->resolver = NULL;
        if (task->ended)
            task->ended(task);
        if (task->caller)
            dpx_wake_caller(host, task->caller);
    }
    if (task->reported && task->keeps) {
        task->keeps = false;
        for (uint32_t i = 0; i < task->count; i++)
            task->entries[i]->busy = DPX_IDLE;
        dpx_queue_kick(host);
    }
    if (task->reported && !task->owned && dpx_task_quiet(task))
        retire(task);
}

void dpx_task_drive(dpx_task *task)
{
    dpx_host *host = task->host;
    dpx_request *request;
    host->world.wall = task->world->wall = dpx_wall();
    while ((request = machine_step(task, dpx_now())) != NULL) {
        set_gate(task);
        issue(task, request);
    }
    set_gate(task);
    task->wake = machine_wake(task);
    dpx_alarm_sooner(task->alarm, task->wake);
    if (host->world.peers->wants != host->wants_known) { /* the steward sees to it that the heart looks at once */
        host->wants_known = host->world.peers->wants;
        host->next_chores = 0;
        dpx_alarm_sooner(&host->steward_alarm, 0);
    }
    dpx_life(host);
    settle(task);
}

void dpx_task_start(dpx_task *task)
{
    activate(task);
    task->reported = false;
    dpx_task_drive(task);
}

bool dpx_task_await(dpx_task *task, dpx_caller *caller, uint64_t *deadline)
{
    dpx_host *host = task->host;
    task->owned = true;
    task->caller = caller;
    task->near = host->geometry.disks == 1; /* the workers of several start side by side */
    dpx_task_start(task);
    task->near = false;
    while (!task->reported && !host->over && (dpx_wait(host, caller, deadline) || dpx_task_moves(task, deadline)))
        continue;
    if (!task->reported && !host->over)
        dpx_task_cancel(task); /* often that is an answer at once: nothing was raised yet */
    task->caller = NULL;
    return task->reported;
}

void dpx_task_drop(dpx_task *task)
{
    if (!task->active) { /* never begun */
        retire(task);
        return;
    }
    task->owned = false;
    if (!task->reported) {
        task->keeps = true;
        for (uint32_t i = 0; i < task->count; i++)
            task->entries[i]->busy = DPX_BUSY_LOWERING;
    } else if (dpx_task_quiet(task)) {
        retire(task);
    }
}
