//! Configurations in the simulator's own files: as the XML of the API, in the newest version that is known.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serializer, de, ser};
use vim_api::ApiVersion;
use vim_api::dynamic::Element;
use vim_api::types as t;
use vim_api::xml::{Limits, Reader, Writer};

use crate::machine::Config;

/// Far above what a machine's configuration can be, and no limit to depth that one could reach.
const LIMITS: Limits = Limits { max_depth: 512, max_bytes: 64 << 20 };

pub(crate) fn serialize<S: Serializer>(config: &Config, serializer: S) -> Result<S::Ok, S::Error> {
    let mut writer = Writer::new(ApiVersion::LATEST);
    config.as_ref().encode("config", &mut writer);
    let xml = writer.finish();
    if xml.is_empty() {
        return Err(ser::Error::custom("the configuration cannot be written as XML"));
    }
    serializer.serialize_str(&xml)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Config, D::Error> {
    let xml = String::deserialize(deserializer)?;
    let mut reader = Reader::fragment(&xml, LIMITS).map_err(de::Error::custom)?;
    match reader.next_child().map_err(de::Error::custom)? {
        Some(start) => {
            let config = t::VirtualMachineConfigInfo::decode(&mut reader, &start);
            config.map(Arc::new).map_err(de::Error::custom)
        }
        None => Err(de::Error::custom("the configuration is empty")),
    }
}
