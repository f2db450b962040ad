//! Cylinders, heads and sectors, and the adapter whose rule they follow (docs/vmdk.md, "Geometry").

use std::fmt;
use std::str::FromStr;

use crate::Sectors;
use crate::error::{Error, Result};

/// The disk controller that `ddb.adapterType` names.
///
/// The format's own set of four (VMware, Virtual Disk Format 1.1). There is no word for the newer controllers: disks
/// of PVSCSI, LSI SAS, SATA and NVMe are written as `lsilogic`, and the machine's configuration says what they hang on.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdapterType {
    /// `ide`
    Ide,
    /// `buslogic`
    BusLogic,
    /// `lsilogic`, and every newer SCSI, SATA or NVMe controller.
    LsiLogic,
    /// `legacyESX`
    LegacyEsx,
}

impl AdapterType {
    /// The word in the descriptor.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ide => "ide",
            Self::BusLogic => "buslogic",
            Self::LsiLogic => "lsilogic",
            Self::LegacyEsx => "legacyESX",
        }
    }
}

impl fmt::Display for AdapterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AdapterType {
    type Err = Error;

    /// Reads the word in any case. `pvscsi` is read as [`LsiLogic`](Self::LsiLogic), which is how it has to be written.
    ///
    /// # Errors
    /// `InvalidInput` for every other word.
    fn from_str(word: &str) -> Result<Self> {
        let known = [Self::Ide, Self::BusLogic, Self::LsiLogic, Self::LegacyEsx];
        if word.eq_ignore_ascii_case("pvscsi") {
            return Ok(Self::LsiLogic);
        }
        known.into_iter().find(|adapter| adapter.as_str().eq_ignore_ascii_case(word)).ok_or_else(|| {
            Error::invalid(format!(
                "\"{}\" is no adapter type; use ide, buslogic, lsilogic or legacyESX (lsilogic for newer controllers)",
                word.escape_debug()
            ))
        })
    }
}

/// How a disk presents itself to what still counts in cylinders: boot code of the time of DOS. The size of a disk is
/// that of its extents, never this product, which is mostly a little less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Cylinders, at least 1.
    pub cylinders: u32,
    /// Heads: tracks of a cylinder.
    pub heads: u32,
    /// Sectors of a track.
    pub sectors: u32,
}

impl Geometry {
    /// The geometry that VMware gives a disk of this capacity.
    ///
    /// `ide`: 16 heads of 63 sectors, at most 16,383 cylinders, as ESXi writes. Every other adapter: 64 heads of 32
    /// sectors up to 1 GiB, 128 of 32 up to 2 GiB, 255 of 63 above. Cylinders are rounded down, but never to 0, which
    /// qemu-img writes for tiny disks. VMware documents the division; the SCSI size table is common knowledge whose
    /// original text is no longer to be had, and no guest of this century depends on it.
    pub fn of(capacity: Sectors, adapter: AdapterType) -> Self {
        const GIB: Sectors = 1 << 21;
        let (heads, sectors, most) = match adapter {
            AdapterType::Ide => (16, 63, 16_383),
            _ if capacity <= GIB => (64, 32, u32::MAX),
            _ if capacity <= 2 * GIB => (128, 32, u32::MAX),
            _ => (255, 63, u32::MAX),
        };
        let cylinders = capacity / (u64::from(heads) * u64::from(sectors));
        Self { cylinders: u32::try_from(cylinders).unwrap_or(u32::MAX).clamp(1, most), heads, sectors }
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.cylinders, self.heads, self.sectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_values_in_vmwares_descriptors() {
        for (capacity, adapter, shown) in [
            (10_485_760, AdapterType::Ide, "10402/16/63"),
            (10_485_760, AdapterType::LsiLogic, "652/255/63"),
            (83_886_080, AdapterType::LsiLogic, "5221/255/63"),
            (16_777_216, AdapterType::Ide, "16383/16/63"),
            (1_048_576_000, AdapterType::LsiLogic, "65270/255/63"),
        ] {
            assert_eq!(Geometry::of(capacity, adapter).to_string(), shown, "{capacity} {adapter}");
        }
    }

    #[test]
    fn scsi_geometry_steps_at_one_and_two_gib() {
        let shown = |capacity| Geometry::of(capacity, AdapterType::BusLogic).to_string();
        assert_eq!(shown(1 << 21), "1024/64/32");
        assert_eq!(shown((1 << 21) + 1), "512/128/32");
        assert_eq!(shown(1 << 22), "1024/128/32");
        assert_eq!(shown((1 << 22) + 1), "261/255/63");
    }

    #[test]
    fn tiny_and_vast_disks_have_a_geometry_too() {
        assert_eq!(Geometry::of(0, AdapterType::Ide).cylinders, 1);
        assert_eq!(Geometry::of(2047, AdapterType::LsiLogic).cylinders, 1);
        assert_eq!(Geometry::of(u64::MAX, AdapterType::LsiLogic).cylinders, u32::MAX);
    }

    #[test]
    fn adapters_are_read_in_any_case_and_written_in_one() {
        assert_eq!("LSILOGIC".parse::<AdapterType>().unwrap().to_string(), "lsilogic");
        assert_eq!("legacyesx".parse::<AdapterType>().unwrap().to_string(), "legacyESX");
        assert_eq!("pvscsi".parse::<AdapterType>().unwrap(), AdapterType::LsiLogic);
        assert!("lsi logic".parse::<AdapterType>().unwrap_err().to_string().contains("lsilogic"));
    }
}
