/* A stand-in for libnvidia-ml.so.1 with one GPU, after the C interface of nvml.h: the functions that the package calls.

   The values are numbers that a test sets by name, and any function can be made to fail with a code of nvmlReturn_t. */

#include <string.h>

typedef int nvmlReturn_t;
typedef void *nvmlDevice_t;
typedef struct { unsigned int gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;

enum { UTILISATION, MEMORY, POWER, ENERGY, TEMPERATURE, CLOCK, THROTTLES, FUNCTIONS, INIT = FUNCTIONS, HANDLE, ALL };

static const char *const BUS_ID = "0000:07:00.0";
static unsigned long long values[FUNCTIONS];
static nvmlReturn_t failures[ALL];
static int users, device;

void fake_set(int what, unsigned long long value) { values[what] = value; }
void fake_fail(int what, nvmlReturn_t code) { failures[what] = code; }
int fake_users(void) { return users; }
void fake_forget(void) { users = 0; }

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    if (failures[INIT] == 0) users++;
    return failures[INIT];
}

nvmlReturn_t nvmlShutdown(void) {
    users--;
    return 0;
}

const char *nvmlErrorString(nvmlReturn_t code) {
    (void)code;
    return "as the fake was told";
}

nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *handle) {
    *handle = &device;
    if (failures[HANDLE]) return failures[HANDLE];
    return strcmp(id, BUS_ID) == 0 ? 0 : 6 /* NVML_ERROR_NOT_FOUND */;
}

#define TOLD(what) if (handle != &device) return 2 /* invalid argument */; if (failures[what]) return failures[what];

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *rates) {
    TOLD(UTILISATION)
    rates->gpu = (unsigned int)values[UTILISATION];
    rates->memory = 11;
    return 0;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory) {
    TOLD(MEMORY)
    memory->total = 80ULL << 30;
    memory->used = values[MEMORY];
    memory->free = memory->total - memory->used;
    return 0;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t handle, unsigned int *milliwatts) {
    TOLD(POWER)
    *milliwatts = (unsigned int)values[POWER];
    return 0;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t handle, unsigned long long *millijoules) {
    TOLD(ENERGY)
    *millijoules = values[ENERGY];
    return 0;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t handle, unsigned int sensor, unsigned int *celsius) {
    TOLD(TEMPERATURE)
    *celsius = sensor == 0 ? (unsigned int)values[TEMPERATURE] : 999;
    return 0;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t handle, unsigned int clock, unsigned int *megahertz) {
    TOLD(CLOCK)
    *megahertz = clock == 1 ? (unsigned int)values[CLOCK] : 999; /* NVML_CLOCK_SM */
    return 0;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t handle, unsigned long long *reasons) {
    TOLD(THROTTLES)
    *reasons = values[THROTTLES];
    return 0;
}
