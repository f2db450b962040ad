//! Relative links in Markdown point at something, and every page of the book is in its table of contents.

use super::Breach;
use super::tree::{File, Tree};

pub(super) const LINK: &str = "link";
pub(super) const SUMMARY: &str = "book-summary";

const CONTENTS: &str = "docs/SUMMARY.md";

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.files().iter().filter(|file| file.is_markdown()) {
        for link in relative_links(&file.text) {
            if let Err(reason) = resolve(tree, file, &link.target) {
                breaches.push(Breach::at(&file.path, link.line, LINK, reason));
            }
        }
    }
    let listed: Vec<String> = tree
        .file(CONTENTS)
        .into_iter()
        .flat_map(|file| relative_links(&file.text))
        .filter_map(|link| join(CONTENTS, link.target.split('#').next().unwrap_or_default()))
        .collect();
    for file in tree.files() {
        let is_page = file.path.starts_with("docs/") && file.is_markdown() && file.path != CONTENTS;
        if is_page && !listed.contains(&file.path) {
            breaches.push(Breach::of_file(
                &file.path,
                SUMMARY,
                format!("the page is not listed in {CONTENTS}"),
            ));
        }
    }
    breaches
}

struct Link {
    line: usize,
    target: String,
}

/// Inline links that name no scheme, outside code.
fn relative_links(markdown: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut in_fence = false;
    for (index, line) in markdown.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
            continue;
        }
        if in_fence {
            continue;
        }
        // Every second piece between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for (at, _) in prose.match_indices("](") {
            let target: String = prose[at + 2..].chars().take_while(|c| *c != ')' && *c != ' ').collect();
            if !target.contains("://") && !target.starts_with("mailto:") {
                links.push(Link { line: index + 1, target });
            }
        }
    }
    links
}

fn resolve(tree: &Tree, from: &File, target: &str) -> Result<(), String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        from.path.clone()
    } else {
        join(&from.path, path).ok_or_else(|| format!("the link {target} leaves the repository"))?
    };
    if !tree.has(&path) {
        return Err(format!("the link {target} points at {path}, which is not there"));
    }
    match tree.file(&path) {
        Some(page)
            if !anchor.is_empty()
                && page.is_markdown()
                && !anchors(&page.text).contains(&anchor.to_owned()) =>
        {
            Err(format!("{path} has no heading for #{anchor}"))
        }
        _ => Ok(()),
    }
}

/// `target` as seen from the file `from`, both relative to the root. `None` where it leaves the root.
fn join(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The anchors of a page's headings, made as renderers make them: lower case, blanks to dashes, punctuation out.
fn anchors(markdown: &str) -> Vec<String> {
    let mut in_fence = false;
    let mut anchors = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence && line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            anchors.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(&'static str, usize)> {
        check(&Tree::of(files)).iter().map(|breach| (breach.rule, breach.line)).collect()
    }

    #[test]
    fn links_are_followed_from_the_file_that_holds_them() {
        let page =
            ("docs/a.md", "[up](../README.md) [down](b/c.md#the-part)\n[out](https://example.org/x)\n");
        let other = ("docs/b/c.md", "# Top\n## The `part`!\n");
        let contents = (CONTENTS, "[a](a.md)\n[c](b/c.md)\n");
        assert_eq!(found(&[page, other, contents, ("README.md", "[a](#gone)\n")]), [(LINK, 1)]);
        assert_eq!(found(&[page, contents]), [(LINK, 1), (LINK, 1), (LINK, 2)]);
        assert_eq!(found(&[("a.md", "[x](../out.md)\n")]), [(LINK, 1)]);
    }

    #[test]
    fn a_missing_heading_is_a_missing_target() {
        assert_eq!(found(&[("a.md", "# One two\n[x](#one-two) [y](#three)\n")]), [(LINK, 2)]);
    }

    #[test]
    fn code_holds_no_links() {
        assert_eq!(found(&[("a.md", "`[x](gone.md)`\n```\n[x](gone.md)\n```\n")]), []);
    }

    #[test]
    fn every_page_is_in_the_contents() {
        let contents = (CONTENTS, "[a](a.md)\n");
        assert_eq!(found(&[contents, ("docs/a.md", ""), ("docs/b/c.md", "")]), [(SUMMARY, 0)]);
    }
}
