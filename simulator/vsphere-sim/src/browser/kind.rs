//! What a file is, by its name, and which query asks for it.

use vim_api::dynamic::{DataObject, Element, Poly, Value};
use vim_api::types as t;

/// The kinds of files that queries tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    /// The descriptor of a disk, which stands for the whole disk.
    Disk,
    /// The data of a disk, or its change map: part of a disk.
    DiskPart,
    Config,
    Template,
    Log,
    Nvram,
    Snapshot,
    Iso,
    Floppy,
    Other,
}

/// How the names of a disk's parts end.
const PARTS: [&str; 6] =
    ["-flat.vmdk", "-delta.vmdk", "-sesparse.vmdk", "-ctk.vmdk", "-rdm.vmdk", "-rdmp.vmdk"];

impl Kind {
    pub(super) fn of(name: &str, is_folder: bool) -> Self {
        if is_folder {
            return Self::Folder;
        }
        match name.rsplit_once('.').map_or("", |(_, suffix)| suffix) {
            "vmdk" if PARTS.iter().any(|part| name.ends_with(part)) => Self::DiskPart,
            "vmdk" => Self::Disk,
            "vmx" => Self::Config,
            "vmtx" => Self::Template,
            "log" => Self::Log,
            "nvram" => Self::Nvram,
            "vmsn" => Self::Snapshot,
            "iso" => Self::Iso,
            "flp" => Self::Floppy,
            _ => Self::Other,
        }
    }

    /// Whether a query asks for this kind. A template is a configuration too, by its type. The plain query asks for
    /// everything.
    pub(super) fn is_asked_by(self, query: &Poly<t::FileQuery>) -> bool {
        match query.type_name() {
            "FolderFileQuery" => self == Self::Folder,
            "VmDiskFileQuery" => self == Self::Disk,
            "VmConfigFileQuery" => matches!(self, Self::Config | Self::Template),
            "TemplateConfigFileQuery" => self == Self::Template,
            "VmLogFileQuery" => self == Self::Log,
            "VmNvramFileQuery" => self == Self::Nvram,
            "VmSnapshotFileQuery" => self == Self::Snapshot,
            "IsoImageFileQuery" => self == Self::Iso,
            "FloppyImageFileQuery" => self == Self::Floppy,
            _ => is_plain(query),
        }
    }

    /// The object for a file of this kind.
    pub(super) fn info(self, base: t::FileInfo) -> Poly<t::FileInfo> {
        match self {
            Self::Folder => Poly::new(t::FolderFileInfo { base }),
            Self::Disk => Poly::new(t::VmDiskFileInfo { base, ..Default::default() }),
            Self::Config => Poly::new(t::VmConfigFileInfo { base, ..Default::default() }),
            Self::Template => {
                let base = t::VmConfigFileInfo { base, ..Default::default() };
                Poly::new(t::TemplateConfigFileInfo { base })
            }
            Self::Log => Poly::new(t::VmLogFileInfo { base }),
            Self::Nvram => Poly::new(t::VmNvramFileInfo { base }),
            Self::Snapshot => Poly::new(t::VmSnapshotFileInfo { base }),
            Self::Iso => Poly::new(t::IsoImageFileInfo { base }),
            Self::Floppy => Poly::new(t::FloppyImageFileInfo { base }),
            Self::DiskPart | Self::Other => Poly::new(base),
        }
    }
}

/// Whether a query is for files of any type.
pub(super) fn is_plain(query: &Poly<t::FileQuery>) -> bool {
    query.type_name() == t::FileQuery::INFO.name
}

/// `HostDatastoreBrowser.supportedType`.
pub(crate) fn supported() -> Value {
    let queries = vec![
        t::FileQuery::default().to_value(),
        t::FolderFileQuery::default().to_value(),
        t::VmDiskFileQuery::default().to_value(),
        t::VmConfigFileQuery::default().to_value(),
        t::TemplateConfigFileQuery::default().to_value(),
        t::VmLogFileQuery::default().to_value(),
        t::VmNvramFileQuery::default().to_value(),
        t::VmSnapshotFileQuery::default().to_value(),
        t::IsoImageFileQuery::default().to_value(),
        t::FloppyImageFileQuery::default().to_value(),
    ];
    Value::array("FileQuery", queries)
}
