//! Any text as a property path, as an update carries it: it finds something, or is refused.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vim_api::dynamic::{Element, Value, get_path, set_path};
use vim_api::types::VirtualMachineConfigInfo;
use vim_api::xml::{Limits, Reader};

const CONFIG: &str = include_str!("../corpus/response_decoder/config.xml");

static MACHINE: LazyLock<VirtualMachineConfigInfo> = LazyLock::new(|| {
    let mut reader = Reader::new(CONFIG.as_bytes(), Limits::default()).expect("the corpus can be read");
    for name in ["Envelope", "Body", "RetrievePropertiesResponse"] {
        reader.expect_child(name).expect("the corpus is an answer");
    }
    let start = reader.expect_child("returnval").expect("the answer has a value");
    VirtualMachineConfigInfo::decode(&mut reader, &start).expect("the value is a configuration")
});

fuzz_target!(|path: &str| {
    let found = get_path(&*MACHINE, path);
    let mut changed = MACHINE.clone();
    let set = set_path(&mut changed, path, Some(Value::String("new".to_owned())));
    if set.is_ok() {
        let _ = get_path(&changed, path);
    }
    if let Ok(Some(value)) = found {
        let _ = set_path(&mut changed, path, Some(value));
    }
});
