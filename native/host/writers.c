/* Under which nonces this process may still write a slot record or a lease block, and which of its claims
 * came to nothing.
 *
 * The process itself is the best witness of its own writes: a membership of it that is over, and all
 * of whose I/O has returned, writes nothing more, though the process lives on.  So is the program
 * that it ran before an exec, which ends all threads and waits for their I/O as an exit does: this list
 * starts empty then.  A forked child has another pid; what it inherits is the parent's. */
#include "engine.h"

#include <string.h>

#define ATTEMPT_BYTES 4u /* of a nonce: attempts of one claim differ in them (claim.c) */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;
static dpx_writer *writers;

#define VOIDS 64u /* the oldest is forgotten: its slot then waits for `hosts retire` */
static dpx_void voids[VOIDS];
static uint32_t void_next;

static void start_empty(void)
{
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    lock = fresh; /* a thread that is not here may have held it */
    writers = NULL;
    memset(voids, 0, sizeof voids);
}

static void prepare(void)
{
    pthread_atfork(NULL, NULL, start_empty);
}

void dpx_writer_enter(dpx_writer *writer, const dpx_uuid *nonce)
{
    pthread_once(&prepared, prepare);
    pthread_mutex_lock(&lock);
    writer->nonce = *nonce;
    if (!writer->listed) {
        writer->listed = true;
        writer->previous = NULL;
        writer->next = writers;
        if (writers)
            writers->previous = writer;
        writers = writer;
    }
    pthread_mutex_unlock(&lock);
}

void dpx_writer_leave(dpx_writer *writer)
{
    pthread_mutex_lock(&lock);
    if (writer->listed) {
        if (writer->previous)
            writer->previous->next = writer->next;
        else
            writers = writer->next;
        if (writer->next)
            writer->next->previous = writer->previous;
        writer->listed = false;
    }
    pthread_mutex_unlock(&lock);
}

bool dpx_writer_lives(const dpx_uuid *nonce)
{
    size_t bytes = sizeof nonce->bytes - ATTEMPT_BYTES;
    bool lives = false;
    pthread_mutex_lock(&lock);
    for (const dpx_writer *writer = writers; writer && !lives; writer = writer->next)
        lives = memcmp(writer->nonce.bytes + ATTEMPT_BYTES, nonce->bytes + ATTEMPT_BYTES, bytes) == 0;
    pthread_mutex_unlock(&lock);
    return lives;
}

void dpx_voids_add(const dpx_void *made, uint32_t count)
{
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < count; i++, void_next = (void_next + 1) % VOIDS)
        voids[void_next] = made[i];
    pthread_mutex_unlock(&lock);
}

static dpx_void *find_void(const dpx_incarnation *who)
{
    for (uint32_t i = 0; i < VOIDS; i++)
        if (voids[i].who.generation != 0 && dpx_incarnation_equal(&voids[i].who, who))
            return &voids[i];
    return NULL;
}

bool dpx_voids_find(const dpx_incarnation *who, uint64_t *owned)
{
    pthread_mutex_lock(&lock);
    const dpx_void *found = find_void(who);
    *owned = found ? found->owned : 0;
    pthread_mutex_unlock(&lock);
    return found != NULL;
}

void dpx_voids_forget(const dpx_incarnation *who)
{
    pthread_mutex_lock(&lock);
    dpx_void *found = find_void(who);
    if (found)
        *found = (dpx_void){.owned = 0};
    pthread_mutex_unlock(&lock);
}
