//! From bytes to a [`Descriptor`]. Whatever the bytes are, this ends in a descriptor or an error.

use super::encoding::Encoding;
use super::line::{self, Item, Line};
use super::{Cid, CreateType, Descriptor, ExtentLine};
use crate::SECTOR;
use crate::error::{Error, ErrorKind, Result};

/// 20,480 sectors. A 62 TiB disk split into parts of 2 GiB has 32,000 extents, which is 1.5 MiB.
pub(crate) const MAX_BYTES: usize = 20_480 * SECTOR as usize;
/// Bytes of a line without its line end.
pub(super) const MAX_LINE: usize = 1 << 20;
/// Bounds what a text of nothing but line ends takes in memory.
pub(super) const MAX_LINES: usize = 131_072;
/// 128 TiB of parts of 2 GiB.
pub(super) const MAX_EXTENTS: usize = 65_536;

/// Keys with a meaning for this crate, which therefore have to be there once at most.
const INTERPRETED: [&str; 20] = [
    "version",
    "encoding",
    "CID",
    "parentCID",
    "isNativeSnapshot",
    "createType",
    "parentFileNameHint",
    "changeTrackPath",
    "ddb.encoding",
    "ddb.adapterType",
    "ddb.geometry.cylinders",
    "ddb.geometry.heads",
    "ddb.geometry.sectors",
    "ddb.geometry.biosCylinders",
    "ddb.geometry.biosHeads",
    "ddb.geometry.biosSectors",
    "ddb.uuid",
    "ddb.longContentID",
    "ddb.thinProvisioned",
    "ddb.virtualHWVersion",
];

pub(super) fn parse(bytes: &[u8]) -> Result<Descriptor> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    if !is_descriptor(text.get(..MAX_BYTES).unwrap_or(text)) {
        return Err(Error::new(
            ErrorKind::NotADisk,
            "no disk descriptor: it has neither the line \"# Disk DescriptorFile\" nor version= as its first option",
        ));
    }
    if text.len() > MAX_BYTES {
        return Err(Error::malformed(format!(
            "a descriptor of more than {MAX_BYTES} bytes; give the descriptor alone"
        )));
    }
    let encoding = encoding(text);
    let mut lines = Vec::new();
    let mut extents: Vec<ExtentLine> = Vec::new();
    let mut seen = [false; INTERPRETED.len()];
    for (raw, number) in raw_lines(text).zip(1..) {
        let at = |error: Error| Error::new(error.kind(), format!("line {number}: {error}"));
        let content = if number == 1 { line::without_bom(raw) } else { raw };
        let (item, extent) = line::classify(content, &encoding).map_err(at)?;
        extents.extend(extent);
        if number > MAX_LINES || content.trim_ascii_end().len() > MAX_LINE || extents.len() > MAX_EXTENTS {
            return Err(at(Error::malformed(format!(
                "a descriptor has at most {MAX_LINES} lines of {MAX_LINE} bytes and {MAX_EXTENTS} extents"
            ))));
        }
        if let Item::Entry(entry) = &item
            && let Some((key, seen)) = INTERPRETED.iter().zip(&mut seen).find(|(key, _)| entry.is(key))
        {
            entry.sound(&encoding).map_err(at)?;
            if std::mem::replace(seen, true) {
                return Err(at(Error::malformed(format!("a second {key}; take one of them away"))));
            }
        }
        lines.push(Line { raw: raw.to_vec(), item });
    }
    let mut descriptor = Descriptor {
        lines,
        encoding,
        version: 1,
        cid: Cid::NONE,
        parent_cid: Cid::NONE,
        create_type: CreateType::Custom,
        extents,
    };
    descriptor.interpret()?;
    Ok(descriptor)
}

impl Descriptor {
    /// Reads the values that the getters promise to be there.
    fn interpret(&mut self) -> Result<()> {
        if let Some(version) = self.value("version") {
            let digits = version.bytes().all(|digit| digit.is_ascii_digit());
            self.version = version.parse().ok().filter(|_| digits).ok_or_else(|| {
                Error::malformed(format!("version is \"{}\", which is no number", shortened(version)))
            })?;
        }
        let cid = self
            .value("CID")
            .ok_or_else(|| Error::malformed("the descriptor has no CID; add CID=fffffffe"))?;
        self.cid = cid.parse()?;
        if let Some(parent) = self.value("parentCID") {
            self.parent_cid = parent.parse()?;
        }
        let create_type =
            self.value("createType").ok_or_else(|| Error::malformed("the descriptor has no createType"))?;
        self.create_type = create_type.into();
        if self.value("parentCID").is_none() && self.parent_hint().is_some() {
            return Err(Error::malformed(
                "the descriptor names a parent, but not its content id (parentCID)",
            ));
        }
        // qemu writes no extent for a disk of no size. Elsewhere, or without what follows the extents, the text was cut.
        let of_qemu = matches!(
            self.create_type,
            CreateType::MonolithicFlat | CreateType::TwoGbMaxExtentSparse | CreateType::TwoGbMaxExtentFlat
        );
        if self.extents.is_empty() && !(of_qemu && self.ddb_keys().next().is_some()) {
            return Err(Error::malformed("the descriptor has no extent, so the disk has no size"));
        }
        Ok(())
    }
}

/// The start of a value for a message.
fn shortened(value: &str) -> String {
    value.escape_debug().take(40).collect()
}

fn raw_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// Whether a text may be called a descriptor at all. VMware wants `version=` as the first option; readers other than
/// qemu want the first line. One of them has to be there.
fn is_descriptor(text: &[u8]) -> bool {
    for raw in raw_lines(line::without_bom(text)) {
        let content = raw.trim_ascii();
        if line::is_comment(raw, "Disk DescriptorFile") {
            return true;
        }
        if !content.is_empty() && !content.starts_with(b"#") {
            return line::split_entry(content).is_some_and(|(key, _)| key.eq_ignore_ascii_case("version"));
        }
    }
    false
}

/// The encoding has to be known before any other text is read. Older Workstations have it in the disk data base.
fn encoding(text: &[u8]) -> Encoding {
    let find = |wanted: &str| {
        raw_lines(line::without_bom(text)).find_map(|raw| {
            let (key, label) = line::split_entry(raw)?;
            key.eq_ignore_ascii_case(wanted).then(|| String::from_utf8_lossy(label).replace('"', ""))
        })
    };
    find("encoding")
        .or_else(|| find("ddb.encoding"))
        .map_or(Encoding::Utf8, |label| Encoding::of(label.trim()))
}
