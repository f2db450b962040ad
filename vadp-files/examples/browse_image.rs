//! Lists, shows and copies out files of disk images: `browse_image IMAGE... -- volumes | walk VOLUME [PATH] | ls VOLUME [PATH] |
//! cat VOLUME PATH | copy VOLUME PATH TARGET`. An image is a raw disk or a VMDK; a volume is named as `volumes` says.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use vadp_files::{CopyOut, Disks, ReadAt, Tree, Volume};

fn main() -> anyhow::Result<()> {
    let mut images: Vec<String> = std::env::args().skip(1).collect();
    let at = images
        .iter()
        .position(|argument| argument == "--")
        .context("usage: browse_image IMAGE... -- COMMAND")?;
    let command = images.split_off(at).split_off(1);
    let mut disks = Disks::new();
    for image in &images {
        let source: Arc<dyn ReadAt> = match image.ends_with(".vmdk") {
            true => {
                let (folder, name) = vmdk::LocalFolder::of_file(image)?;
                let folder: Arc<dyn vmdk::Folder> = Arc::new(folder);
                Arc::new(vmdk::OpenOptions::new().open(&folder, &name)?)
            }
            false => Arc::new(std::fs::File::open(image).with_context(|| image.clone())?),
        };
        let name = Path::new(image).file_stem().unwrap_or_default().to_string_lossy();
        disks.add(name, source);
    }
    let volumes = disks.volumes()?;
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    match *command {
        ["volumes"] => {
            for volume in volumes {
                let problem = volume.problem().unwrap_or_default();
                println!(
                    "{}\t{:?}\t{}\t{}\t{problem}",
                    volume.name(),
                    volume.kind(),
                    volume.size(),
                    volume.label()
                );
            }
        }
        ["ls", volume] => list(&open(&volumes, volume)?, "")?,
        ["ls", volume, path] => list(&open(&volumes, volume)?, path)?,
        ["walk", volume] => walk(&open(&volumes, volume)?)?,
        ["cat", volume, path] => {
            let file = open(&volumes, volume)?.open(path)?;
            let mut buffer = vec![0; 1 << 20];
            for at in (0..file.size()).step_by(1 << 20) {
                let length = (file.size() - at).min(1 << 20) as usize;
                file.read_exact_at(&mut buffer[..length], at)?;
                std::io::stdout().write_all(&buffer[..length])?;
            }
        }
        ["copy", volume, path, target] => {
            let copied = CopyOut::new().run(&open(&volumes, volume)?, path, target.as_ref())?;
            for failure in &copied.failures {
                eprintln!("{}: {}", String::from_utf8_lossy(&failure.path), failure.reason);
            }
            println!(
                "{} files, {} folders, {} links, {} hard links, {} bytes, {} special, {} failures",
                copied.files,
                copied.folders,
                copied.links,
                copied.hard_links,
                copied.bytes,
                copied.special.len(),
                copied.failures.len()
            );
            if !copied.failures.is_empty() {
                bail!("not everything was copied");
            }
        }
        _ => bail!("unknown command {command:?}"),
    }
    Ok(())
}

fn open(volumes: &[Volume], name: &str) -> anyhow::Result<Tree> {
    let volume =
        volumes.iter().find(|volume| volume.name() == name).with_context(|| format!("no volume {name}"))?;
    Ok(volume.open()?)
}

fn list(tree: &Tree, path: &str) -> anyhow::Result<()> {
    for entry in tree.list(path)? {
        let stat = tree.system().stat(entry.node)?;
        println!("{:?}\t{:o}\t{}\t{}", stat.kind, stat.mode, stat.size, String::from_utf8_lossy(&entry.name));
    }
    Ok(())
}

fn walk(tree: &Tree) -> anyhow::Result<()> {
    let mut found = 0_u64;
    tree.walk("", |step| {
        if let Err(error) = &step {
            eprintln!("{error}");
        }
        found += 1;
        Ok(true)
    })?;
    println!("{found}");
    Ok(())
}
