//! What must never be read in a log.

use std::fmt::Debug;

use vim_api::dynamic::{Element, Poly, Value, type_infos};
use vim_api::types::*;

use crate::{decode, element, encode};

const SECRET: &str = "hunter2";

fn assert_hidden(value: &impl Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!text.contains(SECRET), "{text}");
        assert!(text.contains("[secret]"), "{text}");
    }
}

#[test]
fn passwords_and_tickets() {
    let secret = || SECRET.to_owned();
    let authentication =
        NamePasswordAuthentication { username: "me".into(), password: secret(), ..Default::default() };
    assert_hidden(&authentication);
    assert!(format!("{authentication:?}").contains("\"me\""));
    // Also where it is a part of something, behind a base, or a value whose type is not known when compiling.
    let poly: Poly<GuestAuthentication> = Poly::new(authentication.clone());
    assert_hidden(&poly);
    assert_hidden(&Some(Box::new(authentication.clone())));
    assert_hidden(&[authentication.to_value()]);
    assert_hidden(&Value::array("GuestAuthentication", vec![authentication.to_value()]));
    assert_hidden(&HostConnectSpec {
        password: Some(secret()),
        vim_account_password: Some(secret()),
        ..Default::default()
    });
    assert_hidden(&VirtualMachineTicket { ticket: secret(), ..Default::default() });
    assert_hidden(&CryptoKeyPlain { key_data: secret(), ..Default::default() });
    assert_hidden(&CustomizationPassword { value: secret(), ..Default::default() });
    // It is hidden, not lost.
    assert!(encode(&authentication).contains(SECRET));
}

#[test]
fn those_that_the_api_forgot_to_mark() {
    assert_hidden(&HostConfigSpec { datastore_principal_passwd: Some(SECRET.into()), ..Default::default() });
    assert_hidden(&SSPIAuthentication { sspi_token: SECRET.into(), ..Default::default() });
}

#[test]
fn every_field_that_is_marked() {
    let mut count = 0;
    for info in type_infos() {
        for field in info.fields.iter().filter(|field| field.secret) {
            count += 1;
            let document =
                element(&format!("xsi:type=\"{}\"", info.name), &format!("<{0}>{SECRET}</{0}>", field.name));
            assert_hidden(&decode::<Value>(document).unwrap());
        }
    }
    assert!(count >= 20, "{count}");
}

/// Every field whose name says password is either hidden or no text.
#[test]
fn no_password_was_forgotten() {
    for info in type_infos() {
        for field in info.fields {
            let name = field.name.to_lowercase();
            if !["password", "passwd", "secret"].iter().any(|word| name.contains(word))
                || name.ends_with("path")
            {
                continue;
            }
            let document =
                element(&format!("xsi:type=\"{}\"", info.name), &format!("<{0}>{SECRET}</{0}>", field.name));
            let Ok(value) = decode::<Value>(document) else { continue };
            let text = format!("{value:?}");
            // A date that was not checked is shown as it came.
            assert!(
                !text.contains(SECRET) || name == "lastpasswordchange",
                "{}.{}: {text}",
                info.name,
                field.name
            );
        }
    }
}

/// Nothing tells whether an unknown element is a secret.
#[test]
fn what_is_unknown_is_not_shown() {
    let content = format!(
        "<key>k</key><newPassword>{SECRET}</newPassword><value xsi:type=\"NewSecret\">{SECRET}</value>"
    );
    let option: OptionValue = decode(element("", &content)).unwrap();
    let text = format!("{option:?}");
    assert!(!text.contains(SECRET), "{text}");
    assert!(text.contains("newPassword") && text.contains("NewSecret"), "{text}");
    let text = format!("{:?}", option.extra.elements());
    assert!(!text.contains(SECRET), "{text}");
    assert!(encode(&option).contains(SECRET));
}

#[test]
fn a_bad_value_of_a_binary_is_not_quoted() {
    let error = decode::<Value>(element("xsi:type=\"xsd:base64Binary\"", &format!("{SECRET}!"))).unwrap_err();
    assert!(!error.to_string().contains(SECRET), "{error}");
}
