//! What VDDK says of a disk: size, geometry, transport, the chain, metadata.
//!
//! ```text
//! cargo run --example disk_info
//! cargo run --example disk_info -- --kit /opt/vmware-vix-disklib-distrib --disk /disks/web.vmdk --json
//! ```
//!
//! Without options, a disk of the fake library is shown. `--server` and its companions are those of `read_disk`.

use std::path::Path;

use clap::Parser;
use serde_json::{Map, Value, json};
use vixdisklib::{Geometry, OpenOptions};

#[path = "disks/source.rs"]
mod source;

/// Shows what VDDK says of a disk.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    disk: source::Where,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    vixdisklib::worker::serve_if_asked();
    let options = Options::parse();
    let source = options.disk.connect(false)?;
    let disk = source.open(OpenOptions::read_only())?;
    let info = disk.info();
    let mut metadata = Map::new();
    for key in disk.metadata_keys()? {
        let value = disk.metadata(&key)?;
        metadata.insert(key, json!(value));
    }
    let library = source.connection.library();
    let shown = json!({
        "library": library.version().to_string(),
        "disk": source.path,
        "bytes": info.capacity.bytes(),
        "transport": disk.transport_mode().as_str(),
        "adapter": format!("{:?}", info.adapter),
        "geometry": geometry(info.physical_geometry),
        "bios_geometry": geometry(info.bios_geometry),
        "uuid": info.uuid,
        "logical_sector_bytes": info.logical_sector_bytes,
        "physical_sector_bytes": info.physical_sector_bytes,
        "links": info.links,
        "chain": chain(&source)?,
        "metadata": metadata,
    });
    disk.close()?;
    if options.json {
        println!("{shown}");
        return Ok(());
    }
    for (name, value) in shown.as_object().into_iter().flatten() {
        match value {
            Value::Object(values) => {
                println!("{name}:");
                values.iter().for_each(|(key, value)| println!("  {key} = {}", text(value)));
            }
            Value::Array(values) => {
                println!("{name}: {}", values.iter().map(text).collect::<Vec<_>>().join(" -> "))
            }
            value => println!("{name}: {}", text(value)),
        }
    }
    Ok(())
}

/// The disk, its parent, and so on. A server's library names the parent alone.
fn chain(source: &source::Source) -> anyhow::Result<Vec<String>> {
    let mut chain = vec![source.path.clone()];
    while let Some(path) = chain.last() {
        let link = source.connection.open(path, OpenOptions::read_only().single_link(true))?;
        let parent = link.info().parent.clone();
        link.close()?;
        let Some(parent) = parent else { break };
        // A hint is a name beside the child, or a whole path.
        let parent = match Path::new(path).parent() {
            Some(folder) if source.connection.is_local() => folder.join(&parent).display().to_string(),
            _ => parent,
        };
        let known = chain.contains(&parent);
        chain.push(parent);
        if known || !source.connection.is_local() {
            break;
        }
    }
    Ok(chain)
}

fn geometry(geometry: Geometry) -> String {
    format!("{} cylinders, {} heads, {} sectors", geometry.cylinders, geometry.heads, geometry.sectors)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "not told".to_owned(),
        other => other.to_string(),
    }
}
