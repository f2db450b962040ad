//! Where the program's events go: the library only tells of them.

use std::str::FromStr;

use clap::ValueEnum;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The variable that stands in for `--log-level`.
const VARIABLE: &str = "RUST_LOG";

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// An object of JSON.
    Json,
}

/// Which events are written.
#[derive(Debug, Clone)]
pub(crate) struct Filter(Targets);

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no level (off, error, warn, info, debug, trace) and no list of modules with theirs, such as \
                 warn,vsphere_sim=info"
            )
        };
        // A word that is no level would be taken for a module, of which everything is wanted.
        let has_level = |part: &str| {
            part.rsplit_once('=').map_or(part, |(_, level)| level).parse::<LevelFilter>().is_ok()
        };
        if !text.split(',').map(str::trim).all(has_level) {
            return Err(wrong());
        }
        text.parse().map(Self).map_err(|_| wrong())
    }
}

/// Has events written to the standard error from now on. Without a filter, the environment says what.
///
/// # Errors
/// A sentence about what is wrong with the environment's filter.
pub(crate) fn start(format: Format, filter: Option<Filter>) -> Result<(), String> {
    let filter = match (filter, std::env::var(VARIABLE)) {
        (Some(filter), _) => filter.0,
        (None, Ok(text)) if !text.is_empty() => {
            let read: Result<Filter, String> = text.parse();
            read.map_err(|error| format!("the environment variable {VARIABLE}: {error}"))?.0
        }
        _ => Targets::new().with_default(LevelFilter::WARN),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        Format::Text => layer.with_ansi(false).boxed(),
        Format::Json => {
            layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    Ok(())
}
