//! The lines that say where a disk's sectors are: `RW 83886080 VMFS "x-flat.vmdk"`.

use std::fmt;

use super::encoding::Encoding;
use crate::Sectors;
use crate::error::{Error, Result};

/// The longest file name, in bytes of the descriptor.
pub(super) const MAX_NAME: usize = 1024;

/// What may be done with an extent's sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// `RW`
    ReadWrite,
    /// `RDONLY`
    ReadOnly,
    /// `NOACCESS`. The sectors take their place in the disk all the same.
    NoAccess,
}

impl Access {
    fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "RW",
            Self::ReadOnly => "RDONLY",
            Self::NoAccess => "NOACCESS",
        }
    }

    fn of(word: &[u8]) -> Option<Self> {
        let all = [Self::ReadWrite, Self::ReadOnly, Self::NoAccess];
        all.into_iter().find(|access| access.as_str().as_bytes().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an extent's file is.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExtentKind {
    /// `FLAT`: a file or device with the sectors as they are, from the offset on.
    Flat,
    /// `VMFS`: the same on a datastore, always from the file's beginning.
    Vmfs,
    /// `SPARSE`: a hosted sparse file.
    Sparse,
    /// `ZERO`: no file; the sectors read as zeros.
    Zero,
    /// `VMFSSPARSE`: a COWD delta.
    VmfsSparse,
    /// `SESPARSE`: a space-efficient delta.
    SeSparse,
    /// `VSANSPARSE`: a delta that is a vSAN object.
    VsanSparse,
    /// `VMFSRDM`: the pointer file of a raw device mapping, in either mode.
    VmfsRdm,
    /// `VMFSRAW`: a raw device.
    VmfsRaw,
    /// A word that this crate does not know, as it was written.
    Other(String),
}

impl ExtentKind {
    const KNOWN: [Self; 9] = [
        Self::Flat,
        Self::Vmfs,
        Self::Sparse,
        Self::Zero,
        Self::VmfsSparse,
        Self::SeSparse,
        Self::VsanSparse,
        Self::VmfsRdm,
        Self::VmfsRaw,
    ];

    /// The word in the descriptor.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Flat => "FLAT",
            Self::Vmfs => "VMFS",
            Self::Sparse => "SPARSE",
            Self::Zero => "ZERO",
            Self::VmfsSparse => "VMFSSPARSE",
            Self::SeSparse => "SESPARSE",
            Self::VsanSparse => "VSANSPARSE",
            Self::VmfsRdm => "VMFSRDM",
            Self::VmfsRaw => "VMFSRAW",
            Self::Other(word) => word,
        }
    }

    fn of(word: &str) -> Self {
        let known = Self::KNOWN.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(word));
        known.unwrap_or_else(|| Self::Other(word.to_owned()))
    }
}

impl fmt::Display for ExtentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One extent. The extents of a disk follow each other in the descriptor's order, whatever their access is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExtentLine {
    /// What may be done with the sectors.
    pub access: Access,
    /// How many sectors of 512 bytes it is, on disks of 4 KiB sectors as well.
    pub sectors: Sectors,
    /// What the file is.
    pub kind: ExtentKind,
    /// The file, relative to the descriptor's folder, absolute, a device or a URI: see [`resolve`](crate::name::resolve).
    /// Every kind but `ZERO` has one. With a descriptor inside its own sparse file the name goes stale when the file
    /// is renamed, and has to be ignored.
    pub file: Option<String>,
    /// Where in the file the extent begins. None is 0; a `FLAT` line is always written with one, `VMFS` without.
    pub offset: Option<Sectors>,
    /// What follows, word for word: Workstation names the partition and the device of a `partitionedDevice` here.
    pub rest: Vec<String>,
}

impl ExtentLine {
    /// A writable extent of this kind from the beginning of its file.
    pub fn of(kind: ExtentKind, sectors: Sectors, file: impl Into<String>) -> Self {
        let file = (kind != ExtentKind::Zero).then(|| file.into());
        Self { access: Access::ReadWrite, sectors, kind, file, offset: None, rest: Vec::new() }
    }

    /// `RW n FLAT "file" offset`, with the offset in sectors.
    pub fn flat(sectors: Sectors, file: impl Into<String>, offset: Sectors) -> Self {
        Self { offset: Some(offset), ..Self::of(ExtentKind::Flat, sectors, file) }
    }

    /// `RW n VMFS "file"`
    pub fn vmfs(sectors: Sectors, file: impl Into<String>) -> Self {
        Self::of(ExtentKind::Vmfs, sectors, file)
    }

    /// `RW n SPARSE "file"`
    pub fn sparse(sectors: Sectors, file: impl Into<String>) -> Self {
        Self::of(ExtentKind::Sparse, sectors, file)
    }

    /// `RW n VMFSSPARSE "file"`
    pub fn vmfs_sparse(sectors: Sectors, file: impl Into<String>) -> Self {
        Self::of(ExtentKind::VmfsSparse, sectors, file)
    }

    /// `RW n SESPARSE "file"`
    pub fn se_sparse(sectors: Sectors, file: impl Into<String>) -> Self {
        Self::of(ExtentKind::SeSparse, sectors, file)
    }

    /// `RW n ZERO`
    pub fn zero(sectors: Sectors) -> Self {
        Self::of(ExtentKind::Zero, sectors, "")
    }

    /// Sees whether this line can be written so that it reads back as it is.
    ///
    /// # Errors
    /// `InvalidInput`, saying what to change: a missing or superfluous file name, one with a quote, a line end or a
    /// NUL (there is no way to escape them) or of more than 1,024 bytes, a kind or a rest that would read as
    /// something else.
    pub fn check(&self) -> Result<()> {
        match (&self.kind, &self.file) {
            (ExtentKind::Zero, None) if self.offset.is_none() && self.rest.is_empty() => {}
            (ExtentKind::Zero, _) => {
                return Err(Error::invalid("a ZERO extent has neither file nor offset; take them away"));
            }
            (_, None) => return Err(Error::invalid(format!("a {} extent needs a file name", self.kind))),
            (_, Some(file)) => check_name(file)?,
        }
        if let ExtentKind::Other(word) = &self.kind
            && (ExtentKind::of(word) != self.kind
                || word.is_empty()
                || !word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        {
            return Err(Error::invalid(format!(
                "\"{}\" is no word for another extent type",
                word.escape_debug()
            )));
        }
        let numbered = |word: &String| number(word.as_bytes()).is_some();
        if self.rest.iter().any(|word| !is_word(word))
            || (self.offset.is_none() && self.rest.first().is_some_and(numbered))
        {
            return Err(Error::invalid(
                "what follows an extent's offset has to be words, or words in quotes",
            ));
        }
        Ok(())
    }

    /// The same with its offset as it is written: `FLAT` has one, `VMFS` only where it is not 0.
    pub(super) fn canonical(mut self) -> Self {
        match self.kind {
            ExtentKind::Flat => self.offset = Some(self.offset.unwrap_or(0)),
            ExtentKind::Vmfs if self.offset == Some(0) && self.rest.is_empty() => self.offset = None,
            // Words behind the name of a kind that we know are behind its offset.
            ExtentKind::Other(_) => {}
            _ if !self.rest.is_empty() => self.offset = Some(self.offset.unwrap_or(0)),
            _ => {}
        }
        self
    }
}

/// The canonical line, without a line end. What cannot stand in a descriptor ([`ExtentLine::check`]) shows as `_`, so
/// that a name never breaks out of its quotes.
impl fmt::Display for ExtentLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.access, self.sectors, writable(self.kind.as_str()))?;
        let line = self.clone().canonical();
        if let Some(file) = &line.file {
            write!(f, " \"{}\"", writable(file))?;
            if let Some(offset) = line.offset {
                write!(f, " {offset}")?;
            }
            for word in &line.rest {
                write!(f, " {}", if is_word(word) { word } else { "_" })?;
            }
        }
        Ok(())
    }
}

/// The text with `_` for what would end a quoted value.
pub(super) fn writable(text: &str) -> String {
    text.replace(['"', '\r', '\n', '\0'], "_")
}

/// # Errors
/// `InvalidInput` for what cannot be a quoted file name.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(['"', '\r', '\n', '\0']) {
        return Err(Error::invalid(format!(
            "\"{}\" can't be a file name in a descriptor; use 1 to {MAX_NAME} bytes without quotes, line ends and NULs",
            name.escape_debug().take(80).collect::<String>()
        )));
    }
    Ok(())
}

fn is_word(word: &str) -> bool {
    let bare = word.strip_prefix('"').and_then(|word| word.strip_suffix('"'));
    match bare {
        Some(bare) => !bare.contains(['"', '\r', '\n', '\0']),
        None => !word.is_empty() && !word.contains(['"', ' ', '\t', '\r', '\n', '\0']),
    }
}

/// Reads a line that begins with an access, or says that it is something else by None.
///
/// # Errors
/// `Malformed` when it can only be an extent and yet is none: skipping it would shift all data behind it.
pub(super) fn parse(line: &[u8], encoding: &Encoding) -> Result<Option<ExtentLine>> {
    let (access, after) = word(line);
    let (sectors, after) = word(after);
    let (kind, after) = word(after);
    let Some(access) = Access::of(access) else {
        let shaped = number(sectors).is_some()
            && ExtentKind::KNOWN.iter().any(|known| known.as_str().as_bytes().eq_ignore_ascii_case(kind));
        if shaped {
            return Err(Error::malformed("an extent with another access than RW, RDONLY and NOACCESS"));
        }
        return Ok(None);
    };
    let Some(sectors) = number(sectors) else {
        return Err(Error::malformed("an extent whose size is no number of sectors"));
    };
    if kind.is_empty() || !kind.iter().all(u8::is_ascii_alphanumeric) {
        return Err(Error::malformed(
            "an extent without a type; its line is: access, sectors, type, \"file\", offset",
        ));
    }
    let kind = ExtentKind::of(&encoding.decode(kind)?);
    let mut extent = ExtentLine { access, sectors, kind, file: None, offset: None, rest: Vec::new() };
    let known = !matches!(extent.kind, ExtentKind::Other(_));
    let mut words = after;
    if let Some((name, after)) = quoted(after) {
        let name = encoding.decode(name).map_err(|error| {
            Error::new(error.kind(), format!("an extent's file name cannot be read: {error}"))
        })?;
        if known {
            check_name(&name).map_err(|error| Error::malformed(error.to_string()))?;
        }
        extent.file = Some(name);
        let (offset, rest) = word(after);
        extent.offset = number(offset);
        words = if extent.offset.is_some() { rest } else { after };
    }
    loop {
        let (word, rest) = match quoted(words) {
            // With its quotes, which are a part of what is kept.
            Some((word, rest)) => (words.trim_ascii_start().get(..word.len() + 2).unwrap_or_default(), rest),
            None => word(words),
        };
        if word.is_empty() {
            break;
        }
        extent.rest.push(encoding.decode(word)?);
        words = rest;
    }
    match extent.kind {
        ExtentKind::Other(_) => {}
        ExtentKind::Zero if extent.file.is_none() && extent.rest.is_empty() => {}
        ExtentKind::Zero => return Err(Error::malformed("a ZERO extent with a file; it has none")),
        _ if extent.file.is_none() => {
            return Err(Error::malformed(format!("a {} extent without a file name in quotes", extent.kind)));
        }
        _ if extent.offset.is_none() && !extent.rest.is_empty() => {
            return Err(Error::malformed(format!(
                "a {} extent whose offset is no number of sectors",
                extent.kind
            )));
        }
        _ => {}
    }
    Ok(Some(extent))
}

/// The first word, and what follows it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    text.split_at(text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len()))
}

/// What is between the quotes that the text begins with, and what follows them.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start().strip_prefix(b"\"")?;
    let (inside, after) = text.split_at(text.iter().position(|byte| *byte == b'"')?);
    Some((inside, after.strip_prefix(b"\"").unwrap_or_default()))
}

/// Decimal digits and nothing else, which is stricter than the standard library: it reads a `+`, too.
fn number(digits: &[u8]) -> Option<u64> {
    let decimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    decimal.then(|| str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> ExtentLine {
        parse(line.as_bytes(), &Encoding::Utf8).unwrap().unwrap()
    }

    fn refused(line: &str) -> String {
        parse(line.as_bytes(), &Encoding::Utf8).unwrap_err().to_string()
    }

    #[test]
    fn pitfall_15_flat_has_an_offset_and_vmfs_has_none() {
        assert_eq!(ExtentLine::flat(8, "x", 0).to_string(), "RW 8 FLAT \"x\" 0");
        assert_eq!(
            ExtentLine { offset: None, ..ExtentLine::flat(8, "x", 0) }.to_string(),
            "RW 8 FLAT \"x\" 0"
        );
        assert_eq!(ExtentLine { offset: Some(0), ..ExtentLine::vmfs(8, "x") }.to_string(), "RW 8 VMFS \"x\"");
        assert_eq!(read("RW 8 FLAT \"x\"").offset, None);
        assert_eq!(read("RW 8 VMFS \"x\" 0").offset, Some(0));
        assert_eq!(
            ExtentLine { offset: Some(3), ..ExtentLine::vmfs(8, "x") }.to_string(),
            "RW 8 VMFS \"x\" 3"
        );
    }

    #[test]
    fn blanks_tabs_and_case_do_not_matter() {
        assert_eq!(read("rw  8\tflat  \"x\"\t0 "), ExtentLine::flat(8, "x", 0));
        assert_eq!(read("NoAccess 8 Zero").access, Access::NoAccess);
    }

    #[test]
    fn words_behind_the_offset_are_kept() {
        let line = "RW 63 FLAT \"\\\\.\\PhysicalDrive0\" 7 partitionUUID \"device id\"";
        assert_eq!(read(line).rest, ["partitionUUID", "\"device id\""]);
        assert_eq!(read(line).to_string(), line);
        assert_eq!(read("RW 9 NEWTYPE what ever").rest, ["what", "ever"]);
    }

    #[test]
    fn what_is_almost_an_extent_is_refused_rather_than_skipped() {
        assert!(refused("RW x FLAT \"x\" 0").contains("size"));
        assert!(refused("RW 99999999999999999999 FLAT \"x\" 0").contains("size"));
        assert!(refused("RW +8 FLAT \"x\" 0").contains("size"));
        assert!(refused("RW 8").contains("type"));
        assert!(refused("RW 8 FLAT x 0").contains("quotes"));
        assert!(refused("RW 8 FLAT \"x 0").contains("quotes"));
        assert!(refused("RW 8 FLAT \"x\" y").contains("offset"));
        assert!(refused("RW 8 FLAT \"\" 0").contains("1 to 1024 bytes"));
        assert!(refused("RW 8 ZERO \"x\"").contains("ZERO"));
        assert!(refused("WO 8 FLAT \"x\" 0").contains("RDONLY"));
        assert!(refused(&format!("RW 8 FLAT \"{}\" 0", "x".repeat(1025))).contains("1024"));
    }

    #[test]
    fn a_line_that_would_read_as_something_else_is_not_written() {
        for wrong in [
            ExtentLine::vmfs(8, "a\"b"),
            ExtentLine::vmfs(8, "a\nb"),
            ExtentLine::vmfs(8, ""),
            ExtentLine { file: None, ..ExtentLine::vmfs(8, "x") },
            ExtentLine { file: Some("x".into()), ..ExtentLine::zero(8) },
            ExtentLine::of(ExtentKind::Other("flat".into()), 8, "x"),
            ExtentLine::of(ExtentKind::Other("A B".into()), 8, "x"),
            ExtentLine { rest: vec!["a b".into()], ..ExtentLine::flat(8, "x", 0) },
        ] {
            assert!(wrong.check().is_err(), "{wrong}");
        }
        assert_eq!(ExtentLine::vmfs(8, "a\"\nRW 9 ZERO").to_string(), "RW 8 VMFS \"a__RW 9 ZERO\"");
    }
}
