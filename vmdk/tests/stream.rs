//! streamOptimized, written and read through pipes and as files; cut, damaged, and told in other orders.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "files/campaign.rs"]
mod campaign;
#[path = "files/contents.rs"]
mod contents;
#[path = "files/stream.rs"]
mod stream_files;

use std::sync::Arc;

use contents::contents;
use proptest::prelude::*;
use stream_files::{Style, stream};
use vmdk::{
    Disk, ErrorKind, Folder, Memory, MemoryFolder, OpenOptions, ReadAt, StreamOptions, StreamReader,
    StreamWriter, WriteAt,
};

const GRAIN: usize = 65_536;

fn write(content: &[u8], threads: usize, level: u32) -> Vec<u8> {
    let options = StreamOptions::new(content.len() as u64).threads(threads).level(level);
    let mut writer = StreamWriter::new(Vec::new(), "export.vmdk", options).unwrap();
    for (number, grain) in content.chunks(GRAIN).enumerate() {
        writer.write_grain((number * GRAIN) as u64, grain).unwrap();
    }
    let (bytes, summary) = writer.finish().unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    bytes
}

/// What a reader that only goes forwards makes of it.
fn forwards(bytes: &[u8]) -> vmdk::Result<Vec<u8>> {
    let mut reader = StreamReader::new(bytes)?;
    // A hostile capacity is only a number.
    let mut content = vec![0; reader.capacity().min(64 << 20) as usize];
    while let Some(grain) = reader.next_grain()? {
        if let Some(place) = content.get_mut(grain.offset as usize..grain.offset as usize + grain.data.len())
        {
            place.copy_from_slice(grain.data);
        }
    }
    Ok(content)
}

fn as_file(bytes: &[u8]) -> vmdk::Result<Vec<u8>> {
    let memory = MemoryFolder::new();
    memory.insert("s.vmdk", bytes);
    let disk = Disk::open(&(Arc::new(memory) as Arc<dyn Folder>), "s.vmdk")?;
    let mut content = vec![0; disk.capacity().min(64 << 20) as usize];
    disk.read_exact_at(&mut content, 0)?;
    Ok(content)
}

proptest! {
    #![proptest_config(campaign::slice(40))]

    #[test]
    fn what_is_written_is_read_forwards_and_as_a_file(content in contents(7), threads in 1..4_usize, level in 0..10_u32) {
        let content = content.0;
        let bytes = write(&content, threads, level);
        prop_assert!(forwards(&bytes).unwrap() == content);
        prop_assert!(as_file(&bytes).unwrap() == content);
        let target = Memory::new(vec![0; content.len()]);
        StreamReader::new(bytes.as_slice()).unwrap().copy_to(&target, threads).unwrap();
        prop_assert!(target.to_vec() == content);
        // Whoever compresses, it is the same stream but for the content id.
        let again = write(&content, 1, level);
        prop_assert_eq!(bytes.len(), again.len());
        prop_assert!(bytes[21 * 512..] == again[21 * 512..]);
        // A carrier may fill it up.
        let filled = [bytes.as_slice(), &[0; 10_240]].concat();
        prop_assert!(forwards(&filled).unwrap() == content);
        prop_assert!(as_file(&filled).unwrap() == content);
    }

    /// A byte that was changed is noticed, or changes nothing that is read.
    #[test]
    fn a_changed_byte_is_an_error_or_changes_nothing(
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
        style in prop::sample::select(vec![Style::Footer, Style::Front]),
    ) {
        let content: Vec<u8> = (0..79 * 512).map(|at| (at / 900) as u8).collect();
        let mut bytes = stream(style, 79, 8, &content);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // What is in the descriptor is another matter.
        let in_descriptor = (512..3 * 512).contains(&at);
        for read in [forwards(&bytes), as_file(&bytes)] {
            match read {
                Ok(read) => prop_assert!(in_descriptor || read == content[..79 * 512], "byte {at}"),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// Both kinds of streams, at each of their bytes.
#[test]
fn a_stream_that_was_cut_anywhere_is_an_error() {
    let content: Vec<u8> = (0..79 * 512).map(|at| (at / 900) as u8).collect();
    for style in [Style::Footer, Style::Front] {
        let bytes = stream(style, 79, 8, &content);
        assert!(forwards(&bytes).unwrap() == content, "{style:?}");
        assert!(as_file(&bytes).unwrap() == content, "{style:?}");
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            // The zeros that fill up the last record are no loss.
            let only_padding = style == Style::Front && bytes[length..].iter().all(|byte| *byte == 0);
            match forwards(cut) {
                Ok(_) => panic!("{style:?} cut to {length} of {} bytes was read", bytes.len()),
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::Unfinished | ErrorKind::NotADisk | ErrorKind::Malformed
                    ),
                    "{error}"
                ),
            }
            assert!(only_padding || as_file(cut).is_err(), "{style:?} as a file of {length} bytes");
        }
    }
}

/// The grains may come in another order for one who can seek, and then for one who only goes forwards, too.
#[test]
fn grains_in_another_order_and_unknown_marks_are_read() {
    let content: Vec<u8> = (0..79 * 512).map(|at| (at / 900) as u8 + 1).collect();
    for style in [Style::FooterShuffled, Style::FooterWithProgress] {
        let bytes = stream(style, 79, 8, &content);
        assert!(forwards(&bytes).unwrap() == content, "{style:?}");
        assert!(as_file(&bytes).unwrap() == content, "{style:?}");
    }
}

#[test]
fn streams_that_contradict_themselves_are_refused() {
    let content: Vec<u8> = (0..79 * 512).map(|at| (at / 900) as u8 + 1).collect();
    for style in [Style::WrongSector, Style::GrainTwice, Style::GrainNotInTable, Style::OtherFooter] {
        let bytes = stream(style, 79, 8, &content);
        let error = forwards(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{style:?}: {error}");
    }
    // The tables of a file say where a grain is, and its record has to agree.
    assert_eq!(
        as_file(&stream(Style::WrongSector, 79, 8, &content)).unwrap_err().kind(),
        ErrorKind::Malformed
    );
}

#[test]
fn a_stream_that_was_not_finished_is_refused() {
    let options = StreamOptions::new(1 << 20).threads(2);
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::new(&mut bytes, "x.vmdk", options).unwrap();
    for grain in 0..16 {
        writer.write_grain(grain * GRAIN as u64, &[1; GRAIN]).unwrap();
    }
    drop(writer);
    assert_eq!(forwards(&bytes).unwrap_err().kind(), ErrorKind::Unfinished);
    assert!(as_file(&bytes).is_err());
}

#[test]
fn grains_out_of_order_or_of_another_size_are_not_written() {
    let mut writer = StreamWriter::new(Vec::new(), "x.vmdk", StreamOptions::new(3 * 65_536 + 512)).unwrap();
    let mut refused = |offset, length: usize| {
        let error = writer.write_grain(offset, &vec![1; length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    };
    refused(1, GRAIN);
    refused(0, GRAIN - 1);
    refused(3 * 65_536, GRAIN);
    refused(4 * 65_536, 0);
    refused(u64::MAX - 65_535, GRAIN);
    writer.write_grain(65_536, &[1; GRAIN]).unwrap();
    assert_eq!(writer.write_grain(0, &[1; GRAIN]).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(writer.write_grain(65_536, &[1; GRAIN]).unwrap_err().kind(), ErrorKind::InvalidInput);
    writer.write_grain(3 * 65_536, &[2; 512]).unwrap();
    let (bytes, _) = writer.finish().unwrap();
    let content = forwards(&bytes).unwrap();
    assert_eq!((content[65_536], content[3 * 65_536], content[0]), (1, 2, 0));
}

/// A disk that fails to take what is written stops all threads, and its error is told.
#[test]
fn errors_of_the_target_and_of_the_pipe_are_told() {
    struct Full;
    impl ReadAt for Full {
        fn read_exact_at(&self, _: &mut [u8], _: u64) -> std::io::Result<()> {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        }
        fn size(&self) -> std::io::Result<u64> {
            Ok(0)
        }
    }
    impl WriteAt for Full {
        fn write_all_at(&self, _: &[u8], _: u64) -> std::io::Result<()> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn set_size(&self, _: u64) -> std::io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let bytes = write(&vec![3; 200 * GRAIN], 2, 1);
    // Also when every thread fails at once while the reader waits for room.
    for threads in [1, 1, 1, 2, 3, 8] {
        let mut reader = StreamReader::new(bytes.as_slice()).unwrap();
        let error = reader.copy_to(&Full, threads).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(reader.next_grain().is_err(), "a stream that has failed does not end well");
        assert!(reader.copy_to(&Full, threads).is_err());
    }
    let mut cut = StreamReader::new(&bytes[..bytes.len() - 512]).unwrap();
    while let Ok(grain) = cut.next_grain() {
        assert!(grain.is_some(), "a stream that was cut does not end well");
    }
    assert!(cut.next_grain().is_err());
    let error = StreamWriter::new(Full, "x.vmdk", StreamOptions::new(1 << 20)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
}

/// A whole disk with its parents, into a stream and back.
#[test]
fn a_chain_becomes_a_stream() {
    let folder: Arc<dyn Folder> = Arc::new(MemoryFolder::new());
    let base = vmdk::Create::new(vmdk::Variant::SplitSparse, 10 << 20)
        .split(4096)
        .create(&folder, "base.vmdk")
        .unwrap();
    base.write_all_at(&[1; 300_000], 100_000).unwrap();
    base.close().unwrap();
    let child = vmdk::create_child(&folder, "base.vmdk", "child.vmdk").unwrap();
    child.write_all_at(&[2; 300], 9_000_000).unwrap();
    child.write_zeroes(131_072, 65_536).unwrap();
    child.close().unwrap();
    let disk = OpenOptions::new().open(&folder, "child.vmdk").unwrap();
    let mut writer = StreamWriter::new(Vec::new(), "x.vmdk", StreamOptions::new(disk.capacity())).unwrap();
    writer.write_from(&disk, |offset| disk.next_data(offset)).unwrap();
    let (bytes, summary) = writer.finish().unwrap();
    assert_eq!(summary.grains, 6);
    let mut expected = vec![0; 10 << 20];
    ReadAt::read_exact_at(&disk, &mut expected, 0).unwrap();
    assert!(forwards(&bytes).unwrap() == expected);
}
