//! Finding what is wrong with a disk's files, and mending what can be mended without a guess.

use std::fmt;
use std::sync::Arc;

use crate::Sectors;
use crate::disk::OpenOptions;
use crate::error::Result;
use crate::extent::Layout;
use crate::folder::Folder;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file that it is in.
    pub file: String,
    /// What it is.
    pub problem: Problem,
}

/// What can be wrong with a file whose header and descriptor are good enough for it to be opened. Grains are counted from the
/// start of the file's extent.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The file was not closed by who wrote to it last.
    Unclean,
    /// A table entry leads to a sector behind the end of the file, or among the tables: the grain is lost.
    GrainOutside {
        /// The grain.
        grain: u64,
        /// The sector of the file.
        sector: Sectors,
    },
    /// Two grains have a sector of the file in common: what one of them reads is wrong.
    GrainShared {
        /// The later grain.
        grain: u64,
        /// The first sector of the file.
        sector: Sectors,
    },
    /// A table is not there, though the directory says so.
    TableOutside {
        /// The table, counted from the start.
        table: u64,
        /// The sector of the file.
        sector: Sectors,
    },
    /// The redundant tables have an entry and the tables none, or a bad one: a grain that nobody reads. Repaired by taking the
    /// redundant one.
    OnlyInCopy {
        /// The grain.
        grain: u64,
    },
    /// The tables have a good entry and their redundant copy none, or a bad one; or another good one in a file that was not
    /// closed. Repaired in the copy.
    CopyLacks {
        /// The grain.
        grain: u64,
    },
    /// The tables and their redundant copy both have a good entry for a grain, and not the same, in a file that was closed. It
    /// can't be known which is right, so this is not repaired.
    CopyDiffers {
        /// The grain.
        grain: u64,
    },
    /// Entry 1 in a file that does not say that it has zeroed grains.
    EntryOne {
        /// The grain.
        grain: u64,
    },
    /// A grain of a stream whose record says that it is another one, or does not inflate.
    BadRecord {
        /// The grain.
        grain: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Room in the file that no table leads to. Harmless.
    Leaked {
        /// In sectors.
        sectors: Sectors,
    },
}

impl Problem {
    /// Whether bytes of the disk are wrong or lost, and not only something about them.
    pub fn loses_data(&self) -> bool {
        !matches!(self, Self::Unclean | Self::CopyLacks { .. } | Self::Leaked { .. })
    }

    /// Whether [`repair`] mends it.
    pub fn is_repairable(&self) -> bool {
        matches!(self, Self::Unclean | Self::OnlyInCopy { .. } | Self::CopyLacks { .. })
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The first problems, a thousand for each file at most.
    pub findings: Vec<Finding>,
    /// How many there are in all.
    pub problems: u64,
    /// Those that were mended.
    pub repaired: u64,
    /// Grains that have a place in a file.
    pub grains: u64,
}

impl Report {
    /// Whether nothing at all was found.
    pub fn is_clean(&self) -> bool {
        self.problems == 0
    }
}

/// Checks the files of a disk and of its parents, and changes nothing: the directories and tables of sparse files, whether they
/// agree with their copies, whether grains lie in the file and have it for themselves. `deep` also reads and inflates every grain
/// of a stream.
///
/// # Errors
/// Those of opening the disk, whatever makes that impossible; and of reading.
pub fn check(folder: &Arc<dyn Folder>, name: &str, options: &OpenOptions, deep: bool) -> Result<Report> {
    let disk = options.clone().writable(false).open(folder, name)?;
    let mut report = Report::default();
    for extent in disk.links().iter().flat_map(|link| &link.extents) {
        if let Layout::Hosted { file, grains } = &extent.layout {
            report.add(disk.backing().name(*file), grains.check(disk.backing(), *file, deep)?);
        }
    }
    Ok(report)
}

/// Checks the files of one link, without its parents, and mends what [`Problem::is_repairable`] names. The content id stays: what
/// a guest read before, it reads after, but for grains that only the copy of the tables knew.
///
/// # Errors
/// As [`check`]; `ReadOnly` for formats that are not written.
pub fn repair(folder: &Arc<dyn Folder>, name: &str) -> Result<Report> {
    let disk = OpenOptions::new().writable(true).without_parents(true).open(folder, name)?;
    let mut report = Report::default();
    for extent in disk.links().iter().flat_map(|link| &link.extents) {
        if let Layout::Hosted { file, grains } = &extent.layout {
            let findings = grains.check(disk.backing(), *file, false)?;
            if extent.writable {
                report.repaired += grains.repair(disk.backing(), *file, &findings)?;
            }
            report.add(disk.backing().name(*file), findings);
        }
    }
    Ok(report)
}

/// Problems that are named one by one for a file; the others are counted.
const MOST_NAMED: usize = 1000;

/// What was found in one file.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) named: Vec<Problem>,
    pub(crate) problems: u64,
    pub(crate) losses: u64,
    pub(crate) grains: u64,
    /// Table entries that are right, by grain, for those that the tables or their copy have otherwise.
    pub(crate) right: Vec<(u64, u32)>,
}

impl Findings {
    pub(crate) fn add(&mut self, problem: Problem) {
        self.problems += 1;
        self.losses += u64::from(problem.loses_data() && !problem.is_repairable());
        if self.named.len() < MOST_NAMED {
            self.named.push(problem);
        }
    }
}

impl Report {
    fn add(&mut self, file: &str, findings: Findings) {
        self.problems += findings.problems;
        self.grains += findings.grains;
        self.findings
            .extend(findings.named.into_iter().map(|problem| Finding { file: file.to_owned(), problem }));
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclean => f.write_str("it was not closed by who wrote to it last"),
            Self::GrainOutside { grain, sector } => {
                write!(
                    f,
                    "grain {grain} would be at sector {sector}, outside of the grains of the file: it is lost"
                )
            }
            Self::GrainShared { grain, sector } => {
                write!(
                    f,
                    "grain {grain} at sector {sector} has a sector in common with another: one of them is wrong"
                )
            }
            Self::TableOutside { table, sector } => {
                write!(f, "grain table {table} would be at sector {sector}, behind the end of the file")
            }
            Self::OnlyInCopy { grain } => write!(f, "grain {grain} is known to the redundant tables only"),
            Self::CopyLacks { grain } => {
                write!(f, "the redundant tables do not have grain {grain}, or have it elsewhere")
            }
            Self::CopyDiffers { grain } => {
                write!(f, "grain {grain} has two places, one in the tables and one in their copy")
            }
            Self::EntryOne { grain } => {
                write!(f, "grain {grain} has the entry 1, which this file does not declare")
            }
            Self::BadRecord { grain, what } => write!(f, "grain {grain}: {what}"),
            Self::Leaked { sectors } => write!(f, "{sectors} sectors belong to no grain"),
        }
    }
}
