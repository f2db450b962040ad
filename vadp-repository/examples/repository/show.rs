//! What is found out, for people or as JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vadp_repository::{
    CheckReport, DayGrowth, PackAction, PointInfo, PointListing, PrunePlan, PruneReport, RebuildReport,
    RestorePoint, Statistics,
};

/// One line either way.
pub fn line(is_json: bool, value: &Value, text: impl FnOnce() -> String) {
    match is_json {
        true => println!("{value}"),
        false => println!("{}", text()),
    }
}

pub fn points(is_json: bool, listing: &PointListing) {
    if is_json {
        let unreadable = listing.unreadable.iter();
        let unreadable: Vec<_> = unreadable
            .map(|point| json!({"id": point.id.to_string(), "problem": point.error.to_string()}))
            .collect();
        let points: Vec<_> = listing.points.iter().map(of_info).collect();
        return println!("{}", json!({"points": points, "unreadable": unreadable}));
    }
    for point in &listing.points {
        let capacity: u64 = point.disks.iter().map(|disk| disk.capacity_bytes).sum();
        let machine = point.machine.as_str().escape_debug();
        println!("{}  {}  {:>10}  {machine}", point.id, date(point.created), size(capacity));
    }
    for point in &listing.unreadable {
        println!("{}  cannot be read: {}", point.id, point.error);
    }
}

pub fn point(is_json: bool, point: &RestorePoint) {
    if is_json {
        return println!("{}", of_info(point.info()));
    }
    println!("restore point {}", point.id());
    println!("machine       {}", point.machine().as_str().escape_debug());
    println!("created       {} UTC", date(point.created()));
    point.parent().iter().for_each(|parent| println!("parent        {parent}"));
    println!("metadata      {}", size(point.metadata().len() as u64));
    point.tags().iter().for_each(|(key, value)| println!("tag           {key:?} = {value:?}"));
    for disk in point.disks() {
        let summary = &disk.summary;
        println!(
            "disk {:?}: {}; read {}, new {} ({} stored), known {}, zero {}",
            disk.key,
            size(disk.capacity_bytes),
            size(summary.read_bytes),
            size(summary.new_bytes),
            size(summary.stored_bytes),
            size(summary.dedup_bytes),
            size(summary.zero_bytes)
        );
    }
}

pub fn check(is_json: bool, report: &CheckReport) {
    let damage = report.damage.iter().map(|damage| {
        let lost = damage.lost.iter().map(|lost| {
            json!({"point": lost.point.to_string(), "machine": lost.machine.as_str(), "disk": lost.disk,
                "from": lost.bytes.start, "to": lost.bytes.end})
        });
        json!({"object": damage.object, "problem": damage.problem, "lost": lost.collect::<Vec<_>>()})
    });
    let value = json!({
        "ok": report.is_ok(), "points": report.points, "packs": report.packs, "chunks": report.chunks,
        "verified_bytes": report.verified_bytes, "damage": damage.collect::<Vec<_>>(),
        "unneeded_bytes": report.leftovers.unneeded_bytes, "orphan_packs": report.leftovers.packs.len(),
    });
    line(is_json, &value, || report.to_string());
}

pub fn plan(is_json: bool, plan: &PrunePlan, is_quiet: bool) {
    let of = |action| {
        let (count, bytes) = plan.total(action);
        json!({"packs": count, "bytes": bytes})
    };
    let points = plan.points().iter().map(|verdict| {
        let reasons: Vec<String> = verdict.reasons.iter().map(ToString::to_string).collect();
        json!({"id": verdict.point.id.to_string(), "stays": verdict.stays(), "reasons": reasons})
    });
    if is_json {
        let value = json!({
            "points": points.collect::<Vec<_>>(), "keep": of(PackAction::Keep), "wait": of(PackAction::Wait),
            "mark": of(PackAction::Mark), "rewrite": of(PackAction::Rewrite), "restore": of(PackAction::Restore),
            "delete": of(PackAction::Delete), "forget": of(PackAction::Forget),
        });
        println!("{value}");
    } else if !is_quiet {
        print!("{plan}");
    }
}

pub fn pruned(is_json: bool, report: &PruneReport) {
    let refused: Vec<_> =
        report.refused.iter().map(|(name, why)| json!({"object": name, "why": why})).collect();
    let damaged: Vec<_> =
        report.damaged.iter().map(|(pack, why)| json!({"pack": pack.to_string(), "why": why})).collect();
    let value = json!({
        "points_removed": report.points_removed, "packs_marked": report.packs_marked,
        "packs_rewritten": report.packs_rewritten, "packs_restored": report.packs_restored,
        "packs_deleted": report.packs_deleted, "bytes_written": report.bytes_written,
        "bytes_deleted": report.bytes_deleted, "bytes_marked": report.bytes_marked,
        "refused": refused, "damaged": damaged,
    });
    line(is_json, &value, || {
        let mut text = format!(
            "{} restore points removed, {} packs marked, {} rewritten, {} deleted: {} given back, {} more by a later prune",
            report.points_removed,
            report.packs_marked,
            report.packs_rewritten,
            report.packs_deleted,
            size(report.bytes_deleted),
            size(report.bytes_marked)
        );
        report.refused.iter().for_each(|(name, why)| text += &format!("\nthe store keeps {name}: {why}"));
        report.damaged.iter().for_each(|(pack, why)| text += &format!("\npack {pack} is damaged: {why}"));
        text
    });
}

pub fn rebuilt(is_json: bool, report: &RebuildReport) {
    let damaged: Vec<_> =
        report.damaged.iter().map(|(pack, why)| json!({"pack": pack.to_string(), "why": why})).collect();
    let value = json!({
        "packs_found": report.packs_found, "chunks_found": report.chunks_found,
        "objects_replaced": report.objects_replaced, "damaged": damaged,
    });
    line(is_json, &value, || {
        let mut text = format!(
            "{} packs with {} chunks found again, {} damaged index objects replaced",
            report.packs_found, report.chunks_found, report.objects_replaced
        );
        report.damaged.iter().for_each(|(pack, why)| text += &format!("\npack {pack} is damaged: {why}"));
        report.refused.iter().for_each(|(name, why)| text += &format!("\nthe store keeps {name}: {why}"));
        text
    });
}

pub fn statistics(is_json: bool, statistics: &Statistics, growth: &[DayGrowth]) {
    // How many times over the stored bytes would be needed without the one and the other.
    let ratio = |more: u64, less: u64| if less == 0 { 1.0 } else { more as f64 / less as f64 };
    let dedup = ratio(statistics.logical_bytes, statistics.chunk_bytes);
    let compression = ratio(statistics.chunk_bytes, statistics.stored_bytes);
    let days = growth.iter().map(|day| {
        json!({"day": &date(day.day)[..10], "points": day.points, "logical_bytes": day.logical_bytes,
            "read_bytes": day.read_bytes, "new_bytes": day.new_bytes, "stored_bytes": day.stored_bytes})
    });
    let days: Vec<_> = days.collect();
    let value = json!({
        "points": statistics.points, "machines": statistics.machines, "logical_bytes": statistics.logical_bytes,
        "chunks": statistics.chunks, "chunk_bytes": statistics.chunk_bytes,
        "stored_bytes": statistics.stored_bytes, "packs": statistics.packs, "pack_bytes": statistics.pack_bytes,
        "index_objects": statistics.index_objects, "index_bytes": statistics.index_bytes,
        "total_bytes": statistics.total_bytes(), "dedup_ratio": dedup, "compression_ratio": compression,
        "growth": days,
    });
    line(is_json, &value, || {
        let mut text = format!(
            "{} restore points of {} machines\n{} in full images\n{} in {} different chunks ({dedup:.1} times less)\n{} compressed \
             and sealed ({compression:.1} times less)\n{} in all: {} packs, {} index objects",
            statistics.points,
            statistics.machines,
            size(statistics.logical_bytes),
            size(statistics.chunk_bytes),
            statistics.chunks,
            size(statistics.stored_bytes),
            size(statistics.total_bytes()),
            statistics.packs,
            statistics.index_objects
        );
        if !growth.is_empty() {
            text += "\n\nday         points        full        read         new      stored";
        }
        for day in growth {
            text += &format!(
                "\n{}  {:>6}  {:>10}  {:>10}  {:>10}  {:>10}",
                &date(day.day)[..10],
                day.points,
                size(day.logical_bytes),
                size(day.read_bytes),
                size(day.new_bytes),
                size(day.stored_bytes)
            );
        }
        text
    });
}

fn of_info(point: &PointInfo) -> Value {
    let disks = point.disks.iter().map(|disk| {
        json!({"key": disk.key, "capacity_bytes": disk.capacity_bytes, "read_bytes": disk.summary.read_bytes,
            "new_bytes": disk.summary.new_bytes, "stored_bytes": disk.summary.stored_bytes})
    });
    json!({
        "id": point.id.to_string(), "machine": point.machine.as_str(), "created": date(point.created),
        "parent": point.parent().map(|id| id.to_string()), "tags": point.tags, "disks": disks.collect::<Vec<_>>(),
    })
}

pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// `2026-11-27 14:05:09`, UTC. Years beyond 9999 are not written, nor those before 1970.
pub fn date(time: SystemTime) -> String {
    let is_written = time.duration_since(UNIX_EPOCH).is_ok_and(|since| since.as_secs() < 253_402_300_800);
    let text = humantime::format_rfc3339_seconds(if is_written { time } else { UNIX_EPOCH }).to_string();
    text.trim_end_matches('Z').replace('T', " ")
}
