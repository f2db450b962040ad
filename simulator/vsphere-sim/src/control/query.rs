//! The parameters of a URL.

use std::str::FromStr;

use crate::inventory::places::percent_decoded;
use crate::{Error, ErrorKind, Result};

/// The part of a URL behind the question mark.
#[derive(Clone, Copy)]
pub(super) struct Query<'q>(pub(super) &'q str);

impl Query<'_> {
    /// A parameter, decoded. One without a value counts as absent.
    pub(super) fn text(self, name: &str) -> Option<String> {
        let pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back()?;
        let bytes = percent_decoded(&value.replace('+', " "));
        Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|value| !value.is_empty())
    }

    /// A parameter that is a number, or the like.
    pub(super) fn value<T: FromStr>(self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong =
            || Error::new(ErrorKind::InvalidArgument, format!("the parameter {name} cannot be {text:?}"));
        text.parse().map(Some).map_err(|_| wrong())
    }

    /// A parameter that has to be there.
    pub(super) fn required<T: FromStr>(self, name: &str) -> Result<T> {
        let missing = || Error::new(ErrorKind::InvalidArgument, format!("the parameter {name} is missing"));
        self.value(name)?.ok_or_else(missing)
    }
}
