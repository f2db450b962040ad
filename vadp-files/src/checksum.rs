//! CRC-32 with the two polynomials of these formats, bit-reversed, without the inversions that some add at either end.

/// CRC-32C: ext4, XFS, btrfs.
pub(crate) fn crc32c(start: u32, bytes: &[u8]) -> u32 {
    update(&CASTAGNOLI, start, bytes)
}

/// CRC-32 of IEEE 802.3: GPT, LVM2.
pub(crate) fn crc32(start: u32, bytes: &[u8]) -> u32 {
    update(&IEEE, start, bytes)
}

/// Table `n` holds the checksums of each byte followed by `n` zeros: eight bytes are then eight look-ups that do not wait for
/// each other.
type Tables = [[u32; 256]; 8];

static CASTAGNOLI: Tables = tables(0x82F6_3B78);
static IEEE: Tables = tables(0xEDB8_8320);

const fn tables(polynomial: u32) -> Tables {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ polynomial } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = before >> 8 ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

fn update(tables: &Tables, start: u32, bytes: &[u8]) -> u32 {
    let mut crc = start;
    let (eights, rest) = bytes.as_chunks::<8>();
    for eight in eights {
        let word = u64::from_le_bytes(*eight) ^ u64::from(crc);
        crc = 0;
        // The first byte has the most zeros behind it.
        for (table, byte) in tables.iter().rev().zip(word.to_le_bytes()) {
            crc ^= table[byte as usize];
        }
    }
    for &byte in rest {
        crc = crc >> 8 ^ tables[0][((crc ^ u32::from(byte)) & 0xFF) as usize];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogue of CRCs, for the text "123456789".
    #[test]
    fn catalogued_values() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
        assert_eq!(!crc32(!0, b"123456789"), 0xCBF4_3926);
    }
}
