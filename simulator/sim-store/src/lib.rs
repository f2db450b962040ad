//! Disks, snapshots and change tracking of the vSphere simulator.
