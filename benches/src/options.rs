use std::path::PathBuf;

/// What a bench understands on its command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `--json`: one JSON object as the last line.
    pub json: bool,
    /// `--peers`: measure other people's software on the same work, too.
    pub peers: bool,
    /// `--whole`: measure at the whole size, where less is measured otherwise.
    pub whole: bool,
    /// `--input FILE`: measure on this document.
    pub input: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments behind the program's name. Cargo adds `--bench` to them, which says nothing here.
    ///
    /// # Errors
    /// Says which argument is not understood.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--json" => options.json = true,
                "--peers" => options.peers = true,
                "--whole" => options.whole = true,
                "--input" => {
                    options.input = Some(arguments.next().ok_or("--input needs the name of a file")?.into());
                }
                other => {
                    return Err(format!(
                        "{other} is not understood; there are --json, --peers, --whole and --input FILE"
                    ));
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn takes_what_cargo_adds() {
        let options = Options { json: true, peers: true, whole: true, input: Some("big.xml".into()) };
        assert_eq!(parse("--json --peers --whole --input big.xml --bench"), Ok(options));
        assert_eq!(parse("--bench"), Ok(Options::default()));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert!(parse("--jsno").unwrap_err().contains("--jsno"));
        assert!(parse("--input").unwrap_err().contains("--input"));
    }
}
