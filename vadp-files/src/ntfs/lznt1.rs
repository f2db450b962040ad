//! LZNT1: chunks of 4 KiB, each of literal bytes and of references back within it.

use crate::error::{Error, Result};
use crate::fields::Fields;

const CHUNK: usize = 4096;

/// The `size` bytes of a unit. What is behind the last chunk is zero.
pub(super) fn unpack(packed: &[u8], size: usize) -> Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(size);
    let mut at = 0;
    while at + 2 <= packed.len() && unpacked.len() < size {
        let head = packed.le16(at)?;
        if head == 0 {
            break;
        }
        let chunk = packed.part(at + 2, usize::from(head & 0xFFF) + 1)?;
        at += 2 + chunk.len();
        let start = unpacked.len();
        match head & 0x8000 {
            0 => unpacked.extend_from_slice(chunk),
            _ => self::chunk(chunk, &mut unpacked)?,
        }
        if unpacked.len() - start > CHUNK {
            return Err(too_long());
        }
        // A chunk that ends before is filled up.
        unpacked.resize(start + CHUNK, 0);
    }
    match unpacked.len() <= size {
        true => unpacked.resize(size, 0),
        false => return Err(too_long()),
    }
    Ok(unpacked)
}

fn too_long() -> Error {
    Error::damaged("a compressed piece that is longer than it may be")
}

fn chunk(packed: &[u8], unpacked: &mut Vec<u8>) -> Result<()> {
    let start = unpacked.len();
    let mut at = 0;
    while at < packed.len() {
        let flags = packed.byte(at)?;
        at += 1;
        for bit in 0..8 {
            if at >= packed.len() {
                return Ok(());
            }
            if flags >> bit & 1 == 0 {
                unpacked.push(packed.byte(at)?);
                at += 1;
                continue;
            }
            let reference = usize::from(packed.le16(at)?);
            at += 2;
            let written = unpacked.len() - start;
            // The further in the chunk, the more bits are needed to say how far back, and the fewer are left for the length.
            let distance_bits =
                (written.max(1) - 1).checked_ilog2().map_or(4, |log| (log + 1).max(4)).min(12);
            let length_bits = 16 - distance_bits;
            let length = (reference & ((1 << length_bits) - 1)) + 3;
            let distance = (reference >> length_bits) + 1;
            if distance > written || written + length > CHUNK {
                return Err(Error::damaged("a compressed piece that refers to what is not in it"));
            }
            // Bytes just written may be referred to, so one by one.
            for _ in 0..length {
                let byte = unpacked.byte(unpacked.len() - distance)?;
                unpacked.push(byte);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of [MS-XCA], 3.3.
    #[test]
    fn example_of_the_specification() {
        let packed = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47, 0x01,
            0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20, 0x05, 0x24,
            0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09, 0x16, 0x01, 0x48,
            0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00,
        ];
        let text = "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        let unpacked = unpack(&packed, CHUNK).unwrap();
        assert_eq!(String::from_utf8_lossy(&unpacked[..text.len()]), text);
    }

    #[test]
    fn references_before_the_beginning_are_refused() {
        assert!(unpack(&[0x02, 0xb0, 0x01, 0x00, 0x10, 0, 0], CHUNK).is_err());
    }
}
