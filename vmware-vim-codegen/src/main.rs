//! Command line of the generator; `cargo xtask codegen` runs the same code with the project's paths.
#![forbid(unsafe_code)]

use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use vmware_vim_codegen::{Options, generate};

const USAGE: &str = "\
Turns a vSphere WSDL set into Rust.

usage: vmware-vim-codegen --wsdl DIR [--sidecar FILE] [--beside FILE]... --out DIR [--check]

  --wsdl DIR      folder with vim.wsdl and the schemas it includes
  --sidecar FILE  JSON with what a WSDL cannot say (owners, properties, versions)
  --beside FILE   WSDL of a service that imports the types of the first, such as pbm.wsdl, with its sidecar in the same folder
  --out DIR       folder of the generated files; hand-written files in it are left alone
  --check         change nothing; exit with 1 and name the files if any would change
";

fn main() -> ExitCode {
    let options = match parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprint!("vmware-vim-codegen: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match generate(&options) {
        Ok(report) => {
            let (written, removed) = (report.written.len(), report.removed.len());
            println!("{written} files written, {removed} removed, {} unchanged", report.unchanged);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("vmware-vim-codegen: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// `None` if help was asked for.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, String> {
    let (mut wsdl, mut sidecar, mut out, mut check) = (None, None, None, false);
    let mut beside = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let slot = match argument.to_str() {
            Some("--wsdl") => &mut wsdl,
            Some("--sidecar") => &mut sidecar,
            Some("--out") => &mut out,
            Some("--beside") => {
                let file = arguments.next().ok_or("--beside needs a value")?;
                beside.push(PathBuf::from(file));
                continue;
            }
            Some("--check") => {
                check = true;
                continue;
            }
            Some("--help" | "-h") => return Ok(None),
            _ => return Err(format!("unknown argument {}", argument.to_string_lossy())),
        };
        let value =
            arguments.next().ok_or_else(|| format!("{} needs a value", argument.to_string_lossy()))?;
        if slot.replace(PathBuf::from(value)).is_some() {
            return Err(format!("{} is given twice", argument.to_string_lossy()));
        }
    }
    let wsdl = wsdl.ok_or("--wsdl is missing")?;
    let out = out.ok_or("--out is missing")?;
    Ok(Some(Options { wsdl, sidecar, beside, out, check }))
}
