//! Counts the allocations of one decoding of the document named on the command line, for the decode benchmark.
//!
//! A program of its own, as a counting allocator slows down whatever runs over it.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use bytes::Bytes;
use vadp_benches::decode;
use vim_api::soap::Message;
use vim_api::xml::Limits;

fn main() -> ExitCode {
    match run() {
        Ok(count) => {
            println!("{count}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("count_allocations: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u64, Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("name the document")?;
    let message = Message::new(Bytes::from(std::fs::read(file)?), Limits::default());
    let mut result = None;
    let counted = allocation_counter::measure(|| result = Some(decode(&message)));
    match result {
        Some(Ok(_)) => Ok(counted.count_total),
        Some(Err(error)) => Err(error),
        None => Err("nothing was measured".into()),
    }
}
