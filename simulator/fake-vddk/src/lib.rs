//! libvixDiskLib.so over the simulator's disks.
