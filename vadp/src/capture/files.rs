//! The machine's own small files, over the server's file service.

use std::time::{Duration, UNIX_EPOCH};

use vim_api::dynamic::DateTime;
use vim_api::mo::{EnvironmentBrowser, Managed, VirtualMachine};
use vim_api::types::VirtualMachineConfigInfo;
use vim_api::{DatastoreEntry, DatastoreFiles, DatastorePath};

use super::types::{Content, LayoutFile, MachineFile};
use super::{Missing, Part, Why};
use crate::machine::ProtectedVm;

/// More is no VMX and no NVRAM: a VMX has some KiB, an NVRAM up to a few hundred.
const MOST_BYTES: u64 = 8 << 20;

/// A file that is older than a snapshot by this is not of it, however much the clocks of a host and its vCenter differ.
const CLOCKS_DIFFER_MS: u64 = 60 * 60 * 1000;

/// The VMX file.
pub(super) async fn vmx(files: &DatastoreFiles, config: &VirtualMachineConfigInfo) -> Part<MachineFile> {
    let Some(path) = vmx_path(config) else {
        return Part::absent(Why::Failed, "the configuration names no VMX file");
    };
    read(files, &path).await.map_or_else(|error| Part::Missing(error.into()), Part::Captured)
}

/// The NVRAM file, if there is one.
pub(super) async fn nvram(
    files: &DatastoreFiles,
    config: &VirtualMachineConfigInfo,
    layout: &Part<Vec<LayoutFile>>,
) -> Part<Option<MachineFile>> {
    let listed = layout.get().and_then(|files| files.iter().find(|file| file.kind == "nvram"));
    let path = listed.and_then(|file| file.path.parse().ok()).or_else(|| nvram_path(config));
    let Some(path) = path else {
        return Part::absent(Why::Failed, "the configuration names no VMX file, beside which it would be");
    };
    match read(files, &path).await {
        Ok(file) => Part::Captured(Some(file)),
        // A machine that was never on has none. One whose list of files has it must not lose it in silence.
        Err(Unread::Api(error)) if error.is_not_found() && listed.is_none() => Part::Captured(None),
        Err(error) => Part::Missing(error.into()),
    }
}

/// What VSS and its writers have said when they brought a Windows guest to rest. VMware's documents call the file `vss-manifest.zip`, hosts
/// write names such as `web-01-vss_manifests12.zip`, with the snapshot's number: so it is looked for, and the latest one is the
/// snapshot's, unless it is much older (`taken_ms`).
pub(super) async fn vss_manifest(
    vm: &ProtectedVm,
    files: &DatastoreFiles,
    config: &VirtualMachineConfigInfo,
    taken_ms: Option<u64>,
) -> Part<Option<MachineFile>> {
    let Some(folder) = snapshot_folder(config) else {
        return Part::absent(Why::Failed, "the configuration names no folder in which it would be");
    };
    let found = async {
        let of_machine = vm.vm().require(VirtualMachine::ENVIRONMENT_BROWSER).await?;
        let of_machine: EnvironmentBrowser = vm.client().bind(&of_machine);
        let browser = of_machine.require(EnvironmentBrowser::DATASTORE_BROWSER).await?;
        vm.client().browse(&browser, &folder, &["*.zip"]).await
    };
    let mut found = match found.await {
        Ok(found) => found,
        Err(error) => return Part::Missing(Missing::from(&error)),
    };
    let not_before = taken_ms.unwrap_or_default().saturating_sub(CLOCKS_DIFFER_MS);
    let not_before = UNIX_EPOCH.checked_add(Duration::from_millis(not_before));
    let moment = |entry: &DatastoreEntry| entry.modified.as_ref().and_then(DateTime::to_system_time);
    found.retain(|entry| {
        let is_old = moment(entry).zip(not_before).is_some_and(|(moment, bound)| moment < bound);
        entry.path.file_name().is_some_and(is_vss_manifest) && !is_old
    });
    let Some(latest) = found.iter().max_by_key(|entry| (moment(entry), number_in(&entry.path))) else {
        let text =
            format!("the guest came to rest, and {folder} has no file of that time like vss_manifests.zip");
        return Part::absent(Why::Failed, text);
    };
    match read(files, &latest.path).await {
        Ok(file) if is_whole_zip(&file.content.0) => Part::Captured(Some(file)),
        Ok(file) => Part::absent(Why::Failed, format!("{} is no whole ZIP archive", file.path)),
        Err(error) => Part::Missing(error.into()),
    }
}

/// The last number in a name: where times are equal, the later snapshot has the higher one.
fn number_in(path: &DatastorePath) -> Option<u64> {
    let name = path.file_name()?.trim_end_matches(|c: char| !c.is_ascii_digit());
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    name.get(name.len() - digits..)?.parse().ok()
}

fn is_vss_manifest(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("vss") && name.contains("manifest")
}

/// Whether the list at the end of an archive is there, and is where its end record says.
fn is_whole_zip(bytes: &[u8]) -> bool {
    const END: [u8; 4] = *b"PK\x05\x06";
    const ENTRY: [u8; 4] = *b"PK\x01\x02";
    /// Bytes of the end record without its comment, which has at most 65,535.
    const LENGTH: usize = 22;
    let Some(last) = bytes.len().checked_sub(LENGTH) else { return false };
    (last.saturating_sub(usize::from(u16::MAX))..=last).rev().any(|at| {
        let Some((record, comment)) = bytes.get(at..).and_then(|end| end.split_at_checked(LENGTH)) else {
            return false;
        };
        let number = |from: usize, length: usize| {
            let bytes = record.get(from..from + length).unwrap_or_default();
            bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
        };
        let (entries, length, begin) = (number(10, 2), number(12, 4), number(16, 4));
        record.starts_with(&END)
            && number(20, 2) == comment.len()
            && entries > 0
            && begin.checked_add(length) == Some(at)
            && bytes.get(begin..).is_some_and(|list| list.starts_with(&ENTRY))
    })
}

/// Where snapshots are kept: in the machine's own folder unless the configuration says otherwise.
fn snapshot_folder(config: &VirtualMachineConfigInfo) -> Option<DatastorePath> {
    let named = config.files.snapshot_directory.as_deref().map(|path| path.trim_end_matches('/'));
    named.and_then(|path| path.parse().ok()).or_else(|| vmx_path(config)?.parent())
}

fn vmx_path(config: &VirtualMachineConfigInfo) -> Option<DatastorePath> {
    config.files.vm_path_name.as_deref()?.parse().ok()
}

/// The file that the configuration calls its NVRAM, in the folder of the VMX file, or the one of the VMX file's name.
pub(crate) fn nvram_path(config: &VirtualMachineConfigInfo) -> Option<DatastorePath> {
    let vmx = vmx_path(config)?;
    let option = config.extra_config.iter().find(|option| option.key.eq_ignore_ascii_case("nvram"));
    let named = match option.and_then(|option| option.value.as_ref()) {
        Some(vim_api::dynamic::Value::String(name)) if !name.is_empty() => name.clone(),
        _ => format!("{}.nvram", vmx.file_name()?.trim_end_matches(".vmx")),
    };
    if named.starts_with('[') {
        return named.parse().ok();
    }
    match vmx.parent() {
        Some(folder) => folder.join(&named).ok(),
        None => DatastorePath::new(vmx.datastore(), &named).ok(),
    }
}

enum Unread {
    Api(vim_api::Error),
    TooLarge(String),
}

impl From<Unread> for Missing {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Api(error) => Self::from(&error),
            Unread::TooLarge(text) => Self { why: Why::Failed, text },
        }
    }
}

async fn read(files: &DatastoreFiles, path: &DatastorePath) -> Result<MachineFile, Unread> {
    let mut download = files.download(path).await.map_err(Unread::Api)?;
    let mut content = Vec::new();
    while let Some(piece) = download.next().await.map_err(Unread::Api)? {
        content.extend_from_slice(&piece);
        if content.len() as u64 > MOST_BYTES {
            return Err(Unread::TooLarge(format!(
                "{path} has more than {MOST_BYTES} bytes: it is not what it should be"
            )));
        }
    }
    Ok(MachineFile { path: path.to_string(), content: Content(content) })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use vim_api::dynamic::{Poly, Value};
    use vim_api::types::OptionValue;

    use super::*;

    fn config(vmx: Option<&str>, nvram: Option<&str>) -> VirtualMachineConfigInfo {
        let mut config = VirtualMachineConfigInfo::default();
        config.files.vm_path_name = vmx.map(str::to_owned);
        config.extra_config = nvram
            .map(|name| {
                let value = Some(Value::String(name.to_owned()));
                Poly::new(OptionValue { key: "NVRAM".into(), value, ..Default::default() })
            })
            .into_iter()
            .collect();
        config
    }

    #[test]
    fn a_manifest_is_known_by_its_name_and_by_its_end() {
        for name in
            ["vss-manifest.zip", "vss_manifests.zip", "web-01-vss_manifests12.zip", "VSS-Manifest.ZIP"]
        {
            assert!(is_vss_manifest(name), "{name}");
        }
        assert!(!is_vss_manifest("backup.zip"));
        let number = |path: &str| number_in(&path.parse().unwrap());
        assert_eq!(number("[ds] web-01/web-01-vss_manifests12.zip"), Some(12));
        assert_eq!(number("[ds] a/vss-manifest.zip"), None);
        // One file in an archive of Python's zipfile.
        let zip = "UEsDBBQAAAAAAAAAe11AKkA6FAAAABQAAAAKAAAAYmFja3VwLnhtbDxCQUNLVVBfQ09NUE9ORU5UUy8+UEsBAhQDFAAAAAAAAAB7XUAqQDoUAAAAFAAAAAoAAAAAAAAAAAAAAIABAAAAAGJhY2t1cC54bWxQSwUGAAAAAAEAAQA4AAAAPAAAAAAA";
        let zip = base64::engine::general_purpose::STANDARD.decode(zip).unwrap();
        assert!(is_whole_zip(&zip));
        let commented = |length: u8| [&zip[..zip.len() - 2], &[length, 0], b"a comment"].concat();
        assert!(is_whole_zip(&commented(9)));
        assert!(!is_whole_zip(&commented(8)));
        for cut in 0..zip.len() {
            assert!(!is_whole_zip(&zip[..cut]), "{cut} bytes");
            assert!(!is_whole_zip(&zip[zip.len() - cut..]), "the last {cut} bytes");
        }
    }

    #[test]
    fn the_nvram_is_where_the_configuration_says_or_beside_the_vmx() {
        let path = |vmx, nvram| nvram_path(&config(vmx, nvram)).map(|path| path.to_string());
        let vmx = Some("[ds] web 01/web-01.vmx");
        assert_eq!(path(vmx, None).as_deref(), Some("[ds] web 01/web-01.nvram"));
        assert_eq!(path(vmx, Some("other.nvram")).as_deref(), Some("[ds] web 01/other.nvram"));
        assert_eq!(path(vmx, Some("[two] x/o.nvram")).as_deref(), Some("[two] x/o.nvram"));
        assert_eq!(path(Some("[ds] a.vmx"), None).as_deref(), Some("[ds] a.nvram"));
        assert_eq!(path(None, Some("x")), None);
        assert_eq!(path(Some("nonsense"), None), None);
    }
}
