/* What a host declares about its GPUs, and how much of their memory is taken: shared by the Vulkan layer, NVML,
 * nvidia-smi and hog, so that memory which one of them takes or sees, all see.
 *
 * The declaration is a text file (DECLARED_GPUS names another one than /etc/declared-gpus), one fact per line:
 *     driver 550.144.03
 *     cuda 12.4
 *     gpu TOTAL_MIB RESERVED_MIB CAPABILITY UUID NAME...        once per GPU, in the order of their indices
 * RESERVED_MIB is memory that is taken from the start, as a desktop takes it on a real card.
 *
 * The use table is a file of its own (DECLARED_GPUS_USE, or /dev/shm/declared-gpus) with a slot per process. A process
 * holds a lock on the byte of its slot as long as it lives, so a slot without a lock is a dead process's and counts
 * nothing, whatever killed it, and in whichever PID namespace or /proc it lived.
 */
#ifndef DECLARED_H
#define DECLARED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_GPUS 8
#define MIB ((uint64_t)1024 * 1024)

struct gpu {
    char name[96];
    char uuid[40]; /* as NVIDIA writes it, without the "GPU-" */
    uint64_t total, reserved; /* bytes */
    int capability_major, capability_minor;
};

struct declaration {
    char driver[32], cuda[16];
    int count;
    struct gpu gpus[MAX_GPUS];
};

/* One process's use. */
struct use {
    int32_t pid;
    char program[256]; /* its path */
    uint64_t taken[MAX_GPUS]; /* bytes */
};

/* Reads the declaration. False when there is none or when it declares no GPU. */
bool declaration_read(struct declaration *declaration);

/* The 16 bytes of a UUID's text. */
void uuid_bytes(const char *text, uint8_t bytes[16]);

/* Bytes taken on a GPU by other processes, and in *own by this one; what is reserved is not counted. */
uint64_t use_by_others(int gpu, uint64_t *own);

/* Adds `change` bytes (negative: gives back) to what this process takes. False, and nothing taken, when
 * more than `limit` bytes would be taken by all processes together. */
bool use_change(int gpu, int64_t change, uint64_t limit);

/* Fills `list` with the living processes that take something, at most `size`; returns their number. */
int use_list(struct use *list, int size);

/* Bytes taken on a GPU, with what is reserved. */
uint64_t memory_used(const struct declaration *declaration, int gpu);

#endif
