//! Safe VMware VDDK disks, loaded at run time.
