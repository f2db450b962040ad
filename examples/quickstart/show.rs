//! What a person sees: progress bars on a terminal, plain lines elsewhere. All of it goes to standard error.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Mutex;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use vadp::{Event, Phase};

use crate::report::Report;

/// A terminal, or a log.
pub(crate) struct Show {
    bars: Option<MultiProgress>,
    open: Mutex<HashMap<(i32, &'static str), ProgressBar>>,
}

impl Show {
    pub(crate) fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, open: Mutex::default() }
    }

    pub(crate) fn headline(&self, text: &str) {
        self.line(&format!("== {text}"));
    }

    pub(crate) fn line(&self, text: &str) {
        match &self.bars {
            // Bars that are not drawn (a window of no height) swallow lines; they go out plainly then.
            Some(bars) if bars.println(text).is_ok() => {}
            _ => eprintln!("{text}"),
        }
    }

    /// Where the workflows tell what they do.
    pub(crate) fn events(&self) -> impl Fn(Event<'_>) + Send + Sync + '_ {
        |event| match event {
            Event::DiskPlanned { label, decision, to_read, capacity, .. } => {
                let (to_read, capacity) = (HumanBytes(to_read), HumanBytes(capacity));
                self.line(&format!("   {label}: {decision}; {to_read} of {capacity} to read"));
            }
            Event::DiskProgress { key, phase, done, total, .. } => {
                self.progress(key, name(phase), done, total)
            }
            Event::DiskDone { key } => self.done(key),
            Event::SnapshotTaken { name, consistency } => {
                self.line(&format!("   snapshot {name} taken, {consistency}"));
            }
            Event::SnapshotRemoved { name } => self.line(&format!("   snapshot {name} removed")),
            Event::Committed { point } => self.line(&format!("   restore point {point} committed")),
            Event::Swept(swept) => self.line(&format!("   cleaned up after an earlier run: {swept:?}")),
            _ => {}
        }
    }

    /// The figures: a table for people, and one line of JSON on standard output if asked for.
    pub(crate) fn finish(&self, report: &Report, json: bool) -> anyhow::Result<()> {
        let bytes = HumanBytes;
        self.headline("done");
        self.line(&format!(
            "   disks        {} in size, {} allocated",
            bytes(report.capacity_bytes),
            bytes(report.allocated_bytes)
        ));
        for (name, copied) in [("full", &report.full), ("incremental", &report.incremental)] {
            let source = copied.change_source.as_ref().map(|s| format!(" ({s})")).unwrap_or_default();
            self.line(&format!(
                "   {name:<12} {} read, {} stored in {:.1} s{source}",
                bytes(copied.read_bytes),
                bytes(copied.stored_bytes),
                copied.seconds
            ));
        }
        for restored in &report.restores {
            let verdict = if restored.identical { "identical" } else { "DIFFERS" };
            self.line(&format!(
                "   restore      {} written, {} verified in {:.1} s: {verdict}",
                bytes(restored.written_bytes),
                bytes(restored.verified_bytes),
                restored.seconds
            ));
        }
        self.line(&format!(
            "   left behind  {} snapshots, {} sessions, {} journal entries",
            report.snapshots_left, report.sessions_left, report.journal_entries_left
        ));
        if json {
            println!("{}", serde_json::to_string(report)?);
        }
        Ok(())
    }

    fn progress(&self, key: i32, phase: &'static str, done: u64, total: u64) {
        let Some(bars) = &self.bars else { return };
        let Ok(mut open) = self.open.lock() else { return };
        let bar = open.entry((key, phase)).or_insert_with(|| {
            let style =
                "   {prefix:<16} {wide_bar} {bytes:>11} / {total_bytes:<11} {binary_bytes_per_sec:>13}";
            let bar = bars.add(ProgressBar::new(total));
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_prefix(format!("disk {key} {phase}"));
            bar
        });
        bar.set_position(done);
    }

    fn done(&self, key: i32) {
        let Ok(mut open) = self.open.lock() else { return };
        open.retain(|(of, _), bar| {
            if *of == key {
                bar.finish_and_clear();
            }
            *of != key
        });
        drop(open);
        if self.bars.is_none() {
            self.line(&format!("   disk {key} done"));
        }
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Backup => "backup",
        Phase::Write => "restore",
        _ => "verify",
    }
}
