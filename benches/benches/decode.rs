//! How fast a large answer becomes typed values, and these become XML again, against the speed at which quick-xml, the
//! usual tokenizer, merely finds the tags in the same bytes.
//!
//! Allocations are counted over one decoding, as they cost most where the machine is busy; freeing the values is no part of
//! any figure.
//!
//! `cargo bench -p vadp-benches --bench decode -- [--input FILE] [--peers] [--json]`. FILE holds one `RetrievePropertiesEx`
//! response; without it one of 1,000 machines (33 MB) is made. With `--peers`, the decoders of govmomi and pyvmomi (of the
//! Python in `PEER_PYTHON`) read the same document; their seconds are of the processor, in all threads.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use bytes::Bytes;
use quick_xml::events::Event;
use vadp_benches::{Best, Options, decode, inventory, take_turns};
use vim_api::ApiVersion;
use vim_api::dynamic::Element;
use vim_api::soap::Message;
use vim_api::types::RetrieveResult;
use vim_api::xml::{Limits, Writer};

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
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(document.as_bytes())?;
    let allocations = count_allocations(file.path())?;
    let (tokenizer, decoder) = take_turns(ROUNDS, || tokenize(&document), || decode(&message))?;
    let written = encode(&result)?.len();
    let (encoder, _) = take_turns(ROUNDS, || encode(&result), || Ok(()))?;
    let per_kb = allocations / (document.len() as f64 / 1e3);

    println!(
        "{} objects, {elements} elements, {:.1} MB, best of {ROUNDS} turns",
        result.objects.len(),
        mb(&document)
    );
    println!("{:<28} {:>9} {:>9}", "", "seconds", "MB/s");
    for (what, best, bytes) in [
        ("quick-xml, tags only", tokenizer, document.len()),
        ("vim-api, typed values", decoder, document.len()),
        ("vim-api, values to XML", encoder, written),
    ] {
        println!("{what:<28} {:>9.3} {:>9.0}", best.seconds(), best.megabytes_per_second(bytes));
    }
    let peers = if options.peers { decode_by_peers(file.path())? } else { Vec::new() };
    for (name, seconds) in &peers {
        println!("{:<28} {seconds:>9.3} {:>9.0}", format!("{name}, typed values"), mb(&document) / seconds);
    }
    println!("decode runs at {:.2} of the tokenizer's speed", ratio(tokenizer, decoder));
    println!("{per_kb:.1} allocations for each kilobyte decoded");
    if options.json {
        let mut report = serde_json::json!({
            "decode_vs_tokenizer": ratio(tokenizer, decoder),
            "decode_mb_per_s": decoder.megabytes_per_second(document.len()),
            "encode_mb_per_s": encoder.megabytes_per_second(written),
            "allocations_per_kb": per_kb,
            "tokenizer_mb_per_s": tokenizer.megabytes_per_second(document.len()),
            "bytes": document.len(),
        });
        for (name, seconds) in &peers {
            report[format!("{name}_decode_mb_per_s")] = (mb(&document) / seconds).into();
        }
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

/// In another process, whose allocator counts.
fn count_allocations(document: &Path) -> Result<f64, Box<dyn Error>> {
    let counted = Command::new(env!("CARGO_BIN_EXE_count_allocations")).arg(document).output()?;
    if !counted.status.success() {
        return Err(String::from_utf8_lossy(&counted.stderr).into());
    }
    Ok(String::from_utf8(counted.stdout)?.trim().parse()?)
}

/// Names of the peers, and the seconds that each took.
fn decode_by_peers(document: &Path) -> Result<Vec<(&'static str, f64)>, Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/decode/run");
    let ran = Command::new(&script)
        .arg(document)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", script.display()))?;
    if !ran.status.success() {
        return Err(format!("{} ended with {}", script.display(), ran.status).into());
    }
    let printed: serde_json::Value = serde_json::from_slice(&ran.stdout)?;
    let seconds = |name| {
        let seconds = printed[format!("{name}_decode_cpu_s")].as_f64();
        seconds.map(|seconds| (name, seconds)).ok_or_else(|| format!("{name} was not measured").into())
    };
    ["govmomi", "pyvmomi"].into_iter().map(seconds).collect()
}

/// As the client writes an argument.
fn encode(result: &RetrieveResult) -> Result<String, Box<dyn Error>> {
    let mut writer = Writer::new(ApiVersion::LATEST);
    Element::encode(result, "returnval", &mut writer);
    Ok(writer.finish())
}

fn ratio(tokenizer: Best, decoder: Best) -> f64 {
    tokenizer.seconds() / decoder.seconds()
}

fn mb(document: &str) -> f64 {
    document.len() as f64 / 1e6
}
