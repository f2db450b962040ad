//! Lists as pages, for people and for programs that follow links.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;

use hyper::StatusCode;

use super::date::http_date;
use super::place::Entry;
use super::{Outcome, Refusal};
use crate::host_file::is_temporary;
use crate::server::http::{Response, plain};

struct Line {
    name: String,
    link: String,
    modified: String,
    size: String,
}

pub(super) fn datacenters(paths: &[String]) -> Response {
    let line = |path: &String| Line {
        name: path.clone(),
        link: format!("/folder?dcPath={}", encoded(path)),
        modified: String::new(),
        size: String::new(),
    };
    page("Datacenters", None, paths.iter().map(line))
}

pub(super) fn datastores(datacenter: &str, names: &[String]) -> Response {
    let line = |name: &String| Line {
        name: name.clone(),
        link: format!("/folder?{}", query(datacenter, name)),
        modified: String::new(),
        size: String::new(),
    };
    page(&format!("Datastores in {datacenter}"), Some("/folder".to_owned()), names.iter().map(line))
}

/// What is in a folder, sorted by name, with the folders that are not made yet.
pub(super) fn folder(entry: &Entry, mut unmade: BTreeSet<String>) -> Outcome<Response> {
    let query = query(&entry.datacenter, entry.path.datastore());
    let failed = |error: &io::Error| Refusal::of_io(error, &entry.path);
    let mut lines = Vec::new();
    for found in std::fs::read_dir(&entry.host).map_err(|error| failed(&error))? {
        let found = found.map_err(|error| failed(&error))?;
        let Ok(name) = found.file_name().into_string() else { continue };
        // Files come and go meanwhile.
        let Ok(metadata) = found.metadata() else { continue };
        if is_temporary(&name) {
            continue;
        }
        unmade.remove(&name);
        let modified = metadata.modified().map(http_date).unwrap_or_default();
        lines.push(line(entry, &query, &name, modified, (!metadata.is_dir()).then_some(metadata.len())));
    }
    lines.extend(unmade.iter().map(|name| line(entry, &query, name, String::new(), None)));
    lines.sort_by(|one, other| one.name.cmp(&other.name));
    let parent = match entry.path.relative() {
        "" => format!("/folder?dcPath={}", encoded(&entry.datacenter)),
        _ => match entry.path.parent().relative() {
            "" => format!("/folder?{query}"),
            folder => format!("/folder/{}/?{query}", encoded(folder)),
        },
    };
    Ok(page(&entry.path.to_string(), Some(parent), lines.into_iter()))
}

/// A line for something in a folder: a file has a size, in bytes.
fn line(entry: &Entry, query: &str, name: &str, modified: String, size: Option<u64>) -> Line {
    let inside = match entry.path.relative() {
        "" => encoded(name),
        folder => format!("{}/{}", encoded(folder), encoded(name)),
    };
    let slash = if size.is_some() { "" } else { "/" };
    Line {
        name: format!("{name}{slash}"),
        link: format!("/folder/{inside}{slash}?{query}"),
        modified,
        size: size.map_or_else(|| "-".to_owned(), |size| size.to_string()),
    }
}

fn page(title: &str, parent: Option<String>, lines: impl Iterator<Item = Line>) -> Response {
    let title = escaped(title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body><h1>{title}</h1>\n\
         <table>\n<tr><th>Name</th><th>Last modified</th><th>Size</th></tr>\n"
    );
    // Writing to a String cannot fail.
    if let Some(parent) = parent {
        let _ = writeln!(html, "<tr><td><a href=\"{}\">Parent folder</a></td></tr>", escaped(&parent));
    }
    for line in lines {
        let (link, name) = (escaped(&line.link), escaped(&line.name));
        let _ = writeln!(
            html,
            "<tr><td><a href=\"{link}\">{name}</a></td><td>{}</td><td align=\"right\">{}</td></tr>",
            line.modified, line.size
        );
    }
    html.push_str("</table></body></html>\n");
    plain(StatusCode::OK, "text/html; charset=utf-8", html)
}

fn query(datacenter: &str, datastore: &str) -> String {
    format!("dcPath={}&dsName={}", encoded(datacenter), encoded(datastore))
}

/// Percent-encoded but for slashes and what never has to be.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
