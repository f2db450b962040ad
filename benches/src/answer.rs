use std::error::Error;

use vim_api::dynamic::Element;
use vim_api::soap::{self, Message, Outcome};
use vim_api::types::RetrieveResult;

/// Decodes a `RetrievePropertiesEx` response as the client reads an answer.
///
/// # Errors
/// When it is not well-formed, or a fault.
pub fn decode(message: &Message) -> Result<RetrieveResult, Box<dyn Error>> {
    let outcome = soap::reply(message, |reader| {
        let start = reader.expect_child("returnval")?;
        let value = RetrieveResult::decode(reader, &start)?;
        match reader.next_child()? {
            None => Ok(value),
            Some(more) => Err(reader.unexpected(format!("a second <{}>", more.local()))),
        }
    })?;
    match outcome {
        Outcome::Returned(result) => Ok(result),
        Outcome::Fault(fault) => Err(format!("the document is a fault: {}", fault.message).into()),
    }
}
