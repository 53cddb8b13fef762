/* The clerk completes requests that were never started: refused, expired or cancelled.  A
 * thread of its own, because all workers may be hanging, and because the caller that
 * submits or expires may hold a lock that the callback takes. */
#include "inside.h"

#include <string.h>

static void fail(dpx_request *request, int error)
{
    for (uint32_t i = 0; i < request->write_count; i++)
        request->writes[i].error = error;
    for (uint32_t i = 0; i < request->read_count; i++)
        request->reads[i].error = error;
    request->error = error;
}

static dpx_request *next_request(dpx_clerk *clerk)
{
    pthread_mutex_lock(&clerk->lock);
    dpx_request *request;
    while (!(request = clerk->head) && !clerk->quit) {
        atomic_store(&clerk->bell, 0);
        pthread_mutex_unlock(&clerk->lock);
        dpx_sleep(&clerk->bell, 0, UINT64_MAX);
        pthread_mutex_lock(&clerk->lock);
    }
    if (request) {
        clerk->head = request->queue.next;
        clerk->calling = true;
    }
    pthread_mutex_unlock(&clerk->lock);
    return request;
}

static void serve(void *argument)
{
    dpx_disk *disk = argument;
    dpx_clerk *clerk = &disk->clerk;
    dpx_request *request;
    while ((request = next_request(clerk)) != NULL) {
        atomic_fetch_sub(&disk->outstanding, 1);
        request->queue.done(request->queue.context, request);
        pthread_mutex_lock(&clerk->lock);
        clerk->calling = false;
        pthread_mutex_unlock(&clerk->lock);
        dpx_disk_event(disk);
    }
}

int dpx_clerk_start(dpx_disk *disk)
{
    int error = dpx_lock_init(&disk->clerk.lock);
    return error ? error : dpx_thread_start(&disk->clerk.thread, "dpx-clerk", serve, disk);
}

static void ring(dpx_clerk *clerk)
{
    atomic_store(&clerk->bell, 1);
    dpx_wake(&clerk->bell, 1);
}

void dpx_clerk_give(dpx_disk *disk, dpx_request *chain, int error)
{
    dpx_clerk *clerk = &disk->clerk;
    if (!chain)
        return;
    dpx_request *last = chain;
    for (dpx_request *request = chain; request; request = request->queue.next) {
        fail(request, error);
        last = request;
    }
    pthread_mutex_lock(&clerk->lock);
    if (clerk->head)
        clerk->tail->queue.next = chain;
    else
        clerk->head = chain;
    clerk->tail = last;
    pthread_mutex_unlock(&clerk->lock);
    ring(clerk);
}

bool dpx_clerk_idle(dpx_disk *disk)
{
    pthread_mutex_lock(&disk->clerk.lock);
    bool idle = !disk->clerk.head && !disk->clerk.calling;
    pthread_mutex_unlock(&disk->clerk.lock);
    return idle;
}

void dpx_clerk_quit(dpx_disk *disk)
{
    pthread_mutex_lock(&disk->clerk.lock);
    disk->clerk.quit = true;
    pthread_mutex_unlock(&disk->clerk.lock);
    ring(&disk->clerk);
}
