/* The host room with a disk that hangs: its file system is frozen, so that submission
 * itself sleeps in the kernel.
 *
 *   test_frozen DIR     a mount of its own, and the right to freeze it (CAP_SYS_ADMIN) */
#include "hosts.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#define LIFE (800 * MS)

/* What hangs in the kernel keeps its memory, on purpose. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static const char *frozen_folder;
static int mount_point;

static bool freeze(void)
{
    return ioctl(mount_point, FIFREEZE, 0) == 0;
}

static void thaw(void)
{
    ioctl(mount_point, FITHAW, 0);
}

static void lay_out(lockspace *made, const char *name, uint32_t disks)
{
    dpx_geometry geometry = geometry_for(disks, 8, 64, LIFE);
    make_lockspace(made, name, &geometry);
    uint32_t last = disks - 1;
    unlink(made->paths[last]);
    snprintf(made->paths[last], sizeof made->paths[last], "%s/%s.%u", frozen_folder, name, last);
    format_disk(&geometry, last, made->paths[last]);
}

/* One of three: nothing is delayed beyond an I/O limit, nothing piles up, and it comes back. */
static void one_of_three(void)
{
    dpx_failure failure;
    dpx_event event;
    lockspace made;
    char names[40][8];
    lay_out(&made, "three", 3);
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask kept = ask_for("kept", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &kept, 0, &failure), DPX_OK);
    CHECK(freeze());
    uint64_t worst = 0;
    uint64_t until = dpx_now() + 3 * LIFE;
    for (unsigned i = 0; dpx_now() < until; i++) {
        snprintf(names[i % 40], sizeof names[0], "f%u", i % 40);
        dpx_ask ask = ask_for(names[i % 40], DPX_MODE_EXCLUSIVE);
        uint64_t start = dpx_now();
        CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
        CHECK_EQ(let_go(host, &ask), DPX_OK);
        if (dpx_now() - start > worst)
            worst = dpx_now() - start;
        usleep(2000);
    }
    printf("  slowest take and release while frozen: %" PRIu64 " ms\n", worst / MS);
    CHECK(worst < 3 * LIFE / 4);
    CHECK(await_event(host, DPX_EVENT_DISK_DOWN, SECOND, &event) && event.disk == 2);
    dpx_space_disk disks[3];
    CHECK_EQ(dpx_space_disks(space, disks, 3), 3);
    CHECK(disks[2].oldest != 0);
    CHECK_EQ(dpx_host_leave(host, 0, &failure), DPX_E_BUSY);
    CHECK_EQ(dpx_host_hold(host, kept.handle).state, DPX_HOLD_HELD);
    thaw();
    CHECK(await_event(host, DPX_EVENT_DISK_UP, 2 * SECOND, &event) && event.disk == 2);
    dpx_ask ask = ask_for("f1", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    usleep((useconds_t)(LIFE / 1000));
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    CHECK_EQ(let_go(host, &kept), DPX_OK);
    end_host(host, space);
}

/* The only one: callers get an answer, holders learn of their end in time, and ending the
 * host waits for nothing. */
static void the_only_one(void)
{
    dpx_failure failure;
    dpx_event event;
    lockspace made;
    lay_out(&made, "single", 1);
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask kept = ask_for("kept", DPX_MODE_EXCLUSIVE), ask = ask_for("next", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &kept, 0, &failure), DPX_OK);
    CHECK(freeze());
    uint64_t start = dpx_now();
    CHECK_EQ(take(host, &ask, 50 * MS, &failure), DPX_E_TIMEOUT);
    CHECK(dpx_now() - start < 70 * MS);
    CHECK(await_event(host, DPX_EVENT_LOST, 2 * LIFE, &event) && event.handle == kept.handle);
    uint64_t end = dpx_host_state(host).lifetime_end;
    CHECK(dpx_now() < end + 20 * MS);
    start = dpx_now();
    dpx_host_destroy(host);
    CHECK(dpx_now() - start < 100 * MS);
    start = dpx_now();
    dpx_space_close(space);
    CHECK(dpx_now() - start < 3 * SECOND);
    space = open_space(&made); /* reading works on a frozen file system */
    dpx_join_options options = options_of("alpha", 1);
    start = dpx_now();
    CHECK_EQ(dpx_host_join(space, &options, 0, &host, &failure), DPX_E_STORAGE);
    CHECK_EQ(failure.error, ETIMEDOUT);
    CHECK(dpx_now() - start < 2 * SECOND);
    dpx_space_close(space);
    thaw();
    usleep(300000);
    space = open_space(&made);
    host = join_as(space, "alpha", 1);
    /* The write that hung may have raised its flag by now. */
    CHECK_EQ(take(host, &ask, 5 * SECOND, &failure), DPX_OK);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    end_host(host, space);
}

int main(int count, char **arguments)
{
    char *memory[] = {arguments[0], "/dev/shm"};
    if (count < 2) {
        printf("test_frozen: skipped: no file system of its own to freeze\n");
        return 0;
    }
    frozen_folder = arguments[1];
    mount_point = open(frozen_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mount_point < 0 || !freeze()) {
        printf("test_frozen: skipped: cannot freeze %s (%s)\n", frozen_folder, strerror(errno));
        return 0;
    }
    thaw();
    atexit(thaw);
    if (!prepare_hosts(2, memory, "test_frozen"))
        return 0;
    RUN(one_of_three);
    RUN(the_only_one);
    return check_finish("test_frozen");
}
