/* libnvidia-ml.so.1: as much of NVML as monitoring programs and Ollama ask, answered from the host's declaration.
 *
 * Numbers, structures and strings are those of NVIDIA's nvml.h. Functions that are missing here are missing for the
 * caller too, as in an old driver.
 */
#include "declared.h"

#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum result {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    ARGUMENT_VERSION_MISMATCH = 25,
};

struct memory {
    unsigned long long total, free, used;
};

struct memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};
#define MEMORY_V2 (sizeof(struct memory_v2) | 2 << 24)

struct utilization {
    unsigned gpu, memory;
};

struct pci {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

struct process {
    unsigned pid;
    unsigned long long used;
    unsigned gpu_instance, compute_instance;
};

static struct declaration declaration;
static bool ready;

static enum result text(char *out, unsigned size, const char *value)
{
    if (strlen(value) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

/* Handles are pointers into the declaration. -1: not one. */
static int index_of(const struct gpu *device)
{
    if (!ready || device < declaration.gpus || device >= declaration.gpus + declaration.count)
        return -1;
    return (int)(device - declaration.gpus);
}

EXPORT enum result nvmlInit_v2(void)
{
    ready = declaration_read(&declaration);
    return ready ? SUCCESS : DRIVER_NOT_LOADED;
}

EXPORT enum result nvmlInit(void)
{
    return nvmlInit_v2();
}

EXPORT enum result nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    return nvmlInit_v2();
}

EXPORT enum result nvmlShutdown(void)
{
    ready = false;
    return SUCCESS;
}

EXPORT const char *nvmlErrorString(enum result result)
{
    switch (result) {
    case SUCCESS:
        return "Success";
    case UNINITIALIZED:
        return "Uninitialized";
    case INVALID_ARGUMENT:
        return "Invalid Argument";
    case NOT_SUPPORTED:
        return "Not Supported";
    case NOT_FOUND:
        return "Not Found";
    case INSUFFICIENT_SIZE:
        return "Insufficient Size";
    case DRIVER_NOT_LOADED:
        return "Driver Not Loaded";
    case ARGUMENT_VERSION_MISMATCH:
        return "Argument Version Mismatch";
    }
    return "Unknown Error";
}

EXPORT enum result nvmlSystemGetDriverVersion(char *version, unsigned size)
{
    return ready ? text(version, size, declaration.driver) : UNINITIALIZED;
}

EXPORT enum result nvmlSystemGetNVMLVersion(char *version, unsigned size)
{
    char value[64];

    snprintf(value, sizeof value, "%.2s.%s", declaration.cuda, declaration.driver);
    return ready ? text(version, size, value) : UNINITIALIZED;
}

EXPORT enum result nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    int major = 0, minor = 0;

    sscanf(declaration.cuda, "%d.%d", &major, &minor);
    *version = major * 1000 + minor * 10;
    return ready ? SUCCESS : UNINITIALIZED;
}

EXPORT enum result nvmlSystemGetCudaDriverVersion(int *version)
{
    return nvmlSystemGetCudaDriverVersion_v2(version);
}

EXPORT enum result nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = ready ? (unsigned)declaration.count : 0;
    return ready ? SUCCESS : UNINITIALIZED;
}

EXPORT enum result nvmlDeviceGetCount(unsigned *count)
{
    return nvmlDeviceGetCount_v2(count);
}

EXPORT enum result nvmlDeviceGetHandleByIndex_v2(unsigned index, struct gpu **device)
{
    if (!ready)
        return UNINITIALIZED;
    if (index >= (unsigned)declaration.count)
        return INVALID_ARGUMENT;
    *device = &declaration.gpus[index];
    return SUCCESS;
}

EXPORT enum result nvmlDeviceGetHandleByIndex(unsigned index, struct gpu **device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

EXPORT enum result nvmlDeviceGetHandleByUUID(const char *uuid, struct gpu **device)
{
    if (!ready)
        return UNINITIALIZED;
    for (int i = 0; i < declaration.count; i++)
        if (!strncmp(uuid, "GPU-", 4) && !strcmp(uuid + 4, declaration.gpus[i].uuid)) {
            *device = &declaration.gpus[i];
            return SUCCESS;
        }
    return NOT_FOUND;
}

EXPORT enum result nvmlDeviceGetIndex(struct gpu *device, unsigned *index)
{
    *index = (unsigned)index_of(device);
    return index_of(device) < 0 ? INVALID_ARGUMENT : SUCCESS;
}

EXPORT enum result nvmlDeviceGetName(struct gpu *device, char *name, unsigned size)
{
    return index_of(device) < 0 ? INVALID_ARGUMENT : text(name, size, device->name);
}

EXPORT enum result nvmlDeviceGetUUID(struct gpu *device, char *uuid, unsigned size)
{
    char value[64];

    if (index_of(device) < 0)
        return INVALID_ARGUMENT;
    snprintf(value, sizeof value, "GPU-%s", device->uuid);
    return text(uuid, size, value);
}

EXPORT enum result nvmlDeviceGetCudaComputeCapability(struct gpu *device, int *major, int *minor)
{
    if (index_of(device) < 0)
        return INVALID_ARGUMENT;
    *major = device->capability_major;
    *minor = device->capability_minor;
    return SUCCESS;
}

EXPORT enum result nvmlDeviceGetMemoryInfo(struct gpu *device, struct memory *memory)
{
    if (index_of(device) < 0)
        return INVALID_ARGUMENT;
    memory->total = device->total;
    memory->used = memory_used(&declaration, index_of(device));
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

EXPORT enum result nvmlDeviceGetMemoryInfo_v2(struct gpu *device, struct memory_v2 *memory)
{
    struct memory plain;

    if (memory->version != MEMORY_V2)
        return ARGUMENT_VERSION_MISMATCH;
    enum result result = nvmlDeviceGetMemoryInfo(device, &plain);
    if (result == SUCCESS)
        *memory = (struct memory_v2){MEMORY_V2, plain.total, 0, plain.free, plain.used};
    return result;
}

EXPORT enum result nvmlDeviceGetUtilizationRates(struct gpu *device, struct utilization *utilization)
{
    *utilization = (struct utilization){0, 0};
    return index_of(device) < 0 ? INVALID_ARGUMENT : SUCCESS;
}

EXPORT enum result nvmlDeviceGetPciInfo_v3(struct gpu *device, struct pci *pci)
{
    int index = index_of(device);

    if (index < 0)
        return INVALID_ARGUMENT;
    memset(pci, 0, sizeof *pci);
    pci->bus = (unsigned)index + 1;
    pci->pci_device_id = 0x10de; /* the vendor; which chip it is, is not declared */
    snprintf(pci->bus_id, sizeof pci->bus_id, "00000000:%02X:00.0", index + 1);
    memcpy(pci->bus_id_legacy, pci->bus_id + 4, sizeof "0000:01:00.0");
    return SUCCESS;
}

EXPORT enum result nvmlDeviceGetComputeRunningProcesses_v3(struct gpu *device, unsigned *count, struct process *list)
{
    static struct use uses[256];
    int index = index_of(device), all, shown = 0;

    if (index < 0)
        return INVALID_ARGUMENT;
    all = use_list(uses, 256);
    for (int i = 0; i < all; i++)
        if (uses[i].taken[index]) {
            if (shown < (int)*count)
                list[shown] = (struct process){(unsigned)uses[i].pid, uses[i].taken[index], ~0u, ~0u};
            shown++;
        }
    enum result result = shown > (int)*count ? INSUFFICIENT_SIZE : SUCCESS;
    *count = (unsigned)shown;
    return result;
}
