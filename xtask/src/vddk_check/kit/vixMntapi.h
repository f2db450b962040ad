/* As vixDiskLib.h beside it, for the library that mounts. */
#ifndef KIT_MOUNTS_H
#define KIT_MOUNTS_H

#include "vixDiskLib.h"

typedef struct KitSetBody *KitSet;
typedef struct KitVolumeBody *KitVolume;

typedef enum {
    VIXMNTAPI_NO_OS = 0,
    VIXMNTAPI_WINDOWS = 1,
    VIXMNTAPI_OTHER = 255,
} KitOsFamily;

typedef enum {
    VIXMNTAPI_UNKNOWN_VOLUME = 0,
    VIXMNTAPI_BASIC_PARTITION = 1,
    VIXMNTAPI_GPT_PARTITION = 2,
    VIXMNTAPI_DYNAMIC_VOLUME = 3,
    VIXMNTAPI_LVM_VOLUME = 4,
} KitVolumeType;

typedef struct {
    KitOsFamily family;
    uint32 majorVersion;
    uint32 minorVersion;
    Bool osIs64Bit;
    char *vendor;
    char *edition;
    char *osFolder;
} KitOsInfo;

typedef struct {
    KitVolumeType type;
    Bool isMounted;
    char *symbolicLink;
    size_t numGuestMountPoints;
    char *inGuestMountPoints[1];
} KitVolumeInfo;

typedef struct {
    uint32 bytesPerSector;
    uint64 capacityInBytes;
    uint64 usedSpace;
    uint32 clusterSizeInBytes;
    KitVolumeType type;
    Bool isMounted;
    char *symbolicLink;
    size_t numGuestMountPoints;
    char *inGuestMountPoints[1];
} KitVolumeInfoEx;

typedef struct {
    uint32 openFlags;
    char *mountPath;
} KitSetInfo;

KitError VixMntapi_Init(uint32 major, uint32 minor, KitLog *log, KitLog *warn, KitLog *panic, const char *directory,
                        const char *config);
void VixMntapi_Exit(void);
KitError VixMntapi_OpenDisks(KitConnection connection, const char *names[], size_t count, uint32 flags, KitSet *set);
KitError VixMntapi_GetDiskSetInfo(KitSet set, KitSetInfo **info);
void VixMntapi_FreeDiskSetInfo(KitSetInfo *info);
KitError VixMntapi_CloseDiskSet(KitSet set);
KitError VixMntapi_GetVolumeHandles(KitSet set, size_t *count, KitVolume *volumes[]);
void VixMntapi_FreeVolumeHandles(KitVolume *volumes);
KitError VixMntapi_GetOsInfo(KitSet set, KitOsInfo **info);
void VixMntapi_FreeOsInfo(KitOsInfo *info);
KitError VixMntapi_MountVolume(KitVolume volume, Bool readOnly);
KitError VixMntapi_DismountVolume(KitVolume volume, Bool force);
KitError VixMntapi_GetVolumeInfo(KitVolume volume, KitVolumeInfo **info);
void VixMntapi_FreeVolumeInfo(KitVolumeInfo *info);
KitError VixMntapi_GetVolumeInfoEx(KitVolume volume, KitVolumeInfoEx **info);
void VixMntapi_FreeVolumeInfoEx(KitVolumeInfoEx *info);

#endif
