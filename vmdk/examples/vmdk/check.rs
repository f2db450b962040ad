//! `vmdk check`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use vmdk::{Folder, LocalFolder, Report};

use crate::DiskArguments;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    disk: DiskArguments,
    /// Reads and inflates every grain of a stream as well.
    #[arg(long)]
    deep: bool,
    /// Mends what can be mended without a guess, in this link alone.
    #[arg(long)]
    repair: bool,
}

/// 0 if nothing was found, 1 if something was.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (folder, name) = LocalFolder::of_file(&arguments.disk.path)?;
    let folder = if arguments.disk.open.follow_outside { folder.danger_follow_outside() } else { folder };
    let folder: Arc<dyn Folder> = Arc::new(folder);
    let report = match arguments.repair {
        true => vmdk::repair(&folder, &name)?,
        false => vmdk::check(&folder, &name, &arguments.disk.open.options(), arguments.deep)?,
    };
    print(&report, arguments.disk.json);
    Ok(if report.problems == report.repaired { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report, as_json: bool) {
    if as_json {
        let findings: Vec<_> = report
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "file": finding.file,
                    "problem": finding.problem.to_string(),
                    "losesData": finding.problem.loses_data(),
                    "repairable": finding.problem.is_repairable(),
                })
            })
            .collect();
        let (problems, repaired, grains) = (report.problems, report.repaired, report.grains);
        println!(
            "{}",
            json!({ "problems": problems, "repaired": repaired, "grains": grains, "findings": findings })
        );
        return;
    }
    for finding in &report.findings {
        println!("{}: {}", finding.file, finding.problem);
    }
    println!("{} grains, {} problems, {} repaired", report.grains, report.problems, report.repaired);
}
