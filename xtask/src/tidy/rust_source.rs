//! Just enough of Rust's lexical grammar to tell code from comments and literals, and tests from the rest.

/// A Rust file with its comments and the contents of its literals blanked out.
///
/// Blanking keeps every line break, so a line number in the code is a line number in the file.
pub(super) struct RustSource {
    code: String,
    in_tests: Vec<bool>,
}

impl RustSource {
    pub(super) fn new(text: &str) -> Self {
        let code = blank_comments_and_literals(text);
        let in_tests = mark_test_items(&code);
        Self { code, in_tests }
    }

    /// The code alone.
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// Line numbers, counted from 1, of each place where `word` stands as a whole identifier.
    pub(super) fn lines_with_word(&self, word: &str) -> Vec<usize> {
        self.lines_where(|line| words(line).any(|found| found == word))
    }

    /// Line numbers, counted from 1, of each place where the macro `name` is called.
    pub(super) fn lines_with_macro(&self, name: &str) -> Vec<usize> {
        let call = format!("{name}!");
        self.lines_where(|line| {
            line.match_indices(&call).any(|(at, _)| !line[..at].ends_with(is_word_character))
        })
    }

    /// The identifiers that directly follow `before` (such as `pub trait`), each with its line number.
    pub(super) fn names_after(&self, before: &[&str]) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (index, line) in self.code.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            for window in words.windows(before.len() + 1) {
                if window[..before.len()] == *before {
                    let name: String =
                        window[before.len()].chars().take_while(|c| is_word_character(*c)).collect();
                    found.push((index + 1, name));
                }
            }
        }
        found
    }

    /// Whether a line, counted from 1, belongs to an item under `#[cfg(test)]`.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        self.in_tests.get(line.wrapping_sub(1)).copied().unwrap_or(false)
    }

    /// Lines outside the items under `#[cfg(test)]`.
    pub(super) fn production_lines(&self) -> usize {
        self.in_tests.iter().filter(|in_test| !**in_test).count()
    }

    fn lines_where(&self, holds: impl Fn(&str) -> bool) -> Vec<usize> {
        self.code.lines().enumerate().filter(|(_, line)| holds(line)).map(|(index, _)| index + 1).collect()
    }
}

/// The identifiers and keywords of a line of code.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c| !is_word_character(c)).filter(|word| !word.is_empty())
}

fn is_word_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn blank_comments_and_literals(text: &str) -> String {
    let source: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < source.len() {
        let end = match source[at] {
            '/' if source.get(at + 1) == Some(&'/') => end_of_line(&source, at),
            '/' if source.get(at + 1) == Some(&'*') => end_of_block_comment(&source, at),
            '"' => end_of_string(&source, at),
            '\'' => end_of_character(&source, at),
            'r' | 'b' | 'c' if at == 0 || !is_word_character(source[at - 1]) => end_of_prefixed(&source, at),
            _ => at,
        };
        if end == at {
            code.push(source[at]);
            at += 1;
        } else {
            code.extend(source[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

fn end_of_line(source: &[char], start: usize) -> usize {
    source[start..].iter().position(|c| *c == '\n').map_or(source.len(), |length| start + length)
}

/// Block comments nest in Rust.
fn end_of_block_comment(source: &[char], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    while at < source.len() {
        match (source[at], source.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn end_of_string(source: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < source.len() {
        match source[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    source.len()
}

/// A character literal, or `start` itself where the quote begins a lifetime.
fn end_of_character(source: &[char], start: usize) -> usize {
    match (source.get(start + 1), source.get(start + 2)) {
        (Some('\\'), _) => source[(start + 3).min(source.len())..]
            .iter()
            .position(|c| *c == '\'')
            .map_or(source.len(), |length| start + 3 + length + 1),
        (Some(_), Some('\'')) => start + 3,
        _ => start,
    }
}

/// Raw, byte and C literals (`r"…"`, `br#"…"#`, `b'x'`, `c"…"`), or `start` itself where a plain word begins.
fn end_of_prefixed(source: &[char], start: usize) -> usize {
    let prefix: String = source[start..].iter().take_while(|c| c.is_ascii_alphabetic()).collect();
    let mut at = start + prefix.len();
    let hashes = source[at..].iter().take_while(|c| **c == '#').count();
    at += hashes;
    match (prefix.as_str(), source.get(at)) {
        ("r" | "br" | "cr", Some('"')) => {
            let mut close = vec!['"'];
            close.extend(std::iter::repeat_n('#', hashes));
            source[at + 1..]
                .windows(close.len())
                .position(|window| window == close)
                .map_or(source.len(), |length| at + 1 + length + close.len())
        }
        ("b" | "c", Some('"')) if hashes == 0 => end_of_string(source, at),
        ("b", Some('\'')) if hashes == 0 => end_of_character(source, at),
        _ => start,
    }
}

/// For each line, whether it is part of an item under `#[cfg(test)]`.
fn mark_test_items(code: &str) -> Vec<bool> {
    let mut marks = vec![false; code.lines().count()];
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = end_of_item(code, start);
        let first = code[..start].matches('\n').count();
        let last = code[..end].matches('\n').count();
        for mark in marks.iter_mut().take(last + 1).skip(first) {
            *mark = true;
        }
        from = end.max(start + 1);
    }
    marks
}

/// The item ends at the brace that closes its first brace, or at a semicolon outside all brackets.
fn end_of_item(code: &str, start: usize) -> usize {
    let mut braces = 0usize;
    let mut others = 0usize;
    for (offset, byte) in code.as_bytes()[start..].iter().enumerate() {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others = others.saturating_sub(1),
            b'{' => braces += 1,
            b'}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return start + offset;
                }
            }
            b';' if braces == 0 && others == 0 => return start + offset,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(text: &str) -> String {
        RustSource::new(text).code().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        assert_eq!(blank("a // unsafe\nb"), "a b");
        assert_eq!(blank("a /* x /* unsafe */ y */ b"), "a b");
        assert_eq!(blank(r#"f("un\"safe", b"x", c"y")"#), "f( , , )");
        assert_eq!(blank("f(r#\"a \"unsafe\" b\"#, br\"x\\\") + g"), "f( , ) + g");
        assert_eq!(blank(r"m('{', '\'', '\u{7f}', b'}')"), "m( , , , )");
    }

    #[test]
    fn lifetimes_and_words_that_begin_like_prefixes_stay() {
        assert_eq!(blank("fn f<'a>(b: &'a str, r: &'static c::T)"), "fn f<'a>(b: &'a str, r: &'static c::T)");
        assert_eq!(blank("let bar = b; r#type"), "let bar = b; r#type");
    }

    #[test]
    fn an_unclosed_literal_ends_with_the_file() {
        assert_eq!(blank("a \"never closed"), "a");
        assert_eq!(blank("a '\\"), "a");
        assert_eq!(blank("a r##\"x\"#"), "a");
        assert_eq!(blank("a /* b"), "a");
    }

    #[test]
    fn a_word_is_a_whole_identifier() {
        let source =
            RustSource::new("#![forbid(unsafe_code)]\n\nunsafe { x }\nfn unsafe_op_in_unsafe_fn() {}\n");
        assert_eq!(source.lines_with_word("unsafe"), [3]);
    }

    #[test]
    fn a_macro_is_matched_by_its_whole_name() {
        let source = RustSource::new("my_dbg!(1);\ndbg!(2);\nstd::dbg!(3);\n");
        assert_eq!(source.lines_with_macro("dbg"), [2, 3]);
    }

    #[test]
    fn names_follow_their_keywords() {
        let source = RustSource::new("pub trait Seam<T>: Send {}\npub(crate) trait Inner {}\ntrait Own {}\n");
        assert_eq!(source.names_after(&["pub", "trait"]), [(1, "Seam".to_owned())]);
    }

    #[test]
    fn test_items_are_marked_to_their_closing_brace() {
        let text = "fn a() {}\n#[cfg(test)]\nuse x::{y};\n#[cfg(test)]\n#[allow(dead_code)]\nmod tests {\n    fn t() { \"}\"; }\n}\nfn b() {}\n";
        let source = RustSource::new(text);
        let marked: Vec<usize> = (1..=9).filter(|line| source.is_test_line(*line)).collect();
        assert_eq!(marked, [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(source.production_lines(), 2);
    }
}
