/* See declared.h. */
#define _GNU_SOURCE
#include "declared.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS 256

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int table_fd = -1;
static bool table_writable;
static struct use *table; /* SLOTS of them, mapped */
static int own_slot = -1;
static pid_t own_pid;

static const char *path_or(const char *variable, const char *otherwise)
{
    const char *value = getenv(variable);

    return value && *value ? value : otherwise;
}

bool declaration_read(struct declaration *declaration)
{
    FILE *file = fopen(path_or("DECLARED_GPUS", "/etc/declared-gpus"), "re");
    char line[512];

    memset(declaration, 0, sizeof *declaration);
    if (!file)
        return false;
    while (fgets(line, sizeof line, file)) {
        struct gpu gpu = {0};

        if (sscanf(line, "driver %31s", declaration->driver) == 1 || sscanf(line, "cuda %15s", declaration->cuda) == 1)
            continue;
        if (declaration->count < MAX_GPUS &&
            sscanf(line, "gpu %lu %lu %d.%d %39s %95[^\n]", &gpu.total, &gpu.reserved, &gpu.capability_major,
                   &gpu.capability_minor, gpu.uuid, gpu.name) == 6) {
            gpu.total *= MIB;
            gpu.reserved *= MIB;
            declaration->gpus[declaration->count++] = gpu;
        }
    }
    fclose(file);
    return declaration->count > 0;
}

void uuid_bytes(const char *text, uint8_t bytes[16])
{
    memset(bytes, 0, 16);
    for (int digit = 0; *text && digit < 32; text++) {
        if (*text == '-')
            continue;
        int value = *text >= 'a' ? *text - 'a' + 10 : *text >= 'A' ? *text - 'A' + 10 : *text - '0';
        bytes[digit / 2] |= value << (digit % 2 ? 0 : 4);
        digit++;
    }
}

/* Maps the table, once per process. Nobody may have made it yet, another user may have, or it can only be read. */
static bool table_open(void)
{
    const char *path = path_or("DECLARED_GPUS_USE", "/dev/shm/declared-gpus");
    const size_t size = sizeof(struct use) * SLOTS;
    struct stat status;

    if (table && own_pid == getpid())
        return true;
    if (table) { /* after a fork: the file description, its locks and the slot are the parent's */
        munmap(table, size);
        close(table_fd);
        table = NULL;
    }
    own_slot = -1;
    own_pid = getpid();
    /* Without O_CREAT first: fs.protected_regular refuses it for another user's file in a sticky directory. */
    table_fd = open(path, O_RDWR | O_CLOEXEC);
    if (table_fd < 0 && errno == ENOENT) {
        table_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (table_fd >= 0)
            fchmod(table_fd, 0666); /* whatever the umask is */
        else if (errno == EEXIST)
            table_fd = open(path, O_RDWR | O_CLOEXEC);
    }
    table_writable = table_fd >= 0;
    if (table_fd < 0)
        table_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (table_fd < 0)
        return false;
    if (table_writable && (fstat(table_fd, &status) || (status.st_size < (off_t)size && ftruncate(table_fd, size))))
        table_writable = false;
    if (fstat(table_fd, &status) || status.st_size < (off_t)size) {
        close(table_fd);
        table_fd = -1;
        return false;
    }
    table = mmap(NULL, size, table_writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, table_fd, 0);
    if (table == MAP_FAILED)
        table = NULL;
    return table != NULL;
}

static struct flock slot_lock(int slot)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1};
}

/* Whether a slot counts: it is this process's, or its process holds the lock. */
static bool alive(int slot)
{
    struct flock lock = slot_lock(slot);

    if (!table[slot].pid)
        return false;
    if (slot == own_slot)
        return true;
    return fcntl(table_fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* This process's slot, taken on first use; NULL when it can have none. The table is locked. */
static struct use *own(void)
{
    for (int slot = 0; own_slot < 0 && table_writable && slot < SLOTS; slot++) {
        struct flock lock = slot_lock(slot);

        if (fcntl(table_fd, F_OFD_SETLK, &lock))
            continue;
        struct use *use = &table[slot];
        memset(use, 0, sizeof *use);
        use->pid = own_pid;
        if (readlink("/proc/self/exe", use->program, sizeof use->program - 1) < 0)
            strcpy(use->program, "[Not Found]");
        own_slot = slot;
    }
    return own_slot < 0 ? NULL : &table[own_slot];
}

static bool lock_table(int operation)
{
    pthread_mutex_lock(&mutex);
    if (table_open() && flock(table_fd, operation) == 0)
        return true;
    pthread_mutex_unlock(&mutex);
    return false;
}

static void unlock_table(void)
{
    flock(table_fd, LOCK_UN);
    pthread_mutex_unlock(&mutex);
}

uint64_t use_by_others(int gpu, uint64_t *own_use)
{
    uint64_t others = 0;

    *own_use = 0;
    if (!lock_table(LOCK_SH))
        return 0;
    for (int slot = 0; slot < SLOTS; slot++) {
        if (slot == own_slot)
            *own_use = table[slot].taken[gpu];
        else if (alive(slot))
            others += table[slot].taken[gpu];
    }
    unlock_table();
    return others;
}

bool use_change(int gpu, int64_t change, uint64_t limit)
{
    uint64_t all = 0;
    bool fits = false;

    if (!lock_table(LOCK_EX))
        return true; /* no table: nothing is counted, but nothing breaks either */
    struct use *use = own();
    if (use) {
        for (int slot = 0; slot < SLOTS; slot++)
            if (alive(slot))
                all += table[slot].taken[gpu];
        fits = change <= 0 || all + (uint64_t)change <= limit;
        if (fits)
            use->taken[gpu] += (uint64_t)change;
    }
    unlock_table();
    return fits;
}

int use_list(struct use *list, int size)
{
    int count = 0;

    if (!lock_table(LOCK_SH))
        return 0;
    for (int slot = 0; slot < SLOTS && count < size; slot++) {
        uint64_t taken = 0;

        if (!alive(slot))
            continue;
        for (int gpu = 0; gpu < MAX_GPUS; gpu++)
            taken += table[slot].taken[gpu];
        if (taken)
            list[count++] = table[slot];
    }
    unlock_table();
    return count;
}

uint64_t memory_used(const struct declaration *declaration, int gpu)
{
    uint64_t own_use;
    uint64_t others = use_by_others(gpu, &own_use);

    return declaration->gpus[gpu].reserved + own_use + others;
}
