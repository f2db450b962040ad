//! Changes to a descriptor: one line each, and at its place.

use super::encoding::Encoding;
use super::extent_line::{check_name, writable};
use super::line::{self, Entry, Item, Line};
use super::parse::{MAX_EXTENTS, MAX_LINES};
use super::{Cid, CreateType, Descriptor, ExtentLine, MAX_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::{AdapterType, Geometry};

/// The header's keys in the order that ESXi writes. `CID` comes before `parentCID`, as qemu finds it by its letters.
const HEADER: [&str; 7] =
    ["version", "encoding", "CID", "parentCID", "isNativeSnapshot", "createType", "parentFileNameHint"];
/// The heads of the disk data base; ESXi has the blank at the end of the first.
const DDB_HEADS: [&str; 4] = ["", "# The Disk Data Base ", "#DDB", ""];
const CHANGE_TRACKING: &str = "Change Tracking File";
/// Bytes of a value. More than any that was seen, and far less than a line may have.
const MAX_VALUE: usize = 65_536;
/// Lines that one setter can add: the heads of the data base, and an entry.
const ADDED_LINES: usize = DDB_HEADS.len() + 1;

pub(super) fn new(create_type: CreateType, cid: Cid, extents: Vec<ExtentLine>) -> Descriptor {
    let extents: Vec<_> = extents.into_iter().map(ExtentLine::canonical).collect();
    let text = |text: &str| Line { raw: format!("{text}\n").into_bytes(), item: Item::Other };
    let mut descriptor = Descriptor {
        lines: vec![text("# Disk DescriptorFile")],
        encoding: Encoding::Utf8,
        version: 1,
        cid,
        parent_cid: Cid::NONE,
        create_type: writable(create_type.as_str()).as_str().into(),
        extents: Vec::new(),
    };
    for (key, value) in [
        ("version", "1"),
        ("encoding", "UTF-8"),
        ("CID", &cid.to_string()),
        ("parentCID", &Cid::NONE.to_string()),
        ("isNativeSnapshot", "no"),
        ("createType", descriptor.create_type.clone().as_str()),
    ] {
        descriptor.lines.push(header_line(key, value, value.as_bytes(), b"\n"));
    }
    descriptor.lines.extend([text(""), text("# Extent description")]);
    descriptor.lines.extend(extents.iter().map(|extent| extent_line(extent.to_string().into_bytes(), b"\n")));
    descriptor.lines.extend(DDB_HEADS.map(text));
    descriptor.extents = extents;
    descriptor
}

impl Descriptor {
    /// Sets the content id, and with it the last eight digits of `ddb.longContentID`, if there is one.
    pub fn set_cid(&mut self, cid: Cid) {
        let long =
            self.long_content_id().and_then(|long| long.len().checked_sub(8).and_then(|at| long.get(..at)));
        let long = long.map(|start| format!("{start}{cid}"));
        self.put_header("CID", &cid.to_string());
        self.cid = cid;
        if let Some(long) = long {
            self.put_ddb("longContentID", &long);
        }
    }

    /// Sets the parent: its content id and the hint to its descriptor. None takes both away.
    ///
    /// # Errors
    /// `InvalidInput` for a hint that cannot stand in a descriptor, or not in this one's encoding.
    pub fn set_parent(&mut self, parent: Option<(Cid, &str)>) -> Result<()> {
        let cid = parent.map_or(Cid::NONE, |(cid, _)| cid);
        if let Some((_, hint)) = parent {
            check_name(hint)?;
            self.encoding.encode(hint)?;
            self.room(hint.len())?;
        }
        self.put_header("parentCID", &cid.to_string());
        self.parent_cid = cid;
        match parent {
            Some((_, hint)) => self.put_header("parentFileNameHint", hint),
            None => {
                self.lines.retain(|line| line.entry().is_none_or(|entry| !entry.is("parentFileNameHint")))
            }
        }
        Ok(())
    }

    /// Sets the extents. Lines of extents that stay as they are stay as they are written.
    ///
    /// # Errors
    /// `InvalidInput` for none at all, or one that [`ExtentLine::check`] refuses or the encoding has no letters for;
    /// `TooLarge` for more than 65,536, or a descriptor of more than 10 MiB. Nothing was changed then.
    pub fn set_extents(&mut self, extents: Vec<ExtentLine>) -> Result<()> {
        if extents.is_empty() {
            return Err(Error::invalid("a disk needs at least one extent"));
        }
        if extents.len() > MAX_EXTENTS {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("{MAX_EXTENTS} extents are the most; use larger ones"),
            ));
        }
        let extents: Vec<_> = extents.into_iter().map(ExtentLine::canonical).collect();
        let mut written = Vec::with_capacity(extents.len());
        for extent in &extents {
            extent.check()?;
            written.push(self.encoding.encode(&extent.to_string())?);
        }
        self.room(written.iter().map(|line| line.len() + 2).sum())?;

        let eol = self.eol();
        let mut old = self.extents.iter();
        let mut kept = Vec::with_capacity(self.lines.len());
        let mut new = extents.iter().zip(written);
        let last = self.lines.iter().rposition(|line| line.item == Item::Extent);
        for (at, mut line) in std::mem::take(&mut self.lines).into_iter().enumerate() {
            if line.item != Item::Extent {
                kept.push(line);
                continue;
            }
            let was = old.next();
            if let Some((extent, text)) = new.next() {
                if was.cloned().map(ExtentLine::canonical).as_ref() != Some(extent) {
                    line = extent_line(text, line.ending());
                }
                kept.push(line);
            }
            if Some(at) == last {
                for (_, text) in new.by_ref() {
                    end_line(kept.last_mut(), eol);
                    kept.push(extent_line(text, eol));
                }
            }
        }
        self.lines = kept;
        self.extents = extents;
        Ok(())
    }

    /// Sets how the disk's files are laid out. What cannot be written of a type of the caller's own becomes `_`.
    pub fn set_create_type(&mut self, create_type: CreateType) {
        let mut word = writable(create_type.as_str());
        if self.encoding.encode(&word).is_err() {
            word = word.replace(|letter: char| !letter.is_ascii(), "_");
        }
        self.put_header("createType", &word);
        self.create_type = word.as_str().into();
    }

    /// Sets a key of the disk data base, given without `ddb.`
    ///
    /// # Errors
    /// `InvalidInput` for a key that is empty or has more than letters, digits, `.`, `-` and `_`; a value with quotes,
    /// line ends or NULs, of more than 64 KiB, or not in this descriptor's encoding; and for `encoding`, as the text
    /// is in the one it is in. `TooLarge` when the descriptor would have more than 10 MiB.
    pub fn set_ddb(&mut self, key: &str, value: &str) -> Result<()> {
        let well_formed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if key.is_empty() || key.len() > MAX_VALUE || !key.bytes().all(well_formed) {
            return Err(Error::invalid(
                "a key of the disk data base is made of letters, digits, '.', '-' and '_'",
            ));
        }
        if key.eq_ignore_ascii_case("encoding") {
            return Err(Error::invalid("a descriptor's encoding can't be changed; make a new descriptor"));
        }
        if value.len() > MAX_VALUE || writable(value) != value {
            return Err(Error::invalid(format!(
                "the value of ddb.{key} can't be written; use up to {MAX_VALUE} bytes without quotes, line ends and NULs"
            )));
        }
        self.encoding.encode(value)?;
        self.room(key.len() + value.len())?;
        self.put_ddb(key, value);
        Ok(())
    }

    /// Takes a key of the disk data base away, given without `ddb.`, and says whether it was there. `encoding` stays.
    pub fn remove_ddb(&mut self, key: &str) -> bool {
        let lines = self.lines.len();
        if !key.eq_ignore_ascii_case("encoding") {
            let other = |own: &str| !own.eq_ignore_ascii_case(key);
            self.lines.retain(|line| line.entry().and_then(Entry::ddb_key).is_none_or(other));
        }
        self.lines.len() != lines
    }

    /// Sets the controller.
    pub fn set_adapter(&mut self, adapter: AdapterType) {
        self.put_ddb("adapterType", adapter.as_str());
    }

    /// Sets the geometry: three lines.
    pub fn set_geometry(&mut self, geometry: Geometry) {
        self.put_ddb("geometry.cylinders", &geometry.cylinders.to_string());
        self.put_ddb("geometry.heads", &geometry.heads.to_string());
        self.put_ddb("geometry.sectors", &geometry.sectors.to_string());
    }

    /// Forgets the file that tracks changes, and sets version 3 back to 1, as VMware asks of software that writes a disk
    /// without tracking (VDDK Programming Guide 8.0). The file itself is for the caller to remove.
    pub fn drop_change_tracking(&mut self) {
        while let Some(at) = self.position("changeTrackPath") {
            self.lines.remove(at);
            // The section's head and the blank line between it and the next go with it.
            if self.lines.get(at).is_some_and(Line::is_blank) {
                self.lines.remove(at);
            }
        }
        self.lines.retain(|line| !line.is_comment(CHANGE_TRACKING));
        if self.version == 3 {
            self.put_header("version", "1");
            self.version = 1;
        }
    }

    fn position(&self, key: &str) -> Option<usize> {
        self.lines.iter().position(|line| line.entry().is_some_and(|entry| entry.is(key)))
    }

    /// The line end of the text's first line.
    fn eol(&self) -> &'static [u8] {
        match self.lines.first().map(Line::ending) {
            Some(b"\r\n") => b"\r\n",
            _ => b"\n",
        }
    }

    /// # Errors
    /// `TooLarge` when `bytes` and a few lines more could not be read again.
    fn room(&self, bytes: usize) -> Result<()> {
        const LINE_OVERHEAD: usize = 128;
        let size: usize = self.lines.iter().map(|line| line.raw.len()).sum();
        if size + bytes + LINE_OVERHEAD > MAX_BYTES || self.lines.len() + ADDED_LINES > MAX_LINES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "the descriptor would have more than 10 MiB or 131,072 lines",
            ));
        }
        Ok(())
    }

    /// Writes a line of the header; the value can be encoded, or is ASCII.
    fn put_header(&mut self, key: &str, value: &str) {
        let bytes = self.encoding.encode(value).unwrap_or_else(|_| b"_".to_vec());
        if let Some(at) = self.position(key) {
            return self.replace(at, |eol| header_line(key, value, &bytes, eol));
        }
        let mut before = HEADER.iter().rev().skip_while(|other| **other != key).skip(1);
        let at = match before.find_map(|other| self.position(other)) {
            Some(at) => at + 1,
            // Before the first option, which is where the version has to be.
            None => self.lines.iter().position(|line| line.item != Item::Other).unwrap_or(0),
        };
        self.insert(at, |eol| header_line(key, value, &bytes, eol));
    }

    /// Writes a line of the disk data base; the value can be encoded, or is ASCII.
    fn put_ddb(&mut self, key: &str, value: &str) {
        let bytes = self.encoding.encode(value).unwrap_or_else(|_| b"_".to_vec());
        let own = |line: &Line| {
            line.entry().is_some_and(|entry| entry.ddb_key().is_some_and(|own| own.eq_ignore_ascii_case(key)))
        };
        if let Some(at) = self.lines.iter().position(own) {
            if self.lines.get(at).and_then(Line::entry).is_some_and(|entry| entry.value == value) {
                return;
            }
            return self.replace(at, |eol| ddb_line(key, value, &bytes, eol));
        }
        let at = self.ddb_place(key);
        self.insert(at, |eol| ddb_line(key, value, &bytes, eol));
    }

    /// Where a new key goes: to its place in the alphabet if the keys are in that order, as newer ESXi writes them,
    /// else behind the last one. Without any, behind the heads, which are made if they are missing.
    fn ddb_place(&mut self, key: &str) -> usize {
        let keys: Vec<(usize, &str)> = (self.lines.iter().enumerate())
            .filter_map(|(at, line)| Some((at, line.entry()?.ddb_key()?)))
            .collect();
        if let Some((last, _)) = keys.last() {
            let next = keys
                .iter()
                .find(|(_, other)| *other > key)
                .filter(|_| keys.is_sorted_by_key(|(_, key)| *key));
            return next.map_or(last + 1, |(at, _)| *at);
        }
        let head = |line: &Line| line.is_comment("DDB") || line.is_comment("The Disk Data Base");
        match self.lines.iter().rposition(head) {
            Some(at) if self.lines.get(at + 1).is_some_and(Line::is_blank) => at + 2,
            Some(at) => at + 1,
            None => {
                for head in DDB_HEADS {
                    self.insert(self.lines.len(), |eol| Line {
                        raw: [head.as_bytes(), eol].concat(),
                        item: Item::Other,
                    });
                }
                self.lines.len()
            }
        }
    }

    /// Puts another line into the place of this one, with the same line end.
    fn replace(&mut self, at: usize, line: impl FnOnce(&'static [u8]) -> Line) {
        if let Some(old) = self.lines.get_mut(at) {
            *old = line(old.ending());
        }
    }

    fn insert(&mut self, at: usize, line: impl FnOnce(&'static [u8]) -> Line) {
        let eol = self.eol();
        let at = at.min(self.lines.len());
        end_line(at.checked_sub(1).and_then(|before| self.lines.get_mut(before)), eol);
        self.lines.insert(at, line(eol));
    }
}

/// Ends a line that has no end, so that another can follow.
fn end_line(line: Option<&mut Line>, eol: &[u8]) {
    if let Some(line) = line
        && line.ending().is_empty()
    {
        line.raw.extend_from_slice(eol);
    }
}

fn header_line(key: &str, value: &str, bytes: &[u8], eol: &[u8]) -> Line {
    let quote: &[u8] = if ["version", "CID", "parentCID"].contains(&key) { b"" } else { b"\"" };
    entry_line(key, value, &[key.as_bytes(), b"=", quote, bytes, quote, eol])
}

fn ddb_line(key: &str, value: &str, bytes: &[u8], eol: &[u8]) -> Line {
    entry_line(&format!("ddb.{key}"), value, &[b"ddb.", key.as_bytes(), b" = \"", bytes, b"\"", eol])
}

fn entry_line(key: &str, value: &str, raw: &[&[u8]]) -> Line {
    debug_assert!(line::is_key(key), "{key}");
    Line {
        raw: raw.concat(),
        item: Item::Entry(Entry { key: key.to_owned(), value: value.to_owned(), fault: None }),
    }
}

fn extent_line(text: Vec<u8>, eol: &[u8]) -> Line {
    Line { raw: [&text, eol].concat(), item: Item::Extent }
}
