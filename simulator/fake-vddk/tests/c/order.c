/*
 * Drives a VixDiskLib the way a C program does, in the order of its guide, and checks what comes back.
 *
 *   order KIT local FOLDER
 *   order KIT remote HOST PORT USER PASSWORD THUMBPRINT MACHINE SNAPSHOT DISK
 *
 * The environment variable VDDK_CONFIG names a configuration file. With VDDK_STRICT set, nothing is done that breaks a rule.
 * Functions that came after 6.5 are used where the library has them.
 *
 * Prints "ok" as its last line. Whatever is not as it should be ends it with status 1 and the line in this file.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vddk.h"

#define EXPECT(condition)                                                         \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);               \
            exit(1);                                                              \
        }                                                                         \
    } while (0)

/* A function of the library by its name and the header's type for it. */
#define LOAD(type, name)                                                          \
    type name = (type)(uintptr_t)dlsym(library, "VixDiskLib_" #name);             \
    EXPECT(name != NULL)

/* The same for one that older releases lack. */
#define LOAD_NEWER(type, name) type name = (type)(uintptr_t)dlsym(library, "VixDiskLib_" #name)

static int strict;
static void *library;
static int lines, percents, last_percent;

static void on_log(const char *format, void *arguments) {
    char line[1024];
    /* On this platform a va_list parameter is a pointer, which is what the header says. */
    va_list list;
    memcpy(list, arguments, sizeof list);
    vsnprintf(line, sizeof line, format, list);
    EXPECT(strlen(line) > 0);
    lines++;
}

static VddkBool on_progress(void *data, int percent) {
    EXPECT(data == &percents);
    EXPECT(percent >= last_percent && percent <= 100);
    last_percent = percent;
    percents++;
    return 1;
}

struct request {
    pthread_mutex_t mutex;
    int done;
    VddkError result;
};

static void on_end(void *data, VddkError result) {
    struct request *request = data;
    pthread_mutex_lock(&request->mutex);
    request->done++;
    request->result = result;
    pthread_mutex_unlock(&request->mutex);
}

/* An empty block: the library's where it has an allocator, and else of the program's own. */
static VddkConnectParams *new_params(void) {
    LOAD_NEWER(VddkAllocateConnectParamsFn, AllocateConnectParams);
    VddkConnectParams *params =
        AllocateConnectParams != NULL ? AllocateConnectParams() : calloc(1, sizeof *params);
    EXPECT(params != NULL);
    return params;
}

static void free_params(VddkConnectParams *params) {
    LOAD_NEWER(VddkAllocateConnectParamsFn, AllocateConnectParams);
    LOAD(VddkFreeConnectParamsFn, FreeConnectParams);
    if (AllocateConnectParams != NULL)
        FreeConnectParams(params);
    else
        free(params);
}

/* Information, a read, an asynchronous read of the same sectors, allocation: what every backup does to an open disk. */
static void use_disk(VddkConnection connection, const char *path, const char *mode) {
    LOAD(VddkOpenFn, Open);
    LOAD(VddkDiskFn, Close);
    LOAD(VddkDiskFn, Wait);
    LOAD(VddkDiskFn, Flush);
    LOAD(VddkGetInfoFn, GetInfo);
    LOAD(VddkFreeInfoFn, FreeInfo);
    LOAD(VddkGetTransportModeFn, GetTransportMode);
    LOAD(VddkReadFn, Read);
    LOAD(VddkReadAsyncFn, ReadAsync);
    LOAD_NEWER(VddkQueryAllocatedBlocksFn, QueryAllocatedBlocks);
    LOAD_NEWER(VddkFreeBlockListFn, FreeBlockList);
    LOAD(VddkReadMetadataFn, ReadMetadata);
    LOAD(VddkGetMetadataKeysFn, GetMetadataKeys);

    VddkDisk disk = NULL;
    EXPECT(Open(connection, path, VDDK_OPEN_READ_ONLY, &disk) == VDDK_OK);
    EXPECT(strcmp(GetTransportMode(disk), mode) == 0);
    VddkInfo *info = NULL;
    EXPECT(GetInfo(disk, &info) == VDDK_OK);
    VddkSectors capacity = info->capacity;
    EXPECT(capacity > 4096 && info->links >= 1);
    FreeInfo(info);

    static uint8_t plain[64 * VDDK_SECTOR_BYTES], queued[64 * VDDK_SECTOR_BYTES];
    EXPECT(Read(disk, 2048, 64, plain) == VDDK_OK);
    int used = 0;
    for (size_t at = 0; at < sizeof plain; at++)
        used |= plain[at];
    EXPECT(used != 0);
    EXPECT((Read(disk, capacity, 1, plain) & 0xffff) == VDDK_E_DISK_OUT_OF_RANGE);

    EXPECT((QueryAllocatedBlocks == NULL) == (FreeBlockList == NULL));
    if (QueryAllocatedBlocks != NULL) {
        VddkBlockList *list = NULL;
        EXPECT(QueryAllocatedBlocks(disk, 0, capacity / 128 * 128, 128, &list) == VDDK_OK);
        EXPECT(list->count >= 1 && list->blocks[0].offset <= 2048);
        EXPECT(FreeBlockList(list) == VDDK_OK);
        if (!strict)
            EXPECT((QueryAllocatedBlocks(disk, 1, 128, 128, &list) & 0xffff) == VDDK_E_INVALID_ARG);
    }

    size_t needed = 0;
    EXPECT((ReadMetadata(disk, "adapterType", NULL, 0, &needed) & 0xffff) == VDDK_E_BUFFER_TOO_SMALL);
    char *value = malloc(needed);
    EXPECT(ReadMetadata(disk, "adapterType", value, needed, NULL) == VDDK_OK);
    EXPECT(strcmp(value, "lsilogic") == 0);
    free(value);
    EXPECT((GetMetadataKeys(disk, NULL, 0, &needed) & 0xffff) == VDDK_E_BUFFER_TOO_SMALL);
    EXPECT((ReadMetadata(disk, "noSuchKey", NULL, 0, NULL) & 0xffff) == VDDK_E_DISK_KEY_NOT_FOUND);
    EXPECT(Close(disk) == VDDK_OK);

    /* Another handle, since the two families of calls do not mix on one. */
    EXPECT(Open(connection, path, VDDK_OPEN_READ_ONLY, &disk) == VDDK_OK);
    struct request request = {PTHREAD_MUTEX_INITIALIZER, 0, 1};
    EXPECT(ReadAsync(disk, 2048, 64, queued, on_end, &request) == VDDK_ASYNC_QUEUED);
    EXPECT(Wait(disk) == VDDK_OK);
    pthread_mutex_lock(&request.mutex);
    EXPECT(request.done == 1 && request.result == VDDK_OK);
    pthread_mutex_unlock(&request.mutex);
    EXPECT(memcmp(plain, queued, sizeof plain) == 0);
    if (!strict)
        EXPECT((Read(disk, 2048, 64, plain) & 0xffff) == VDDK_E_ASYNC_MIXED_MODE);
    EXPECT(Flush(disk) == VDDK_OK);
    EXPECT(Close(disk) == VDDK_OK);
}

static void local(const char *folder) {
    LOAD(VddkConnectExFn, ConnectEx);
    LOAD(VddkDisconnectFn, Disconnect);
    LOAD(VddkCreateFn, Create);
    LOAD(VddkCreateChildFn, CreateChild);
    LOAD(VddkCloneFn, Clone);
    LOAD(VddkUnlinkFn, Unlink);
    LOAD(VddkOpenFn, Open);
    LOAD(VddkDiskFn, Close);
    LOAD(VddkWriteFn, Write);
    LOAD_NEWER(VddkGetConnectionFromDiskFn, GetConnectionFromDisk);
    char base[512], child[512], clone[512];
    snprintf(base, sizeof base, "%s/base.vmdk", folder);
    snprintf(child, sizeof child, "%s/child.vmdk", folder);
    snprintf(clone, sizeof clone, "%s/clone.vmdk", folder);

    VddkConnectParams *params = new_params();
    VddkConnection connection = NULL;
    EXPECT(ConnectEx(params, 0, NULL, NULL, &connection) == VDDK_OK);
    VddkCreateParams spec;
    memset(&spec, 0, sizeof spec);
    spec.disk_type = VDDK_DISK_MONOLITHIC_SPARSE;
    spec.adapter_type = VDDK_ADAPTER_SCSI_LSILOGIC;
    spec.hardware_version = 13;
    spec.capacity = 16384;
    last_percent = 0;
    EXPECT(Create(connection, base, &spec, on_progress, &percents) == VDDK_OK);
    EXPECT(percents >= 1 && last_percent == 100);
    EXPECT((Create(connection, base, &spec, NULL, NULL) & 0xffff) == VDDK_E_FILE_ALREADY_EXISTS);

    VddkDisk disk = NULL, second = NULL;
    EXPECT(Open(connection, base, 0, &disk) == VDDK_OK);
    EXPECT((Open(connection, base, 0, &second) & 0xffff) == VDDK_E_FILE_ALREADY_LOCKED);
    EXPECT(second == NULL);
    VddkConnection same = NULL;
    if (GetConnectionFromDisk != NULL)
        EXPECT(GetConnectionFromDisk(disk, &same) == VDDK_OK && same == connection);
    static uint8_t bytes[128 * VDDK_SECTOR_BYTES];
    memset(bytes, 0x5a, sizeof bytes);
    EXPECT(Write(disk, 2048, 128, bytes) == VDDK_OK);
    EXPECT(CreateChild(disk, child, VDDK_DISK_MONOLITHIC_SPARSE, NULL, NULL) == VDDK_OK);
    EXPECT(Close(disk) == VDDK_OK);

    use_disk(connection, child, "file");
    last_percent = 0;
    percents = 0;
    spec.disk_type = VDDK_DISK_SPLIT_FLAT;
    EXPECT(Clone(connection, clone, connection, child, &spec, on_progress, &percents, 0) == VDDK_OK);
    EXPECT(percents >= 2 && last_percent == 100);
    use_disk(connection, clone, "file");
    EXPECT(Unlink(connection, child) == VDDK_OK);
    EXPECT((Unlink(connection, child) & 0xffff) == VDDK_E_FILE_NOT_FOUND);
    EXPECT(Disconnect(connection) == VDDK_OK);
    free_params(params);
}

static void remote(char **arguments) {
    LOAD(VddkConnectExFn, ConnectEx);
    LOAD(VddkDisconnectFn, Disconnect);
    LOAD(VddkAccessFn, PrepareForAccess);
    LOAD(VddkAccessFn, EndAccess);
    LOAD(VddkCleanupFn, Cleanup);
    LOAD(VddkCreateFn, Create);
    LOAD(VddkFreeConnectParamsFn, FreeConnectParams);
    LOAD(VddkGetConnectParamsFn, GetConnectParams);
    char machine[128];
    snprintf(machine, sizeof machine, "moref=%s", arguments[5]);

    VddkConnectParams *params = new_params();
    params->vm = machine;
    params->server = arguments[0];
    params->port = (uint32_t)atoi(arguments[1]);
    params->credential_type = VDDK_CREDENTIALS_PASSWORD;
    params->credentials.password.user = arguments[2];
    params->credentials.password.password = arguments[3];
    params->thumbprint = arguments[4];

    EXPECT(PrepareForAccess(params, "order") == VDDK_OK);
    EXPECT((PrepareForAccess(params, "order") & 0xffff) == VDDK_E_OPERATION_DISABLED);
    VddkConnection connection = NULL;
    EXPECT(ConnectEx(params, 1, arguments[6], "nbdssl:nbd", &connection) == VDDK_OK);
    VddkConnectParams *back = NULL;
    EXPECT(GetConnectParams(connection, &back) == VDDK_OK && back != params);
    EXPECT(strcmp(back->vm, machine) == 0 && strcmp(back->credentials.password.user, arguments[2]) == 0);
    FreeConnectParams(back);
    use_disk(connection, arguments[7], "nbdssl");
    VddkCreateParams spec;
    memset(&spec, 0, sizeof spec);
    spec.disk_type = VDDK_DISK_VMFS_THIN;
    spec.adapter_type = VDDK_ADAPTER_SCSI_LSILOGIC;
    spec.capacity = 16384;
    EXPECT((Create(connection, "[ds] a/a.vmdk", &spec, NULL, NULL) & 0xffff) ==
           VDDK_E_NOT_SUPPORTED_ON_REMOTE_OBJECT);
    EXPECT(Disconnect(connection) == VDDK_OK);
    EXPECT(EndAccess(params, "order") == VDDK_OK);
    params->vm = NULL;
    uint32_t cleaned = 7, remaining = 7;
    EXPECT(Cleanup(params, &cleaned, &remaining) == VDDK_OK);
    EXPECT(cleaned == 0 && remaining == 0);
    params->credentials.password.password = "wrong";
    params->vm = machine;
    EXPECT((ConnectEx(params, 1, NULL, NULL, &connection) & 0xffff) == VDDK_E_AUTHENTICATION_FAIL);
    memset(params, 0, sizeof(VddkConnectParamsHead));
    free_params(params);
}

int main(int count, char **arguments) {
    char path[512];
    EXPECT(count > 3);
    strict = getenv("VDDK_STRICT") != NULL;
    snprintf(path, sizeof path, "%s/lib64/libvixDiskLib.so", arguments[1]);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    LOAD(VddkInitExFn, InitEx);
    LOAD(VddkExitFn, Exit);
    LOAD(VddkGetErrorTextFn, GetErrorText);
    LOAD(VddkFreeErrorTextFn, FreeErrorText);
    EXPECT(InitEx(6, 5, on_log, on_log, on_log, arguments[1], getenv("VDDK_CONFIG")) == VDDK_OK);
    EXPECT(lines > 0);
    if (strcmp(arguments[2], "local") == 0) {
        local(arguments[3]);
    } else {
        EXPECT(count == 11);
        remote(arguments + 3);
    }
    char *text = GetErrorText(VDDK_E_AUTHENTICATION_FAIL, NULL);
    EXPECT(text != NULL && strlen(text) > 0);
    FreeErrorText(text);
    Exit();
    puts("ok");
    return 0;
}
