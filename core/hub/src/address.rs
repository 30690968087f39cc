//! Addresses: of what is asked for, and of whoever answers.

use std::fmt::Write as _;

use ureq::http::Uri;

use crate::error::HubError;
use crate::id::HubId;

/// What is asked for, and on whose behalf.
#[derive(Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) id: &'a HubId,
    /// `None`: the description of the repository.
    pub(crate) file: Option<&'a str>,
    pub(crate) url: &'a str,
}

pub(crate) fn malformed(address: Address<'_>, expected: &'static str, found: String) -> HubError {
    HubError::Malformed {
        id: address.id.clone(),
        url: address.url.to_owned(),
        expected,
        found,
    }
}

/// Scheme, host and port: to whom a secret may be told.
pub(crate) fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = match (uri.port_u16(), scheme.as_str()) {
        (Some(443), "https") | (Some(80), "http") | (None, "https" | "http") => String::new(),
        (Some(port), "https" | "http") => format!(":{port}"),
        _ => return None,
    };
    Some(format!(
        "{scheme}://{}{port}",
        uri.host()?.to_ascii_lowercase()
    ))
}

/// The address that `location` means in an answer from `url`.
pub(crate) fn resolved(url: &str, location: &str) -> Option<String> {
    let next = if let Some(rest) = location.strip_prefix("//") {
        format!("{}://{rest}", url.split_once("://")?.0)
    } else if location.starts_with('/') {
        format!("{}{location}", origin(url)?)
    } else {
        location.to_owned()
    };
    origin(&next).map(|_| next)
}

/// `text` as one segment of a URL's path.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (url, expected) in [
            ("https://Hub.example/a?b", Some("https://hub.example")),
            ("https://hub.example:443/", Some("https://hub.example")),
            ("http://hub.example:443/", Some("http://hub.example:443")),
            ("http://user@hub.example/", Some("http://hub.example")),
            ("http://[::1]:8080/x", Some("http://[::1]:8080")),
            ("ftp://hub.example/", None),
            ("/a/b", None),
        ] {
            assert_eq!(origin(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_location_may_leave_out_what_stays_the_same() {
        for (location, expected) in [
            ("/a?b", Some("https://hub.example/a?b")),
            ("//other.example/a", Some("https://other.example/a")),
            ("http://other.example/a", Some("http://other.example/a")),
            ("a", None),
            ("", None),
        ] {
            let found = resolved("https://hub.example/x/y?z", location);
            assert_eq!(found.as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn a_segment_of_a_url_has_no_slash() {
        assert_eq!(encoded("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(encoded("a b#?%é"), "a%20b%23%3F%25%C3%A9");
    }
}
