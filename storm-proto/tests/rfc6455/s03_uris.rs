//! Section 3: WebSocket URIs.

use storm_proto::{Uri, UriError};

use super::s04_1_client::request_to;

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

#[test]
fn w3_01_ports_default_to_80_and_443() {
    let cases = [
        ("ws://h", "h", 80),
        ("wss://h", "h", 443),
        ("ws://h:80", "h", 80),
        ("wss://h:443", "h", 443),
        ("ws://h:443", "h", 443),
        ("wss://h:80", "h", 80),
        ("ws://h:9001/p", "h", 9001),
        ("ws://h:/p", "h", 80),
        ("ws://[2001:db8::1]", "2001:db8::1", 80),
        ("wss://[2001:db8::1]:65535", "2001:db8::1", 65535),
    ];
    for (text, host, port) in cases {
        assert_eq!((uri(text).host(), uri(text).port()), (host, Some(port)), "{text}");
    }
}

#[test]
fn w3_02_the_scheme_alone_decides_on_security_in_any_case() {
    for text in ["wss://h", "WSS://h", "wSs://h"] {
        assert!(uri(text).scheme().is_secure(), "{text}");
    }
    for text in ["ws://h", "WS://h", "ws://wss", "ws://h:443"] {
        assert!(!uri(text).scheme().is_secure(), "{text}");
    }
    for text in ["http://h", "https://h", "h", "wss:h", "wsss://h", "://h"] {
        assert_eq!(text.parse::<Uri>(), Err(UriError::Scheme), "{text}");
    }
}

#[test]
fn w3_03_the_resource_is_path_and_query_with_a_slash_in_front() {
    let cases = [
        ("ws://h", "/"),
        ("ws://h/", "/"),
        ("ws://h?a=1", "/?a=1"),
        ("ws://h/p?q", "/p?q"),
        ("ws://h/p/q/", "/p/q/"),
        ("ws://h/p?q?r/s", "/p?q?r/s"),
        ("ws://h:9/%20?%C3%BC", "/%20?%C3%BC"),
    ];
    for (text, resource) in cases {
        assert_eq!(uri(text).resource(), resource, "{text}");
    }
}

#[test]
fn w3_03_an_empty_query_leaves_no_question_mark() {
    assert_eq!(uri("ws://h/p?").resource(), "/p");
    assert_eq!(uri("ws://h?").resource(), "/");
}

#[test]
fn w3_04_a_fragment_is_refused() {
    for text in ["ws://h/p#x", "ws://h#", "wss://h/?q#x", "ws://h/p?q=#", "ws://#h"] {
        assert_eq!(text.parse::<Uri>(), Err(UriError::Fragment), "{text}");
    }
}

#[test]
fn w3_05_an_escaped_number_sign_travels_as_it_is() {
    let request = request_to("ws://h/a%23b?c=%23");
    assert_eq!(request.start, "GET /a%23b?c=%23 HTTP/1.1");
}
