//! The text of a group: sections of values.

use crate::error::{Error, Result};

/// Sections within sections.
const DEEPEST: usize = 16;
/// Values of one text.
const MOST: usize = 1 << 20;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(String),
    List(Vec<Value>),
    Section(Section),
}

/// Names and their values in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section(pub(super) Vec<(String, Value)>);

impl Section {
    fn get(&self, name: &str) -> Result<&Value> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value).ok_or_else(|| Error::damaged(format!("the text of LVM has no {name}")))
    }

    pub(super) fn number(&self, name: &str) -> Result<u64> {
        match self.get(name)? {
            Value::Number(number) => Ok(*number),
            _ => Err(Error::damaged(format!("{name} in the text of LVM is no number"))),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&str> {
        match self.get(name)? {
            Value::Text(text) => Ok(text),
            _ => Err(Error::damaged(format!("{name} in the text of LVM is no string"))),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<&[Value]> {
        match self.get(name)? {
            Value::List(list) => Ok(list),
            _ => Err(Error::damaged(format!("{name} in the text of LVM is no list"))),
        }
    }

    pub(super) fn section(&self, name: &str) -> Result<&Self> {
        match self.get(name)? {
            Value::Section(section) => Ok(section),
            _ => Err(Error::damaged(format!("{name} in the text of LVM is no section"))),
        }
    }
}

/// All of a text.
pub(super) fn parse(text: &str) -> Result<Section> {
    let mut parser = Parser { rest: text, values: 0 };
    let section = parser.section(0)?;
    match parser.peek() {
        None => Ok(section),
        Some(_) => Err(bad()),
    }
}

fn bad() -> Error {
    Error::damaged("the text of LVM cannot be understood")
}

struct Parser<'a> {
    rest: &'a str,
    values: usize,
}

impl<'a> Parser<'a> {
    /// The next character that is neither space nor comment.
    fn peek(&mut self) -> Option<char> {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => return self.rest.chars().next(),
            }
        }
    }

    fn take(&mut self, wanted: char) -> Result<()> {
        self.peek();
        self.rest = self.rest.strip_prefix(wanted).ok_or_else(bad)?;
        Ok(())
    }

    /// Up to the end of the text or a closing brace, which is left.
    fn section(&mut self, depth: usize) -> Result<Section> {
        let mut section = Section::default();
        while let Some(next) = self.peek() {
            if next == '}' {
                break;
            }
            let name = self.word()?.to_owned();
            let value = match self.peek() {
                Some('=') => {
                    self.take('=')?;
                    self.value(depth)?
                }
                Some('{') if depth < DEEPEST => {
                    self.take('{')?;
                    let section = self.section(depth + 1)?;
                    self.take('}')?;
                    Value::Section(section)
                }
                _ => return Err(bad()),
            };
            self.count()?;
            section.0.push((name, value));
        }
        Ok(section)
    }

    fn count(&mut self) -> Result<()> {
        self.values += 1;
        match self.values <= MOST {
            true => Ok(()),
            false => Err(Error::too_large("a text of LVM of more than a million values")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        match self.peek() {
            Some('"') => self.string().map(Value::Text),
            Some('[') if depth < DEEPEST => {
                self.take('[')?;
                let mut list = Vec::new();
                while self.peek() != Some(']') {
                    list.push(self.value(depth + 1)?);
                    self.count()?;
                    if self.peek() == Some(',') {
                        self.take(',')?;
                    }
                }
                self.take(']')?;
                Ok(Value::List(list))
            }
            Some(_) => {
                let word = self.word()?;
                // Numbers with a sign or a point are of no use here.
                Ok(word.parse().map_or_else(|_| Value::Text(word.to_owned()), Value::Number))
            }
            None => Err(bad()),
        }
    }

    fn string(&mut self) -> Result<String> {
        self.take('"')?;
        let mut string = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(string);
                }
                '\\' => string.extend(characters.next().map(|(_, escaped)| escaped)),
                _ => string.push(character),
            }
        }
        Err(bad())
    }

    fn word(&mut self) -> Result<&'a str> {
        self.peek();
        let is_end = |character: char| character.is_whitespace() || "={}[],\"#".contains(character);
        let (word, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest;
        if word.is_empty() { Err(bad()) } else { Ok(word) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_lists_and_comments() {
        let text = "# comment\nvg0 { seqno = 3 # more\n list = [\"pv0\", 0, \"a \\\"b\\\"\"]\n inner { x = -1 } }\ncontents = \"Text\"\n";
        let parsed = parse(text).unwrap();
        let group = parsed.section("vg0").unwrap();
        assert_eq!(group.number("seqno").unwrap(), 3);
        let list = [Value::Text("pv0".into()), Value::Number(0), Value::Text("a \"b\"".into())];
        assert_eq!(group.list("list").unwrap(), list);
        assert_eq!(parsed.text("contents").unwrap(), "Text");
    }

    #[test]
    fn what_is_cut_or_too_deep_is_refused() {
        for bad in [
            "vg {",
            "vg }",
            "a = ",
            "a = [1",
            "a = \"x",
            "= 1",
            &"a {".repeat(100_000),
            &format!("a = {}", "[".repeat(100_000)),
        ] {
            assert!(parse(bad).is_err(), "{}", &bad[..bad.len().min(20)]);
        }
    }
}
