//! The figures of the house, printed for information; the limits among them are checked elsewhere.

use std::fmt;

use super::fence::is_inside_fence;
use super::seams::public_traits;
use super::tree::Tree;

/// Sizes and counts over the whole tree.
pub(super) struct Figures {
    production: Spread,
    crate_roots: Spread,
    examples: Spread,
    generated: Spread,
    unsafe_lines_inside: usize,
    public_traits: Vec<String>,
}

pub(super) fn measure(tree: &Tree) -> Figures {
    let sources = || tree.handwritten().filter(|file| !file.is_test());
    let mut traits: Vec<String> = public_traits(tree).into_iter().map(|(_, _, name)| name).collect();
    traits.sort();
    Figures {
        production: Spread::of(
            sources().filter_map(|file| file.rust.as_ref()).map(|rust| rust.production_lines()),
        ),
        crate_roots: Spread::of(
            sources().filter(|file| file.name() == "lib.rs").map(|file| file.line_count()),
        ),
        examples: Spread::of(
            sources().filter(|file| file.path.starts_with("examples/")).map(|file| file.line_count()),
        ),
        generated: Spread::of(
            tree.files().iter().filter(|file| file.is_generated()).map(|file| file.line_count()),
        ),
        unsafe_lines_inside: tree
            .files()
            .iter()
            .filter(|file| is_inside_fence(&file.path) && !file.is_generated())
            .filter_map(|file| file.rust.as_ref())
            .map(|rust| rust.lines_with_word("unsafe").len())
            .sum(),
        public_traits: traits,
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "lines per file                 files  median    p90    max      sum")?;
        writeln!(f, "handwritten, without tests     {}", self.production)?;
        writeln!(f, "lib.rs                         {}", self.crate_roots)?;
        writeln!(f, "examples                       {}", self.examples)?;
        writeln!(f, "generated                      {}", self.generated)?;
        writeln!(f, "lines with unsafe inside the fence: {}", self.unsafe_lines_inside)?;
        write!(f, "public traits: {} ({})", self.public_traits.len(), self.public_traits.join(", "))
    }
}

/// How a set of line counts is spread.
struct Spread(Vec<usize>);

impl Spread {
    fn of(counts: impl Iterator<Item = usize>) -> Self {
        let mut counts: Vec<usize> = counts.collect();
        counts.sort_unstable();
        Self(counts)
    }

    /// The smallest count that at least `percent` of the files do not exceed; 0 for no files.
    fn percentile(&self, percent: usize) -> usize {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, p90, max) = (self.percentile(50), self.percentile(90), self.percentile(100));
        write!(f, "{:>5}  {median:>6}  {p90:>5}  {max:>5}  {:>7}", self.0.len(), self.0.iter().sum::<usize>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let spread = Spread::of((1..=10).rev());
        assert_eq!((spread.percentile(50), spread.percentile(90), spread.percentile(100)), (5, 9, 10));
        assert_eq!(Spread::of([7].into_iter()).percentile(50), 7);
        assert_eq!(Spread::of(std::iter::empty()).percentile(90), 0);
    }

    #[test]
    fn tests_and_generated_code_are_not_counted_as_production() {
        let figures = measure(&Tree::of(&[
            ("a/src/lib.rs", "//! A.\n#[cfg(test)]\nmod tests {\n}\n"),
            ("a/tests/b.rs", "x\n"),
            ("a/src/ffi/c.rs", "unsafe fn f() {}\n"),
            ("vim-api/src/generated/t.rs", "x\nx\n"),
        ]));
        assert_eq!(figures.production.0, [1, 1]);
        assert_eq!(figures.generated.0, [2]);
        assert_eq!(figures.unsafe_lines_inside, 1);
    }
}
