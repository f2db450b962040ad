//! VMware vSphere backup and restore workflows.
