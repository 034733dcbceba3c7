//! Sections 4.2 to 4.4: what a server requires and what it answers.

use storm_proto::websocket::handshake::{
    Accept, AcceptError, Decision, HandshakeError, HeadLimits, Offer, Request, Response,
    ServerHandshake,
};
use storm_proto::{Message, Random};

use crate::support::endpoint::{Did, Endpoint, converse, quiet};
use crate::support::http::{self, ACCEPT, Head, KEY, Text};
use crate::support::proof::{accept_of, base64, sha1, unbase64};
use crate::support::wire::Frame;

/// What a server answers to `text`, and the server.
fn ask(text: &Text) -> (Head, Endpoint) {
    let mut server = Endpoint::server(quiet());
    server.give(&text.wire());
    (http::read(&server.written), server)
}

pub(crate) fn status(text: &Text) -> u16 {
    ask(text).0.status()
}

fn set(name: &str, value: &str) -> Text {
    Text::request().set(name, value)
}

/// A request as the application sees it.
pub(crate) fn request(text: &Text) -> Request {
    let bytes = text.wire();
    let mut input = &bytes[..];
    let request = ServerHandshake::new(HeadLimits::new()).receive(&mut input);
    request.unwrap().expect("a request to decide on")
}

/// What leaves a server that decides as told.
fn decided(decision: impl Into<Decision>) -> (String, Endpoint) {
    let mut server = Endpoint::server(quiet());
    let mut decision = Some(decision.into());
    server.app.decide = Box::new(move |_| decision.take().unwrap());
    server.give(&Text::request().wire());
    (String::from_utf8(server.written.clone()).unwrap(), server)
}

fn expect_over(mut server: Endpoint) {
    assert!(server.is_shut_down());
    server.end();
    assert!(server.finished_in_order());
    assert_eq!(server.app.opened, 0);
}

#[test]
fn w4_2_1_02_only_a_get_of_http_1_1_is_an_upgrade() {
    for method in ["POST", "HEAD", "get", "PUT", "CONNECT", "GETT"] {
        let (answer, server) = ask(&Text::request().start(format!("{method} /chat HTTP/1.1")));
        assert!([405, 501].contains(&answer.status()), "{method}");
        expect_over(server);
    }
    for version in ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1", "HTTP/11", "HTTP/1", ""] {
        let (answer, server) = ask(&Text::request().start(format!("GET /chat {version}")));
        assert!([400, 426, 505].contains(&answer.status()), "{version}");
        expect_over(server);
    }
}

#[test]
fn w4_2_1_03_an_absolute_target_means_the_same_path() {
    for target in ["/x?y=1", "http://example.org/x?y=1", "https://a:1/x?y=1", "WSS://a/x?y=1"] {
        let request = request(&Text::request().start(format!("GET {target} HTTP/1.1")));
        assert_eq!((request.path(), request.query()), ("/x", Some("y=1")), "{target}");
    }
}

#[test]
fn w4_2_1_04_host_is_required() {
    assert_eq!(status(&Text::request().without("Host")), 400);
}

#[test]
fn w4_2_1_05_upgrade_must_contain_websocket_in_any_case() {
    for value in ["websocket", "WebSocket", "h2c, websocket", "websocket,h2c", " websocket "] {
        assert_eq!(status(&set("Upgrade", value)), 101, "{value}");
    }
    for value in ["", "websockets", "web", "websocket h2c", "h2c", "x-websocket"] {
        assert!([400, 426].contains(&status(&set("Upgrade", value))), "{value}");
    }
    assert!([400, 426].contains(&status(&Text::request().without("Upgrade"))));
}

#[test]
fn w4_2_1_06_connection_must_contain_upgrade_as_a_whole_word() {
    for value in ["Upgrade", "upgrade", "keep-alive, Upgrade", "a,UPGRADE , b"] {
        assert_eq!(status(&set("Connection", value)), 101, "{value}");
    }
    for value in ["", "notupgrade", "upgrades", "up grade", "keep-alive", "\"upgrade\""] {
        assert_eq!(status(&set("Connection", value)), 400, "{value}");
    }
    assert_eq!(status(&Text::request().without("Connection")), 400);
}

#[test]
fn w4_2_1_07_the_key_must_be_sixteen_bytes() {
    for len in 0..40 {
        let key = base64(&vec![0xA5; len]);
        let expected = if len == 16 { 101 } else { 400 };
        assert_eq!(status(&set("Sec-WebSocket-Key", &key)), expected, "{len} bytes");
    }
    let wrong = ["dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBs!SBub25jZQ=="];
    for key in wrong {
        assert_eq!(status(&set("Sec-WebSocket-Key", key)), 400, "{key}");
    }
}

#[test]
fn w4_2_1_08_the_version_must_be_13() {
    for version in ["0", "8", "12", "14", "255", "256", "13.0", "013", "", "1", "3", "113", "13 "] {
        let expected = if version == "13 " { 101 } else { 426 };
        assert_eq!(status(&set("Sec-WebSocket-Version", version)), expected, "{version:?}");
    }
    assert_eq!(status(&Text::request().without("Sec-WebSocket-Version")), 426);
}

#[test]
fn w4_2_1_09_a_request_without_origin_has_none() {
    assert_eq!(request(&Text::request()).origin(), None);
    let origin = "https://example.org";
    assert_eq!(request(&Text::request().add("origin", origin)).origin(), Some(origin));
    assert_eq!(request(&Text::request().add("Origin", "null")).origin(), Some("null"));
}

#[test]
fn w4_2_1_10_headers_that_mean_nothing_are_ignored() {
    let text = (0..95).fold(Text::request(), |text, n| text.add(format!("X-Unknown-{n}"), "x"));
    assert_eq!(status(&text), 101);
}

#[test]
fn w4_2_1_11_the_order_of_headers_means_nothing() {
    let text = Text::request().add("Sec-WebSocket-Protocol", "chat");
    let mut count = 0;
    permute(&mut text.clone(), 0, &mut |text| {
        count += 1;
        let bytes = text.wire();
        let request = ServerHandshake::new(HeadLimits::new()).receive(&mut &bytes[..]);
        assert!(request.unwrap().unwrap().is_upgrade());
    });
    assert_eq!(count, 720);
}

fn permute(text: &mut Text, from: usize, check: &mut impl FnMut(&Text)) {
    let len = text.lines_mut().len();
    if from + 1 == len {
        return check(text);
    }
    for at in from..len {
        text.lines_mut().swap(from, at);
        permute(text, from + 1, check);
        text.lines_mut().swap(from, at);
    }
}

#[test]
fn w4_2_2_02_a_server_may_ask_who_the_client_is() {
    let response = Response::new(401).header("WWW-Authenticate", "Basic realm=\"chat\"");
    let (answer, server) = decided(response.body("who are you?\n"));
    assert_eq!(
        answer,
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"chat\"\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\
         Connection: close\r\n\r\nwho are you?\n"
    );
    expect_over(server);
}

#[test]
fn w4_2_2_03_a_server_may_redirect() {
    let (answer, server) =
        decided(Response::new(302).header("Location", "wss://other.example/chat"));
    assert_eq!(
        answer,
        "HTTP/1.1 302 Found\r\nLocation: wss://other.example/chat\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    expect_over(server);
}

#[test]
fn w4_2_2_05_an_unknown_version_is_answered_with_those_that_are_known() {
    let (answer, server) = ask(&set("Sec-WebSocket-Version", "8"));
    assert_eq!(answer.status(), 426);
    assert_eq!(answer.only("Sec-WebSocket-Version"), "13");
    expect_over(server);
}

#[test]
fn w4_2_2_06_a_resource_that_does_not_exist_is_a_404() {
    for (path, status) in [("/chat", 101), ("/other", 404)] {
        let mut server = Endpoint::server(quiet());
        server.app.decide = Box::new(|request| match request.path() {
            "/chat" => Accept::new().into(),
            _ => Response::new(404).body("nothing here\n").into(),
        });
        server.give(&Text::request().start(format!("GET {path} HTTP/1.1")).wire());
        assert_eq!(http::read(&server.written).status(), status);
        assert_eq!(server.is_shut_down(), status == 404);
    }
}

const NAMES: [&str; 6] = ["chat", "superchat", "v1.example", "Chat", "x", "mqtt"];

/// Some of the names, in random order.
fn some_names(random: &mut Random) -> Vec<&'static str> {
    let mut names: Vec<_> = NAMES.into();
    let order = random.bytes::<6>();
    names.sort_by_key(|name| order[NAMES.iter().position(|known| known == name).unwrap()]);
    names.truncate(usize::from(random.bytes::<1>()[0] % 5));
    names
}

#[test]
fn w4_2_2_07_a_subprotocol_is_one_of_those_the_client_named() {
    let mut random = Random::from_seed(7);
    for _ in 0..2000 {
        let (offered, supported) = (some_names(&mut random), some_names(&mut random));
        let text = match &offered[..] {
            [] => Text::request(),
            names => Text::request().add("Sec-WebSocket-Protocol", names.join(", ")),
        };
        let request = request(&text);
        let chosen = request.choose_subprotocol(&supported);
        let expected = offered.iter().find(|name| supported.contains(name));
        assert_eq!(chosen, expected.copied(), "the client's first that is supported");
        for name in NAMES {
            let answer = request.accept(&Accept::new().subprotocol(name));
            match answer {
                Ok(head) => {
                    assert!(offered.contains(&name));
                    assert_eq!(http::read(&head).only("Sec-WebSocket-Protocol"), name);
                }
                Err(error) => {
                    assert!(!offered.contains(&name));
                    assert_eq!(error, AcceptError::SubprotocolNotOffered);
                }
            }
        }
    }
    let offered = request(&Text::request().add("Sec-WebSocket-Protocol", "chat"));
    let error = offered.accept(&Accept::new().subprotocol("")).unwrap_err();
    assert_eq!(error, AcceptError::SubprotocolNotOffered, "no name is none");
    let (answer, server) = decided(Accept::new().subprotocol("never-offered"));
    assert!(answer.starts_with("HTTP/1.1 500 "), "a mistake of the application: {answer}");
    expect_over(server);
}

#[test]
fn w4_2_2_08_without_a_subprotocol_there_is_no_header_for_one() {
    for text in [Text::request(), Text::request().add("Sec-WebSocket-Protocol", "a, b")] {
        let (answer, _) = ask(&text);
        assert_eq!(answer.status(), 101);
        assert!(answer.all("Sec-WebSocket-Protocol").is_empty());
    }
}

#[test]
fn w4_2_2_09_no_extension_is_listed_that_the_client_did_not_list() {
    let mut random = Random::from_seed(9);
    let words = ["permessage-deflate", "x-foo", "a;b=1", "a;c=\"d\"", "bar; baz"];
    for _ in 0..200 {
        let offer: Vec<_> =
            random.bytes::<3>().iter().map(|&n| words[usize::from(n) % words.len()]).collect();
        let (answer, _) = ask(&Text::request().add("Sec-WebSocket-Extensions", offer.join(", ")));
        assert_eq!(answer.status(), 101);
        // None is spoken here yet, so none is ever accepted.
        assert!(answer.all("Sec-WebSocket-Extensions").is_empty());
    }
}

#[test]
fn w4_2_2_10_an_upgrade_is_accepted_with_101() {
    let (answer, server) = ask(&Text::request());
    assert_eq!(answer.start, "HTTP/1.1 101 Switching Protocols");
    assert!(answer.rest.is_empty() && server.connection.is_open());
}

#[test]
fn w4_2_2_11_the_101_names_what_it_switches_to() {
    let (answer, _) = ask(&Text::request());
    assert_eq!((answer.only("Upgrade"), answer.only("Connection")), ("websocket", "Upgrade"));
    assert!(answer.all("Content-Length").is_empty());
}

#[test]
fn w4_2_2_12_the_accept_value_is_the_hash_of_key_and_guid() {
    let (answer, _) = ask(&Text::request());
    assert_eq!(answer.only("Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!((ACCEPT, accept_of(KEY)), (answer.only("Sec-WebSocket-Accept"), ACCEPT.into()));
    let mut random = Random::from_seed(12);
    for _ in 0..1000 {
        let key = base64(&random.bytes::<16>());
        let (answer, _) = ask(&set("Sec-WebSocket-Key", &key));
        assert_eq!(answer.only("Sec-WebSocket-Accept"), accept_of(&key), "{key}");
    }
}

#[test]
fn w4_2_2_13_what_is_sent_at_the_opening_follows_the_101() {
    let mut server = Endpoint::server(quiet());
    server.app.greet = Box::new(|sender| sender.send("welcome").unwrap());
    // Queued before there is anybody to talk to.
    server.connection.sender().send("early").unwrap();
    let bytes = Text::request().wire();
    server.settle().give(&bytes[..bytes.len() - 1]);
    assert!(server.written.is_empty() && !server.connection.is_open());
    server.give(&bytes[bytes.len() - 1..]);
    let answer = http::read(&server.written);
    assert_eq!(answer.status(), 101);
    server.written = answer.rest;
    assert_eq!(server.frames(), [Frame::text("early"), Frame::text("welcome")]);
}

#[test]
fn w4_2_2_14_frames_behind_the_request_are_not_lost_at_any_cut() {
    let frames = [Frame::text("one"), Frame::ping("p"), Frame::binary([7; 200])];
    let frames: Vec<u8> = frames.iter().flat_map(|frame| frame.masked([1, 2, 3, 4])).collect();
    let bytes = [Text::request().wire(), frames].concat();
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let mut server = Endpoint::server(quiet());
        server.give(head).give(tail);
        let messages = server.messages();
        assert_eq!(messages[0].as_message(), Message::text("one"), "cut at {cut}");
        assert_eq!(messages[1].as_message(), Message::binary(&[7; 200]), "cut at {cut}");
        server.written = http::read(&server.written).rest;
        assert_eq!(server.frames(), [Frame::pong("p")], "cut at {cut}");
    }
}

/// A text that the grammar of section 4.3 makes from random bytes.
mod grammar {
    use super::{Random, base64};

    pub(super) fn number(random: &mut Random, below: usize) -> usize {
        usize::from(u16::from_le_bytes(random.bytes())) % below
    }

    pub(super) fn token(random: &mut Random) -> String {
        const CHARS: &[u8] = b"abcXYZ019!#$%&'*+-.^_`|~";
        let len = 1 + number(random, 8);
        (0..len).map(|_| CHARS[number(random, CHARS.len())] as char).collect()
    }

    fn blanks(random: &mut Random) -> &'static str {
        ["", "", " ", "\t", "  "][number(random, 5)]
    }

    fn list(random: &mut Random, element: fn(&mut Random) -> String) -> String {
        let count = 1 + number(random, 4);
        let mut text = element(random);
        for _ in 1..count {
            let (before, after) = (blanks(random), blanks(random));
            text += &format!("{before},{after}{}", element(random));
        }
        text
    }

    pub(super) fn key(random: &mut Random) -> String {
        base64(&random.bytes::<16>())
    }

    pub(super) fn protocols(random: &mut Random) -> String {
        list(random, token)
    }

    pub(super) fn extensions(random: &mut Random) -> String {
        list(random, |random| {
            let mut text = token(random);
            for _ in 0..number(random, 3) {
                text += &format!("{};{}{}", blanks(random), blanks(random), token(random));
                match number(random, 3) {
                    0 => {}
                    1 => text += &format!("={}", token(random)),
                    _ => text += &format!("=\"{}\"", token(random)),
                }
            }
            text
        })
    }
}

#[test]
fn w4_3_01_what_the_grammar_makes_is_taken_and_one_wrong_symbol_is_not() {
    type Field = (&'static str, fn(&mut Random) -> String);
    let fields: [Field; 4] = [
        ("Sec-WebSocket-Key", grammar::key),
        ("Sec-WebSocket-Version", |_| "13".into()),
        ("Sec-WebSocket-Protocol", grammar::protocols),
        ("Sec-WebSocket-Extensions", grammar::extensions),
    ];
    // No field may have one of these anywhere, in quotes or not.
    let wrong = ["@", "(", "/", "[", "{", "?", "\u{fc}"];
    let mut random = Random::from_seed(43);
    for _ in 0..1000 {
        for (name, make) in fields {
            let value = make(&mut random);
            assert_eq!(status(&set(name, &value)), 101, "{name}: {value}");
            let at = grammar::number(&mut random, value.len() + 1);
            let symbol = wrong[grammar::number(&mut random, wrong.len())];
            // A slash is a digit of base64; in the place of another it is another key.
            let value = format!("{}{symbol}{}", &value[..at], &value[at..]);
            assert!([400, 426].contains(&status(&set(name, &value))), "{name}: {value}");
        }
        let key = grammar::key(&mut random);
        assert_eq!(unbase64(&key).map(|nonce| nonce.len()), Some(16));
    }
}

#[test]
fn w4_4_01_a_refused_version_names_13() {
    for version in ["12", "14", "13, 14", "xiii"] {
        let (answer, _) = ask(&set("Sec-WebSocket-Version", version));
        assert_eq!((answer.status(), answer.only("Sec-WebSocket-Version")), (426, "13"));
    }
}

#[test]
fn w4_4_02_a_client_learns_the_versions_of_the_server() {
    let mut client = Endpoint::client(quiet(), &Offer::new());
    client.give(
        b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 15, 14\r\nContent-Length: 0\r\n\r\n",
    );
    let Some(HandshakeError::Refused(refusal)) = client.connection.handshake_error() else {
        panic!("refused");
    };
    assert_eq!(refusal.status, 426);
    assert_eq!(refusal.headers.get_str("Sec-WebSocket-Version"), Some("15, 14"));
}

#[test]
fn w7_2_2_01_a_server_that_aborts_the_handshake_closes_the_connection() {
    let mut client = Endpoint::client(quiet(), &Offer::new());
    let mut server = Endpoint::server(quiet());
    server.app.decide = Box::new(|_| Response::new(503).body("full\n").into());
    converse(&mut client, &mut server);
    assert_eq!(server.did.last(), Some(&Did::Finish { reset: false }));
    assert_eq!(client.did.last(), Some(&Did::Finish { reset: false }));
    assert_eq!(client.connection.handshake_error().unwrap().status(), Some(503));
}

#[test]
fn w10_8_01_the_oracle_of_these_tests_is_sha_1() {
    let hex = |message: &[u8]| sha1(message).map(|byte| format!("{byte:02x}")).concat();
    // RFC 3174 section 7.3; the accept values above then prove the library's own.
    assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(
        hex(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
    );
    assert_eq!(hex(&b"a".repeat(1_000_000)), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    let tens = b"0123456701234567012345670123456701234567012345670123456701234567".repeat(10);
    assert_eq!(hex(&tens), "dea356a2cddd90c7a7ecedc5ebb563934f460452");
}
