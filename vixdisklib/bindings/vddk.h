/*
 * The binary interface of VixDiskLib, 6.5 to 9.x, on Linux x86-64.
 *
 * Written for this project from its own table of measured offsets, values and
 * calling rules. Type, field and constant names are ours; only the names of
 * the exported symbols (listed in src/ffi/symbols.rs) belong to the library.
 * bindgen turns this file into src/ffi/bindings.rs; see bindings/README.md.
 */
#ifndef VIXDISKLIB_VDDK_H
#define VIXDISKLIB_VDDK_H

#include <stddef.h>
#include <stdint.h>

/** Result of a call. Success is the whole word 0; the code proper is the low 16 bits. */
typedef uint64_t VddkError;
/** A position or an amount, counted in units of 512 bytes. */
typedef uint64_t VddkSectors;
/** C `char` used as a truth value: 0 or not 0. */
typedef char VddkBool;

/** What a connection handle points to; never looked into. */
typedef struct VddkConnectionObject VddkConnectionObject;
/** What a disk handle points to; never looked into. */
typedef struct VddkDiskObject VddkDiskObject;
/** An open connection. */
typedef VddkConnectionObject *VddkConnection;
/** An open disk. */
typedef VddkDiskObject *VddkDisk;

/* ---- constants ---------------------------------------------------------- */

/** Sizes and limits. */
enum {
    /** Bytes in one sector, whatever the disk says of its own sectors. */
    VDDK_SECTOR_BYTES = 512,
    /** Smallest chunk of an allocation query, in sectors. */
    VDDK_CHUNK_MIN = 128,
    /** Largest chunk of an allocation query, in sectors. */
    VDDK_CHUNK_MAX = 131072,
    /** Most chunks that one allocation query may cover. */
    VDDK_CHUNKS_PER_QUERY = 524288,
};

/** Result codes that steer the program; every other one is in the error table. */
enum {
    VDDK_OK = 0,
    VDDK_E_FAIL = 1,
    VDDK_E_OUT_OF_MEMORY = 2,
    VDDK_E_INVALID_ARG = 3,
    VDDK_E_FILE_NOT_FOUND = 4,
    VDDK_E_NOT_SUPPORTED = 6,
    VDDK_E_FILE_ERROR = 7,
    VDDK_E_CANCELLED = 10,
    VDDK_E_FILE_READ_ONLY = 11,
    VDDK_E_FILE_ALREADY_EXISTS = 12,
    VDDK_E_FILE_ALREADY_LOCKED = 15,
    VDDK_E_NOT_SUPPORTED_ON_REMOTE_OBJECT = 20,
    VDDK_E_BUFFER_TOO_SMALL = 24,
    VDDK_E_OBJECT_NOT_FOUND = 25,
    VDDK_E_AUTHENTICATION_FAIL = 35,
    VDDK_E_SERVER_NOT_FOUND = 14008,
    VDDK_E_DISK_NOT_INITIALISED = 16001,
    VDDK_E_DISK_OUT_OF_RANGE = 16007,
    VDDK_E_DISK_KEY_NOT_FOUND = 16052,
    VDDK_E_DISK_INVALID_CONNECTION = 16054,
    VDDK_E_OPERATION_DISABLED = 20005,
    VDDK_ASYNC_QUEUED = 25000,
    VDDK_E_ASYNC_MIXED_MODE = 26000,
};

/** Bits of the flags of an open call. */
enum {
    /** Go past the host's cache; memory must then be aligned. */
    VDDK_OPEN_UNBUFFERED = 0x001,
    /** Open the named link alone, without its parents. */
    VDDK_OPEN_SINGLE_LINK = 0x002,
    /** Refuse writes. */
    VDDK_OPEN_READ_ONLY = 0x004,
    /** Compress on the wire with zlib (network transports only). */
    VDDK_OPEN_COMPRESS_ZLIB = 0x010,
    /** Compress on the wire with FastLZ (network transports only). */
    VDDK_OPEN_COMPRESS_FASTLZ = 0x020,
    /** Compress on the wire with SkipZ (network transports only). */
    VDDK_OPEN_COMPRESS_SKIPZ = 0x040,
    /** The bits reserved for compression methods. */
    VDDK_OPEN_COMPRESS_MASK = 0x3f0,
};

/** How a disk is stored. */
enum VddkDiskType {
    VDDK_DISK_MONOLITHIC_SPARSE = 1,
    VDDK_DISK_MONOLITHIC_FLAT = 2,
    VDDK_DISK_SPLIT_SPARSE = 3,
    VDDK_DISK_SPLIT_FLAT = 4,
    VDDK_DISK_VMFS_FLAT = 5,
    VDDK_DISK_STREAM_OPTIMIZED = 6,
    VDDK_DISK_VMFS_THIN = 7,
    VDDK_DISK_VMFS_SPARSE = 8,
    VDDK_DISK_UNKNOWN = 256,
};

/** The controller that a disk says it was made for. */
enum VddkAdapterType {
    VDDK_ADAPTER_IDE = 1,
    VDDK_ADAPTER_SCSI_BUSLOGIC = 2,
    VDDK_ADAPTER_SCSI_LSILOGIC = 3,
    VDDK_ADAPTER_UNKNOWN = 256,
};

/** Which arm of the credentials is filled. */
enum VddkCredentialType {
    VDDK_CREDENTIALS_PASSWORD = 1,
    VDDK_CREDENTIALS_SESSION = 2,
    VDDK_CREDENTIALS_TICKET = 3,
    VDDK_CREDENTIALS_SSPI = 4,
    VDDK_CREDENTIALS_UNKNOWN = 256,
};

/** Which arm of the object specification is filled. 2 means "unknown" to 6.7. */
enum VddkSpecType {
    VDDK_SPEC_VM = 0,
    VDDK_SPEC_STORAGE_OBJECT = 1,
    VDDK_SPEC_DATASTORE = 2,
    VDDK_SPEC_UNKNOWN = 256,
};

/* ---- structures --------------------------------------------------------- */

/** A login with a name and a password. */
typedef struct {
    char *user;
    char *password;
} VddkPasswordCredentials;

/** A login that reuses the cookie of a SOAP session. */
typedef struct {
    char *cookie;
    char *user;
    char *key;
} VddkSessionCredentials;

/** One of the logins, chosen by the credential type. */
typedef union {
    VddkPasswordCredentials password;
    VddkSessionCredentials session;
    void *ticket;
} VddkCredentials;

/** A first class disk. */
typedef struct {
    char *id;
    char *datastore;
    char *snapshot;
} VddkStorageObjectSpec;

/** A folder of a datastore (8.0.1 and later). */
typedef struct {
    char *datastore;
    char *folder;
} VddkDatastoreSpec;

/** What to open other than a virtual machine, chosen by the specification type. */
typedef union {
    VddkStorageObjectSpec storage_object;
    VddkDatastoreSpec datastore;
} VddkSpec;

/**
 * Where and as whom to connect. 6.5 knows the bytes before `reserved`, 6.7 to
 * 8.0 those before `certificate`: which may be written depends on the version.
 */
typedef struct {
    char *vm;
    char *server;
    char *thumbprint;
    int64_t unused;
    enum VddkCredentialType credential_type;
    VddkCredentials credentials;
    uint32_t port;
    uint32_t nfc_port;
    char *api_version;
    char reserved[8];
    void *state;
    VddkSpec spec;
    enum VddkSpecType spec_type;
    char *certificate;
} VddkConnectParams;

/** The beginning of the connection parameters: what every version from 6.5 on has. */
typedef struct {
    char *vm;
    char *server;
    char *thumbprint;
    int64_t unused;
    enum VddkCredentialType credential_type;
    VddkCredentials credentials;
    uint32_t port;
    uint32_t nfc_port;
    char *api_version;
} VddkConnectParamsHead;

/** Cylinders, heads and sectors. */
typedef struct {
    uint32_t cylinders;
    uint32_t heads;
    uint32_t sectors;
} VddkGeometry;

/** What to create. Read up to `capacity` by 6.x libraries. */
typedef struct {
    enum VddkDiskType disk_type;
    enum VddkAdapterType adapter_type;
    uint16_t hardware_version;
    VddkSectors capacity;
    uint32_t logical_sector_bytes;
    uint32_t physical_sector_bytes;
} VddkCreateParams;

/** What an open disk is. Libraries before 7.0 end it before the sector sizes. */
typedef struct {
    VddkGeometry bios_geometry;
    VddkGeometry physical_geometry;
    VddkSectors capacity;
    enum VddkAdapterType adapter_type;
    int32_t links;
    char *parent_hint;
    char *uuid;
    uint32_t logical_sector_bytes;
    uint32_t physical_sector_bytes;
} VddkInfo;

/** The beginning of the information on a disk: what every version has. */
typedef struct {
    VddkGeometry bios_geometry;
    VddkGeometry physical_geometry;
    VddkSectors capacity;
    enum VddkAdapterType adapter_type;
    int32_t links;
    char *parent_hint;
    char *uuid;
} VddkInfoHead;

/** A run of sectors at an absolute place. */
typedef struct {
    VddkSectors offset;
    VddkSectors length;
} VddkBlock;

/** A counted list; `blocks` really has `count` members, perhaps none. */
typedef struct {
    uint32_t count;
    VddkBlock blocks[1];
} VddkBlockList;

/** What to open, with the change id that changed areas are asked for (9.0). */
typedef struct {
    char *path;
    uint32_t flags;
    char *change_id;
} VddkOpenParams;

/** From where on changed areas are wanted (9.0). */
typedef struct {
    VddkSectors start;
} VddkChangedAreaParams;

/** The changed areas of one window of a disk (9.0). */
typedef struct {
    VddkSectors start;
    VddkSectors length;
    VddkBlockList *areas;
} VddkChangeInfo;

/* ---- callbacks ---------------------------------------------------------- */

/**
 * Receives a log line: a printf format and its arguments. `arguments` is a
 * va_list, which on this platform is passed as a pointer.
 */
typedef void (*VddkLogCallback)(const char *format, void *arguments);
/** Hears of progress in percent, on the thread that made the call. */
typedef VddkBool (*VddkProgressCallback)(void *data, int percent);
/** Hears of the end of one asynchronous request, on any thread. */
typedef void (*VddkCompletionCallback)(void *data, VddkError result);

/* ---- functions, in the order of the symbol table ------------------------ */

typedef VddkError (*VddkInitExFn)(uint32_t major, uint32_t minor, VddkLogCallback log, VddkLogCallback warn,
                                  VddkLogCallback panic, const char *directory, const char *config);
typedef VddkError (*VddkInitFn)(uint32_t major, uint32_t minor, VddkLogCallback log, VddkLogCallback warn,
                                VddkLogCallback panic, const char *directory);
typedef void (*VddkExitFn)(void);
typedef const char *(*VddkListTransportModesFn)(void);
typedef VddkError (*VddkCleanupFn)(const VddkConnectParams *params, uint32_t *cleaned, uint32_t *remaining);

typedef VddkError (*VddkConnectFn)(const VddkConnectParams *params, VddkConnection *connection);
typedef VddkError (*VddkConnectExFn)(const VddkConnectParams *params, VddkBool read_only, const char *snapshot,
                                     const char *modes, VddkConnection *connection);
typedef VddkError (*VddkDisconnectFn)(VddkConnection connection);
typedef VddkError (*VddkAccessFn)(const VddkConnectParams *params, const char *identity);
typedef VddkError (*VddkGetConnectParamsFn)(VddkConnection connection, VddkConnectParams **params);
typedef VddkConnectParams *(*VddkAllocateConnectParamsFn)(void);
typedef void (*VddkFreeConnectParamsFn)(VddkConnectParams *params);
typedef VddkError (*VddkGetConnectionFromDiskFn)(VddkDisk disk, VddkConnection *connection);

typedef VddkError (*VddkOpenFn)(VddkConnection connection, const char *path, uint32_t flags, VddkDisk *disk);
typedef VddkError (*VddkOpenExFn)(VddkConnection connection, const VddkOpenParams *params, VddkDisk *disk);
typedef VddkError (*VddkDiskFn)(VddkDisk disk);
typedef VddkError (*VddkGetInfoFn)(VddkDisk disk, VddkInfo **info);
typedef void (*VddkFreeInfoFn)(VddkInfo *info);
typedef const char *(*VddkGetTransportModeFn)(VddkDisk disk);
typedef VddkError (*VddkReadFn)(VddkDisk disk, VddkSectors start, VddkSectors count, uint8_t *buffer);
typedef VddkError (*VddkWriteFn)(VddkDisk disk, VddkSectors start, VddkSectors count, const uint8_t *buffer);
typedef VddkError (*VddkReadAsyncFn)(VddkDisk disk, VddkSectors start, VddkSectors count, uint8_t *buffer,
                                     VddkCompletionCallback callback, void *data);
typedef VddkError (*VddkWriteAsyncFn)(VddkDisk disk, VddkSectors start, VddkSectors count, const uint8_t *buffer,
                                      VddkCompletionCallback callback, void *data);
typedef VddkError (*VddkQueryAllocatedBlocksFn)(VddkDisk disk, VddkSectors start, VddkSectors count,
                                                VddkSectors chunk, VddkBlockList **list);
typedef VddkError (*VddkFreeBlockListFn)(VddkBlockList *list);
typedef VddkError (*VddkQueryChangedAreasFn)(VddkDisk disk, const VddkChangedAreaParams *params,
                                             VddkChangeInfo **changes);
typedef void (*VddkFreeChangedAreasFn)(VddkChangeInfo *changes);
typedef VddkError (*VddkReadMetadataFn)(VddkDisk disk, const char *key, char *buffer, size_t size, size_t *required);
typedef VddkError (*VddkWriteMetadataFn)(VddkDisk disk, const char *key, const char *value);
typedef VddkError (*VddkGetMetadataKeysFn)(VddkDisk disk, char *keys, size_t size, size_t *required);

typedef VddkError (*VddkCreateFn)(VddkConnection connection, const char *path, const VddkCreateParams *params,
                                  VddkProgressCallback progress, void *data);
typedef VddkError (*VddkCreateChildFn)(VddkDisk disk, const char *path, enum VddkDiskType type,
                                       VddkProgressCallback progress, void *data);
typedef VddkError (*VddkUnlinkFn)(VddkConnection connection, const char *path);
typedef VddkError (*VddkGrowFn)(VddkConnection connection, const char *path, VddkSectors capacity,
                                VddkBool update_geometry, VddkProgressCallback progress, void *data);
typedef VddkError (*VddkRewriteFn)(VddkDisk disk, VddkProgressCallback progress, void *data);
typedef VddkError (*VddkRenameFn)(const char *from, const char *to);
typedef VddkError (*VddkCloneFn)(VddkConnection to, const char *to_path, VddkConnection from, const char *from_path,
                                 const VddkCreateParams *params, VddkProgressCallback progress, void *data,
                                 VddkBool overwrite);
typedef VddkError (*VddkChainFn)(VddkDisk parent, VddkDisk child);
typedef VddkError (*VddkSpaceNeededForCloneFn)(VddkDisk disk, enum VddkDiskType type, uint64_t *bytes);
typedef VddkError (*VddkCheckRepairFn)(VddkConnection connection, const char *path, VddkBool repair);

typedef char *(*VddkGetErrorTextFn)(VddkError error, const char *locale);
typedef void (*VddkFreeErrorTextFn)(char *text);

#endif
