/* hog MIB [GPU]: takes memory of a declared GPU and holds it until it is killed, as another user's program would. */
#include "declared.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct declaration declaration;
    char *end = NULL;
    unsigned long mib = argc > 1 ? strtoul(argv[1], &end, 10) : 0;
    int gpu = argc > 2 ? atoi(argv[2]) : 0;

    if (argc < 2 || argc > 3 || *end || !mib) {
        fprintf(stderr, "usage: hog MIB [GPU]\n");
        return 2;
    }
    if (!declaration_read(&declaration) || gpu < 0 || gpu >= declaration.count) {
        fprintf(stderr, "hog: this host declares no GPU %d\n", gpu);
        return 1;
    }
    const struct gpu *card = &declaration.gpus[gpu];
    if (!use_change(gpu, (int64_t)(mib * MIB), card->total - card->reserved)) {
        uint64_t used = memory_used(&declaration, gpu);
        fprintf(stderr, "hog: %lu MiB are not free on GPU %d, %s: %lu of %lu MiB are\n", mib, gpu, card->name,
                (card->total - used) / MIB, card->total / MIB);
        return 1;
    }
    printf("holding %lu MiB of GPU %d, %s\n", mib, gpu, card->name);
    fflush(stdout);
    for (;;)
        pause();
}
