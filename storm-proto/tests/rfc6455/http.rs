//! RFC 9110, 9112 and 6585: the HTTP that the handshake stands on.

use storm_proto::Origins;
use storm_proto::websocket::handshake::{
    HandshakeError, HeadLimits, Offer, Request, ServerHandshake,
};

use super::s04_1_client::{request_to, verdict};
use super::s04_2_server::status;
use crate::support::endpoint::{Did, Endpoint, quiet};
use crate::support::http::{self, Text};

/// What a server answers to these bytes.
fn ask(bytes: &[u8]) -> http::Head {
    let mut server = Endpoint::server(quiet());
    server.give(bytes);
    http::read(&server.written)
}

fn with(name: &str, value: &str) -> u16 {
    status(&Text::request().add(name, value))
}

fn started(start: &str) -> u16 {
    status(&Text::request().start(start))
}

#[test]
fn p7_8_01_an_upgrade_in_http_1_0_is_ignored() {
    let mut server = Endpoint::server(quiet());
    server.give(&Text::request().start("GET /chat HTTP/1.0").wire());
    assert_eq!(http::read(&server.written).status(), 426);
    assert_eq!((server.app.requests, server.app.opened), (1, 0), "an ordinary request");
    assert!(server.is_shut_down());
}

#[test]
fn p7_8_02_a_server_switches_only_to_what_the_client_named() {
    for value in ["h2c", "HTTP/2.0", "TLS/1.0, HTTP/1.1", "websocket/13"] {
        let answer = ask(&Text::request().set("Upgrade", value).wire());
        assert_eq!(answer.status(), 426, "{value}");
    }
    // Neither by the other headers of the handshake alone.
    assert_eq!(status(&Text::request().without("Upgrade")), 426);
}

#[test]
fn p7_8_03_who_sends_upgrade_says_so_in_connection() {
    let says_so = |head: &http::Head| {
        assert!(!head.all("Upgrade").is_empty());
        assert!(head.list("Connection").contains(&"upgrade".to_string()), "{head:?}");
    };
    says_so(&request_to("ws://example.org"));
    says_so(&ask(&Text::request().wire()));
    says_so(&ask(&Text::request().without("Upgrade").wire()));
    says_so(&ask(&Text::request().set("Sec-WebSocket-Version", "8").wire()));
    says_so(&ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
}

#[test]
fn p7_8_04_an_upgrade_that_waits_for_100_is_refused() {
    for value in ["100-continue", "100-Continue", "other"] {
        assert_eq!(with("Expect", value), 417, "{value}");
    }
}

#[test]
fn p5_5_01_no_control_character_stands_in_a_value() {
    for byte in 0..=255u8 {
        let allowed = byte == b'\t' || byte >= 0x20 && byte != 0x7F;
        let value = [b'a', byte, b'b'];
        let expected = if allowed { 101 } else { 400 };
        assert_eq!(status(&Text::request().add("X", value)), expected, "{byte:#x}");
        let error = verdict(|text| text.add("X", value));
        assert_eq!(error.is_none(), allowed, "{byte:#x} in an answer");
        if !allowed {
            assert!(matches!(error, Some(HandshakeError::InvalidResponse)));
        }
    }
}

#[test]
fn p5_1_01_names_of_fields_are_tokens() {
    for byte in 0..=255u8 {
        let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        // A colon in the middle only makes the name shorter.
        let allowed = is_token || byte == b':';
        let line = [b"X", &[byte][..], b"Y: value"].concat();
        let expected = if allowed { 101 } else { 400 };
        assert_eq!(status(&Text::request().line(&line)), expected, "{byte:#x}");
        assert_eq!(verdict(|text| text.line(&line)).is_none(), allowed, "{byte:#x} in an answer");
        // And as the whole name.
        let line = [&[byte][..], b": value"].concat();
        let expected = if is_token { 101 } else { 400 };
        assert_eq!(status(&Text::request().line(&line)), expected, "{byte:#x} alone");
    }
}

#[test]
fn p15_5_6_01_a_405_names_the_method_that_is_allowed() {
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let answer = ask(&Text::request().start(format!("{method} / HTTP/1.1")).wire());
        assert_eq!((answer.status(), answer.only("Allow")), (405, "GET"), "{method}");
    }
}

#[test]
fn p15_5_22_01_a_426_names_the_protocol_that_is_wanted() {
    let requests = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        Text::request().without("Upgrade").wire(),
        Text::request().set("Upgrade", "h2c").wire(),
        Text::request().set("Sec-WebSocket-Version", "8").wire(),
        Text::request().start("GET / HTTP/1.0").wire(),
    ];
    for request in requests {
        let answer = ask(&request);
        assert_eq!((answer.status(), answer.only("Upgrade")), (426, "websocket"));
        assert_eq!(answer.list("Connection"), ["close", "upgrade"]);
    }
}

#[test]
fn q2_2_01_only_cr_lf_ends_a_line_wherever_it_stands() {
    let bytes = Text::request().wire();
    let ends: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] == b'\r').collect();
    assert_eq!(ends.len(), 7);
    for end in ends {
        let mut lone_lf = bytes.clone();
        lone_lf.remove(end);
        assert_eq!(ask(&lone_lf).status(), 400, "a lone LF");
        let mut bare_cr = bytes.clone();
        bare_cr.remove(end + 1);
        bare_cr.push(b'x');
        assert_eq!(ask(&bare_cr).status(), 400, "a bare CR");
        let mut twice = bytes.clone();
        twice.insert(end, b'\r');
        assert_eq!(ask(&twice).status(), 400, "two CRs");
    }
    // Octets, not characters: half a character is as good as a whole one.
    assert_eq!(status(&Text::request().add("X", b"\xe2\x82")), 101);
}

#[test]
fn q2_3_01_a_malformed_version_is_a_400_and_another_one_a_505() {
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9"] {
        assert_eq!(started(&format!("GET / {version}")), 505, "{version}");
    }
    for version in ["HTTP/2", "HTTP/1.", "HTTP/1.10", "HTTP/1,1", "http/1.1", "HTTPS/1.1", "", "x"]
    {
        assert_eq!(started(&format!("GET / {version}")), 400, "{version}");
    }
    let refused = verdict(|text| text.start("HTTP/2.0 101 x"));
    assert!(matches!(refused, Some(HandshakeError::Version)));
}

#[test]
fn q2_2_02_no_blank_stands_before_the_first_header() {
    for line in [" X: y", "\tX: y", " ", "\t", "  folded"] {
        assert_eq!(status(&Text::request().first_line(line)), 400, "{line:?}");
    }
}

#[test]
fn q2_2_03_empty_lines_before_the_request_line_are_ignored() {
    for (count, status) in [(0, 101), (1, 101), (4, 101), (5, 400), (1_000, 400)] {
        let bytes = [b"\r\n".repeat(count), Text::request().wire()].concat();
        assert_eq!(ask(&bytes).status(), status, "{count}");
    }
    assert_eq!(ask(&b"\r\n".repeat(5)).status(), 400, "at once");
}

#[test]
fn q3_01_a_method_or_target_that_is_too_long_is_told_apart() {
    assert_eq!(started(&format!("{} / HTTP/1.1", "X".repeat(100))), 501);
    assert_eq!(started(&format!("{} / HTTP/1.1", "X".repeat(8193))), 414);
    assert_eq!(started(&format!("GET /{} HTTP/1.1", "x".repeat(8193))), 414);
    let longest = format!("GET /{} HTTP/1.1", "x".repeat(8192 - "GET / HTTP/1.1".len()));
    assert_eq!(started(&longest), 101);
}

#[test]
fn q3_2_01_a_request_has_exactly_one_valid_host() {
    let host = |value: &str| status(&Text::request().set("Host", value));
    assert_eq!(status(&Text::request().without("Host")), 400);
    assert_eq!(with("Host", "example.org"), 400, "twice, though the same");
    assert_eq!(with("HOST", "other.example"), 400);
    for value in ["a b", "a,b", "a/b", "a?b", "a#b", "a@b", "a:b", "a:1:2", "[::1", "::1", "", "\""]
    {
        assert_eq!(host(value), 400, "{value:?}");
    }
    for value in ["a", "A.example", "a:1", "127.0.0.1", "[::1]:80", "xn--bcher-kva.example"] {
        assert_eq!(host(value), 101, "{value:?}");
    }
}

#[test]
fn q3_2_2_01_an_absolute_target_is_accepted_with_and_without_a_path() {
    for (target, path, query) in [
        ("http://example.org", "/", None),
        ("http://example.org?x", "/", Some("x")),
        ("HTTP://example.org:80/p?x", "/p", Some("x")),
        ("ws://[::1]?", "/", Some("")),
    ] {
        assert_eq!(started(&format!("GET {target} HTTP/1.1")), 101, "{target}");
        let request = read(&Text::request().start(format!("GET {target} HTTP/1.1")));
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
    }
}

#[test]
fn q3_2_2_02_an_absolute_target_counts_and_the_host_header_is_ignored() {
    let request = read(&Text::request().start("GET http://Other.example:81/ HTTP/1.1"));
    assert_eq!(request.host(), Some("Other.example:81"));
    assert_eq!(request.header("Host"), Some("Other.example:81"));
    for (origin, passes) in [("http://other.example:81", true), ("http://example.org", false)] {
        let text = Text::request().start("GET http://Other.example:81 HTTP/1.1");
        let request = read(&text.add("Origin", origin));
        assert_eq!(Origins::same().check(&request).is_ok(), passes, "{origin}");
    }
}

fn read(text: &Text) -> Request {
    ServerHandshake::new(HeadLimits::new()).receive(&mut &text.wire()[..]).unwrap().unwrap()
}

#[test]
fn p5_3_01_a_field_that_is_no_list_stands_there_once() {
    for (name, value) in [("Origin", "http://a"), ("Authorization", "x")] {
        let twice = Text::request().add(name, value).add(name, value);
        assert_eq!(status(&twice), 400, "{name}");
    }
}

#[test]
fn q5_1_01_no_blank_stands_between_name_and_colon() {
    for line in ["Host : x", "X : y", "X\t: y", "X \t : y"] {
        assert_eq!(status(&Text::request().line(line)), 400, "{line:?}");
    }
}

#[test]
fn q5_2_01_folded_lines_are_refused() {
    for fold in [" more", "\tmore", " ", "\t"] {
        assert_eq!(status(&Text::request().add("X", "y").line(fold)), 400, "{fold:?}");
        assert!(verdict(|text| text.line(fold)).is_some(), "{fold:?} in an answer");
    }
}

#[test]
fn q6_1_01_a_request_with_two_ways_to_end_is_refused() {
    for (encoding, length) in [("chunked", "5"), ("chunked", "0"), ("identity", "0")] {
        let text = Text::request().add("Transfer-Encoding", encoding).add("Content-Length", length);
        let mut server = Endpoint::server(quiet());
        server.give(&text.wire());
        assert_eq!(http::read(&server.written).status(), 400);
        assert!(server.is_shut_down());
    }
}

#[test]
fn q6_3_01_a_length_that_is_no_number_is_refused() {
    let lengths = ["+5", "5, 6", "0x5", "-1", "18446744073709551616", "", "0, 0", "+0", "a", "0 0"];
    for length in lengths {
        assert_eq!(with("Content-Length", length), 400, "{length:?}");
        let plain = format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(ask(plain.as_bytes()).status(), 400, "{length:?}");
    }
}

/// The body of a refusal with these lines in its head, if it is known before the stream ends.
fn refused_with(lines: &[(&str, &str)], body: &[u8]) -> Option<Vec<u8>> {
    let text = Text::answer_to("").start("HTTP/1.1 403 No");
    let text = lines.iter().fold(text, |text, (name, value)| text.add(name, value));
    let mut client = Endpoint::client(quiet(), &Offer::new());
    client.give(&text.wire()).give(body);
    match client.connection.handshake_error()? {
        HandshakeError::Refused(refusal) => Some(refusal.body.to_vec()),
        error => panic!("{error}"),
    }
}

#[test]
fn q6_3_02_the_body_of_a_refusal_ends_where_its_length_says() {
    let none = || Some(Vec::new());
    for (length, body) in
        [("2", Some(b"no".into())), ("2, 2", Some(b"no".into())), ("+2", none()), ("2, 3", none())]
    {
        assert_eq!(refused_with(&[("Content-Length", length)], b"nope"), body, "{length}");
    }
    assert_eq!(refused_with(&[], b"nope"), None, "it may go on to the end of the stream");
}

#[test]
fn q7_1_01_a_chunked_body_is_put_together() {
    let chunked = [("Transfer-Encoding", "chunked"), ("Content-Length", "1")];
    let body = b"2;x\r\nno\r\nA\r\nt for you\n\r\n0\r\n\r\n";
    assert_eq!(refused_with(&chunked, body), Some(b"not for you\n".into()));
}

#[test]
fn q6_01_an_upgrade_with_a_body_is_refused() {
    for (name, value) in
        [("Content-Length", "1"), ("Content-Length", "100000"), ("Transfer-Encoding", "chunked")]
    {
        let mut server = Endpoint::server(quiet());
        server.give(&Text::request().add(name, value).wire()).give(b"x");
        assert_eq!(http::read(&server.written).status(), 400);
        assert_eq!((server.app.requests, server.app.opened), (0, 0), "nobody is asked");
    }
    assert_eq!(with("Content-Length", "0"), 101, "an empty body is none");
}

#[test]
fn r6585_5_headers_over_a_limit_are_a_431() {
    let mut limits = HeadLimits::new();
    (limits.bytes, limits.line, limits.headers) = (400, 100, 8);
    let ask = |text: Text| {
        let mut options = quiet();
        options.websocket.head = limits;
        let mut server = Endpoint::server(options);
        server.give(&text.wire());
        let status = http::read(&server.written).status();
        assert_eq!(server.is_shut_down(), status != 101);
        status
    };
    let count = |n: usize| (5..n).fold(Text::request(), |text, _| text.add("X", "y"));
    assert_eq!((ask(count(8)), ask(count(9))), (101, 431));
    let line = |len: usize| Text::request().add("X", "y".repeat(len - 3));
    assert_eq!((ask(line(100)), ask(line(101))), (101, 431));
    let total = |len: usize| {
        let text = line(90).add("X", "y".repeat(90));
        let missing = len - text.wire().len() - "X: \r\n".len();
        text.add("X", "y".repeat(missing))
    };
    assert_eq!(total(400).wire().len(), 400);
    assert_eq!((ask(total(400)), ask(total(401))), (101, 431));
}

#[test]
fn r9110_408_half_a_request_is_closed_without_a_word_at_the_deadline() {
    let bytes = Text::request().wire();
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        let mut server = Endpoint::server(quiet());
        server.give(&bytes[..cut]).wait_millis(4_999);
        assert!(server.did.is_empty());
        server.wait_millis(1);
        assert_eq!(server.did, [Did::Finish { reset: false }], "cut at {cut}");
        assert!(server.written.is_empty());
    }
    let mut client = Endpoint::client(quiet(), &Offer::new());
    client.give(b"HTTP/1.1 101").wait_millis(5_000);
    assert!(client.is_finished(), "a client waits no longer");
}
