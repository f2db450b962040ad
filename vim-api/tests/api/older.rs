//! What servers write for clients that are older than they are.

use vim_api::ApiVersion;
use vim_api::dynamic::{Element as _, Poly, Value, get_path, get_path_in};
use vim_api::types as t;
use vim_api::xml::{Service, Writer};

fn version(id: &str) -> ApiVersion {
    ApiVersion::parse(id).unwrap()
}

/// A watchdog timer, which there is since 7.0, where any device may stand.
fn device() -> Poly<t::VirtualDevice> {
    Poly::new(t::VirtualWDT {
        base: t::VirtualDevice { key: 18_000, ..Default::default() },
        run_on_boot: true,
        ..Default::default()
    })
}

#[test]
fn newer_types_are_written_as_what_they_extend() {
    let written = |id: &str| {
        let mut writer = Writer::of_answer(Service::Vim25, version(id));
        device().encode("device", &mut writer);
        writer.finish()
    };
    let (old, new) = (written("6.7"), written("7.0.0.0"));
    assert_eq!(old, "<device><key>18000</key></device>");
    assert!(new.starts_with("<device xsi:type=\"VirtualWDT\">") && new.contains("<runOnBoot>"), "{new}");
    // Where the type of the field is any, there is always one that is known.
    let mut writer = Writer::of_answer(Service::Vim25, version("6.7"));
    Value::array("VirtualDevice", vec![device().to_value()]).encode("val", &mut writer);
    let text = writer.finish();
    assert_eq!(
        text,
        "<val xsi:type=\"ArrayOfVirtualDevice\"><VirtualDevice><key>18000</key></VirtualDevice></val>"
    );
}

/// What is sent to a server is not made another thing: the server shall refuse what it does not know.
#[test]
fn requests_keep_their_types() {
    let mut writer = Writer::new(version("6.7"));
    device().encode("device", &mut writer);
    assert!(writer.finish().contains("VirtualWDT"));
}

#[test]
fn newer_fields_are_no_paths() {
    let hardware =
        t::VirtualHardware { motherboard_layout: Some("i440bxHostBridge".to_owned()), ..Default::default() };
    let config = t::VirtualMachineConfigInfo { hardware, ..Default::default() };
    let path = "hardware.motherboardLayout";
    assert!(get_path(&config, path).unwrap().is_some());
    assert!(get_path_in(version("8.0.3.0"), &config, path).unwrap().is_some());
    let error = get_path_in(version("6.7"), &config, path).unwrap_err();
    assert_eq!(error.segment, "motherboardLayout");
}
