//! Section 9: extensions. None is asked for here; the grammar holds all the same.

use storm_proto::Random;
use storm_proto::websocket::Role;

use super::s04_2_server::status;
use crate::support::endpoint::Endpoint;
use crate::support::http::Text;

fn offered(value: &str) -> u16 {
    status(&Text::request().add("Sec-WebSocket-Extensions", value))
}

#[test]
fn w9_1_01_a_value_that_breaks_the_grammar_fails_the_handshake() {
    let broken = [
        "",
        " ",
        ";",
        ";a",
        "a;",
        "a; ",
        "a;b=",
        "a;=b",
        "a=b",
        "a b",
        "a;b c",
        "a;b=c d",
        "=",
        "a==b",
        "a;b=\"",
        "a;b=\"c",
        "a;b=\"\"",
        "a;b=c\"",
        "a;b=\"c\"d",
        "\"a\"",
        "a;\"b\"",
        "a;b='c d'",
        "a;;b",
        "a,;b",
        "a;b=c;",
        "(a)",
        "a/b",
        "a;b=@",
        "\u{fc}",
        "a;b=\"\u{fc}\"",
        ",",
        " , ,",
    ];
    for value in broken {
        assert_eq!(offered(value), 400, "{value:?}");
    }
    let valid = [
        "a",
        " a ",
        "a,b",
        "a ;b",
        "a; b = c",
        "a;b=\"c\"",
        "a;b=c;d=e;f",
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame",
        "a;b;b",
        "a,a",
    ];
    for value in valid {
        assert_eq!(offered(value), 101, "{value:?}");
    }
}

#[test]
fn w9_1_01_empty_elements_of_a_list_are_skipped() {
    // RFC 9110 section 5.6.1.2: a recipient must take a reasonable number of them.
    for value in ["a,,b", "a,", ",a", " , a , , b;c=d,"] {
        assert_eq!(offered(value), 101, "{value:?}");
        let protocols = Text::request().add("Sec-WebSocket-Protocol", value.replace(";c=d", ""));
        assert_eq!(status(&protocols), 101, "as in other lists");
    }
}

#[test]
fn w9_1_02_a_quoted_value_is_a_token_when_its_quotes_are_gone() {
    for (quoted, expected) in [
        ("\"10\"", 101),
        ("\"\\1\\0\"", 101),
        ("\"1 0\"", 400),
        ("\"1\\\"0\"", 400),
        ("\"1\\\\0\"", 400),
        ("\"1,0\"", 400),
        ("\"1;0\"", 400),
        ("\"10\\\"", 400),
    ] {
        let value = format!("permessage-deflate; client_max_window_bits={quoted}");
        assert_eq!(offered(&value), expected, "{value}");
    }
}

#[test]
fn w9_1_03_a_value_may_be_split_over_lines() {
    let name = "Sec-WebSocket-Extensions";
    let lines = |values: &[&str]| {
        status(&values.iter().fold(Text::request(), |text, value| text.add(name, value)))
    };
    assert_eq!(lines(&["a; b=1", "c", "d;e"]), 101);
    assert_eq!(lines(&["a; b=1", "c;"]), 400, "each is looked at");
    assert_eq!(lines(&["a;", "b"]), 400, "not in the middle of an element");
}

#[test]
fn w9_1_04_no_extension_is_used_that_was_not_accepted() {
    let mut random = Random::from_seed(91);
    for role in [Role::Server, Role::Client] {
        let mut end = Endpoint::open(role);
        for _ in 0..500 {
            let payload = random.bytes::<256>();
            end.send(&payload[..usize::from(payload[0])]).send(&"a".repeat(300));
        }
        // Reads them with all reserved bits at zero.
        assert_eq!(end.frames().len(), 1000);
    }
}
