//! Requests: the start line, the headers, the body, the fields of the upgrade.

use super::verdict::{Row, Verdict, opens, refused, roomy};
use crate::support::http::{KEY, Text};

fn check(rows: impl IntoIterator<Item = Row>) {
    rows.into_iter().for_each(|row| row.check());
}

fn valid() -> Text {
    Text::request()
}

/// A request with another start line.
fn started(start: impl AsRef<[u8]>) -> Text {
    valid().start(start)
}

/// A request with another value of one field.
fn set(name: &str, value: impl AsRef<[u8]>) -> Text {
    valid().set(name, value)
}

#[test]
fn the_request_that_all_rows_are_made_of_opens() {
    check([opens("valid", valid())]);
}

#[test]
fn only_get_opens_a_websocket() {
    let methods = ["POST", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"];
    check(methods.map(|method| {
        let id = if method == "POST" { "HB-S001" } else { "HB-S002" };
        refused(id, [405], started(format!("{method} / HTTP/1.1"))).must("Allow", "GET")
    }));
    check([
        refused("HB-S002", [405], started("HEAD / HTTP/1.1")).must("Allow", "GET"),
        refused("HB-S004", [405, 400], started("get / HTTP/1.1")),
        refused("HB-S005", [400, 501], started(format!("{} / HTTP/1.1", "A".repeat(100)))),
    ]);
}

#[test]
fn empty_lines_before_the_request_are_forgiven_and_nothing_else_is() {
    check([
        Row::new("HB-S007", b"\r\n", [Verdict::Waits]),
        Row::new("HB-S007", b"\r\n\r\n", [Verdict::Refused(400), Verdict::Waits]),
        Row::new("HB-S007", b"\r\n".repeat(4), [Verdict::Waits]),
        Row::new("HB-S007", b"\r\n".repeat(5), [Verdict::Refused(400)]),
        Row::new(
            "HB-S007",
            [&b"\r\n".repeat(1000)[..], &valid().wire()].concat(),
            [Verdict::Refused(400)],
        ),
        Row::new("HB-S008", [b"\r\n", &valid().wire()[..]].concat(), [Verdict::Opens]),
        refused("HB-S008", [400], started(" \r\nGET / HTTP/1.1")),
    ]);
}

#[test]
fn only_http_1_1_is_spoken() {
    check([
        refused("HB-S010", [426, 400, 505], started("GET /chat HTTP/1.0")),
        Row::new("HB-S011", b"GET /\r\n\r\n", [Verdict::Refused(400)]),
        refused("HB-S011", [400], started("GET /")),
        refused("HB-S013", [505], started("GET /chat HTTP/2.0")),
        refused("HB-S013", [505], started("GET /chat HTTP/1.2")),
        refused("HB-S013", [505], started("GET /chat HTTP/0.9")),
        Row::new(
            "HB-S014",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            [Verdict::Refused(400), Verdict::Refused(505)],
        ),
    ]);
    let malformed = ["HTTP/2", "HTTP/1.", "HTTP/1.10", "HTTP/a.b", "http/1.1", "HTTPS/1.1", "1.1"];
    check(malformed.map(|version| {
        // At once, and not when the head is complete.
        let line = format!("GET /chat {version}\r\n");
        Row::new("HB-S013", line.as_bytes(), [Verdict::Refused(400)])
    }));
    for greeting in [&b"SSH-2.0-OpenSSH_9.6\r\n"[..], b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"] {
        check([Row::new("HB-S130", greeting, [Verdict::Refused(400)])]);
    }
}

#[test]
fn headers_that_name_one_thing_stand_there_once() {
    for (name, value) in [("Origin", "http://a"), ("Authorization", "x"), ("Host", "example.org")] {
        let twice = || valid().without(name).add(name, value).add(name, value);
        check([refused("RFC 9110 5.3", [400], twice())]);
        check([refused("RFC 9110 5.3", [400], twice().set("Upgrade", "h2c"))]);
    }
}

#[test]
fn the_words_of_the_request_line_stand_one_blank_apart() {
    let lines = [
        ("HB-S016", "GET  /chat HTTP/1.1"),
        ("HB-S016", "GET /chat  HTTP/1.1"),
        ("HB-S016", "GET\t/chat\tHTTP/1.1"),
        ("HB-S016", "GET/chatHTTP/1.1"),
        ("HB-S016", "GET/chat HTTP/1.1"),
        ("HB-S016", "GET /chatHTTP/1.1"),
        ("HB-S016", " GET /chat HTTP/1.1"),
        ("HB-S016", "GET /chat HTTP/1.1 "),
        ("HB-S017", "GET /a b HTTP/1.1"),
        ("HB-S019", "GET * HTTP/1.1"),
        ("HB-S022", "GET /chat#fragment HTTP/1.1"),
        ("HB-S022", "GET http://example.org/chat#fragment HTTP/1.1"),
        ("HB-S019", "GET chat HTTP/1.1"),
        ("HB-S019", "GET example.org:80 HTTP/1.1"),
    ];
    check(lines.map(|(id, line)| refused(id, [400], started(line))));
}

#[test]
fn an_absolute_target_gives_its_path_and_must_have_an_authority() {
    check([
        opens("HB-S020", started("GET http://other.example/x HTTP/1.1")),
        opens("HB-S020", started("GET HTTPS://other.example:8443/x?y=/z HTTP/1.1")),
        refused("HB-S020", [400], started("GET http:///x HTTP/1.1")),
        opens("HB-S020", started("GET http://other.example HTTP/1.1")),
        opens("HB-S020", started("GET http://other.example?y=/z HTTP/1.1")),
        opens("HB-S020", started("GET ws://[::1]:81?y=/z HTTP/1.1")),
        refused("HB-S020", [400], started("GET http://?y=/z HTTP/1.1")),
        refused("HB-S020", [400], started("GET http: HTTP/1.1")),
        refused("HB-S020", [400], started("GET http://user@other.example/x HTTP/1.1")),
        refused("HB-S020", [400], started("GET http://other.example:port/x HTTP/1.1")),
        refused("HB-S020", [400], started("GET ftp://other.example/x HTTP/1.1")),
    ]);
}

#[test]
fn a_target_is_visible_ascii() {
    let bytes = (0x80..=0xFF).chain([0x00, 0x7F]);
    check(bytes.map(|byte| {
        refused("HB-S023", [400], started([b"GET /a", &[byte][..], b"b HTTP/1.1"].concat()))
    }));
    check([
        refused("HB-S023", [400], started("GET /\u{fc}\u{20ac} HTTP/1.1")),
        opens("HB-S026", started("GET /%00/%2e%2e/%ff/%zz HTTP/1.1")),
    ]);
}

#[test]
fn a_target_over_the_limit_is_refused_as_soon_as_it_is_over() {
    check([
        refused("HB-S025", [414], started(format!("GET /{} HTTP/1.1", "a".repeat(8192)))),
        Row::new("HB-S025", vec![b'a'; 8193], [Verdict::Refused(414)]),
        Row::new("HB-S025", vec![b'a'; 8192], [Verdict::Waits]),
    ]);
}

#[test]
fn only_cr_lf_ends_a_line_and_no_nul_passes() {
    check([
        refused("HB-S028", [400], started("GET /a\rb HTTP/1.1")),
        refused("HB-S028", [400], started("GET /chat HTTP/1.1\r")),
        refused("HB-S028", [400], valid().add("X", "a\rb")),
        refused("HB-S028", [400], valid().add("X", "a\nb")),
        refused("HB-S028", [400], valid().add("X\r", "a")),
        refused("HB-S029", [400], started("GET /a\0b HTTP/1.1")),
        refused("HB-S029", [400], started("GET\0 / HTTP/1.1")),
    ]);
}

#[test]
fn exactly_one_valid_host_is_required() {
    check([
        Row::new("HB-S031", b"GET /chat HTTP/1.1\r\n\r\n", [Verdict::Refused(400)]),
        refused("HB-S032", [400], valid().without("Host")),
        refused("HB-S035", [400], set("Host", "")),
        refused("HB-S034", [400], valid().add("host", "example.org")),
    ]);
    let hosts = [
        "a, b",
        "a b",
        "a/b",
        "http://a",
        "[::1",
        "a:99999",
        "a:-1",
        "user@host",
        "[a]",
        "[::1]:x",
    ];
    check(hosts.map(|host| refused("HB-S034", [400], set("Host", host))));
    let hosts = ["a", "a:80", "a:", "127.0.0.1:9001", "[::1]", "[::1]:9001", "a_b.example"];
    check(hosts.map(|host| opens("HB-S034", set("Host", host))));
}

#[test]
fn names_of_headers_are_tokens_with_a_colon_right_behind_them() {
    check([
        refused("HB-S037", [400], valid().line(": value")),
        refused("HB-S037", [400], valid().line("no colon")),
        refused("HB-S038", [400], valid().without("Upgrade").line("Upgrade : websocket")),
        refused("HB-S038", [400], valid().without("Upgrade").line("Upgrade\t: websocket")),
        refused("HB-S041", [400], valid().line(format!("Sec WebSocket-Key: {KEY}"))),
        refused("HB-S041", [400], valid().add("Upgr(ade", "websocket")),
        refused("HB-S041", [400], valid().add("\u{fc}pgrade", "websocket")),
    ]);
}

#[test]
fn folded_lines_are_refused() {
    for fold in [" folded", "\tfolded", " "] {
        let key = format!("Sec-WebSocket-Key: {KEY}");
        let text = valid().without("Sec-WebSocket-Key").line(key).line(fold);
        check([refused("HB-S040", [400], text)]);
        check([refused("HB-S040", [400], valid().first_line(fold))]);
    }
}

#[test]
fn values_are_opaque_bytes() {
    check((0x80..=0xFF).map(|byte| opens("HB-S043", valid().add("X", [b'a', byte, b'b']))));
}

#[test]
fn a_head_over_its_limits_is_refused() {
    let with_headers = |count: usize| {
        (5..count).fold(valid(), |text, number| text.add(format!("X-{number}"), "x"))
    };
    let line = |len: usize| valid().add("X", "x".repeat(len - 3));
    // 64 KiB and one byte, by lines that are short enough.
    let lines = (0..16).fold(valid(), |text, _| text.add("X", "x".repeat(4093)));
    let large = &lines.wire()[..(64 << 10) + 1];
    check([
        opens("HB-S044", with_headers(100)),
        refused("HB-S044", [431], with_headers(101)),
        opens("HB-S046", line(8192)),
        refused("HB-S046", [431], line(8193)),
        Row::new("HB-S047", large, [Verdict::Refused(431)]),
        Row::new("HB-S047", &large[..16 << 10], [Verdict::Waits]),
        Row::new("HB-S047", &large[..(16 << 10) + 1], [Verdict::Refused(431)]),
        Row::new("HB-S047", b"\r\n".repeat(8193), [Verdict::Refused(400)]),
        opens("HB-S055", (0..90).fold(valid(), |text, _| text.add("Cookie", "a=1"))),
    ]);
}

#[test]
fn an_upgrade_has_no_body() {
    check([
        refused("HB-S056", [400], valid().add("Content-Length", "5")),
        Row::new(
            "HB-S056",
            [&valid().add("Content-Length", "5").wire()[..], b"helloGET /"].concat(),
            [Verdict::Refused(400)],
        ),
        Row::new(
            "HB-S058",
            [&valid().add("Transfer-Encoding", "chunked").wire()[..], b"0\r\n\r\n"].concat(),
            [Verdict::Refused(400)],
        ),
        refused(
            "HB-S059",
            [400],
            valid().add("Transfer-Encoding", "chunked").add("Content-Length", "0"),
        ),
        refused("HB-S061", [400], valid().add("Content-Length", "0").add("Content-Length", "5")),
        opens("HB-S056", valid().add("Content-Length", "0")),
    ]);
    let encodings = ["chunked, identity", "xchunked", "\tchunked", "\x0bchunked", "identity", ""];
    check(encodings.map(|value| {
        refused("HB-S062", [400], valid().line(format!("Transfer-Encoding:{value}")))
    }));
}

#[test]
fn upgrade_is_a_list_that_contains_websocket() {
    check([
        refused("HB-S067", [426, 400], valid().without("Upgrade")).must("Upgrade", "websocket"),
        refused("HB-S068", [400, 426], set("Upgrade", "websockets")),
        refused("HB-S068", [400, 426], set("Upgrade", "web socket")),
        refused("HB-S068", [400, 426], set("Upgrade", "h2c")),
        opens("HB-S070", set("Upgrade", "h2c, websocket")),
        opens("HB-S070", valid().add("Upgrade", "h2c")),
        opens("HB-S070", set("Upgrade", "h2c").add("upgrade", "websocket")),
        opens("HB-S071", set("Upgrade", "WEBSOCKET")),
        refused("HB-S073", [400], set("Upgrade", "")),
    ]);
}

#[test]
fn connection_is_a_list_that_contains_upgrade() {
    check([
        refused("HB-S074", [400], valid().without("Connection")),
        refused("HB-S076", [400], set("Connection", "keep-alive")),
        refused("HB-S076", [400], set("Connection", "notupgrade")),
        refused("HB-S076", [400], set("Connection", "upgrade\u{fc}")),
        opens("HB-S077", set("Connection", "keep-alive, Upgrade")),
        opens("HB-S077", set("Connection", "UPGRADE")),
        opens("HB-S077", set("Connection", "upgrade ,x")),
        opens("HB-S077", set("Connection", "keep-alive").add("connection", "upgrade")),
        opens("HB-S079", set("Connection", "Upgrade, Sec-WebSocket-Key")),
        refused("HB-S080", [400], valid().without("Connection").add("Proxy-Connection", "Upgrade")),
    ]);
}

#[test]
fn only_version_13_is_spoken() {
    let versions = ["0", "7", "8", "12", "14", "25", "255"];
    check(versions.map(|version| {
        refused("HB-S082", [426], set("Sec-WebSocket-Version", version))
            .must("Sec-WebSocket-Version", "13")
    }));
    let odd =
        ["256", "99999999999999999999", "-13", "13.0", "013", "0x0d", "1 3", "13,", "+13", ""];
    check(odd.map(|version| refused("HB-S083", [426, 400], set("Sec-WebSocket-Version", version))));
    check([
        refused("HB-S085", [400], valid().add("Sec-WebSocket-Version", "13")),
        refused("HB-S085", [400], valid().add("Sec-WebSocket-Version", "8")),
        opens(
            "HB-S086",
            valid()
                .add("Sec-WebSocket-Key1", "4 @1  46546xW%0l 1 5")
                .add("Sec-WebSocket-Key2", "12998 5 Y3 1  .P00"),
        ),
    ]);
}

#[test]
fn a_key_is_sixteen_bytes_in_canonical_base64() {
    check([
        refused("HB-S088", [400], valid().without("Sec-WebSocket-Key")),
        refused("HB-S094", [400], valid().add("Sec-WebSocket-Key", KEY)),
    ]);
    let keys = [
        ("HB-S089", ""),
        ("HB-S091", "!!!!!!!!!!!!!!!!!!!!!!!!"),
        ("HB-S092", "-_hlIHNhbXBsZSBub25jZQ=="),
        ("HB-S094", "dGhlIHNhbXBsZSBub25jZR=="),
        ("HB-S095", "dGhlIHNhbXBs ZSBub25jZQ=="),
        ("HB-S095", "dGhlIHNhbXBsZSBub25jZQ==, x"),
        ("HB-S095", "dGhlIHNhbXBsZSBub25jZQ"),
        ("HB-S095", "dGhlIHNhbXBsZSBub25j"),
        ("HB-S095", "dGhlIHNhbXBsZSBub25jZTE="),
    ];
    check(keys.map(|(id, key)| refused(id, [400], set("Sec-WebSocket-Key", key))));
    check([
        refused("HB-S097", [400, 431], set("Sec-WebSocket-Key", "A".repeat(8000))),
        refused("HB-S097", [400, 431], set("Sec-WebSocket-Key", "A".repeat(8192))),
        opens("HB-S098", set("Sec-WebSocket-Key", format!(" \t {KEY} \t"))),
    ]);
}

#[test]
fn subprotocols_are_tokens() {
    let name = "Sec-WebSocket-Protocol";
    check([
        refused("HB-S107", [400], valid().add(name, "")),
        refused("HB-S107", [400], valid().add(name, " , ,")),
        refused("HB-S109", [400], valid().add(name, "a b")),
        refused("HB-S109", [400], valid().add(name, "a/b")),
        refused("HB-S109", [400], valid().add(name, "\u{fc}")),
        // The first of equal names wins, which no choice can tell from the second.
        opens("HB-S110", valid().add(name, "a, a")),
    ]);
    let many = vec!["a"; 10_000].join(",");
    check([
        refused("HB-S112", [431], valid().add(name, &many)),
        opens("HB-S112", valid().add(name, &many)).limits(roomy()),
    ]);
    // Blanks that a careless pattern would go through again and again.
    let blanks = format!("b{}x", " ".repeat(32_000));
    check([refused("HB-S112", [400], valid().add(name, blanks)).limits(roomy())]);
}

#[test]
fn extensions_follow_their_grammar() {
    let name = "Sec-WebSocket-Extensions";
    let broken = ["", ";", "a;", "a;=1", "a;b=", "a b", "=x", "a;b=\"1 0\"", "a;b=\"", ","];
    check(broken.map(|value| refused("HB-S113", [400], valid().add(name, value))));
    let unclosed = |count: usize| format!("a; b=\"{}", "\\c".repeat(count));
    check([
        refused("HB-S115", [400], valid().add(name, unclosed(2000))),
        refused("HB-S115", [431], valid().add(name, unclosed(8192))),
        refused("HB-S115", [400], valid().add(name, unclosed(8192))).limits(roomy()),
        // Names that mean something elsewhere are unknown extensions here.
        opens("HB-S113", valid().add(name, "constructor; __proto__, toString")),
    ]);
}

#[test]
fn what_is_no_http_at_all_is_answered_at_once() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let proxy_v1 = "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n";
    let proxy_v2 =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbb";
    check([
        Row::new("HB-S127", hello, [Verdict::Refused(400)]),
        Row::new(
            "HB-S130",
            [proxy_v1.as_bytes(), &valid().wire()].concat(),
            [Verdict::Refused(400)],
        ),
        Row::new("HB-S130", [&proxy_v2[..], &valid().wire()].concat(), [Verdict::Refused(400)]),
    ]);
}
