//! The configuration file of InitEx: what it says to this library alone, and the few keys of the real one that it heeds.

use std::path::PathBuf;

use crate::code::{Answer, Code};
use crate::ffi::log;

/// Most bytes that the buffers of one session may take together.
const AIO_BYTES: u64 = 16 << 20;

/// What the configuration says.
#[derive(Default)]
pub(crate) struct Settings {
    /// What failures carry above their code.
    pub(crate) upper_bits: u32,
    /// Whether breaking a rule ends the process.
    pub(crate) strict: bool,
    /// Where state is kept that outlives the process.
    pub(crate) temp_directory: Option<PathBuf>,
    aio_buffer: Option<u64>,
    aio_count: Option<u64>,
}

impl Settings {
    pub(crate) fn load(file: &str) -> Answer<Settings> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            log::warn(&format!("the configuration file {file} cannot be read: {error}"));
            Code::FILE_NOT_FOUND
        })?;
        let mut settings = Settings::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let (key, value) = (key.trim(), value.trim().trim_matches('"'));
            let number = || {
                value.parse::<u32>().map_err(|_| {
                    log::warn(&format!("{key} is {value:?}, not a number"));
                    Code::INVALID_ARG
                })
            };
            match key {
                "fakeVddk.upperBits" => settings.upper_bits = number()?,
                "fakeVddk.strict" => settings.strict = number()? != 0,
                "tmpDirectory" => settings.temp_directory = Some(value.into()),
                "vixDiskLib.nfcAio.Session.BufSizeIn64KB" => settings.aio_buffer = Some(number()?.into()),
                "vixDiskLib.nfcAio.Session.BufCount" => settings.aio_count = Some(number()?.into()),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Whether a network session's buffers fit into what a host gives one.
    pub(crate) fn check_aio(&self) -> Answer<()> {
        let bytes = self.aio_buffer.unwrap_or(1) * (64 << 10) * self.aio_count.unwrap_or(4);
        if bytes <= AIO_BYTES {
            return Ok(());
        }
        log::warn(&format!("[NFC ERROR] buffers of {bytes} bytes are more than {AIO_BYTES} for one session"));
        Err(Code::FAIL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Answer<Settings> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::load(file.path().to_str().unwrap())
    }

    #[test]
    fn buffers_of_one_session_have_a_bound() {
        let text = |size, count| {
            format!(
                "vixDiskLib.nfcAio.Session.BufSizeIn64KB = \"{size}\"\nvixDiskLib.nfcAio.Session.BufCount={count}\n"
            )
        };
        assert!(load(&text(32, 8)).unwrap().check_aio().is_ok());
        assert_eq!(load(&text(32, 9)).unwrap().check_aio(), Err(Code::FAIL));
        assert!(load("").unwrap().check_aio().is_ok());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert!(load("fakeVddk.strict = \"1\"\nother = x\n").unwrap().strict);
        assert_eq!(load("fakeVddk.strict = \"yes\"\n").err(), Some(Code::INVALID_ARG));
    }
}
