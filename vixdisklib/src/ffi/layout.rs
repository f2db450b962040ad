//! Sizes and offsets, asserted at compile time against the measured tables (section 2 of the fact sheet).
//!
//! Written by hand from those tables, so that a slip in the header and a slip here would have to agree.

use std::mem::{align_of, offset_of, size_of};

use super::bindings::{
    VddkBlock, VddkBlockList, VddkChangeInfo, VddkChangedAreaParams, VddkConnectParams,
    VddkConnectParamsHead, VddkCreateParams, VddkCredentials, VddkDatastoreSpec, VddkGeometry, VddkInfo,
    VddkInfoHead, VddkOpenParams, VddkPasswordCredentials, VddkSessionCredentials, VddkSpec,
    VddkStorageObjectSpec,
};

macro_rules! layout {
    ($type:ty, $size:literal, { $($field:ident @ $offset:literal),* $(,)? }) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            $(assert!(offset_of!($type, $field) == $offset);)*
        };
    };
}

// 2.1. The table's totals for older libraries are the offsets at which their structure ended.
layout!(VddkConnectParams, 136, {
    vm @ 0, server @ 8, thumbprint @ 16, unused @ 24, credential_type @ 32, credentials @ 40, port @ 64, nfc_port @ 68,
    api_version @ 72, reserved @ 80, state @ 88, spec @ 96, spec_type @ 120, certificate @ 128,
});
layout!(VddkConnectParamsHead, 80, {
    vm @ 0, server @ 8, thumbprint @ 16, unused @ 24, credential_type @ 32, credentials @ 40, port @ 64, nfc_port @ 68,
    api_version @ 72,
});
// 2.2
layout!(VddkCredentials, 24, { password @ 0, session @ 0, ticket @ 0 });
layout!(VddkPasswordCredentials, 16, { user @ 0, password @ 8 });
layout!(VddkSessionCredentials, 24, { cookie @ 0, user @ 8, key @ 16 });
// 2.3
layout!(VddkSpec, 24, { storage_object @ 0, datastore @ 0 });
layout!(VddkStorageObjectSpec, 24, { id @ 0, datastore @ 8, snapshot @ 16 });
layout!(VddkDatastoreSpec, 16, { datastore @ 0, folder @ 8 });
// 2.4
layout!(VddkCreateParams, 32, {
    disk_type @ 0, adapter_type @ 4, hardware_version @ 8, capacity @ 16, logical_sector_bytes @ 24,
    physical_sector_bytes @ 28,
});
// 2.5
layout!(VddkGeometry, 12, { cylinders @ 0, heads @ 4, sectors @ 8 });
layout!(VddkInfo, 64, {
    bios_geometry @ 0, physical_geometry @ 12, capacity @ 24, adapter_type @ 32, links @ 36, parent_hint @ 40,
    uuid @ 48, logical_sector_bytes @ 56, physical_sector_bytes @ 60,
});
layout!(VddkInfoHead, 56, {
    bios_geometry @ 0, physical_geometry @ 12, capacity @ 24, adapter_type @ 32, links @ 36, parent_hint @ 40, uuid @ 48,
});
// 2.6
layout!(VddkBlock, 16, { offset @ 0, length @ 8 });
layout!(VddkBlockList, 24, { count @ 0, blocks @ 8 });
// 2.7
layout!(VddkOpenParams, 24, { path @ 0, flags @ 8, change_id @ 16 });
layout!(VddkChangedAreaParams, 8, { start @ 0 });
layout!(VddkChangeInfo, 24, { start @ 0, length @ 8, areas @ 16 });

const _: () = assert!(align_of::<VddkConnectParams>() == 8);
const _: () = assert!(align_of::<VddkInfo>() == 8);
const _: () = assert!(align_of::<VddkBlock>() == 8);
