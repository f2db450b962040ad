//! `repair`: mends what is damaged, and says what is lost.

use clap::Args;
use serde_json::json;
use vadp_repository::Repository;

use crate::show;
use crate::terminal::Waiting;

#[derive(Args)]
pub struct Repair {
    /// Only say what is lost, and what would be done.
    #[arg(long)]
    plan: bool,
    /// Remove restore points that are damaged beyond reading, too.
    #[arg(long)]
    remove_unreadable: bool,
}

impl Repair {
    /// `false` when something is lost.
    pub async fn run(&self, repo: &Repository, is_json: bool) -> anyhow::Result<bool> {
        let waiting = Waiting::begin(is_json, "looking");
        let mut plan = repo.plan_repair().await?;
        drop(waiting);
        if self.remove_unreadable {
            plan = plan.remove_unreadable_points();
        }
        let mut value = show::checked(plan.report());
        let unreadable = plan.unreadable_points().iter().map(ToString::to_string).collect::<Vec<_>>();
        value["unreadable_points"] = json!(unreadable);
        value["index_objects"] = json!(plan.index_objects().len());
        value["packs_found"] = json!(plan.packs_found());
        let packs = plan.packs().iter().map(|pack| {
            json!({"pack": pack.pack.to_string(), "problem": pack.problem, "salvaged": pack.salvaged, "lost": pack.lost})
        });
        value["packs"] = json!(packs.collect::<Vec<_>>());
        let is_whole = plan.lost().next().is_none() && unreadable.is_empty();
        if !is_json {
            println!("{plan}");
        }
        if !self.plan && !plan.is_empty() {
            let waiting = Waiting::begin(is_json, "repairing");
            let report = plan.apply().await?;
            drop(waiting);
            let refused: Vec<_> =
                report.refused.iter().map(|(name, why)| json!({"object": name, "why": why})).collect();
            value["done"] = json!({
                "index_objects_replaced": report.index_objects_replaced, "packs_found": report.packs_found,
                "packs_dropped": report.packs_dropped, "salvaged": report.salvaged, "bytes_written": report.bytes_written,
                "lost_since": report.lost_since, "points_removed": report.points_removed, "refused": refused,
            });
            if !is_json {
                println!(
                    "{} index objects replaced, {} packs named again, {} dropped, {} chunks written anew, {} points removed",
                    report.index_objects_replaced,
                    report.packs_found,
                    report.packs_dropped,
                    report.salvaged,
                    report.points_removed
                );
            }
        }
        if is_json {
            println!("{value}");
        }
        Ok(is_whole)
    }
}
