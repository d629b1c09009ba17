/* nvidia-smi: the questions that scripts ask of it, answered from the host's declaration and use table.
 *
 *   nvidia-smi                                                   the table
 *   nvidia-smi -L                                                one line per GPU
 *   nvidia-smi --query-gpu=FIELD,... --format=csv[,noheader][,nounits]
 *   nvidia-smi --query-compute-apps=FIELD,... --format=csv[,noheader][,nounits]
 *   -i INDEX or --id=INDEX with any of them: that GPU only
 */
#define _GNU_SOURCE
#include "declared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE(array) (sizeof(array) / sizeof *(array))

static struct declaration declaration;
static struct use uses[256];
static int use_count;

/* A row of an answer: a GPU, and for compute-apps one process on it. */
struct row {
    int gpu;
    const struct use *use;
};

struct field {
    const char *name, *unit; /* unit NULL: none */
    void (*write)(const struct row *row, char *out, size_t size);
};

static const struct gpu *gpu_in(const struct row *row)
{
    return &declaration.gpus[row->gpu];
}

#define FIELD(function, ...)                                                                                           \
    static void function(const struct row *row, char *out, size_t size)                                                \
    {                                                                                                                  \
        (void)row;                                                                                                     \
        snprintf(out, size, __VA_ARGS__);                                                                              \
    }

FIELD(index_field, "%d", row->gpu)
FIELD(name, "%s", gpu_in(row)->name)
FIELD(uuid, "GPU-%s", gpu_in(row)->uuid)
FIELD(driver_version, "%s", declaration.driver)
FIELD(count, "%d", declaration.count)
FIELD(memory_total, "%lu", gpu_in(row)->total / MIB)
FIELD(memory_taken, "%lu", memory_used(&declaration, row->gpu) / MIB)
FIELD(memory_free, "%lu", (gpu_in(row)->total - memory_used(&declaration, row->gpu)) / MIB)
FIELD(compute_cap, "%d.%d", gpu_in(row)->capability_major, gpu_in(row)->capability_minor)
FIELD(bus_id, "00000000:%02X:00.0", row->gpu + 1)
FIELD(zero, "0")
FIELD(not_available, "[N/A]")
FIELD(pid, "%d", row->use->pid)
FIELD(process_name, "%s", row->use->program)
FIELD(used_memory, "%lu", row->use->taken[row->gpu] / MIB)

static const struct field gpu_fields[] = {
    {"index", NULL, index_field},
    {"name", NULL, name},
    {"gpu_name", NULL, name},
    {"uuid", NULL, uuid},
    {"gpu_uuid", NULL, uuid},
    {"count", NULL, count},
    {"driver_version", NULL, driver_version},
    {"memory.total", "MiB", memory_total},
    {"memory.used", "MiB", memory_taken},
    {"memory.free", "MiB", memory_free},
    {"memory.reserved", "MiB", zero},
    {"compute_cap", NULL, compute_cap},
    {"pci.bus_id", NULL, bus_id},
    {"gpu_bus_id", NULL, bus_id},
    {"utilization.gpu", "%", zero},
    {"utilization.memory", "%", zero},
    {"mig.mode.current", NULL, not_available}, /* as a GeForce says for what it doesn't have */
    {"ecc.mode.current", NULL, not_available},
};

static const struct field process_fields[] = {
    {"pid", NULL, pid},
    {"process_name", NULL, process_name},
    {"name", NULL, process_name},
    {"used_memory", "MiB", used_memory},
    {"used_gpu_memory", "MiB", used_memory},
    {"gpu_uuid", NULL, uuid},
    {"gpu_name", NULL, name},
    {"gpu_bus_id", NULL, bus_id},
};

static void print_row(const struct field **fields, int field_count, const struct row *row, bool units)
{
    for (int i = 0; i < field_count; i++) {
        char value[512];

        fields[i]->write(row, value, sizeof value);
        printf("%s%s%s%s", i ? ", " : "", value, units && fields[i]->unit ? " " : "",
               units && fields[i]->unit ? fields[i]->unit : "");
    }
    putchar('\n');
}

/* only: a GPU's index, or -1 for all. Returns the exit status. */
static int query(const char *names, const char *format, const struct field *known, size_t known_count, bool processes,
                 int only)
{
    const struct field *fields[32];
    int field_count = 0;
    bool header = !strstr(format, "noheader"), units = !strstr(format, "nounits");
    char *list = strdup(names), *rest = list, *wanted;

    if (strncmp(format, "csv", 3)) {
        printf("\"--format=\" switch is missing. Provide a valid format.\n"
               "Run 'nvidia-smi --help' for more information.\n");
        return 2;
    }
    while ((wanted = strsep(&rest, ",")) && field_count < (int)SIZE(fields)) {
        wanted += strspn(wanted, " ");
        size_t i = 0;
        while (i < known_count && strcmp(wanted, known[i].name))
            i++;
        if (i == known_count) {
            printf("Field \"%s\" is not a valid field to query.\n\n", wanted);
            return 2;
        }
        fields[field_count++] = &known[i];
    }
    for (int i = 0; header && i < field_count; i++) {
        bool units_named = units && fields[i]->unit;
        const char *shown = strcmp(fields[i]->name, "used_memory") ? fields[i]->name : "used_gpu_memory";
        printf("%s%s%s%s%s", i ? ", " : "", shown, units_named ? " [" : "", units_named ? fields[i]->unit : "",
               units_named ? "]" : "");
        if (i == field_count - 1)
            putchar('\n');
    }
    for (int gpu = 0; gpu < declaration.count; gpu++) {
        if (only >= 0 && only != gpu)
            continue;
        if (!processes)
            print_row(fields, field_count, &(struct row){gpu, NULL}, units);
        for (int i = 0; processes && i < use_count; i++)
            if (uses[i].taken[gpu])
                print_row(fields, field_count, &(struct row){gpu, &uses[i]}, units);
    }
    free(list);
    return 0;
}

static void print_list(int only)
{
    for (int gpu = 0; gpu < declaration.count; gpu++)
        if (only < 0 || only == gpu)
            printf("GPU %d: %s (UUID: GPU-%s)\n", gpu, declaration.gpus[gpu].name, declaration.gpus[gpu].uuid);
}

static void print_table(int only)
{
    const char *line = "+-----------------------------------------------------------------------------------------+";
    bool any = false;

    printf("%s\n| NVIDIA-SMI %-22s Driver Version: %-14s CUDA Version: %-9s|\n%s\n", line, declaration.driver,
           declaration.driver, declaration.cuda, line);
    printf("| %3s  %-38s %-18s %23s |\n%s\n", "GPU", "Name", "Bus-Id", "Memory-Usage", line);
    for (int gpu = 0; gpu < declaration.count; gpu++)
        if (only < 0 || only == gpu)
            printf("| %3d  %-38.38s 00000000:%02X:00.0   %8luMiB / %7luMiB |\n", gpu, declaration.gpus[gpu].name, gpu + 1,
                   memory_used(&declaration, gpu) / MIB, declaration.gpus[gpu].total / MIB);
    printf("%s\n\n%s\n| Processes:%78s|\n| %3s  %10s   %-54s %14s |\n%s\n", line, line, "", "GPU", "PID", "Process name",
           "GPU Memory", line);
    for (int i = 0; i < use_count; i++)
        for (int gpu = 0; gpu < declaration.count; gpu++)
            if (uses[i].taken[gpu] && (only < 0 || only == gpu)) {
                printf("| %3d  %10d   %-54.54s %11luMiB |\n", gpu, uses[i].pid, uses[i].program,
                       uses[i].taken[gpu] / MIB);
                any = true;
            }
    if (!any)
        printf("| %-87s |\n", " No running processes found");
    puts(line);
}

int main(int argc, char **argv)
{
    const char *gpu_names = NULL, *process_names = NULL, *format = "";
    bool list = false;
    int only = -1;

    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i], *value = strchr(argument, '=');
        value = value ? value + 1 : "";
        if (!strcmp(argument, "-L") || !strcmp(argument, "--list-gpus")) {
            list = true;
        } else if (!strncmp(argument, "--query-gpu=", 12)) {
            gpu_names = value;
        } else if (!strncmp(argument, "--query-compute-apps=", 21)) {
            process_names = value;
        } else if (!strncmp(argument, "--format=", 9)) {
            format = value;
        } else if (!strncmp(argument, "--id=", 5)) {
            only = atoi(value);
        } else if (!strcmp(argument, "-i") && i + 1 < argc) {
            only = atoi(argv[++i]);
        } else {
            printf("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n");
            return 6;
        }
    }
    if (!declaration_read(&declaration)) {
        printf("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
               "Make sure that the latest NVIDIA driver is installed and running.\n\n");
        return 9;
    }
    if (only >= declaration.count) {
        printf("No devices were found\n");
        return 6;
    }
    use_count = use_list(uses, (int)SIZE(uses));
    if (gpu_names)
        return query(gpu_names, format, gpu_fields, SIZE(gpu_fields), false, only);
    if (process_names)
        return query(process_names, format, process_fields, SIZE(process_fields), true, only);
    if (list)
        print_list(only);
    else
        print_table(only);
    return 0;
}
