//! Answers to a client.

use storm_proto::websocket::handshake::HeadLimit;

use super::verdict::{Answer, Fate, answer, key, right};
use crate::support::http::Text;
use crate::support::proof::accept_of;
use crate::support::wire::Frame;

fn check(rows: impl IntoIterator<Item = Answer>) {
    rows.into_iter().for_each(|row| row.check());
}

/// The right answer behind another start line.
fn started(start: impl AsRef<[u8]>) -> Text {
    right().start(start)
}

fn page(status: u16) -> Text {
    Text::answer_to("").start(format!("HTTP/1.1 {status} No"))
}

#[test]
fn the_answer_that_all_rows_are_made_of_opens() {
    check([answer("valid", Fate::Opens, right())]);
    check([answer("valid", Fate::Opens, right().add("Sec-WebSocket-Protocol", "superchat"))]);
}

#[test]
fn a_status_line_that_is_none_fails() {
    let lines = [
        "HTTQ/1.1 101 Switching Protocols",
        "HTTP/1.1 1O1 Switching Protocols",
        "HTTP/1.1  101 Switching Protocols",
        "HTTP/1.1 0101 Switching Protocols",
        "HTTP/1.1 10 Switching Protocols",
        "HTTP/1.1 1011",
        "HTTP/1.1 10",
        "HTTP/1.1",
        "HTTP/2 101",
        "http/1.1 101",
        "101 Switching Protocols",
        " ",
    ];
    check(lines.map(|line| answer("HB-C001", Fate::NotHttp, started(line))));
    check([
        answer("HB-C001", Fate::NotHttp, started("HTTP/1.1\t101\tSwitching Protocols")),
        // An empty line is forgiven, and a header is no status line.
        answer("HB-C001", Fate::NotHttp, started("")),
        Answer::new("HB-C001", Fate::Opens, [b"\r\n", &right().wire()[..]].concat()),
        Answer::new("HB-C001", Fate::Invalid, b"\r\n".repeat(5)),
    ]);
}

#[test]
fn only_http_1_1_opens() {
    check([
        answer("HB-C002", Fate::Version, started("HTTP/1.0 101 Switching Protocols")),
        answer("HB-C002", Fate::Version, started("HTTP/2.0 101 Switching Protocols")),
        answer("HB-C002", Fate::Version, started("HTTP/1.2 101 Switching Protocols")),
    ]);
}

#[test]
fn a_few_interim_answers_are_skipped_and_endless_ones_are_not() {
    let interim = |count: usize| b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n".repeat(count);
    let then_101 = |count: usize| [interim(count), right().wire()].concat();
    check([
        Answer::new("HB-C004", Fate::Opens, then_101(1)),
        Answer::new("HB-C004", Fate::Opens, then_101(8)),
        Answer::new("HB-C005", Fate::Invalid, then_101(9)),
        Answer::new("HB-C005", Fate::Invalid, interim(10_000)),
        Answer::new("HB-C004", Fate::Unfinished, interim(3)),
    ]);
}

#[test]
fn a_refusal_comes_with_its_status() {
    let statuses = [200, 201, 204, 301, 302, 304, 307, 308, 400, 401, 403, 404, 407, 426, 429, 503];
    for status in statuses {
        let id = if status < 400 { "HB-C007" } else { "HB-C010" };
        let fate = Fate::Refused(status);
        check([
            answer(id, fate, page(status)),
            Answer::new(id, fate, [&page(status).wire()[..], b"<p>until the end"].concat()),
            answer(id, fate, page(status).add("Content-Length", "0")),
            Answer::new(
                id,
                fate,
                [&page(status).add("Content-Length", "4").wire()[..], b"gone"].concat(),
            ),
            answer(id, fate, page(status).add("Location", "wss://elsewhere.example/")),
        ]);
    }
}

#[test]
fn upgrade_is_websocket_and_nothing_else() {
    check([
        answer("HB-C013", Fate::Upgrade, right().set("Upgrade", "h2c")),
        answer("HB-C013", Fate::Upgrade, right().set("Upgrade", "websocket, h2c")),
        answer("HB-C013", Fate::Upgrade, right().add("Upgrade", "websocket")),
        answer("HB-C013", Fate::Upgrade, right().without("Upgrade")),
        answer("HB-C013", Fate::Opens, right().set("Upgrade", "WebSocket")),
    ]);
}

#[test]
fn connection_contains_upgrade() {
    check([
        answer("HB-C014", Fate::Connection, right().without("Connection")),
        answer("HB-C014", Fate::Connection, right().set("Connection", "close")),
        answer("HB-C014", Fate::Connection, right().set("Connection", "keep-alive")),
        answer("HB-C014", Fate::Opens, right().set("Connection", "keep-alive, UPGRADE")),
    ]);
}

#[test]
fn the_proof_is_the_one_for_our_key() {
    let accept = accept_of(&key());
    let set = |value: &str| right().set("Sec-WebSocket-Accept", value);
    check([
        answer("HB-C016", Fate::Accept, right().without("Sec-WebSocket-Accept")),
        answer("HB-C017", Fate::Accept, set(&accept_of("dGhlIHNhbXBsZSBub25jZQ=="))),
        answer("HB-C017", Fate::Accept, set(&accept.to_ascii_lowercase())),
        answer("HB-C017", Fate::Accept, set(accept.trim_end_matches('='))),
        answer("HB-C017", Fate::Accept, set(&format!("{accept}="))),
        answer("HB-C017", Fate::Accept, set(&format!("{accept}, {accept}"))),
        answer("HB-C017", Fate::Accept, set("")),
        answer("HB-C017", Fate::Opens, set(&format!(" \t{accept}\t "))),
        answer("HB-C019", Fate::Accept, right().add("Sec-WebSocket-Accept", &accept)),
        answer("HB-C020", Fate::Accept, set(&key())),
    ]);
}

#[test]
fn what_was_not_offered_is_not_taken() {
    let protocol = |value: &str| right().add("Sec-WebSocket-Protocol", value);
    let extension = |value: &str| right().add("Sec-WebSocket-Extensions", value);
    check([
        answer("HB-C028", Fate::Opens, right()),
        answer("HB-C028", Fate::Subprotocol, protocol("other")),
        answer("HB-C028", Fate::Subprotocol, protocol("CHAT")),
        answer("HB-C028", Fate::Subprotocol, protocol("chat, superchat")),
        answer(
            "HB-C028",
            Fate::Subprotocol,
            protocol("chat").add("Sec-WebSocket-Protocol", "chat"),
        ),
        answer("HB-C028", Fate::Subprotocol, protocol("")),
        answer("HB-C028", Fate::Extension, extension("x-foo")),
        answer("HB-C028", Fate::Extension, extension("permessage-deflate")),
    ]);
}

#[test]
fn other_headers_of_the_101_are_the_applications_business() {
    check([
        answer("HB-C029", Fate::Opens, right().add("Set-Cookie", "id=1").add("Server", "x")),
        // Whatever length a 101 names, the bytes behind it are frames.
        answer("HB-C037", Fate::Opens, right().add("Content-Length", "10")),
        answer("HB-C037", Fate::Opens, right().add("Transfer-Encoding", "chunked")),
    ]);
}

#[test]
fn a_head_without_an_end_fails_at_the_limit() {
    let endless = |line: &[u8], count| [&b"HTTP/1.1 101 x\r\n"[..], &line.repeat(count)].concat();
    let over = Fate::TooLarge;
    let lines = [&[b'a'; 8000][..], b"\r\n"].concat();
    let endless_start = [&b"HTTP/1.1 101 "[..], &[b'a'; 8193]].concat();
    check([
        Answer::new("HB-C031", over(HeadLimit::Headers(100)), endless(b"a: b\r\n", 101)),
        Answer::new("HB-C031", Fate::Unfinished, endless(b"a: b\r\n", 100)),
        Answer::new("HB-C031", over(HeadLimit::HeaderLine(8192)), endless(&[b'a'; 8193], 1)),
        Answer::new("HB-C031", over(HeadLimit::Bytes(16 << 10)), endless(&lines, 3)),
        Answer::new("HB-C031", over(HeadLimit::StartLine(8192)), endless_start),
    ]);
}

#[test]
fn the_body_of_a_refusal_ends_where_rfc_9112_says() {
    let chunked = b"4\r\nnope\r\n0\r\n";
    let refused = |lines: &[(&str, &str)], body: &[u8]| {
        let text = lines.iter().fold(page(403), |text, (name, value)| text.add(name, value));
        Answer::new("HB-C010", Fate::Refused(403), [&text.wire()[..], body].concat())
    };
    check([
        refused(&[("Transfer-Encoding", "chunked")], chunked),
        refused(&[("Transfer-Encoding", "Chunked"), ("Content-Length", "1")], chunked),
        refused(&[("Transfer-Encoding", "chunked")], b"no chunk at all"),
        refused(&[("Transfer-Encoding", "gzip")], b"to the end"),
        refused(&[("Connection", "keep-alive")], b"to the end"),
        refused(&[("Content-Length", "2, 2")], b"no"),
        refused(&[("Content-Length", "2"), ("Content-Length", "2")], b"no"),
        refused(&[("Content-Length", "+2")], b"no"),
        refused(&[("Content-Length", "2, 3")], b"no"),
    ]);
}

#[test]
fn a_stream_that_ends_in_the_answer_fails() {
    let bytes = right().wire();
    check(
        (0..bytes.len())
            .step_by(7)
            .map(|cut| Answer::new("HB-C034", Fate::Unfinished, &bytes[..cut])),
    );
}

#[test]
fn frames_behind_the_101_stay_in_the_input() {
    let frames = [Frame::text("first").plain(), Frame::binary([7; 300]).plain()].concat();
    let bytes = [right().wire(), frames].concat();
    check([Answer::new("HB-C035", Fate::Opens, bytes)]);
}

#[test]
fn a_client_is_as_strict_as_a_server() {
    let lf_only: Vec<u8> = right().wire().into_iter().filter(|&byte| byte != b'\r').collect();
    check([
        answer("HB-C038", Fate::Invalid, right().add("X", "a\rb")),
        answer("HB-C038", Fate::Invalid, right().add("X", "a\0b")),
        answer("HB-C038", Fate::Invalid, right().line(" folded")),
        answer("HB-C038", Fate::Invalid, right().line("\tfolded")),
        answer("HB-C038", Fate::Invalid, right().first_line(" X: y")),
        answer("HB-C038", Fate::Invalid, right().line("X : y")),
        answer("HB-C038", Fate::Invalid, right().line(": y")),
        Answer::new("HB-C038", Fate::Invalid, lf_only),
    ]);
}

#[test]
fn what_is_no_http_fails() {
    check([
        answer("HB-C041", Fate::NotHttp, started("\u{feff}HTTP/1.1 101 Switching Protocols")),
        Answer::new("HB-C041", Fate::NotHttp, b"<"),
        Answer::new("HB-C041", Fate::NotHttp, b"<!DOCTYPE html>\n<html>"),
        Answer::new("HB-C041", Fate::NotHttp, b"SSH-2.0-OpenSSH_9.6\r\n"),
        Answer::new("HB-C041", Fate::NotHttp, b"220 mail.example ESMTP\r\n"),
        Answer::new("HB-C041", Fate::NotHttp, b"\n"),
        Answer::new("HB-C041", Fate::NotHttp, b"\0"),
        Answer::new("HB-C041", Fate::NotHttp, b"\x4a\0\0\0\x0a8.0.36"),
        Answer::new("HB-C041", Fate::Tls, b"\x15\x03\x03\0\x02\x02\x28"),
        Answer::new("HB-C041", Fate::Tls, b"\x16\x03\x01"),
    ]);
}
