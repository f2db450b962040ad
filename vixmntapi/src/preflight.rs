//! What mounting needs of a machine, looked at before the library is asked (section 6.4 of the fact sheet).

use std::fs;
use std::path::{Path, PathBuf};

/// Something that VMware's VixMntapi needs on Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Requirement {
    /// The rights of root; code 24017 without.
    Root,
    /// The kernel's FUSE and its device; code 24019 without.
    Fuse,
    /// Loop devices; code 24018 without.
    LoopDevices,
    /// The folder `/var/run/vmware/fuse`, there or possible to make; code 24016 without.
    StateFolder,
    /// The program `umount` in a standard folder; code 24008 without.
    Umount,
}

/// What of all that this machine lacks, for this process. Empty when it can mount, as far as can be seen from outside: whether
/// VMware's helper daemon starts (24019), whether another program mounts (24014) and which file systems the kernel has shows
/// only then.
///
/// Looks at files and changes nothing.
#[must_use]
pub fn preflight() -> Vec<Requirement> {
    missing(Path::new("/"))
}

impl Requirement {
    /// What is missing, in one phrase.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self {
            Requirement::Root => "the process is not root",
            Requirement::Fuse => "the kernel has no FUSE, or there is no /dev/fuse",
            Requirement::LoopDevices => "there are no loop devices",
            Requirement::StateFolder => "/var/run/vmware/fuse is not there and cannot be made",
            Requirement::Umount => "there is no umount in /bin, /usr/bin, /sbin or /usr/sbin",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Requirement::Root => "run the program as root",
            Requirement::Fuse => "load the module fuse (modprobe fuse); give a container --device /dev/fuse",
            Requirement::LoopDevices => {
                "load the module loop (modprobe loop); give a container /dev/loop-control and /dev/loop*, and SYS_ADMIN"
            }
            Requirement::StateFolder => "make the folder, or /var/run writable",
            Requirement::Umount => "install umount (package util-linux, or mount on Debian)",
        }
    }
}

/// The same for a machine whose files are below `root`.
fn missing(root: &Path) -> Vec<Requirement> {
    let fuse = || lists(&root.join("proc/filesystems"), "fuse") && root.join("dev/fuse").exists();
    let loops = || root.join("dev/loop-control").exists() || root.join("dev/loop0").exists();
    let umount = || {
        ["bin", "usr/bin", "sbin", "usr/sbin"].iter().any(|folder| root.join(folder).join("umount").is_file())
    };
    let checks: [(Requirement, bool); 5] = [
        (Requirement::Root, effective_user(root) == Some(0)),
        (Requirement::Fuse, fuse()),
        (Requirement::LoopDevices, loops()),
        (Requirement::StateFolder, can_be_made(&root.join("var/run/vmware/fuse"))),
        (Requirement::Umount, umount()),
    ];
    checks.into_iter().filter(|(_, there)| !there).map(|(requirement, _)| requirement).collect()
}

/// Whether a line of the file ends in `word`, as the kernel's list of file systems does.
fn lists(file: &Path, word: &str) -> bool {
    fs::read_to_string(file)
        .is_ok_and(|text| text.lines().any(|line| line.split_whitespace().next_back() == Some(word)))
}

/// The second of the four user ids in the process's status.
fn effective_user(root: &Path) -> Option<u32> {
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

/// Whether the folder is there, or the nearest one above it that is there may be written in.
fn can_be_made(folder: &Path) -> bool {
    let mut place = PathBuf::from(folder);
    while fs::symlink_metadata(&place).is_err() {
        if !place.pop() {
            return false;
        }
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    place.is_dir() && rustix::fs::access(&place, access).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn each_thing_is_missed_alone() {
        let machine = tempfile::tempdir().unwrap();
        let root = machine.path();
        write(root, "proc/filesystems", "nodev\tsysfs\n\text4\nnodev\tfuse\n");
        write(root, "proc/self/status", "Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t0\t0\t0\t0\n");
        for file in ["dev/fuse", "dev/loop-control", "usr/bin/umount"] {
            write(root, file, "");
        }
        fs::create_dir_all(root.join("var/run")).unwrap();
        assert_eq!(missing(root), []);

        write(root, "proc/self/status", "Uid:\t0\t1000\t0\t0\n");
        assert_eq!(missing(root), [Requirement::Root]);
        write(root, "proc/self/status", "Uid:\t0\t0\t0\t0\n");
        write(root, "proc/filesystems", "nodev\tfusectl\n\tfuseblk\n");
        assert_eq!(missing(root), [Requirement::Fuse]);
        write(root, "proc/filesystems", "nodev\tfuse\n");
        fs::remove_file(root.join("dev/loop-control")).unwrap();
        assert_eq!(missing(root), [Requirement::LoopDevices]);
        write(root, "dev/loop0", "");
        write(root, "var/run/vmware", "a file in the way");
        assert_eq!(missing(root), [Requirement::StateFolder]);
        fs::remove_file(root.join("var/run/vmware")).unwrap();
        fs::rename(root.join("usr/bin/umount"), root.join("usr/bin/umount.old")).unwrap();
        assert_eq!(missing(root), [Requirement::Umount]);
    }

    #[test]
    fn an_empty_machine_lacks_everything_but_a_place() {
        let machine = tempfile::tempdir().unwrap();
        let found = missing(machine.path());
        assert_eq!(
            found,
            [Requirement::Root, Requirement::Fuse, Requirement::LoopDevices, Requirement::Umount]
        );
        assert!(found.iter().all(|requirement| !requirement.remedy().is_empty()));
    }
}
