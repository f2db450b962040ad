//! Any bytes as a server's answer: what is understood must be written, read and written again alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vim_api::ApiVersion;
use vim_api::dynamic::{Element, Value};
use vim_api::soap::{self, Message, Outcome};
use vim_api::types::{RetrieveResult, TaskInfo, UpdateSet, VirtualMachineConfigInfo};
use vim_api::xml::{Limits, Reader, Writer};

const LIMITS: Limits = Limits { max_depth: 64, max_bytes: 1 << 20 };

fuzz_target!(|bytes: &[u8]| {
    answer::<RetrieveResult>(bytes);
    answer::<UpdateSet>(bytes);
    answer::<TaskInfo>(bytes);
    answer::<VirtualMachineConfigInfo>(bytes);
    answer::<Value>(bytes);
});

fn answer<T: Element>(bytes: &[u8]) {
    let message = Message::new(bytes.to_vec().into(), LIMITS);
    let outcome = soap::reply(&message, |reader| {
        let mut values = Vec::new();
        while let Some(start) = reader.next_child()? {
            values.push(T::decode(reader, &start)?);
        }
        Ok(values)
    });
    match outcome {
        Ok(Outcome::Returned(values)) => values.iter().for_each(stays),
        Ok(Outcome::Fault(fault)) => stays(&fault.fault),
        Err(error) => assert!(error.to_string().len() < 1000, "an error as long as the sender likes"),
    }
}

fn stays<T: Element>(value: &T) {
    let written = write(value);
    // What is written may be a little deeper and longer than what came: `xsi:type` where there was none, escapes.
    let mut reader = Reader::fragment(&written, Limits { max_depth: 80, max_bytes: 1 << 24 })
        .expect("what we wrote is a document");
    let start = reader.expect_child("v").expect("its root is the value");
    let again = T::decode(&mut reader, &start).expect("what we wrote can be read");
    assert_eq!(write(&again), written);
    let _ = format!("{again:?}");
}

fn write(value: &impl Element) -> String {
    let mut writer = Writer::new(ApiVersion::LATEST);
    value.encode("v", &mut writer);
    writer.finish()
}
