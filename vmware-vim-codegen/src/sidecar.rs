//! The JSON sidecar: what a WSDL cannot say. `input/PROVENANCE.md` tells where it comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{Error, ErrorKind, Result};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sidecar {
    /// Service name; its namespace is `urn:` before it.
    pub(crate) service: String,
    /// Wire id of the version described.
    pub(crate) version: String,
    /// Wire id of every version to the ids of all its ancestors.
    #[serde(deserialize_with = "unique")]
    pub(crate) versions: BTreeMap<String, Vec<String>>,
    /// Wire id to VMware's inner name.
    #[serde(default, deserialize_with = "unique")]
    pub(crate) internal: BTreeMap<String, String>,
    /// Other version names used in `since`, to the wire id of the first version that contains them.
    #[serde(default, deserialize_with = "unique")]
    pub(crate) aliases: BTreeMap<String, String>,
    #[serde(deserialize_with = "unique")]
    pub(crate) managed: BTreeMap<String, Managed>,
    #[serde(deserialize_with = "unique")]
    pub(crate) data: BTreeMap<String, Data>,
    #[serde(deserialize_with = "unique")]
    pub(crate) enums: BTreeMap<String, Enum>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Managed {
    pub(crate) vmodl: String,
    pub(crate) extends: Option<String>,
    pub(crate) since: String,
    pub(crate) properties: Vec<Member>,
    pub(crate) methods: Vec<Method>,
}

/// A managed property or a method parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) ty: String,
    pub(crate) since: String,
    pub(crate) flags: Vec<Flag>,
    pub(crate) privilege: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Method {
    /// Name of the WSDL operation.
    pub(crate) wsdl: String,
    /// VMware's inner name.
    pub(crate) name: String,
    pub(crate) since: String,
    pub(crate) privilege: Option<String>,
    pub(crate) task: bool,
    /// Type of the result; for a task method, of what the task leaves behind.
    pub(crate) result: Option<String>,
    /// Flags of the result.
    #[serde(default)]
    pub(crate) result_flags: Vec<Flag>,
    pub(crate) params: Vec<Member>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) vmodl: String,
    pub(crate) since: String,
    #[serde(deserialize_with = "unique")]
    pub(crate) fields: BTreeMap<String, DataField>,
}

/// Only what the schema does not say about a field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataField {
    pub(crate) since: Option<String>,
    #[serde(rename = "type")]
    pub(crate) ty: Option<String>,
    #[serde(default)]
    pub(crate) flags: Vec<Flag>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enum {
    pub(crate) vmodl: String,
    pub(crate) since: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Flag {
    Optional,
    /// The value is the key of another object and travels as a string.
    Link,
    /// Other objects may link to this one.
    Linkable,
    Secret,
}

/// Parses the file's content. A key that is written twice is refused.
pub(crate) fn read(text: &str) -> Result<Sidecar> {
    serde_json::from_str(text).map_err(|e| {
        Error::new(ErrorKind::Sidecar, "the sidecar does not have the expected form").with_source(e)
    })
}

/// A map whose keys must not repeat; serde's own keeps the last value silently.
fn unique<'de, D: Deserializer<'de>, V: Deserialize<'de>>(from: D) -> Result<BTreeMap<String, V>, D::Error> {
    struct Unique<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Unique<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = access.next_entry::<String, V>()? {
                if map.contains_key(&key) {
                    return Err(A::Error::custom(format!("the key {key:?} is written twice")));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }

    from.deserialize_map(Unique(PhantomData))
}
