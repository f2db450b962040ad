//! `cargo xtask codegen [--check]`: the WSDL sets in `vmware-vim-codegen/input` -> `vim-api/src/generated`.

use anyhow::Context;
use vmware_vim_codegen::{Options, generate};

use crate::workspace;

/// The API release whose WSDL set is the input. A newer one is a new folder beside it and a change of this line.
const INPUT: &str = "vmware-vim-codegen/input/vim25-9.1.1";

/// The services beside, which import it.
const BESIDE: [&str; 2] =
    ["vmware-vim-codegen/input/pbm-9.1.1/pbm.wsdl", "vmware-vim-codegen/input/vslm-9.0.0/vslm.wsdl"];

/// Brings the generated files up to date, or with `check` fails when they are not.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    let root = workspace::root()?;
    let wsdl = root.join(INPUT);
    let options = Options {
        beside: BESIDE.map(|file| root.join(file)).to_vec(),
        sidecar: Some(wsdl.join("vim-sidecar.json")),
        wsdl,
        out: root.join("vim-api/src/generated"),
        check,
    };
    let report = generate(&options).context("cannot generate vim-api/src/generated")?;
    let (written, removed) = (report.written.len(), report.removed.len());
    println!("codegen: {written} files written, {removed} removed, {} unchanged", report.unchanged);
    Ok(())
}
