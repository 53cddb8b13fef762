/* A process whose libraries have a lot of thread-local data: the C library puts it on the stack of each thread. */
#include "hosts.h"

static _Thread_local volatile char much[400 * 1024];

static void threads_with_much_of_their_own(void)
{
    dpx_failure failure;
    lockspace made;
    dpx_geometry geometry = geometry_for(1, 4, 16, SECOND);
    make_lockspace(&made, "stack", &geometry);
    much[0] = 1;
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask ask = ask_for("vm", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    usleep(300000);
    CHECK(dpx_host_state(host).heart.beats > 1);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    end_host(host, space);
}

int main(int count, char **arguments)
{
    if (!prepare_hosts(count, arguments, "test_stack"))
        return 0;
    RUN(threads_with_much_of_their_own);
    return check_finish("test_stack");
}
