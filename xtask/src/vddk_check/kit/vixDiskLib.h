/*
 * A stand-in for the header of a kit, for the tests of `cargo xtask vddk-check`: the interface of VDDK 9.0, written by us from the
 * project's fact sheet. It is declared in the way of such a header, so that bindgen is given what it would be given there: plain
 * integer types of its own, anonymous unions, enumerations and macros. Names of types are made up, as they do not matter.
 */
#ifndef KIT_DISKS_H
#define KIT_DISKS_H

#include <stdarg.h>
#include <stddef.h>

typedef unsigned char uint8;
typedef unsigned short uint16;
typedef unsigned int uint32;
typedef int int32;
typedef unsigned long long uint64;
typedef char Bool;

#define VIXDISKLIB_SECTOR_SIZE 512
#define VIXDISKLIB_MIN_CHUNK_SIZE 128
#define VIXDISKLIB_MAX_CHUNK_SIZE (128 * 1024)
#define VIXDISKLIB_MAX_CHUNK_NUMBER (512 * 1024)

#define VIXDISKLIB_FLAG_OPEN_UNBUFFERED (1 << 0)
#define VIXDISKLIB_FLAG_OPEN_SINGLE_LINK (1 << 1)
#define VIXDISKLIB_FLAG_OPEN_READ_ONLY (1 << 2)
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB (1 << 4)
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ (1 << 5)
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ (1 << 6)
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_MASK 0x3f0

#define VIXDISKLIB_HWVERSION_WORKSTATION_4 3
#define VIXDISKLIB_HWVERSION_WORKSTATION_5 4
#define VIXDISKLIB_HWVERSION_ESX30 VIXDISKLIB_HWVERSION_WORKSTATION_5
#define VIXDISKLIB_HWVERSION_WORKSTATION_6 6
#define VIXDISKLIB_HWVERSION_ESX4X 7
#define VIXDISKLIB_HWVERSION_ESX50 8
#define VIXDISKLIB_HWVERSION_ESX51 9
#define VIXDISKLIB_HWVERSION_ESX55 10
#define VIXDISKLIB_HWVERSION_ESX60 11
#define VIXDISKLIB_HWVERSION_ESX65 13

typedef uint64 KitError;
typedef uint64 KitSectors;

/* KIT_CODES */

typedef struct KitConnectionBody KitConnectionBody;
typedef KitConnectionBody *KitConnection;
typedef struct KitDiskBody KitDiskBody;
typedef KitDiskBody *KitDisk;

typedef enum {
    VIXDISKLIB_DISK_MONOLITHIC_SPARSE = 1,
    VIXDISKLIB_DISK_MONOLITHIC_FLAT = 2,
    VIXDISKLIB_DISK_SPLIT_SPARSE = 3,
    VIXDISKLIB_DISK_SPLIT_FLAT = 4,
    VIXDISKLIB_DISK_VMFS_FLAT = 5,
    VIXDISKLIB_DISK_STREAM_OPTIMIZED = 6,
    VIXDISKLIB_DISK_VMFS_THIN = 7,
    VIXDISKLIB_DISK_VMFS_SPARSE = 8,
    VIXDISKLIB_DISK_UNKNOWN = 256,
} KitDiskType;

typedef enum {
    VIXDISKLIB_ADAPTER_IDE = 1,
    VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC = 2,
    VIXDISKLIB_ADAPTER_SCSI_LSILOGIC = 3,
    VIXDISKLIB_ADAPTER_UNKNOWN = 256,
} KitAdapterType;

typedef enum {
    VIXDISKLIB_CRED_UID = 1,
    VIXDISKLIB_CRED_SESSIONID = 2,
    VIXDISKLIB_CRED_TICKETID = 3,
    VIXDISKLIB_CRED_SSPI = 4,
    VIXDISKLIB_CRED_UNKNOWN = 256,
} KitCredType;

typedef enum {
    VIXDISKLIB_SPEC_VMX = 0,
    VIXDISKLIB_SPEC_VSTORAGE_OBJECT = 1,
    VIXDISKLIB_SPEC_DATASTORE = 2,
    VIXDISKLIB_SPEC_UNKNOWN = 256,
} KitSpecType;

typedef struct {
    char *userName;
    char *password;
} KitUid;

typedef union {
    KitUid uid;
    struct {
        char *cookie;
        char *userName;
        char *key;
    } session;
    struct KitTicketBody *ticket;
} KitCreds;

typedef struct {
    char *id;
    char *datastoreMoRef;
    char *ssId;
} KitObjectSpec;

typedef struct {
    char *datastoreMoRef;
    char *diskFolder;
} KitStoreSpec;

typedef union {
    KitObjectSpec object;
    KitStoreSpec store;
} KitSpec;

typedef struct {
    char *vmxSpec;
    char *serverName;
    char *thumbPrint;
    long privateUse;
    KitCredType credType;
    KitCreds creds;
    uint32 port;
    uint32 nfcHostPort;
    char *vimApiVer;
    char reserved[8];
    struct KitStateBody *state;
    KitSpec spec;
    KitSpecType specType;
    char *sslCertificate;
} KitConnectParams;

typedef struct {
    uint32 cylinders;
    uint32 heads;
    uint32 sectors;
} KitGeometry;

typedef struct {
    KitDiskType diskType;
    KitAdapterType adapterType;
    uint16 hwVersion;
    KitSectors capacity;
    uint32 logicalSectorSize;
    uint32 physicalSectorSize;
} KitCreateParams;

typedef struct {
    KitGeometry biosGeo;
    KitGeometry physGeo;
    KitSectors capacity;
    KitAdapterType adapterType;
    int numLinks;
    char *parentFileNameHint;
    char *uuid;
    uint32 logicalSectorSize;
    uint32 physicalSectorSize;
} KitInfo;

typedef struct {
    KitSectors offset;
    KitSectors length;
} KitBlock;

typedef struct {
    uint32 numBlocks;
    KitBlock blocks[1];
} KitBlockList;

typedef struct {
    char *path;
    uint32 flags;
    char *changeId;
} KitOpenParams;

typedef struct {
    KitSectors startOffset;
} KitChangedAreaParams;

typedef struct {
    KitSectors startOffset;
    KitSectors length;
    KitBlockList *areas;
} KitChangeInfo;

typedef void(KitLog)(const char *format, va_list arguments);
typedef Bool (*KitProgress)(void *data, int percent);
typedef void (*KitCompletion)(void *data, KitError result);

KitError VixDiskLib_InitEx(uint32 major, uint32 minor, KitLog *log, KitLog *warn, KitLog *panic, const char *directory,
                           const char *config);
KitError VixDiskLib_Init(uint32 major, uint32 minor, KitLog *log, KitLog *warn, KitLog *panic, const char *directory);
void VixDiskLib_Exit(void);
const char *VixDiskLib_ListTransportModes(void);
KitError VixDiskLib_Cleanup(const KitConnectParams *params, uint32 *cleaned, uint32 *remaining);
KitError VixDiskLib_Connect(const KitConnectParams *params, KitConnection *connection);
KitError VixDiskLib_ConnectEx(const KitConnectParams *params, Bool readOnly, const char *snapshot, const char *modes,
                              KitConnection *connection);
KitError VixDiskLib_Disconnect(KitConnection connection);
KitError VixDiskLib_PrepareForAccess(const KitConnectParams *params, const char *identity);
KitError VixDiskLib_EndAccess(const KitConnectParams *params, const char *identity);
KitError VixDiskLib_GetConnectParams(const KitConnection connection, KitConnectParams **params);
KitConnectParams *VixDiskLib_AllocateConnectParams(void);
void VixDiskLib_FreeConnectParams(KitConnectParams *params);
KitError VixDiskLib_GetConnectionFromDisk(KitDisk disk, KitConnection *connection);
KitError VixDiskLib_Open(const KitConnection connection, const char *path, uint32 flags, KitDisk *disk);
KitError VixDiskLib_OpenEx(const KitConnection connection, const KitOpenParams *params, KitDisk *disk);
KitError VixDiskLib_Close(KitDisk disk);
KitError VixDiskLib_GetInfo(KitDisk disk, KitInfo **info);
void VixDiskLib_FreeInfo(KitInfo *info);
const char *VixDiskLib_GetTransportMode(KitDisk disk);
KitError VixDiskLib_Read(KitDisk disk, KitSectors start, KitSectors count, uint8 *buffer);
KitError VixDiskLib_Write(KitDisk disk, KitSectors start, KitSectors count, const uint8 *buffer);
KitError VixDiskLib_ReadAsync(KitDisk disk, KitSectors start, KitSectors count, uint8 *buffer, KitCompletion callback, void *data);
KitError VixDiskLib_WriteAsync(KitDisk disk, KitSectors start, KitSectors count, const uint8 *buffer, KitCompletion callback,
                               void *data);
KitError VixDiskLib_Flush(KitDisk disk);
KitError VixDiskLib_Wait(KitDisk disk);
KitError VixDiskLib_QueryAllocatedBlocks(KitDisk disk, KitSectors start, KitSectors count, KitSectors chunk, KitBlockList **list);
KitError VixDiskLib_FreeBlockList(KitBlockList *list);
KitError VixDiskLib_QueryChangedAreas(KitDisk disk, const KitChangedAreaParams *params, KitChangeInfo **changes);
void VixDiskLib_FreeChangedAreas(KitChangeInfo *changes);
KitError VixDiskLib_ReadMetadata(KitDisk disk, const char *key, char *buffer, size_t size, size_t *required);
KitError VixDiskLib_WriteMetadata(KitDisk disk, const char *key, const char *value);
KitError VixDiskLib_GetMetadataKeys(KitDisk disk, char *keys, size_t size, size_t *required);
KitError VixDiskLib_Create(const KitConnection connection, const char *path, const KitCreateParams *params, KitProgress progress,
                           void *data);
KitError VixDiskLib_CreateChild(KitDisk disk, const char *path, KitDiskType type, KitProgress progress, void *data);
KitError VixDiskLib_Unlink(KitConnection connection, const char *path);
KitError VixDiskLib_Grow(KitConnection connection, const char *path, KitSectors capacity, Bool updateGeometry, KitProgress progress,
                         void *data);
KitError VixDiskLib_Shrink(KitDisk disk, KitProgress progress, void *data);
KitError VixDiskLib_Defragment(KitDisk disk, KitProgress progress, void *data);
KitError VixDiskLib_Rename(const char *from, const char *to);
KitError VixDiskLib_Clone(const KitConnection to, const char *toPath, const KitConnection from, const char *fromPath,
                          const KitCreateParams *params, KitProgress progress, void *data, Bool overwrite);
KitError VixDiskLib_IsAttachPossible(KitDisk parent, KitDisk child);
KitError VixDiskLib_Attach(KitDisk parent, KitDisk child);
KitError VixDiskLib_SpaceNeededForClone(KitDisk disk, KitDiskType type, uint64 *bytes);
KitError VixDiskLib_CheckRepair(const KitConnection connection, const char *path, Bool repair);
char *VixDiskLib_GetErrorText(KitError error, const char *locale);
void VixDiskLib_FreeErrorText(char *text);

#endif
