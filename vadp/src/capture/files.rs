//! The machine's own small files, over the server's file service.

use vim_api::types::VirtualMachineConfigInfo;
use vim_api::{DatastoreFiles, DatastorePath};

use super::types::{Content, LayoutFile, MachineFile};
use super::{Missing, Part, Why};

/// More is no VMX and no NVRAM: a VMX has some KiB, an NVRAM up to a few hundred.
const MOST_BYTES: u64 = 8 << 20;

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
