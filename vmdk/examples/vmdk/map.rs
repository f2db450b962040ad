//! `vmdk map`.

use std::process::ExitCode;

use serde_json::json;
use vmdk::{Span, State};

use crate::DiskArguments;

pub(crate) fn run(arguments: &DiskArguments) -> anyhow::Result<ExitCode> {
    let disk = arguments.open.options().open_path(&arguments.path)?;
    let mut allocated = 0;
    let mut spans = Vec::new();
    for span in disk.map(0..disk.capacity()) {
        let span = span?;
        if span.state == State::Data {
            allocated += span.length;
        }
        if arguments.json {
            spans.push(json!({ "offset": span.offset, "length": span.length, "state": name_of(&span), "link": span.link }));
        } else {
            let link = span.link.and_then(|depth| disk.links().get(depth)).map_or("", |link| link.name());
            println!("{:>16} {:>16} {:<11} {link}", span.offset, span.length, name_of(&span));
        }
    }
    if arguments.json {
        println!("{}", json!({ "capacity": disk.capacity(), "allocated": allocated, "spans": spans }));
    } else {
        println!("{allocated} of {} bytes are data", disk.capacity());
    }
    Ok(ExitCode::SUCCESS)
}

fn name_of(span: &Span) -> &'static str {
    match span.state {
        State::Data => "data",
        State::Zero => "zero",
        State::Unallocated => "unallocated",
    }
}
