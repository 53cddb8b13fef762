/* Under which nonces this process may still write a slot record or a lease block.
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

static void start_empty(void)
{
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    lock = fresh; /* a thread that is not here may have held it */
    writers = NULL;
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
