//! `[datastore] folder/file`.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::percent::encode;

/// The name of a file or folder on a datastore, as vSphere writes it: `[datastore1] web01/web01.vmx`.
///
/// Names are taken as they are. vSphere itself writes `/`, `\` and `%` in names of objects as `%2f`, `%5c` and `%25`; such
/// a name stays so here, and its percent signs are encoded once more in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatastorePath {
    datastore: String,
    path: String,
}

impl DatastorePath {
    /// A file or folder by the datastore's name and the path in it; an empty path is the datastore's root.
    ///
    /// # Errors
    /// Kind `InvalidInput`: an empty name; a path with an empty, `.` or `..` part; control characters; or a name of
    /// which the text could be read in two ways, such as one with `] ` in it.
    pub fn new(datastore: &str, path: &str) -> Result<Self, Error> {
        let made = Self::checked(datastore, path)?;
        match split(&made.to_string()) {
            Some((name, rest)) if name == made.datastore && rest == made.path => Ok(made),
            _ => Err(Error::invalid_input(format!(
                "a datastore named {datastore:?} cannot be told from its files in \"[datastore] path\": rename it"
            ))),
        }
    }

    /// Name of the datastore, without brackets.
    pub fn datastore(&self) -> &str {
        &self.datastore
    }

    /// Path in the datastore, without a slash at either end; empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last part of the path; `None` for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.path.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// The folder that holds it; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let end = self.path.len() - self.file_name()?.len();
        let path = self.path.get(..end)?.trim_end_matches('/').to_owned();
        Some(DatastorePath { datastore: self.datastore.clone(), path })
    }

    /// A file or folder below this folder.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn join(&self, below: &str) -> Result<Self, Error> {
        match self.path.is_empty() {
            true => Self::checked(&self.datastore, below),
            false => Self::checked(&self.datastore, &format!("{}/{below}", self.path)),
        }
    }

    /// Path and query of the file in the server's `/folder` service. `datacenter` is the inventory path of the
    /// datacenter; a host alone needs none.
    pub(super) fn url_path(&self, datacenter: Option<&str>) -> String {
        let mut url = "/folder".to_owned();
        for part in self.path.split('/').filter(|part| !part.is_empty()) {
            url.push('/');
            encode(part, &mut url);
        }
        url.push('?');
        if let Some(datacenter) = datacenter {
            url.push_str("dcPath=");
            encode(datacenter, &mut url);
            url.push('&');
        }
        url.push_str("dsName=");
        encode(&self.datastore, &mut url);
        url
    }

    fn checked(datastore: &str, path: &str) -> Result<Self, Error> {
        if datastore.is_empty() {
            return Err(Error::invalid_input(
                "a datastore path names its datastore: \"[datastore] folder/file\"",
            ));
        }
        if datastore.chars().chain(path.chars()).any(char::is_control) {
            return Err(Error::invalid_input("a datastore path holds no control characters"));
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        if !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Error::invalid_input(format!(
                "{path:?} is not a path in a datastore: it starts with no slash, and no part is empty, \".\" or \"..\""
            )));
        }
        Ok(DatastorePath { datastore: datastore.to_owned(), path: path.to_owned() })
    }
}

impl fmt::Display for DatastorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.datastore)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, " {}", self.path) }
    }
}

impl FromStr for DatastorePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (datastore, path) = split(text).ok_or_else(|| {
            Error::invalid_input(format!(
                "{text:?} is not a datastore path, as in \"[datastore] folder/file\""
            ))
        })?;
        Self::new(datastore, path)
    }
}

/// Datastore and path. Brackets in the name may be nested; where they do not match, the first `]` before a space or the
/// end closes it.
fn split(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('[')?;
    let closes = |at: &usize| matches!(inner.as_bytes().get(at + 1), None | Some(b' '));
    let mut depth = 1_u32;
    let mut matching = None;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'[' => depth = depth.saturating_add(1),
            b']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 && closes(&at) {
            matching = Some(at);
            break;
        }
    }
    let end = matching.or_else(|| inner.match_indices(']').map(|(at, _)| at).find(closes))?;
    let rest = inner.get(end + 1..)?;
    Some((inner.get(..end)?, rest.strip_prefix(' ').unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::DatastorePath;

    fn read(text: &str) -> DatastorePath {
        text.parse().expect(text)
    }

    #[test]
    fn urls_encode_every_byte_that_has_a_meaning_of_its_own() {
        let path = DatastorePath::new("San 1/ß", "a b/c%2fd+e?&=#.vmdk").expect("a path");
        assert_eq!(
            path.url_path(Some("Europe/DC 0")),
            "/folder/a%20b/c%252fd%2Be%3F%26%3D%23.vmdk?dcPath=Europe%2FDC%200&dsName=San%201%2F%C3%9F"
        );
        assert_eq!(read("[ds]").url_path(None), "/folder?dsName=ds");
    }
}
