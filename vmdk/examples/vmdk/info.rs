//! `vmdk info`.

use std::process::ExitCode;

use serde_json::{Value, json};
use vmdk::{Link, SECTOR};

use crate::DiskArguments;

pub(crate) fn run(arguments: &DiskArguments) -> anyhow::Result<ExitCode> {
    let disk = arguments.open.options().open_path(&arguments.path)?;
    if arguments.json {
        let links: Vec<Value> = disk.links().iter().map(link_json).collect();
        println!("{}", json!({ "capacity": disk.capacity(), "links": links }));
        return Ok(ExitCode::SUCCESS);
    }
    println!("capacity  {} bytes ({} sectors)", disk.capacity(), disk.capacity() / SECTOR);
    for (depth, link) in disk.links().iter().enumerate() {
        println!("{} {}", if depth == 0 { "disk     " } else { "parent   " }, link.name());
        let descriptor = link.descriptor();
        println!(
            "  type      {}{}",
            descriptor.create_type(),
            if link.is_embedded() { ", descriptor within" } else { "" }
        );
        let parent = descriptor.parent_cid().map(|cid| format!(", parent {cid}")).unwrap_or_default();
        println!("  content   {}{parent}", descriptor.cid());
        if let (Some(adapter), Some(geometry)) = (descriptor.adapter(), descriptor.geometry()) {
            let (cylinders, heads, sectors) = (geometry.cylinders, geometry.heads, geometry.sectors);
            println!("  adapter   {adapter}, geometry {cylinders}/{heads}/{sectors}");
        }
        if let Some(path) = descriptor.change_track_path() {
            println!("  tracking  {path}");
        }
        for extent in descriptor.extents() {
            println!("  extent    {extent}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn link_json(link: &Link) -> Value {
    let descriptor = link.descriptor();
    json!({
        "name": link.name(),
        "createType": descriptor.create_type().to_string(),
        "embedded": link.is_embedded(),
        "cid": descriptor.cid().to_string(),
        "parentCid": descriptor.parent_cid().map(|cid| cid.to_string()),
        "parentFileNameHint": descriptor.parent_hint(),
        "adapterType": descriptor.adapter().map(|adapter| adapter.to_string()),
        "changeTrackPath": descriptor.change_track_path(),
        "thin": descriptor.is_thin(),
        "extents": descriptor.extents().iter().map(|extent| json!({
            "sectors": extent.sectors,
            "type": extent.kind.to_string(),
            "file": extent.file,
            "offset": extent.offset,
        })).collect::<Vec<_>>(),
    })
}
