/* The processes that descend from one process, found in /proc.  Allocates nothing. */
#ifndef DPX_GUARD_TREE_H
#define DPX_GUARD_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Whether /proc shows what is needed; asked about the caller itself. */
bool tree_readable(pid_t self);

/* Sends a signal to everything that descends from `root`, not to root itself.  A process
 * that forks meanwhile may be missed: after a SIGKILL ask again until root has no children
 * (orphans must become root's: PR_SET_CHILD_SUBREAPER).  Returns how many were meant, those not
 * counted that are dead already and wait for their parent. */
uint64_t tree_signal(pid_t root, int number);

#endif
