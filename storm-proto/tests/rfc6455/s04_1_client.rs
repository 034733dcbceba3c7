//! Section 4.1: what a client sends and what it takes for an answer.

use storm_proto::websocket::handshake::{ClientHandshake, HandshakeError, HeadLimits, Offer};
use storm_proto::{
    Connection, Instant, Message, Random, Step, TransportError, TransportErrorKind, Uri,
};

use crate::support::endpoint::{Did, Endpoint, quiet};
use crate::support::http::{self, Head, Text};
use crate::support::proof::{accept_of, unbase64};
use crate::support::wire::Frame;

fn make(
    uri: &str,
    offer: &Offer,
    random: &mut Random,
) -> Result<(ClientHandshake, Vec<u8>), HandshakeError> {
    let uri: Uri = uri.parse().unwrap();
    let (handshake, request) = ClientHandshake::new(&uri, offer, HeadLimits::new(), random)?;
    Ok((handshake, request.to_vec()))
}

fn request_with(uri: &str, offer: &Offer) -> Vec<u8> {
    make(uri, offer, &mut Random::from_seed(3)).unwrap().1
}

/// The request for an address, read strictly.
pub(crate) fn request_to(uri: &str) -> Head {
    let head = http::read(&request_with(uri, &Offer::new()));
    assert!(head.rest.is_empty());
    head
}

fn request() -> Head {
    request_to("ws://example.org/chat")
}

/// A client that offers `chat` and `superchat` and waits for the answer.
pub(crate) fn client() -> Endpoint {
    let offer = Offer::new().subprotocol("chat").subprotocol("superchat");
    Endpoint::client(quiet(), &offer)
}

/// What a client makes of its right answer after `change`; `None` if it opens.
pub(crate) fn verdict(change: impl FnOnce(Text) -> Text) -> Option<HandshakeError> {
    let mut client = client();
    let answer = change(client.answer());
    client.written.clear();
    client.give(&answer.wire()).end();
    assert!(client.app.opened == 1 || client.written.is_empty(), "nothing behind the request");
    let error = client.connection.handshake_error().cloned();
    assert_eq!(client.app.opened == 0, error.is_some());
    error
}

#[test]
fn w4_1_01_what_is_no_uri_cannot_be_connected_to() {
    let bad = [
        "",
        "h",
        "//h",
        "ws:",
        "ws://",
        "ws:///p",
        "ws://:80",
        "ws:// h",
        "ws://h h",
        "ws://h:x",
        "ws://h:0",
        "ws://h:65536",
        "ws://h:-1",
        "ws://h:80:80",
        "ws://[::1",
        "ws://[::1]a",
        "ws://[1.2.3.4]",
        "ws://u@h",
        "ws://u:p@h",
        "ws://h/#",
        "ws://h/a b",
        "ws://h/\u{fc}",
        "ws://h/\r\nX: y",
        "ws://h\r\n",
        "ws://h\\x",
        "ws://b\u{fc}cher.example",
        "http://h",
    ];
    for text in bad {
        assert!(text.parse::<Uri>().is_err(), "{text:?}");
    }
}

#[test]
fn w4_1_05_a_transport_that_fails_ends_the_connect_once() {
    let kinds = [
        TransportErrorKind::Refused,
        TransportErrorKind::TimedOut,
        TransportErrorKind::Reset,
        TransportErrorKind::Other,
    ];
    for kind in kinds {
        let mut client = client();
        client.did.clear();
        let error = TransportError::new(kind, None);
        client.connection.transport_failed(error.clone());
        client.settle().end().wait_millis(60_000);
        client.connection.transport_failed(TransportError::new(TransportErrorKind::Other, None));
        client.settle();
        assert_eq!(client.did, [Did::Finish { reset: false }], "{kind:?}");
        let reason = client.reason();
        assert_eq!(reason.error, Some(storm_proto::Error::Transport(error)), "the first");
        assert_eq!((reason.code().get(), reason.clean), (1006, false));
        assert_eq!(client.app.opened, 0);
    }
}

#[test]
fn w4_1_09_the_request_is_valid_http() {
    let offer = Offer::new().subprotocol("chat").header("Authorization", "Bearer x");
    let bytes = request_with("ws://[::1]:9001/p?q", &offer);
    assert!(http::read(&bytes).rest.is_empty());

    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Request::new(&mut headers);
    assert_eq!(parsed.parse(&bytes), Ok(httparse::Status::Complete(bytes.len())));
    assert_eq!((parsed.method, parsed.path, parsed.version), (Some("GET"), Some("/p?q"), Some(1)));
    assert_eq!(parsed.headers.len(), 7);
}

#[test]
fn w4_1_10_the_method_is_get_and_the_version_1_1() {
    assert_eq!(request().start, "GET /chat HTTP/1.1");
}

#[test]
fn w4_1_11_the_target_is_the_resource_of_the_uri() {
    let paths = ["", "/", "/a", "/a/b/", "/?q", "?q=1&r=2", "/a?b?c", "/%41%20", "/;,:@!$&'()*+="];
    for path in paths {
        for authority in ["h", "h:9", "[::1]", "[2001:db8::1]:9"] {
            let text = format!("ws://{authority}{path}");
            let uri: Uri = text.parse().unwrap();
            let target = format!("GET {} HTTP/1.1", uri.resource());
            assert_eq!(request_to(&text).start, target);
            assert_eq!(uri.to_string().parse::<Uri>(), Ok(uri), "what is printed is the same");
        }
    }
}

#[test]
fn w4_1_12_host_names_the_port_only_where_it_is_not_the_default() {
    let cases = [
        ("ws://example.org", "example.org"),
        ("ws://example.org:80", "example.org"),
        ("wss://example.org:443", "example.org"),
        ("ws://example.org:443", "example.org:443"),
        ("wss://example.org:80", "example.org:80"),
        ("ws://[::1]", "[::1]"),
        ("ws://[::1]:9001", "[::1]:9001"),
        ("ws://127.0.0.1:9001", "127.0.0.1:9001"),
    ];
    for (uri, host) in cases {
        assert_eq!(request_to(uri).only("Host"), host, "{uri}");
    }
}

#[test]
fn w4_1_13_upgrade_is_websocket() {
    assert_eq!(request().only("Upgrade"), "websocket");
}

#[test]
fn w4_1_14_connection_is_upgrade() {
    assert_eq!(request().only("Connection"), "Upgrade");
}

#[test]
fn w4_1_15_the_key_is_sixteen_bytes_in_base64() {
    let mut random = Random::from_seed(11);
    let mut keys = Vec::new();
    for _ in 0..20_000 {
        let (_, request) = make("ws://h", &Offer::new(), &mut random).unwrap();
        let at = request.windows(5).position(|window| window == b"Key: ").unwrap() + 5;
        keys.push(String::from_utf8(request[at..at + 24].to_vec()).unwrap());
        assert_eq!(request[at + 24], b'\r');
    }
    assert!(keys.iter().all(|key| unbase64(key).is_some_and(|nonce| nonce.len() == 16)));
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 20_000, "no key comes twice");
}

#[test]
fn w4_1_16_each_connection_draws_a_new_key() {
    let mut random = Random::from_seed(5);
    let mut expected = Random::from_seed(5);
    for _ in 0..1000 {
        let (_, request) = make("ws://h", &Offer::new(), &mut random).unwrap();
        let key = unbase64(http::read(&request).only("Sec-WebSocket-Key")).unwrap();
        assert_eq!(key, expected.bytes::<16>(), "the next sixteen bytes of the source");
    }
}

#[test]
fn w4_1_17_origin_is_sent_as_given_and_not_by_itself() {
    assert!(request().all("Origin").is_empty());
    let offer = Offer::new().header("Origin", "https://example.org");
    assert_eq!(http::read(&request_with("ws://h", &offer)).only("Origin"), "https://example.org");
}

#[test]
fn w4_1_18_the_version_is_13() {
    assert_eq!(request().only("Sec-WebSocket-Version"), "13");
}

#[test]
fn w4_1_19_offered_subprotocols_are_tokens_and_unique() {
    let mut random = Random::from_seed(1);
    let mut refused = |offer: Offer| {
        let made = make("ws://h", &offer, &mut random);
        matches!(made, Err(HandshakeError::InvalidSubprotocol))
    };
    for name in ["", "a b", "a,a", "a/b", "\u{fc}", "a\r\nX: y", "a\0", "a\"", "\t", "a;b", "a="] {
        assert!(refused(Offer::new().subprotocol(name)), "{name:?}");
        assert!(refused(Offer::new().subprotocol("good").subprotocol(name)), "{name:?}");
    }
    assert!(refused(Offer::new().subprotocol("a").subprotocol("b").subprotocol("a")));

    let offer = Offer::new().subprotocol("b").subprotocol("a").subprotocol("A.1~!#$%&'*+-^_`|");
    let head = http::read(&request_with("ws://h", &offer));
    assert_eq!(head.only("Sec-WebSocket-Protocol"), "b, a, A.1~!#$%&'*+-^_`|");
    assert!(request().all("Sec-WebSocket-Protocol").is_empty(), "never an empty one");
}

#[test]
fn w4_1_21_other_headers_may_be_added_and_never_split_the_request() {
    let offer = Offer::new().header("Cookie", "a=1").header("X-Empty", "").header("cookie", "b");
    let text = String::from_utf8(request_with("ws://h", &offer)).unwrap();
    assert!(text.ends_with("\r\nCookie: a=1\r\nX-Empty: \r\ncookie: b\r\n\r\n"), "{text}");

    let mut random = Random::from_seed(1);
    let reserved = [
        "Host",
        "host",
        "UPGRADE",
        "Connection",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Accept",
        "Content-Length",
        "Transfer-Encoding",
    ];
    let broken = [("X", "a\r\nY: b"), ("X", "a\n"), ("X", "a\r"), ("X", "a\0"), ("X\r\n", "a")];
    let broken = broken.into_iter().chain([("", "a"), ("X:", "a"), ("X Y", "a"), ("\u{fc}", "a")]);
    for (name, value) in reserved.into_iter().map(|name| (name, "x")).chain(broken) {
        let made = make("ws://h", &Offer::new().header(name, value), &mut random);
        assert!(matches!(made, Err(HandshakeError::Header(_))), "{name:?}: {value:?}");
        let now = Instant::from_millis(0);
        let offer = Offer::new().header(name, value);
        let uri = "ws://h".parse().unwrap();
        assert!(Connection::client(&uri, &offer, quiet(), Random::from_seed(1), now).is_err());
    }
}

#[test]
fn w4_1_22_nothing_follows_the_request_before_the_answer_is_checked() {
    let mut client = client();
    let (answer, request) = (client.answer().wire(), std::mem::take(&mut client.written));
    assert!(request.ends_with(b"\r\n\r\n"));
    client.send("early");
    for byte in &answer[..answer.len() - 1] {
        client.give(&[*byte]);
        assert!(client.written.is_empty() && client.waiting() == 0);
        assert!(!client.connection.is_open());
    }
    client.give(&answer[answer.len() - 1..]);
    assert_eq!(client.frames(), [Frame::text("early")], "and then it leaves");
}

#[test]
fn w4_1_23_another_status_is_told_with_headers_and_body() {
    for status in [200, 201, 301, 302, 400, 401, 403, 404, 407, 426, 429, 500, 503] {
        let refusal = verdict(|text| {
            text.start(format!("HTTP/1.1 {status} No")).add("WWW-Authenticate", "Basic")
        });
        let Some(HandshakeError::Refused(refusal)) = refusal else { panic!("{refusal:?}") };
        assert_eq!(refusal.status, status);
        assert_eq!(refusal.headers.get_str("www-authenticate"), Some("Basic"));
    }

    let mut client = client();
    client.give(b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno chat and more");
    let error = client.connection.handshake_error().unwrap();
    assert_eq!(error.to_string(), "the server refused with status 404: no chat");
    assert_eq!(client.connection.step(), Step::Continue, "it is shut down, and waits for the end");
    assert!(client.is_shut_down());

    assert!(verdict(|text| text.start("HTTP/1.1 100 Continue")).is_some(), "no 101 follows");
}

#[test]
fn w4_1_24_upgrade_must_be_websocket_in_any_case() {
    let upgrade = |value: &str| verdict(|text| text.set("Upgrade", value));
    assert!(upgrade("WebSocket").is_none());
    for value in ["", "web socket", "websockets", "h2c", "websocket, h2c", "websocket websocket"] {
        assert!(matches!(upgrade(value), Some(HandshakeError::Upgrade)), "{value}");
    }
    assert!(matches!(verdict(|text| text.without("Upgrade")), Some(HandshakeError::Upgrade)));
}

#[test]
fn w4_1_25_connection_must_contain_upgrade_in_any_case() {
    let connection = |value: &str| verdict(|text| text.set("Connection", value));
    for value in ["upgrade", "keep-alive, UPGRADE", "Upgrade,keep-alive"] {
        assert!(connection(value).is_none(), "{value}");
    }
    for value in ["", "close", "keep-alive", "notupgrade", "up grade"] {
        assert!(matches!(connection(value), Some(HandshakeError::Connection)), "{value}");
    }
    assert!(matches!(verdict(|text| text.without("Connection")), Some(HandshakeError::Connection)));
}

#[test]
fn w4_1_26_the_proof_must_be_there_and_right() {
    let key = http::read(&client().written).only("Sec-WebSocket-Key").to_string();
    let right = accept_of(&key);
    let accept = |value: &str| verdict(|text| text.set("Sec-WebSocket-Accept", value));
    assert!(accept(&right).is_none());
    assert!(accept(&format!("  \t{right} ")).is_none(), "blanks around it are ignored");
    let wrong = [
        String::new(),
        accept_of("dGhlIHNhbXBsZSBub25jZQ=="),
        right.to_ascii_lowercase(),
        right.trim_end_matches('=').into(),
        right.repeat(2),
        format!("\"{right}\""),
        key.clone(),
    ];
    for value in wrong {
        assert!(matches!(accept(&value), Some(HandshakeError::AcceptKey)), "{value}");
    }
    // Each single character counts.
    for at in 0..right.len() {
        let mut value = right.clone().into_bytes();
        value[at] = if value[at] == b'A' { b'B' } else { b'A' };
        let value = String::from_utf8(value).unwrap();
        assert!(matches!(accept(&value), Some(HandshakeError::AcceptKey)), "{value}");
    }
    let without = verdict(|text| text.without("Sec-WebSocket-Accept"));
    assert!(matches!(without, Some(HandshakeError::AcceptKey)));
}

#[test]
fn w4_1_27_an_extension_that_was_not_offered_fails() {
    let extension = |value: &str| verdict(|text| text.add("Sec-WebSocket-Extensions", value));
    for value in ["x-foo", "permessage-deflate", "permessage-deflate; x=1, x-foo", ";", ""] {
        assert!(matches!(extension(value), Some(HandshakeError::UnofferedExtension)), "{value}");
    }
}

#[test]
fn w4_1_28_a_subprotocol_that_was_not_offered_fails() {
    let protocol = |value: &str| verdict(|text| text.add("Sec-WebSocket-Protocol", value));
    assert!(protocol("chat").is_none() && protocol("superchat").is_none());
    for value in ["other", "Chat", "chat, superchat", "chat chat", ""] {
        assert!(matches!(protocol(value), Some(HandshakeError::UnofferedSubprotocol)), "{value}");
    }
    let mut plain = Endpoint::client(quiet(), &Offer::new());
    let answer = plain.answer().add("Sec-WebSocket-Protocol", "chat");
    plain.give(&answer.wire());
    let error = plain.connection.handshake_error();
    assert!(matches!(error, Some(HandshakeError::UnofferedSubprotocol)), "none was offered");
}

/// Every name in `bytes` with letters of random case.
fn shuffle_case(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut in_name = false;
    let mut shuffle = |byte: &u8| {
        in_name = match byte {
            b'\n' => true,
            b':' => false,
            _ => in_name,
        };
        match (in_name, random.bytes::<1>()[0] & 1) {
            (true, 0) => byte.to_ascii_uppercase(),
            (true, _) => byte.to_ascii_lowercase(),
            (false, _) => *byte,
        }
    };
    bytes.iter().map(&mut shuffle).collect()
}

#[test]
fn w4_1_30_names_of_headers_compare_without_case() {
    let mut random = Random::from_seed(30);
    for _ in 0..100 {
        let mut server = Endpoint::server(quiet());
        server.give(&shuffle_case(&Text::request().wire(), &mut random));
        assert!(server.connection.is_open());

        let mut client = client();
        let answer = client.answer().add("Sec-WebSocket-Protocol", "chat").wire();
        client.give(&shuffle_case(&answer, &mut random));
        assert!(client.connection.is_open());
        assert_eq!(client.connection.accepted().unwrap().subprotocol.as_deref(), Some("chat"));
    }
}

#[test]
fn w4_1_31_an_open_connection_tells_what_was_agreed() {
    let mut client = client();
    assert!(client.connection.accepted().is_none());
    let answer = client.answer().add("Sec-WebSocket-Protocol", "superchat").add("X-Node", "7");
    client.give(&answer.wire());
    assert!(client.connection.is_open() && client.app.opened == 1);
    let accepted = client.connection.accepted().unwrap();
    assert_eq!(accepted.subprotocol.as_deref(), Some("superchat"));
    assert_eq!(accepted.headers.get_str("x-node"), Some("7"));
    assert!(accepted.headers.get("sec-websocket-extensions").is_none(), "no extension is in use");
}

#[test]
fn w4_2_2_15_frames_behind_the_101_are_not_lost_at_any_cut() {
    let client = client();
    let frames = [Frame::text("one"), Frame::ping("p"), Frame::binary([7; 200])];
    let frames: Vec<u8> = frames.iter().flat_map(Frame::plain).collect();
    let bytes = [client.answer().wire(), frames].concat();
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let mut client = self::client();
        client.written.clear();
        client.give(head).give(tail);
        let messages = client.messages();
        assert_eq!(messages[0].as_message(), Message::text("one"), "cut at {cut}");
        assert_eq!(messages[1].as_message(), Message::binary(&[7; 200]), "cut at {cut}");
        assert_eq!(client.frames(), [Frame::pong("p")], "cut at {cut}");
    }
}
