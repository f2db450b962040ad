//! What is wrong with a descriptor, in the API's terms.

use vim_api::dynamic::IsA;
use vim_api::types as t;
use vim_api::xml::XmlError;

use crate::fault::{fault, localized};

/// Errors and warnings as they are found.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) errors: Vec<t::LocalizedMethodFault>,
    pub(super) warnings: Vec<t::LocalizedMethodFault>,
}

/// A hostile descriptor finds no end of things to complain about; an answer has one.
const MOST: usize = 200;

impl Problems {
    pub(super) fn error(&mut self, value: impl IsA<t::MethodFault>, message: impl Into<String>) {
        push(&mut self.errors, value, message);
    }

    pub(super) fn warning(&mut self, value: impl IsA<t::MethodFault>, message: impl Into<String>) {
        push(&mut self.warnings, value, message);
    }

    /// An error where it is required to be understood, else a warning.
    pub(super) fn unless(
        &mut self,
        required: bool,
        value: impl IsA<t::MethodFault>,
        message: impl Into<String>,
    ) {
        match required {
            true => self.error(value, message),
            false => self.warning(value, message),
        }
    }

    /// The text is no XML, or not that of an envelope.
    pub(super) fn malformed(&mut self, text: &str, error: &XmlError) {
        let lines = text.as_bytes().iter().take(error.offset()).filter(|byte| **byte == b'\n').count();
        let base = t::OvfInvalidPackage {
            line_number: i32::try_from(lines + 1).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let value = t::OvfXmlFormat { base, description: error.to_string() };
        self.error(value, format!("Line {}: {error}", lines + 1));
    }

    /// An element that is not understood and not needed.
    pub(super) fn ignored(&mut self, name: &str, why: &str) {
        let value = t::OvfUnsupportedElement { name: name.to_owned(), ..Default::default() };
        self.warning(value, format!("The element {name} is ignored: {why}."));
    }

    /// An attribute or element whose value names something that is not there.
    pub(super) fn dangling(&mut self, element: &str, attribute: &str, value: &str) {
        let base = t::OvfInvalidValue {
            base: t::OvfAttribute {
                element_name: element.to_owned(),
                attribute_name: attribute.to_owned(),
                ..Default::default()
            },
            value: value.to_owned(),
        };
        let fault = t::OvfInvalidValueReference { base };
        self.error(fault, format!("{element}: \"{value}\" is not in the descriptor."));
    }

    /// A value that cannot be.
    pub(super) fn bad_value(&mut self, element: &str, value: &str, why: &str) {
        let base = t::OvfElement { name: element.to_owned(), ..Default::default() };
        let fault = t::OvfElementInvalidValue { base, value: value.to_owned() };
        self.error(fault, format!("{element}: \"{value}\" {why}."));
    }

    /// A value that is right, but not supported.
    pub(super) fn unsupported_value(&mut self, element: &str, attribute: &str, value: &str, why: &str) {
        let base = t::OvfUnsupportedAttribute {
            element_name: element.to_owned(),
            attribute_name: attribute.to_owned(),
            ..Default::default()
        };
        let fault = t::OvfUnsupportedAttributeValue { base, value: value.to_owned() };
        self.error(fault, format!("{element}: {attribute} \"{value}\" is not supported: {why}."));
    }

    /// An element that has to be there.
    pub(super) fn missing(&mut self, name: &str) {
        let base = t::OvfElement { name: name.to_owned(), ..Default::default() };
        self.error(t::OvfMissingElement { base }, format!("There is no {name} in the descriptor."));
    }

    /// A deployment option that the descriptor does not have.
    pub(super) fn unknown_option(&mut self, name: &str) {
        self.dangling("DeploymentOptionSection", "id", name);
    }
}

fn push(
    list: &mut Vec<t::LocalizedMethodFault>,
    value: impl IsA<t::MethodFault>,
    message: impl Into<String>,
) {
    if list.len() < MOST {
        list.push(localized(&fault(value, message)));
    }
}
