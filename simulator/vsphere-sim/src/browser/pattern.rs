//! Patterns of file names: `*` for any characters, `?` for one.

/// Of which a name has to fit one; any name fits none.
pub(super) struct Patterns {
    patterns: Vec<Vec<char>>,
    any_case: bool,
}

impl Patterns {
    pub(super) fn new(patterns: Vec<String>, any_case: bool) -> Self {
        let patterns = patterns.iter().map(|pattern| letters(pattern, any_case)).collect();
        Self { patterns, any_case }
    }

    pub(super) fn fit(&self, name: &str) -> bool {
        let name = letters(name, self.any_case);
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| fits(pattern, &name))
    }
}

fn letters(text: &str, any_case: bool) -> Vec<char> {
    if any_case { text.to_lowercase().chars().collect() } else { text.chars().collect() }
}

/// Goes back to the last star only, so the work grows with the product of the lengths and not faster.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&letter) if letter == '?' || letter == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&letter| letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        let fit =
            |pattern: &str, name: &str, any_case| Patterns::new(vec![pattern.to_owned()], any_case).fit(name);
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "vm.vmdk", true),
            ("*.vmdk", "vm.vmdk", true),
            ("*.vmdk", "vm.vmdk.old", false),
            ("vm-??????.vmdk", "vm-000001.vmdk", true),
            ("vm-?.vmdk", "vm-.vmdk", false),
            ("?", "ü", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*ab", "aab", true),
            ("a.c", "abc", false),
            ("[ab]", "a", false),
            ("", "a", false),
            ("*.VMDK", "vm.vmdk", false),
        ] {
            assert_eq!(fit(pattern, name, false), expected, "{pattern} {name}");
        }
        assert!(fit("*.VMDK", "Vm.vmDK", true));
        assert!(Patterns::new(Vec::new(), false).fit("any"));
        assert!(Patterns::new(vec!["x".to_owned(), "y".to_owned()], false).fit("y"));
        // A matcher that tries everything would not come back from this.
        assert!(!fit(&"a*".repeat(60), &"a".repeat(2000).replacen('a', "b", 1), false));
    }
}
