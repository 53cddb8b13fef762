/* What happened while nobody asked: a ring of news, and losses, which are never dropped. */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void raise_event(dpx_host *host)
{
    uint64_t one = 1;
    if (host->event_raised)
        return;
    host->event_raised = write(host->event_fd, &one, sizeof one) == (ssize_t)sizeof one;
}

void dpx_tell(dpx_host *host, const dpx_event *event)
{
    if (host->news_count == DPX_NEWS_KEPT) { /* nobody reads: the oldest goes */
        host->news_first = (host->news_first + 1) % DPX_NEWS_KEPT;
        host->news_count--;
    }
    host->news[(host->news_first + host->news_count) % DPX_NEWS_KEPT] = *event;
    host->news_count++;
    raise_event(host);
}

/* Losses hang on the handles themselves: no memory can be missing for them. */
void dpx_tell_lost(dpx_host *host, dpx_hold *hold)
{
    if (hold->news)
        return;
    hold->news = true;
    hold->next_news = NULL;
    if (host->lost_last)
        host->lost_last->next_news = hold;
    else
        host->lost_first = hold;
    host->lost_last = hold;
    raise_event(host);
}

void dpx_untell(dpx_host *host, dpx_hold *hold)
{
    dpx_hold *before = NULL;
    if (!hold->news)
        return;
    for (dpx_hold *at = host->lost_first; at != hold; at = at->next_news)
        before = at;
    if (before)
        before->next_news = hold->next_news;
    else
        host->lost_first = hold->next_news;
    if (host->lost_last == hold)
        host->lost_last = before;
    hold->news = false;
}

void dpx_tell_end(dpx_host *host)
{
    host->end_news = true;
    raise_event(host);
}

static bool next_event(dpx_host *host, dpx_event *event)
{
    uint64_t count;
    dpx_hold *hold = host->lost_first;
    if (hold) {
        event->kind = DPX_EVENT_LOST;
        event->handle = hold->handle;
        event->end = host->end;
        snprintf(event->name, sizeof event->name, "%s", hold->entry->lease.name);
        dpx_untell(host, hold);
        return true;
    }
    if (host->end_news) {
        host->end_news = false;
        event->kind = DPX_EVENT_FINISHED;
        event->end = host->end;
        return true;
    }
    if (host->news_count > 0) {
        *event = host->news[host->news_first];
        host->news_first = (host->news_first + 1) % DPX_NEWS_KEPT;
        host->news_count--;
        return true;
    }
    if (host->event_raised && read(host->event_fd, &count, sizeof count) == (ssize_t)sizeof count)
        host->event_raised = false;
    return false;
}

bool dpx_host_next_event(dpx_host *host, dpx_event *event)
{
    memset(event, 0, sizeof *event);
    if (getpid() != host->pid)
        return false;
    dpx_lock(host);
    dpx_life(host);
    bool any = next_event(host, event);
    dpx_unlock(host);
    return any;
}

int dpx_host_event_fd(const dpx_host *host)
{
    return host->event_fd;
}

dpx_host_status dpx_host_state(dpx_host *host)
{
    dpx_host_status state;
    memset(&state, 0, sizeof state);
    if (getpid() != host->pid) {
        state.end = DPX_END_LIFETIME; /* a child is no part of this host */
        return state;
    }
    dpx_lock(host);
    dpx_life(host);
    uint64_t now = dpx_now();
    state.end = host->end;
    state.who = host->world.self;
    state.lifetime_end = host->world.lifetime_end;
    if (!host->over && state.lifetime_end > now)
        state.remaining = state.lifetime_end - now;
    state.realtime = host->realtime;
    state.harden_error = host->harden_error;
    for (const dpx_task *task = host->active; task; task = task->next)
        state.lowering += dpx_task_lowering(task);
    state.heart = dpx_heart_count(host->heart->machine.heart);
    dpx_unlock(host);
    return state;
}
