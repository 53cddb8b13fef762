/* A disk on storage that hangs, remote-controlled for tests/fault/test_hangs.py.
 *
 *   hang PATH      one worker; commands on standard input, one answer line each:
 *
 *   write N   read N   heart N    submit a write (or read) of block N to the work lane, a
 *                                 read of it to the heart lane: "submitted MICROSECONDS"
 *   wait MS                       for the next completion: "done ERROR" or "timeout"
 *   oldest                        milliseconds since the oldest I/O in flight was issued; 0
 *   outstanding                   requests not completed
 *   expire                        what is queued and not started
 *   threads                       the disk's threads and their states in the kernel
 *   stop MS                       "stopped" or "left", and after how many milliseconds
 */
#include "disks.h"

#define REQUESTS 16u

static dpx_disk *disk;
static waiter completions;
static dpx_request requests[REQUESTS];
static dpx_extent extents[REQUESTS];
static _Atomic int results[REQUESTS];
static atomic_uint submitted, completed, reported;

static void note(void *context, dpx_request *request)
{
    results[atomic_fetch_add(&completed, 1) % REQUESTS] = request->error;
    wake_waiter(context, request);
}

static void submit(const char *command, long block)
{
    unsigned at = submitted++ % REQUESTS;
    uint8_t *data = dpx_buffer_new(4096);
    memset(data, (int)(0x80 + block), 4096);
    extents[at] = (dpx_extent){.block = (uint64_t)block, .count = 1, .data = data};
    requests[at] = (dpx_request){.writes = &extents[at], .reads = &extents[at]};
    requests[at].write_count = strcmp(command, "write") == 0;
    requests[at].read_count = 1 - requests[at].write_count;
    dpx_lane lane = strcmp(command, "heart") == 0 ? DPX_LANE_HEART : DPX_LANE_WORK;
    uint64_t start = dpx_now();
    dpx_disk_submit(disk, lane, &requests[at], NULL, note, &completions);
    printf("submitted %" PRIu64 "\n", (dpx_now() - start) / 1000);
}

static void wait_for_one(long milliseconds)
{
    uint64_t until = dpx_now() + (uint64_t)milliseconds * 1000000;
    while (dpx_now() < until && completed == reported)
        usleep(1000);
    if (completed == reported)
        printf("timeout\n");
    else
        printf("done %d\n", results[reported++ % REQUESTS]);
}

static void show_threads(void)
{
    DIR *list = opendir("/proc/self/task");
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char path[300], name[32], state;
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file && fscanf(file, "%*d (%31[^)]) %c", name, &state) == 2)
            printf("%s:%c ", name, state);
        if (file)
            fclose(file);
    }
    closedir(list);
    printf("\n");
}

static void stop(long milliseconds)
{
    uint64_t start = dpx_now();
    bool ended = dpx_disk_stop(disk, start + (uint64_t)milliseconds * 1000000);
    printf("%s %" PRIu64 "\n", ended ? "stopped" : "left", (dpx_now() - start) / 1000000);
}

static void obey(const char *command, long number)
{
    if (strcmp(command, "wait") == 0) {
        wait_for_one(number);
    } else if (strcmp(command, "oldest") == 0) {
        uint64_t oldest = dpx_disk_oldest(disk);
        printf("%" PRIu64 "\n", oldest ? (dpx_now() - oldest) / 1000000 : 0);
    } else if (strcmp(command, "outstanding") == 0) {
        printf("%u\n", dpx_disk_outstanding(disk));
    } else if (strcmp(command, "expire") == 0) {
        dpx_disk_expire(disk, dpx_now());
        printf("expired\n");
    } else if (strcmp(command, "threads") == 0) {
        show_threads();
    } else if (strcmp(command, "stop") == 0) {
        stop(number);
    } else {
        submit(command, number);
    }
}

int main(int count, char **arguments)
{
    char line[80], command[20];
    dpx_disk_facts facts;
    waiter_init(&completions);
    int error = count == 2 ? dpx_disk_start(arguments[1], false, 1, &disk) : -EINVAL;
    if (error == 0)
        error = dpx_disk_open(disk, dpx_now() + 10 * SECOND, &facts);
    if (error != 0) {
        fprintf(stderr, "hang: %s\n", strerror(-error));
        return 2;
    }
    dpx_disk_block_size(disk, 4096);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("open\n");
    while (fgets(line, sizeof line, stdin)) {
        long number = 0;
        if (sscanf(line, "%19s %ld", command, &number) >= 1)
            obey(command, number);
    }
    return 0;
}
