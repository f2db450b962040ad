//! The markup of an envelope, written otherwise.

use vim_api::xml::{Limits, NS_XSI, Reader, Service, XmlError};

use super::{DIGITS, Prefix, WireStyle};

/// The services whose types can be met in an answer, with the prefixes that their types get.
const PREFIXES: [(Service, &str); 3] =
    [(Service::Vim25, "vim25"), (Service::Pbm, "pbm"), (Service::Vslm, "vslm")];

/// The name that vcsim gives the namespace of `type`.
const LOCAL: &str = "_XMLSchema-instance";

/// The same document in another style. It changes tags and times, and nothing else.
///
/// # Errors
/// When `envelope` is not well-formed.
pub(super) fn rewrite(envelope: &str, style: WireStyle) -> Result<String, XmlError> {
    let mut reader = Reader::new(envelope.as_bytes(), Limits::default())?;
    let mut out = String::with_capacity(envelope.len() * 5 / 4);
    let mut copied = 0;
    // The default namespace in force, one for each open element.
    let mut spaces: Vec<Option<&str>> = Vec::new();
    loop {
        let Some(start) = reader.next_child()? else {
            if spaces.pop().is_none() {
                break;
            }
            continue;
        };
        let tag = reader.since(&start);
        let at = reader.position() - tag.len();
        let between = envelope.get(copied..at).unwrap_or_default();
        push_times(between, style, &mut out);
        let declared = attributes(tag).find(|(name, _)| *name == "xmlns").map(|(_, value)| value);
        let space = declared.or_else(|| spaces.last().copied().flatten());
        push_tag(tag, spaces.is_empty(), space, style.prefix, &mut out);
        copied = at + tag.len();
        spaces.push(space);
    }
    push_times(envelope.get(copied..).unwrap_or_default(), style, &mut out);
    Ok(out)
}

fn push_tag(tag: &str, is_root: bool, space: Option<&str>, style: Prefix, out: &mut String) {
    let name_end = tag.find([' ', '>', '/']).unwrap_or(tag.len());
    out.push_str(&tag[..name_end]);
    for (name, value) in attributes(tag) {
        let mut push = |name: &str, value: &str| {
            // The value stands as it was written, so its references stay what they are.
            for piece in [" ", name, "=\"", value, "\""] {
                out.push_str(piece);
            }
        };
        match (name, style) {
            ("xsi:type", Prefix::Local) => {
                push(&format!("xmlns:{LOCAL}"), NS_XSI);
                push(&format!("{LOCAL}:type"), value);
            }
            ("xsi:nil", Prefix::Local) => {
                push(&format!("xmlns:{LOCAL}"), NS_XSI);
                push(&format!("{LOCAL}:nil"), value);
            }
            ("xsi:type", Prefix::Vim25) if !value.contains(':') => {
                let prefix = PREFIXES.iter().find(|(service, _)| space == Some(service.namespace()));
                match prefix {
                    Some((_, prefix)) => push(name, &format!("{prefix}:{value}")),
                    None => push(name, value),
                }
            }
            _ => push(name, value),
        }
    }
    if is_root && style == Prefix::Vim25 {
        for (service, prefix) in PREFIXES {
            out.push_str(&format!(" xmlns:{prefix}=\"{}\"", service.namespace()));
        }
    }
    out.push_str(if tag.ends_with("/>") { "/>" } else { ">" });
}

/// The attributes of a tag that a reader has accepted: name and value, both as written.
pub(crate) fn attributes(tag: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = tag.find(char::is_whitespace).map_or("", |at| &tag[at..]);
    std::iter::from_fn(move || {
        let (name, behind) = rest.split_once('=')?;
        let behind = behind.trim_start();
        let quote = behind.chars().next()?;
        let (value, behind) = behind[quote.len_utf8()..].split_once(quote)?;
        rest = behind;
        Some((name.trim(), value))
    })
}

/// Text and end tags, with the times among it in as many digits as the style has.
fn push_times(text: &str, style: WireStyle, out: &mut String) {
    let (value, behind) = text.split_at(text.find('<').unwrap_or(text.len()));
    out.push_str(value);
    if style.fraction > DIGITS && is_time(value) {
        out.pop();
        (DIGITS..style.fraction).for_each(|_| out.push('0'));
        out.push('Z');
    }
    out.push_str(behind);
}

/// Whether it is a time as we write it. A text that merely looks so means the same afterwards.
fn is_time(text: &str) -> bool {
    let form = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    let fits = |(byte, form): (u8, u8)| if form == b'd' { byte.is_ascii_digit() } else { byte == form };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: &str = "<?xml version=\"1.0\"?>\n<s:Envelope xmlns:xsi=\"i\"><s:Body><R xmlns=\"urn:vim25\">\
        <v xsi:type=\"Task>Info\" a='&quot;>'>2026-11-22T22:19:03.123456Z</v><v xsi:type=\"xsd:string\">a &lt; b</v>\
        <p xmlns=\"urn:pbm\" xsi:type=\"Id\"/><n xsi:nil=\"true\"></n></R></s:Body></s:Envelope>";

    fn styled(prefix: Prefix, fraction: u8) -> String {
        rewrite(ENVELOPE, WireStyle { prefix, fraction, ..WireStyle::default() }).unwrap()
    }

    #[test]
    fn nothing_is_lost() {
        // Quotes are the only difference, which have become double ones.
        assert_eq!(styled(Prefix::Xsi, 6), ENVELOPE.replace("a='&quot;>'", "a=\"&quot;>\""));
    }

    #[test]
    fn types_are_named_otherwise() {
        let local = styled(Prefix::Local, 6);
        let declared = format!("<v xmlns:{LOCAL}=\"{NS_XSI}\" {LOCAL}:type=\"xsd:string\">a &lt; b</v>");
        assert!(local.contains(&declared), "{local}");
        assert!(local.contains(&format!("{LOCAL}:nil=\"true\"")) && !local.contains(" xsi:"), "{local}");
        let vim25 = styled(Prefix::Vim25, 6);
        for piece in ["xsi:type=\"vim25:Task>Info\"", "xsi:type=\"pbm:Id\"/>", "xsi:type=\"xsd:string\""] {
            assert!(vim25.contains(piece), "{vim25}");
        }
        assert!(vim25.contains("<s:Envelope xmlns:xsi=\"i\" xmlns:vim25=\"urn:vim25\""), "{vim25}");
    }

    #[test]
    fn times_get_more_digits() {
        assert!(styled(Prefix::Xsi, 8).contains(">2026-11-22T22:19:03.12345600Z<"));
        assert!(styled(Prefix::Xsi, 9).contains(">2026-11-22T22:19:03.123456000Z<"));
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        assert!(rewrite("<a><b></a>", WireStyle::default()).is_err());
    }
}
