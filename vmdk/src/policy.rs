//! What public sources contradict each other about, and what to do then.

/// What to do with bytes whose meaning is disputed. By default they are refused with
/// [`ErrorKind::Disputed`](crate::ErrorKind::Disputed): a wrong guess would be a wrong disk that looks right.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Entry 1 of a grain table whose file does not say that it has zeroed grains.
    pub entry_one: EntryOne,
    /// Grains of an SESparse file in the state "unmapped" (1).
    pub unmapped: Unmapped,
    /// An SESparse file whose journal has not been replayed.
    pub journal: Journal,
}

/// Hosted sparse files without the flag for zeroed grains, and COWD files. qemu reads the sector 1 of the file, which is no data
/// in any layout; open-vmdk and Xen Orchestra read zeros.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EntryOne {
    /// Refuse to read the grain.
    #[default]
    Refuse,
    /// Zeros.
    Zero,
}

/// qemu and Xen Orchestra read zeros; dissect.hypervisor reads the parent.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unmapped {
    /// Refuse to read the grain.
    #[default]
    Refuse,
    /// Zeros, which is what UNMAP means to a guest.
    Zero,
    /// What the parent has.
    Parent,
}

/// The journal's format is not public. qemu refuses such a file; others read it as it is, without the last changes.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Journal {
    /// Refuse to open the file. Powering the machine on and off on its host replays the journal.
    #[default]
    Refuse,
    /// Read the tables as they are.
    Ignore,
}
