//! What REST services answer: JSON, and errors in two forms that are read into one.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::RestStyle;
use crate::client::RestAnswer;
use crate::error::{Error, ErrorKind};
use crate::transport::Response;

/// An error that is larger than this is none of the server's making.
const MAX_FAULT: usize = 1 << 20;
const MAX_MESSAGES: usize = 8;
const MAX_CHARS: usize = 500;

/// What a REST service says of a request that it did not carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestFault {
    /// The HTTP status.
    pub status: u16,
    /// The error's type, such as `NOT_FOUND`, which older servers call `com.vmware.vapi.std.errors.not_found`. Empty where
    /// the server names none.
    pub error_type: String,
    /// The server's own words, which may be none. Long ones are cut.
    pub messages: Vec<String>,
}

impl fmt::Display for RestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if !self.error_type.is_empty() {
            write!(f, " {}", self.error_type)?;
        }
        if !self.messages.is_empty() {
            write!(f, ": {}", self.messages.join("; "))?;
        }
        Ok(())
    }
}

/// The answer, unless it is an error.
pub(crate) fn accept(response: Response, context: &str) -> Result<Response, Error> {
    let status = response.status;
    if (200..300).contains(&status) {
        return Ok(response);
    }
    if (300..400).contains(&status) {
        return Err(Error::not_vsphere(format!(
            "{context}: HTTP {status}: the server points elsewhere, and a session is not sent there: name the right server"
        )));
    }
    let json = Some(&response.body).filter(|body| body.len() <= MAX_FAULT);
    let json = json.and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let is_json = json.as_ref().is_some_and(Value::is_object);
    let fault = read_fault(status, &json.unwrap_or_default());
    // A 401 can also say that the account lacks a privilege, and the type tells.
    let kind = match (fault.error_type.as_str(), status) {
        ("UNAUTHENTICATED", _) | ("", 401) => ErrorKind::SessionLost,
        ("NOT_FOUND", _) | ("", 404) => ErrorKind::NotFound,
        ("SERVICE_UNAVAILABLE" | "RESOURCE_BUSY" | "TIMED_OUT", _) | (_, 429 | 502..=504) => {
            ErrorKind::Unavailable
        }
        ("", _) if !is_json => {
            return Err(Error::not_vsphere(format!(
                "{context}: HTTP {status} with something that is no JSON: is a proxy or another server in between?"
            )));
        }
        _ => ErrorKind::Rest,
    };
    let advice = match kind {
        ErrorKind::SessionLost => "log in, and repeat it",
        ErrorKind::Unavailable => "the service is starting or has too much to do: try again in a while",
        _ if fault.error_type == "UNAUTHORIZED" => "the account lacks a privilege for it",
        _ => "",
    };
    Err(Error::from_rest(kind, context, fault).with_advice(advice))
}

/// The value of an answer; an empty one is `null`.
pub(crate) fn read<T: DeserializeOwned>(answer: &RestAnswer) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Wrapped<T> {
        value: T,
    }
    let RestAnswer { style, body, context } = answer;
    let empty = body.iter().all(u8::is_ascii_whitespace);
    let value = match style {
        _ if empty => serde_json::from_slice(b"null"),
        RestStyle::Api => serde_json::from_slice(body),
        RestStyle::Rest => serde_json::from_slice::<Wrapped<T>>(body).map(|wrapped| wrapped.value),
    };
    value.map_err(|error| {
        // Its text may quote the answer, in which there may be a secret; the place may be told.
        let place = format!("line {}, column {}", error.line(), error.column());
        if error.is_eof() {
            Error::interrupted(format!("{context}: the answer breaks off in {place}"))
        } else if error.is_data() {
            Error::broken_protocol(format!(
                "{context}: the answer is of another form than asked for, in {place}"
            ))
        } else {
            Error::not_vsphere(format!(
                "{context}: the answer is no JSON, in {place}: is a proxy or another server in between?"
            ))
        }
    })
}

/// `{"error_type": .., "messages": [..]}` of `/api`, and `{"type": .., "value": {"messages": [..]}}` of `/rest`.
fn read_fault(status: u16, json: &Value) -> RestFault {
    let named = json["error_type"].as_str().or_else(|| json["value"]["error_type"].as_str());
    let named = named.or_else(|| json["type"].as_str()).unwrap_or_default();
    let error_type = named.rsplit('.').next().unwrap_or_default().to_ascii_uppercase();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let known = error_type.len() <= 64 && error_type.chars().all(is_name);
    let messages = json["messages"].as_array().or_else(|| json["value"]["messages"].as_array());
    RestFault {
        status,
        error_type: if known { error_type } else { String::new() },
        messages: messages.map(|messages| texts(messages)).unwrap_or_default(),
    }
}

/// The words of localizable messages, each of which is an object or, in govmomi's simulator, text.
pub(super) fn texts(messages: &[Value]) -> Vec<String> {
    let text = |message: &Value| {
        let text = [&message["localized"], &message["default_message"], message];
        let text = text.into_iter().find_map(Value::as_str)?;
        let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect();
        Some(text).filter(|text| !text.is_empty())
    };
    messages.iter().filter_map(text).take(MAX_MESSAGES).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(style: RestStyle, body: &'static str) -> RestAnswer {
        RestAnswer { style, body: Bytes::from_static(body.as_bytes()), context: "asking".to_owned() }
    }

    fn refused(status: u16, body: &str) -> Error {
        let body = Bytes::copy_from_slice(body.as_bytes());
        accept(Response { status, headers: Default::default(), body }, "asking").unwrap_err()
    }

    #[test]
    fn both_forms_of_an_error_are_read_into_one() {
        let new = refused(
            404,
            r#"{"error_type":"NOT_FOUND","messages":[{"id":"x","default_message":"There is no such tag.","args":[]}]}"#,
        );
        let old = refused(
            404,
            r#"{"type":"com.vmware.vapi.std.errors.not_found","value":{"messages":["There is no such tag."]}}"#,
        );
        for error in [&new, &old] {
            assert!(error.is_not_found() && !error.is_retryable(), "{error}");
            assert_eq!(error.to_string(), "asking: HTTP 404 NOT_FOUND: There is no such tag.");
        }
        assert_eq!(new.rest_fault(), old.rest_fault());
    }

    #[test]
    fn the_type_counts_before_the_status() {
        let denied = refused(401, r#"{"type":"com.vmware.vapi.std.errors.unauthorized","value":{}}"#);
        assert_eq!(denied.kind(), ErrorKind::Rest);
        assert!(!denied.is_session_lost() && denied.to_string().contains("lacks a privilege"), "{denied}");
        for (status, body) in [(500, r#"{"error_type":"RESOURCE_BUSY"}"#), (503, "<html>"), (429, "{}")] {
            assert!(refused(status, body).is_retryable(), "{status}");
        }
        for (status, body) in [(401, ""), (401, "<html>"), (403, r#"{"error_type":"UNAUTHENTICATED"}"#)] {
            assert!(refused(status, body).is_session_lost(), "{status}");
        }
        assert_eq!(refused(400, r#"{"error_type":"ALREADY_EXISTS"}"#).kind(), ErrorKind::Rest);
        assert_eq!(refused(500, "<html>").kind(), ErrorKind::NotVsphere);
        let elsewhere = refused(302, "");
        assert_eq!(elsewhere.kind(), ErrorKind::NotVsphere);
        assert!(elsewhere.to_string().contains("points elsewhere"), "{elsewhere}");
    }

    #[test]
    fn words_of_a_server_are_cut_and_cleaned() {
        let long = "x".repeat(10_000);
        let body =
            format!(r#"{{"error_type":"A\nB","messages":["a\u001b[31mb\n", 7, {{}}, "{long}", "{long}"]}}"#);
        let fault = refused(400, &body).rest_fault().cloned().unwrap();
        assert_eq!(fault.error_type, "");
        assert_eq!(fault.messages[0], "a[31mb");
        assert_eq!((fault.messages.len(), fault.messages[1].len()), (3, MAX_CHARS));
    }

    #[test]
    fn an_answer_that_cannot_be_read_says_why_and_quotes_nothing() {
        let read = |style, body: &'static str| {
            read::<Vec<String>>(&answer(style, body)).map_err(|e| {
                assert!(!format!("{e} {e:?}").contains("secret"), "{e:?}");
                e.kind()
            })
        };
        assert_eq!(read(RestStyle::Api, r#"["a"]"#), Ok(vec!["a".to_owned()]));
        assert_eq!(read(RestStyle::Rest, r#"{"value":["a"]}"#), Ok(vec!["a".to_owned()]));
        assert_eq!(read(RestStyle::Rest, r#"["secret"]"#), Err(ErrorKind::Protocol));
        assert_eq!(read(RestStyle::Api, r#"["secret", "#), Err(ErrorKind::Interrupted));
        assert_eq!(read(RestStyle::Api, r#""secret""#), Err(ErrorKind::Protocol));
        assert_eq!(read(RestStyle::Api, "<html>secret</html>"), Err(ErrorKind::NotVsphere));
        let deep: &'static str = Box::leak("[".repeat(100_000).into_boxed_str());
        assert!(read(RestStyle::Api, deep).is_err());
        assert_eq!(super::read::<()>(&answer(RestStyle::Rest, "")).map_err(|e| e.kind()), Ok(()));
    }
}
