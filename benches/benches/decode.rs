//! How fast a large answer becomes typed values, against the speed at which quick-xml, the usual tokenizer, merely finds
//! the tags in the same bytes.
//!
//! `cargo bench -p vadp-benches --bench decode -- [--input FILE] [--json]`. FILE holds one `RetrievePropertiesEx`
//! response; without it one of 1,000 machines (33 MB) is made.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use bytes::Bytes;
use quick_xml::events::Event;
use vadp_benches::{Best, Options, inventory, take_turns};
use vim_api::dynamic::Element;
use vim_api::soap::{self, Message, Outcome};
use vim_api::types::RetrieveResult;
use vim_api::xml::Limits;

const MACHINES: usize = 1000;
const ROUNDS: u32 = 15;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("decode: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let document = match &options.input {
        Some(file) => std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?,
        None => inventory::document(MACHINES),
    };
    let message = Message::new(Bytes::from(document.clone()), Limits::default());
    let elements = tokenize(&document)?;
    let result = decode(&message)?;
    if result.objects.is_empty() {
        return Err("the document holds no objects, so there is nothing to measure".into());
    }
    let (tokenizer, decoder) = take_turns(ROUNDS, || tokenize(&document), || decode(&message))?;

    println!(
        "{} objects, {elements} elements, {:.1} MB, best of {ROUNDS} turns",
        result.objects.len(),
        mb(&document)
    );
    println!("{:<28} {:>9} {:>9}", "", "seconds", "MB/s");
    for (what, best) in [("quick-xml, tags only", tokenizer), ("vim-api, typed values", decoder)] {
        println!("{what:<28} {:>9.3} {:>9.0}", best.seconds(), best.megabytes_per_second(document.len()));
    }
    println!("decode runs at {:.2} of the tokenizer's speed", ratio(tokenizer, decoder));
    if options.json {
        let report = serde_json::json!({
            "decode_vs_tokenizer": ratio(tokenizer, decoder),
            "decode_mb_per_s": decoder.megabytes_per_second(document.len()),
            "tokenizer_mb_per_s": tokenizer.megabytes_per_second(document.len()),
            "bytes": document.len(),
        });
        println!("{report}");
    }
    Ok(())
}

/// Counts the elements.
fn tokenize(document: &str) -> Result<usize, Box<dyn Error>> {
    let mut reader = quick_xml::Reader::from_str(document);
    let mut elements = 0;
    loop {
        match reader.read_event()? {
            Event::Start(_) | Event::Empty(_) => elements += 1,
            Event::Eof => return Ok(elements),
            _ => {}
        }
    }
}

/// As the client reads an answer.
fn decode(message: &Message) -> Result<RetrieveResult, Box<dyn Error>> {
    let outcome = soap::reply(message, |reader| {
        let start = reader.expect_child("returnval")?;
        let value = RetrieveResult::decode(reader, &start)?;
        match reader.next_child()? {
            None => Ok(value),
            Some(more) => Err(reader.unexpected(format!("a second <{}>", more.local()))),
        }
    })?;
    match outcome {
        Outcome::Returned(result) => Ok(result),
        Outcome::Fault(fault) => Err(format!("the document is a fault: {}", fault.message).into()),
    }
}

fn ratio(tokenizer: Best, decoder: Best) -> f64 {
    tokenizer.seconds() / decoder.seconds()
}

fn mb(document: &str) -> f64 {
    document.len() as f64 / 1e6
}
