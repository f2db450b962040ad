//! Who may ask the control port. It has no login, and a browser is pointed at it: pages of others must not reach it.
//!
//! A page elsewhere can make a browser send requests here (cross-site requests), or give its own name this address and pass
//! for the same site (DNS rebinding). So the host that is asked for has to be a loopback one by its name, a page that asks
//! has to be our own, and what changes something has to be JSON, which no form can send.

use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Lets a request pass, or says with which status it is refused, and why.
pub(super) fn admit(head: &Parts) -> Result<(), (StatusCode, &'static str)> {
    let refused = |why| Err((StatusCode::FORBIDDEN, why));
    let named = |header: &HeaderName| text(&head.headers, header);
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) if is_loopback(host) => host,
        _ => {
            return refused("the header Host has to be one loopback address, such as 127.0.0.1 or localhost");
        }
    };
    if head.headers.contains_key(ORIGIN) {
        let own =
            |origin: &str| origin.strip_prefix("http://").is_some_and(|from| from.eq_ignore_ascii_case(host));
        if !named(&ORIGIN).is_some_and(own) {
            return refused("a page of another origin has no access to the control port");
        }
    }
    // A link from elsewhere may lead to the page, which cannot be framed and does nothing by itself.
    let follows_link =
        head.method == Method::GET && head.uri.path() == "/" && named(&MODE) == Some("navigate");
    if named(&SITE).is_some_and(|site| !matches!(site, "same-origin" | "none")) && !follows_link {
        return refused("a page of another site has no access to the control port");
    }
    if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
        let kind = named(&CONTENT_TYPE).map(|kind| kind.split(';').next().unwrap_or_default().trim());
        if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
            return Err((
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON, with the header Content-Type: application/json",
            ));
        }
    }
    Ok(())
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a `Host` names this machine in a way that no name server has a say in. The port may be any: of a tunnel, say.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_address || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = hyper::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        admit(&head).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn hosts() {
        for host in
            ["127.0.0.1", "127.0.0.1:8990", "127.9.9.9:1", "localhost:80", "LOCALHOST", "[::1]:8990", "[::1]"]
        {
            assert_eq!(asked("GET", "/", &[("host", host)]), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8990",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "[",
            "[::2]",
            "0.0.0.0",
            "192.168.1.1:8990",
            "127.1@evil.example",
        ] {
            assert_eq!(asked("GET", "/v1/faults", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(asked("GET", "/", &[]), 403);
        assert_eq!(asked("GET", "/", &[("host", "127.0.0.1"), ("host", "evil.example")]), 403);
    }

    #[test]
    fn pages_of_others() {
        let host = ("host", "127.0.0.1:8990");
        for (origin, status) in [
            ("http://127.0.0.1:8990", 200),
            ("http://127.0.0.1:8991", 403),
            ("http://127.0.0.1", 403),
            ("https://127.0.0.1:8990", 403),
            ("https://evil.example", 403),
            ("null", 403),
            ("", 403),
        ] {
            assert_eq!(asked("GET", "/v1/faults", &[host, ("origin", origin)]), status, "{origin}");
        }
        for (site, status) in [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)] {
            assert_eq!(asked("GET", "/v1/faults", &[host, ("sec-fetch-site", site)]), status, "{site}");
        }
        let link = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(asked("GET", "/", &link), 200);
        assert_eq!(asked("GET", "/v1/faults", &link), 403);
        assert_eq!(asked("DELETE", "/v1/faults", &link), 403);
    }

    #[test]
    fn forms() {
        let host = ("host", "localhost:8990");
        for (kind, status) in [
            ("application/json", 200),
            ("Application/JSON; charset=utf-8", 200),
            ("application/x-www-form-urlencoded", 415),
            ("text/plain", 415),
            ("text/plain; application/json", 415),
            ("multipart/form-data; boundary=x", 415),
        ] {
            assert_eq!(asked("POST", "/v1/faults", &[host, ("content-type", kind)]), status, "{kind}");
        }
        assert_eq!(asked("POST", "/v1/faults", &[host]), 415);
        assert_eq!(asked("DELETE", "/v1/faults", &[host]), 200);
    }
}
