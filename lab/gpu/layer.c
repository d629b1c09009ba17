/* VK_LAYER_LAB_declared_gpus: shows this host's software Vulkan devices (Mesa's lavapipe) as the GPUs that it declares.
 *
 * The n-th device gets the n-th declared GPU's name, vendor, UUID and memory. Every allocation is charged to that
 * memory across all processes and refused when it is full; VK_EXT_memory_budget tells what is free. So a program that
 * chooses by name, counts free memory or runs out of it does so as on the card.
 *
 * It also gives Mesa what it needs here, so that programs need no environment: the vector width with which version 25
 * survives, and a cache of compiled shaders, copied from the image into memory, where every user can write to a copy.
 * Without a declaration it changes nothing.
 */
#define _GNU_SOURCE
#include "declared.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define NVIDIA 0x10de
#define SHADERS "/usr/share/declared-gpus/shaders"
#define EXPORT __attribute__((visibility("default")))

/* The next layer's functions must be asked for while the instance is made: later the loader answers with ours. */
#define INSTANCE_FUNCTIONS(X)                                                                                         \
    X(DestroyInstance)                                                                                                 \
    X(EnumeratePhysicalDevices)                                                                                        \
    X(GetPhysicalDeviceProperties)                                                                                     \
    X(GetPhysicalDeviceProperties2)                                                                                    \
    X(GetPhysicalDeviceMemoryProperties)                                                                               \
    X(GetPhysicalDeviceMemoryProperties2)                                                                              \
    X(EnumerateDeviceExtensionProperties)                                                                              \
    X(CreateDevice)
#define MEMBER(name) PFN_vk##name name;

struct instance {
    VkInstance handle;
    PFN_vkGetInstanceProcAddr get;
    INSTANCE_FUNCTIONS(MEMBER)
    VkPhysicalDevice devices[MAX_GPUS];
    uint32_t device_count;
    struct instance *next;
};

struct device {
    VkDevice handle;
    int gpu; /* -1: not declared */
    PFN_vkGetDeviceProcAddr get;
    PFN_vkDestroyDevice DestroyDevice;
    PFN_vkAllocateMemory AllocateMemory;
    PFN_vkFreeMemory FreeMemory;
    PFN_vkDestroyBuffer DestroyBuffer;
    struct device *next;
};

struct allocation {
    VkDeviceMemory memory;
    struct device *device;
    uint64_t size;
    struct allocation *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* for the lists */
static struct declaration declaration;
static struct instance *instances;
static struct device *devices;
static struct allocation *allocations;

/* The loader's dispatch table, which an instance shares with its physical devices, and a device with its queues. */
static void *key(void *handle)
{
    return *(void **)handle;
}

static struct instance *instance_of(void *handle)
{
    struct instance *found;

    pthread_mutex_lock(&mutex);
    for (found = instances; found && key(found->handle) != key(handle); found = found->next)
        ;
    pthread_mutex_unlock(&mutex);
    return found;
}

static struct device *device_of(void *handle)
{
    struct device *found;

    pthread_mutex_lock(&mutex);
    for (found = devices; found && key(found->handle) != key(handle); found = found->next)
        ;
    pthread_mutex_unlock(&mutex);
    return found;
}

/* Which declared GPU a physical device stands for, or -1. */
static int gpu_of(const struct instance *instance, VkPhysicalDevice physical)
{
    for (int i = 0; i < (int)instance->device_count && i < declaration.count; i++)
        if (instance->devices[i] == physical)
            return i;
    return -1;
}

/* --- What Mesa needs --------------------------------------------------------------------------------------------- */

static void copy_tree(const char *from, const char *to)
{
    DIR *directory = opendir(from);
    struct dirent *entry;

    mkdir(to, 0700);
    while (directory && (entry = readdir(directory))) {
        char source[512], target[512];

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
        int in = open(source, O_RDONLY | O_CLOEXEC);
        struct stat status;
        if (in >= 0 && fstat(in, &status) == 0 && S_ISDIR(status.st_mode)) {
            copy_tree(source, target);
        } else if (in >= 0) {
            int out = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
            while (out >= 0 && sendfile(out, in, NULL, 1 << 30) > 0)
                ;
            if (out >= 0)
                close(out);
        }
        if (in >= 0)
            close(in);
    }
    if (directory)
        closedir(directory);
}

/* Points Mesa at this user's copy of the shaders that the image brings, and makes it when there is none yet. */
static void provide_shaders(void)
{
    char ready[64], partial[96];

    if (getenv("MESA_SHADER_CACHE_DIR") || access(SHADERS, R_OK))
        return;
    snprintf(ready, sizeof ready, "/dev/shm/declared-gpus-shaders-%u", geteuid());
    snprintf(partial, sizeof partial, "%s.%d", ready, getpid());
    if (access(ready, W_OK)) {
        copy_tree(SHADERS, partial);
        rename(partial, ready); /* fails if another process was faster: then its copy is as good, and ours stays unused */
    }
    if (access(ready, W_OK) == 0)
        setenv("MESA_SHADER_CACHE_DIR", ready, 0);
}

/* --- Instances --------------------------------------------------------------------------------------------------- */

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                                      const VkAllocationCallbacks *callbacks, VkInstance *handle)
{
    VkLayerInstanceCreateInfo *link = (void *)info->pNext;

    while (link && !(link->sType == VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO && link->function == VK_LAYER_LINK_INFO))
        link = (void *)link->pNext;
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr get = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;

    pthread_mutex_lock(&mutex);
    if (!declaration.count && declaration_read(&declaration)) {
        setenv("LP_NATIVE_VECTOR_WIDTH", "128", 0); /* with more, Mesa 25.0 crashes in the first prompt */
        provide_shaders();
    }
    pthread_mutex_unlock(&mutex);

    VkResult result = ((PFN_vkCreateInstance)get(NULL, "vkCreateInstance"))(info, callbacks, handle);
    if (result != VK_SUCCESS)
        return result;
    struct instance *instance = calloc(1, sizeof *instance);
    if (!instance)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    instance->handle = *handle;
    instance->get = get;
#define ASK(name) instance->name = (PFN_vk##name)get(*handle, "vk" #name);
    INSTANCE_FUNCTIONS(ASK)
    instance->device_count = MAX_GPUS;
    if (instance->EnumeratePhysicalDevices(*handle, &instance->device_count, instance->devices) < 0)
        instance->device_count = 0;
    pthread_mutex_lock(&mutex);
    instance->next = instances;
    instances = instance;
    pthread_mutex_unlock(&mutex);
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL destroy_instance(VkInstance handle, const VkAllocationCallbacks *callbacks)
{
    struct instance *instance = handle ? instance_of(handle) : NULL;

    if (!instance)
        return;
    pthread_mutex_lock(&mutex);
    for (struct instance **at = &instances; *at; at = &(*at)->next)
        if (*at == instance) {
            *at = instance->next;
            break;
        }
    pthread_mutex_unlock(&mutex);
    instance->DestroyInstance(handle, callbacks);
    free(instance);
}

/* --- What a device says about itself ----------------------------------------------------------------------------- */

static void declare_properties(int gpu, VkPhysicalDeviceProperties *properties)
{
    properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    properties->vendorID = NVIDIA;
    snprintf(properties->deviceName, sizeof properties->deviceName, "%s", declaration.gpus[gpu].name);
    /* As real GPUs have it: with lavapipe's 128 MiB, output layers stay on the CPU. */
    properties->limits.maxStorageBufferRange = UINT32_MAX;
}

static VKAPI_ATTR void VKAPI_CALL get_properties(VkPhysicalDevice physical, VkPhysicalDeviceProperties *properties)
{
    struct instance *instance = instance_of(physical);
    int gpu = gpu_of(instance, physical);

    instance->GetPhysicalDeviceProperties(physical, properties);
    if (gpu >= 0)
        declare_properties(gpu, properties);
}

static VKAPI_ATTR void VKAPI_CALL get_properties2(VkPhysicalDevice physical, VkPhysicalDeviceProperties2 *properties)
{
    struct instance *instance = instance_of(physical);
    int gpu = gpu_of(instance, physical);

    instance->GetPhysicalDeviceProperties2(physical, properties);
    if (gpu < 0)
        return;
    declare_properties(gpu, &properties->properties);
    for (VkBaseOutStructure *more = properties->pNext; more; more = more->pNext) {
        const char *uuid = declaration.gpus[gpu].uuid;

        if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES)
            uuid_bytes(uuid, ((VkPhysicalDeviceIDProperties *)more)->deviceUUID);
        else if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES)
            uuid_bytes(uuid, ((VkPhysicalDeviceVulkan11Properties *)more)->deviceUUID);
        else if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES)
            ((VkPhysicalDeviceMaintenance3Properties *)more)->maxMemoryAllocationSize = 0xFFFFFFF0u;
        else if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES)
            ((VkPhysicalDeviceMaintenance4Properties *)more)->maxBufferSize = 0xFFFFFFF0u;
    }
}

static void declare_memory(int gpu, VkPhysicalDeviceMemoryProperties *memory)
{
    for (uint32_t heap = 0; heap < memory->memoryHeapCount; heap++)
        if (memory->memoryHeaps[heap].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
            memory->memoryHeaps[heap].size = declaration.gpus[gpu].total;
}

static VKAPI_ATTR void VKAPI_CALL get_memory(VkPhysicalDevice physical, VkPhysicalDeviceMemoryProperties *memory)
{
    struct instance *instance = instance_of(physical);
    int gpu = gpu_of(instance, physical);

    instance->GetPhysicalDeviceMemoryProperties(physical, memory);
    if (gpu >= 0)
        declare_memory(gpu, memory);
}

static VKAPI_ATTR void VKAPI_CALL get_memory2(VkPhysicalDevice physical, VkPhysicalDeviceMemoryProperties2 *memory)
{
    struct instance *instance = instance_of(physical);
    int gpu = gpu_of(instance, physical);

    instance->GetPhysicalDeviceMemoryProperties2(physical, memory);
    if (gpu < 0)
        return;
    declare_memory(gpu, &memory->memoryProperties);
    for (VkBaseOutStructure *more = memory->pNext; more; more = more->pNext) {
        if (more->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT)
            continue;
        VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = (void *)more;
        const struct gpu *card = &declaration.gpus[gpu];
        uint64_t own, taken = card->reserved + use_by_others(gpu, &own);
        for (uint32_t heap = 0; heap < memory->memoryProperties.memoryHeapCount; heap++) {
            budget->heapUsage[heap] = own;
            budget->heapBudget[heap] = card->total > taken + own ? card->total - taken : own;
        }
    }
}

/* Adds VK_EXT_memory_budget, which lavapipe lacks and which is the only way to tell what is free. */
static VKAPI_ATTR VkResult VKAPI_CALL enumerate_extensions(VkPhysicalDevice physical, const char *layer,
                                                           uint32_t *count, VkExtensionProperties *list)
{
    struct instance *instance = instance_of(physical);
    uint32_t total = 0;
    bool known = false;

    if (layer || gpu_of(instance, physical) < 0)
        return instance->EnumerateDeviceExtensionProperties(physical, layer, count, list);
    VkResult result = instance->EnumerateDeviceExtensionProperties(physical, NULL, &total, NULL);
    if (result < 0)
        return result;
    VkExtensionProperties *all = calloc(total + 1, sizeof *all);
    if (!all)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    result = instance->EnumerateDeviceExtensionProperties(physical, NULL, &total, all);
    for (uint32_t i = 0; i < total; i++)
        known |= !strcmp(all[i].extensionName, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    if (!known) {
        strcpy(all[total].extensionName, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
        all[total++].specVersion = VK_EXT_MEMORY_BUDGET_SPEC_VERSION;
    }
    if (list) {
        uint32_t room = *count < total ? *count : total;
        memcpy(list, all, room * sizeof *all);
        result = room < total ? VK_INCOMPLETE : result;
        total = room;
    }
    *count = total;
    free(all);
    return result;
}

/* --- Devices and their memory ------------------------------------------------------------------------------------ */

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks, VkDevice *handle)
{
    struct instance *instance = instance_of(physical);
    VkLayerDeviceCreateInfo *link = (void *)info->pNext;

    while (link && !(link->sType == VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO && link->function == VK_LAYER_LINK_INFO))
        link = (void *)link->pNext;
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr get_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    PFN_vkGetDeviceProcAddr get = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;

    PFN_vkCreateDevice create = (PFN_vkCreateDevice)get_instance(instance->handle, "vkCreateDevice");
    VkResult result = create(physical, info, callbacks, handle);
    if (result != VK_SUCCESS)
        return result;
    struct device *device = calloc(1, sizeof *device);
    if (!device)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    device->handle = *handle;
    device->gpu = gpu_of(instance, physical);
    device->get = get;
    device->DestroyDevice = (PFN_vkDestroyDevice)get(*handle, "vkDestroyDevice");
    device->AllocateMemory = (PFN_vkAllocateMemory)get(*handle, "vkAllocateMemory");
    device->FreeMemory = (PFN_vkFreeMemory)get(*handle, "vkFreeMemory");
    device->DestroyBuffer = (PFN_vkDestroyBuffer)get(*handle, "vkDestroyBuffer");
    pthread_mutex_lock(&mutex);
    device->next = devices;
    devices = device;
    pthread_mutex_unlock(&mutex);
    return VK_SUCCESS;
}

/* Gives back what an allocation took and forgets it; with memory NULL, all of a device's. */
static void release(struct device *device, VkDeviceMemory memory)
{
    uint64_t size = 0;

    pthread_mutex_lock(&mutex);
    for (struct allocation **at = &allocations; *at;) {
        struct allocation *allocation = *at;
        if (allocation->device == device && (!memory || allocation->memory == memory)) {
            size += allocation->size;
            *at = allocation->next;
            free(allocation);
        } else {
            at = &allocation->next;
        }
    }
    pthread_mutex_unlock(&mutex);
    if (size)
        use_change(device->gpu, -(int64_t)size, 0);
}

static VKAPI_ATTR void VKAPI_CALL destroy_device(VkDevice handle, const VkAllocationCallbacks *callbacks)
{
    struct device *device = handle ? device_of(handle) : NULL;

    if (!device)
        return;
    release(device, VK_NULL_HANDLE);
    pthread_mutex_lock(&mutex);
    for (struct device **at = &devices; *at; at = &(*at)->next)
        if (*at == device) {
            *at = device->next;
            break;
        }
    pthread_mutex_unlock(&mutex);
    device->DestroyDevice(handle, callbacks);
    free(device);
}

static VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice handle, const VkMemoryAllocateInfo *info,
                                               const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory)
{
    struct device *device = device_of(handle);

    if (device->gpu < 0)
        return device->AllocateMemory(handle, info, callbacks, memory);
    const struct gpu *card = &declaration.gpus[device->gpu];
    struct allocation *allocation = malloc(sizeof *allocation);
    if (!allocation)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    if (!use_change(device->gpu, (int64_t)info->allocationSize, card->total - card->reserved)) {
        free(allocation);
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    VkResult result = device->AllocateMemory(handle, info, callbacks, memory);
    if (result != VK_SUCCESS) {
        use_change(device->gpu, -(int64_t)info->allocationSize, 0);
        free(allocation);
        return result;
    }
    pthread_mutex_lock(&mutex);
    *allocation = (struct allocation){*memory, device, info->allocationSize, allocations};
    allocations = allocation;
    pthread_mutex_unlock(&mutex);
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice handle, VkDeviceMemory memory,
                                              const VkAllocationCallbacks *callbacks)
{
    struct device *device = device_of(handle);

    if (memory)
        release(device, memory);
    device->FreeMemory(handle, memory, callbacks);
}

/* Keeps the buffer: it has no memory of its own, but in Mesa 22.3 a descriptor set that was bound with it, and is bound
 * again with fewer buffers, still has its address, and counts a reference in what is no longer there. */
static VKAPI_ATTR void VKAPI_CALL destroy_buffer(VkDevice handle, VkBuffer buffer,
                                                 const VkAllocationCallbacks *callbacks)
{
    struct device *device = device_of(handle);

    if (device->gpu < 0)
        device->DestroyBuffer(handle, buffer, callbacks);
}

/* --- How the loader finds all this ------------------------------------------------------------------------------- */

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_device_function(VkDevice handle, const char *name);
static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_instance_function(VkInstance handle, const char *name);

static const struct {
    const char *name;
    void *function;
    bool of_device;
} functions[] = {
    {"vkGetInstanceProcAddr", get_instance_function, false},
    {"vkGetDeviceProcAddr", get_device_function, true},
    {"vkCreateInstance", create_instance, false},
    {"vkDestroyInstance", destroy_instance, false},
    {"vkGetPhysicalDeviceProperties", get_properties, false},
    {"vkGetPhysicalDeviceProperties2", get_properties2, false},
    {"vkGetPhysicalDeviceProperties2KHR", get_properties2, false},
    {"vkGetPhysicalDeviceMemoryProperties", get_memory, false},
    {"vkGetPhysicalDeviceMemoryProperties2", get_memory2, false},
    {"vkGetPhysicalDeviceMemoryProperties2KHR", get_memory2, false},
    {"vkEnumerateDeviceExtensionProperties", enumerate_extensions, false},
    {"vkCreateDevice", create_device, false},
    {"vkDestroyDevice", destroy_device, true},
    {"vkAllocateMemory", allocate, true},
    {"vkFreeMemory", free_memory, true},
    {"vkDestroyBuffer", destroy_buffer, true},
};

static PFN_vkVoidFunction own_function(const char *name, bool of_device_only)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if ((functions[i].of_device || !of_device_only) && !strcmp(name, functions[i].name))
            return (PFN_vkVoidFunction)functions[i].function;
    return NULL;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_instance_function(VkInstance handle, const char *name)
{
    PFN_vkVoidFunction function = own_function(name, false);
    struct instance *instance = !function && handle ? instance_of(handle) : NULL;

    return instance ? instance->get(handle, name) : function;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_device_function(VkDevice handle, const char *name)
{
    PFN_vkVoidFunction function = own_function(name, true);

    return function ? function : device_of(handle)->get(handle, name);
}

EXPORT VKAPI_ATTR VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *versions)
{
    if (versions->loaderLayerInterfaceVersion > 2)
        versions->loaderLayerInterfaceVersion = 2;
    versions->pfnGetInstanceProcAddr = get_instance_function;
    versions->pfnGetDeviceProcAddr = get_device_function;
    versions->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
