/// What a backup product reads of each machine before it decides anything.
pub const BACKUP_SET: [&str; 15] = [
    "name",
    "parent",
    "config.instanceUuid",
    "config.uuid",
    "config.template",
    "config.version",
    "config.guestId",
    "config.changeTrackingEnabled",
    "config.extraConfig",
    "config.hardware.device",
    "layoutEx",
    "runtime.powerState",
    "runtime.host",
    "snapshot",
    "datastore",
];
