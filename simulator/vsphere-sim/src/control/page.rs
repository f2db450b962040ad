//! The status page: files that are part of the program, which ask the control port for all that they show.

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// A file of the page.
pub(super) struct Asset {
    pub(super) content_type: &'static str,
    pub(super) content: Bytes,
}

/// The file at a path.
pub(super) fn asset(path: &str) -> Option<Asset> {
    let (content_type, content) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("page/index.html")),
        "/page.css" => ("text/css; charset=utf-8", include_str!("page/page.css")),
        "/page.js" => ("text/javascript; charset=utf-8", include_str!("page/page.js")),
        "/tree.js" => ("text/javascript; charset=utf-8", include_str!("page/tree.js")),
        "/machine.js" => ("text/javascript; charset=utf-8", include_str!("page/machine.js")),
        "/map.js" => ("text/javascript; charset=utf-8", include_str!("page/map.js")),
        "/live.js" => ("text/javascript; charset=utf-8", include_str!("page/live.js")),
        "/dom.js" => ("text/javascript; charset=utf-8", include_str!("page/dom.js")),
        "/icon.svg" => ("image/svg+xml", include_str!("page/icon.svg")),
        _ => return None,
    };
    Some(Asset { content_type, content: Bytes::from_static(content.as_bytes()) })
}

/// What every answer says, so that a browser keeps to it: nothing from elsewhere, no frames, no guesses, no copies.
pub(super) fn protect(headers: &mut HeaderMap) {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                          base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
