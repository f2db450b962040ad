//! Streams made by hand from the layouts in docs/vmdk.md, right ones and wrong ones.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Tables behind the grains, as VMware and FreeBSD write them.
    Footer,
    FooterShuffled,
    FooterWithProgress,
    /// Tables before the grains, and no end mark, as qemu writes them.
    Front,
    /// A record that says that it is of another guest sector than the tables do.
    WrongSector,
    GrainTwice,
    GrainNotInTable,
    OtherFooter,
}

/// A stream of a disk of so many sectors, in grains of `grain` sectors, with one table.
pub fn stream(style: Style, sectors: u64, grain: u64, content: &[u8]) -> Vec<u8> {
    let grain_bytes = grain as usize * 512;
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=01020304\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\n\
         # Extent description\nRW {sectors} SPARSE \"s.vmdk\"\n\n#DDB\n"
    );
    let front = style == Style::Front;
    let header = |directory: u64| {
        let mut bytes = vec![0; 512];
        bytes[..4].copy_from_slice(b"KDMV");
        bytes[4..8].copy_from_slice(&3_u32.to_le_bytes());
        bytes[8..12].copy_from_slice(&0x3_0001_u32.to_le_bytes());
        for (at, value) in [(12, sectors), (20, grain), (28, 1), (36, 2), (56, directory), (64, 8)] {
            bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
        }
        bytes[44..48].copy_from_slice(&512_u32.to_le_bytes());
        bytes[73..79].copy_from_slice(&[10, 32, 13, 10, 1, 0]);
        bytes
    };
    let mut file = header(if front { 3 } else { u64::MAX });
    file.extend_from_slice(text.as_bytes());
    file.resize(8 * 512, 0);
    let mut table = vec![0_u32; 512];
    let mut grains: Vec<(usize, &[u8])> =
        content[..sectors as usize * 512].chunks(grain_bytes).enumerate().collect();
    if style == Style::FooterShuffled {
        grains.reverse();
        grains.swap(1, 4);
    }
    if style == Style::GrainTwice {
        grains.insert(3, grains[2]);
    }
    for (number, content) in grains {
        if content.iter().all(|byte| *byte == 0) {
            continue;
        }
        if style == Style::FooterWithProgress {
            file.extend_from_slice(&marker(0, 4));
        }
        let named = style != Style::GrainNotInTable || number != 3;
        table[number] = if named { file.len() as u32 / 512 } else { 0 };
        let told = if style == Style::WrongSector && number == 2 { 7 } else { number as u64 };
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(content).unwrap();
        let packed = zlib.finish().unwrap();
        file.extend_from_slice(&(told * grain).to_le_bytes());
        file.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        file.extend_from_slice(&packed);
        file.resize(file.len().next_multiple_of(512), 0);
    }
    let table: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    if front {
        file[3 * 512..][..4].copy_from_slice(&4_u32.to_le_bytes());
        file[4 * 512..6 * 512].fill(0);
        file[4 * 512..8 * 512].copy_from_slice(&table);
        return file;
    }
    file.extend_from_slice(&marker(4, 1));
    let at = file.len() as u32 / 512;
    file.extend_from_slice(&table);
    file.extend_from_slice(&marker(1, 2));
    let directory = file.len() as u64 / 512;
    file.extend_from_slice(&at.to_le_bytes());
    file.resize(file.len().next_multiple_of(512), 0);
    file.extend_from_slice(&marker(1, 3));
    file.extend_from_slice(&header(directory - u64::from(style == Style::OtherFooter)));
    file.extend_from_slice(&marker(0, 0));
    file
}

fn marker(sectors: u64, kind: u32) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..8].copy_from_slice(&sectors.to_le_bytes());
    bytes[12..16].copy_from_slice(&kind.to_le_bytes());
    bytes
}
