//! A vSphere that holds real disks.
