//! `createType`.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

macro_rules! create_types {
    ($($(#[$doc:meta])* $variant:ident = $word:literal $(| $alias:literal)*,)*) => {
        /// How the files of a disk are laid out (`createType`). The extents say it as well, and are what is read.
        #[non_exhaustive]
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum CreateType {
            $($(#[$doc])* $variant,)*
            /// A word that this crate does not know, as it was written.
            Other(String),
        }

        impl CreateType {
            /// The word in the descriptor, in VMware's spelling.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }

            /// Reads the word in any case; no word is wrong.
            fn of(word: &str) -> Self {
                $(if [$word $(, $alias)*].iter().any(|known| known.eq_ignore_ascii_case(word)) {
                    return Self::$variant;
                })*
                Self::Other(word.to_owned())
            }

            /// All words that have a meaning.
            #[cfg(test)]
            const KNOWN: &[Self] = &[$(Self::$variant),*];
        }
    };
}

create_types! {
    /// Hosted: one sparse file with the descriptor in it.
    MonolithicSparse = "monolithicSparse",
    /// Hosted: one flat file.
    MonolithicFlat = "monolithicFlat",
    /// Hosted: sparse files of up to 2 GiB, `x-s001.vmdk` and on.
    TwoGbMaxExtentSparse = "twoGbMaxExtentSparse" | "2GbMaxExtentSparse",
    /// Hosted: flat files of up to 2 GiB, `x-f001.vmdk` and on.
    TwoGbMaxExtentFlat = "twoGbMaxExtentFlat" | "2GbMaxExtentFlat",
    /// Hosted: a whole physical device.
    FullDevice = "fullDevice",
    /// Hosted: partitions of a physical device.
    PartitionedDevice = "partitionedDevice",
    /// Hosted: any mix of extents.
    Custom = "custom",
    /// Transport, as in OVF: one compressed sparse file with the descriptor in it.
    StreamOptimized = "streamOptimized",
    /// ESXi: one flat file. Thick, eagerly zeroed and thin disks all have this type.
    Vmfs = "vmfs",
    /// ESXi: a child whose data are a COWD delta.
    VmfsSparse = "vmfsSparse",
    /// ESXi: a child whose data are an SESparse delta.
    SeSparse = "seSparse",
    /// ESX: a raw device.
    VmfsRaw = "vmfsRaw",
    /// ESXi: a raw device mapping in virtual mode.
    VmfsRawDeviceMap = "vmfsRawDeviceMap" | "vmfsRDM",
    /// ESXi: a raw device mapping in physical mode.
    VmfsPassthroughRawDeviceMap = "vmfsPassthroughRawDeviceMap" | "vmfsRDMP",
    /// A name from the specification's time; ESXi writes `vmfs`.
    VmfsPreallocated = "vmfsPreallocated",
    /// A name from the specification's time; ESXi writes `vmfs`.
    VmfsEagerZeroedThick = "vmfsEagerZeroedThick",
    /// A name from the specification's time; ESXi writes `vmfs`.
    VmfsThin = "vmfsThin",
    /// vSAN: a child whose data are an object.
    VsanSparse = "vsanSparse",
}

impl fmt::Display for CreateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CreateType {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(Self::of(word))
    }
}

impl From<&str> for CreateType {
    fn from(word: &str) -> Self {
        Self::of(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_reads_back_in_any_case() {
        for known in CreateType::KNOWN {
            assert_eq!(&CreateType::from(known.as_str()), known);
            assert_eq!(&CreateType::from(known.as_str().to_uppercase().as_str()), known);
        }
        assert_eq!(CreateType::from("2GbMaxExtentSparse").as_str(), "twoGbMaxExtentSparse");
        assert_eq!(CreateType::from("vmfsRDMP").as_str(), "vmfsPassthroughRawDeviceMap");
        assert_eq!(CreateType::from("New"), CreateType::Other("New".into()));
    }
}
