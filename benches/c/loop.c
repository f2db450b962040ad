/*
 * The plain program that the wrapper is compared with: one VixDiskLib_Read after the other, on one thread.
 *
 *   loop KIT DISK read          every MiB of the disk, into one buffer
 *   loop KIT DISK copy FILE     every MiB of the disk, and each of them into a raw file
 *   loop KIT DISK calls COUNT   the first sector, so often
 *
 * Prints the seconds that the loop took, without starting and opening.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vddk.h"

#define EXPECT(condition)                                                         \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);               \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

#define LOAD(type, name)                                                          \
    type name = (type)(uintptr_t)dlsym(library, "VixDiskLib_" #name);             \
    EXPECT(name != NULL)

enum { MIB = 1 << 20, SECTORS = MIB / VDDK_SECTOR_BYTES };

static void on_log(const char *format, void *arguments) {
    (void)format;
    (void)arguments;
}

static double now(void) {
    struct timespec time;
    EXPECT(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
    EXPECT(count >= 4);
    const char *kit = arguments[1], *path = arguments[2], *what = arguments[3];
    char file[4096];
    snprintf(file, sizeof file, "%s/lib64/libvixDiskLib.so", kit);
    void *library = dlopen(file, RTLD_NOW);
    if (library == NULL)
        fprintf(stderr, "%s\n", dlerror());
    EXPECT(library != NULL);
    LOAD(VddkInitExFn, InitEx);
    LOAD(VddkConnectExFn, ConnectEx);
    LOAD(VddkOpenFn, Open);
    LOAD(VddkGetInfoFn, GetInfo);
    LOAD(VddkFreeInfoFn, FreeInfo);
    LOAD(VddkReadFn, Read);
    LOAD(VddkDiskFn, Close);
    LOAD(VddkDisconnectFn, Disconnect);

    EXPECT(InitEx(6, 5, on_log, on_log, on_log, kit, NULL) == VDDK_OK);
    VddkConnectParams params;
    memset(&params, 0, sizeof params);
    VddkConnection connection = NULL;
    EXPECT(ConnectEx(&params, 1, NULL, NULL, &connection) == VDDK_OK);
    VddkDisk disk = NULL;
    EXPECT(Open(connection, path, VDDK_OPEN_READ_ONLY, &disk) == VDDK_OK);
    VddkInfo *info = NULL;
    EXPECT(GetInfo(disk, &info) == VDDK_OK);
    VddkSectors capacity = info->capacity;
    FreeInfo(info);
    EXPECT(capacity % SECTORS == 0);
    uint8_t *buffer = aligned_alloc(4096, MIB);
    EXPECT(buffer != NULL);
    /* Pages that were never touched would be counted as time of the reading. */
    memset(buffer, 1, MIB);

    double began = 0;
    if (strcmp(what, "read") == 0) {
        began = now();
        for (VddkSectors at = 0; at < capacity; at += SECTORS)
            EXPECT(Read(disk, at, SECTORS, buffer) == VDDK_OK);
    } else if (strcmp(what, "copy") == 0) {
        EXPECT(count == 5);
        began = now();
        int out = open(arguments[4], O_WRONLY | O_CREAT | O_TRUNC, 0600);
        EXPECT(out >= 0);
        for (VddkSectors at = 0; at < capacity; at += SECTORS) {
            EXPECT(Read(disk, at, SECTORS, buffer) == VDDK_OK);
            EXPECT(pwrite(out, buffer, MIB, (off_t)(at * VDDK_SECTOR_BYTES)) == MIB);
        }
        EXPECT(close(out) == 0);
    } else {
        EXPECT(strcmp(what, "calls") == 0 && count == 5);
        long calls = atol(arguments[4]);
        began = now();
        for (long call = 0; call < calls; call++)
            EXPECT(Read(disk, 0, 1, buffer) == VDDK_OK);
    }
    printf("%.9f\n", now() - began);
    EXPECT(Close(disk) == VDDK_OK);
    EXPECT(Disconnect(connection) == VDDK_OK);
    return 0;
}
