//! Content-addressed, encrypted backup repository for block devices.
