//! Spreads items over files by area.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{BANNER, MAX_LINES};

/// A generated item: the area it belongs to, the name it sorts by, and its text.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) area: String,
    pub(super) name: String,
    pub(super) text: String,
}

/// An area with fewer lines than this has no file of its own; it joins the area `general`.
const SMALL_AREA: usize = 700;

/// Adds `FOLDER.rs`, which lists the areas, and one file an area, or several when it is large.
pub(super) fn add(out: &mut BTreeMap<PathBuf, String>, folder: &str, items: &[Item], head: &str) {
    let mut lines = BTreeMap::<&str, usize>::new();
    for item in items {
        *lines.entry(&item.area).or_default() += item.text.lines().count();
    }
    let mut areas = BTreeMap::<&str, BTreeMap<&str, &str>>::new();
    for item in items {
        let area = if lines.get(item.area.as_str()).is_some_and(|n| *n >= SMALL_AREA) {
            &item.area
        } else {
            "general"
        };
        areas.entry(area).or_default().insert(&item.name, &item.text);
    }
    let mut index = format!("{BANNER}\n\n");
    for (area, items) in areas {
        for (number, text) in split(&items, head).into_iter().enumerate() {
            let module = if number == 0 { area.to_owned() } else { format!("{area}_{}", number + 1) };
            index.push_str(&format!("mod {module};\npub use {module}::*;\n"));
            out.insert(format!("{folder}/{module}.rs").into(), text);
        }
    }
    out.insert(format!("{folder}.rs").into(), index);
}

fn split(items: &BTreeMap<&str, &str>, head: &str) -> Vec<String> {
    let start = format!("{BANNER}\n#![allow(unused_imports)]\n\n{head}");
    let head_lines = start.lines().count();
    let mut files = Vec::new();
    let mut text = start.clone();
    let mut count = head_lines;
    for item in items.values() {
        let lines = item.lines().count() + 1;
        if count + lines > MAX_LINES && count > head_lines {
            files.push(std::mem::replace(&mut text, start.clone()));
            count = head_lines;
        }
        text.push('\n');
        text.push_str(item);
        count += lines;
    }
    files.push(text);
    files
}
