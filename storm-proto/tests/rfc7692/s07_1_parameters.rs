//! Section 7.1: what each parameter asks for, and what it obliges to.

use storm_proto::websocket::Role;
use storm_proto::websocket::handshake::HandshakeError;

use super::party::{
    accepted, agreed, answer, answered, frame_of, json, offered, sender, with_context,
    without_context,
};
use crate::support::inflate::inflate;

const NAME: &str = "permessage-deflate";

fn parts(element: &str) -> Vec<&str> {
    element.split("; ").collect()
}

#[test]
fn d7_1_1_1_01_a_client_may_ask_for_no_server_context() {
    assert!(parts(&offered(&without_context())).contains(&"server_no_context_takeover"));
    assert!(!offered(&with_context()).contains("server_no_context_takeover"));
}

#[test]
fn d7_1_1_1_02_and_the_answer_says_so() {
    let offer = "permessage-deflate; server_no_context_takeover";
    assert_eq!(answered(&with_context(), offer), offer);
    // A client that asked is not content with less.
    let error = accepted(&without_context(), &[NAME]).unwrap_err();
    assert!(matches!(error, HandshakeError::ExtensionParameters), "{error}");
}

#[test]
fn d7_1_1_1_03_a_server_may_state_it_unasked() {
    let settings = with_context().server_no_context_takeover(true);
    let expected = "permessage-deflate; server_no_context_takeover";
    assert_eq!(answered(&settings, NAME), expected);
    let agreed = accepted(&with_context(), &[expected]).unwrap().unwrap();
    assert!(agreed.server_no_context_takeover());
}

#[test]
fn d7_1_1_1_04_a_server_does_without_context_if_it_is_asked_to() {
    let offer = "permessage-deflate; server_no_context_takeover";
    let (_, agreed) = answer(&with_context(), &[offer]).unwrap();
    let mut sender = sender(Role::Server, &agreed);
    let text = json(500, 1);
    let (first, second) = (frame_of(&mut sender, &text), frame_of(&mut sender, &text));
    assert_eq!(first, second, "the second refers to nothing");
}

#[test]
fn d7_1_1_2_01_a_client_may_promise_no_context_of_its_own() {
    assert!(parts(&offered(&without_context())).contains(&"client_no_context_takeover"));
    assert!(!offered(&with_context()).contains("client_no_context_takeover"));
    // The promise holds although the server did not take it up.
    let settings = with_context().client_no_context_takeover(true);
    let agreed = accepted(&settings, &[NAME]).unwrap().unwrap();
    assert!(agreed.client_no_context_takeover());
}

#[test]
fn d7_1_1_2_02_a_server_may_ask_for_it_offered_or_not() {
    let asking = with_context().client_no_context_takeover(true);
    let expected = "permessage-deflate; client_no_context_takeover";
    assert_eq!(answered(&asking, NAME), expected);
    assert_eq!(answered(&asking, expected), expected);
    assert_eq!(answered(&with_context(), expected), expected, "a promise is taken up");
}

#[test]
fn d7_1_1_2_03_and_then_the_client_keeps_none() {
    let answer = "permessage-deflate; client_no_context_takeover";
    let agreed = accepted(&with_context(), &[answer]).unwrap().unwrap();
    let mut sender = sender(Role::Client, &agreed);
    let text = json(500, 1);
    frame_of(&mut sender, &text);
    let second = frame_of(&mut sender, &text);
    assert_eq!(inflate(&second.payload, &[]).unwrap().bytes, text.as_bytes());
}

#[test]
fn d7_1_2_01_window_sizes_are_8_to_15_in_plain_decimal() {
    let letters = ["", "0", "1", "2", "5", "6", "8", "9", "+", "-", "a"];
    let mut taken = Vec::new();
    for a in letters {
        for b in letters {
            for c in letters {
                let value = format!("{a}{b}{c}");
                if value.is_empty() || value != format!("{a}{b}{c}").trim() {
                    continue;
                }
                let offer = format!("permessage-deflate; client_max_window_bits={value}");
                if !answered(&with_context(), &offer).is_empty() && !taken.contains(&value) {
                    taken.push(value);
                }
            }
        }
    }
    taken.sort();
    assert_eq!(taken, ["10", "11", "12", "15", "8", "9"], "13 and 14 are not in the letters");
    for bits in 8..=15 {
        let offer = format!("permessage-deflate; client_max_window_bits={bits}");
        assert!(!answered(&with_context(), &offer).is_empty());
    }
}

#[test]
fn d7_1_2_1_01_a_client_may_limit_the_servers_window() {
    let settings = with_context().server_max_window_bits(11);
    assert!(parts(&offered(&settings)).contains(&"server_max_window_bits=11"));
    assert!(!offered(&with_context()).contains("server_max_window_bits"), "15 needs no word");
}

#[test]
fn d7_1_2_1_02_the_answer_is_not_larger_and_not_missing() {
    for (ours, asked, expected) in [(15, 10, 10), (10, 15, 10), (12, 12, 12), (9, 10, 9)] {
        let offer = format!("permessage-deflate; server_max_window_bits={asked}");
        let (text, agreed) =
            answer(&with_context().server_max_window_bits(ours), &[&offer]).unwrap();
        assert_eq!(text, format!("permessage-deflate; server_max_window_bits={expected}"));
        assert_eq!(agreed.server_max_window_bits(), expected);
    }
    let asking = with_context().server_max_window_bits(10);
    let takes = |answer: &str| accepted(&asking, &[answer]).is_ok();
    assert!(takes("permessage-deflate; server_max_window_bits=10"));
    assert!(takes("permessage-deflate; server_max_window_bits=9"));
    assert!(!takes("permessage-deflate; server_max_window_bits=11"));
    assert!(!takes("permessage-deflate"));
}

#[test]
fn d7_1_2_1_03_a_server_may_limit_its_window_unasked() {
    let settings = with_context().server_max_window_bits(10);
    let expected = "permessage-deflate; server_max_window_bits=10";
    assert_eq!(answered(&settings, NAME), expected);
    let agreed = accepted(&with_context(), &[expected]).unwrap().unwrap();
    assert_eq!(agreed.server_max_window_bits(), 10);
}

#[test]
fn d7_1_2_1_04_the_limit_of_the_servers_window_has_a_value() {
    let bare = "permessage-deflate; server_max_window_bits";
    assert_eq!(answered(&with_context(), bare), "");
    assert!(accepted(&with_context(), &[bare]).is_err());
}

#[test]
fn d7_1_2_2_01_a_client_lets_its_window_be_limited_with_and_without_a_value() {
    assert!(parts(&offered(&with_context())).contains(&"client_max_window_bits"));
    let settings = with_context().client_max_window_bits(12);
    assert!(parts(&offered(&settings)).contains(&"client_max_window_bits=12"));
    for offer in ["client_max_window_bits", "client_max_window_bits=15"] {
        let offer = format!("permessage-deflate; {offer}");
        assert_eq!(answered(&with_context(), &offer), NAME, "15 needs no word");
    }
}

#[test]
fn d7_1_2_2_02_a_clients_window_is_not_limited_unasked() {
    for settings in [with_context(), without_context(), with_context().client_max_window_bits(9)] {
        for offer in [NAME, "permessage-deflate; server_max_window_bits=9"] {
            assert!(!answered(&settings, offer).contains("client_max_window_bits"));
        }
    }
}

#[test]
fn d7_1_2_2_03_the_answer_is_not_larger_than_the_offer() {
    for (ours, offered, expected) in [(12, "=10", 10), (10, "=12", 10), (10, "", 10), (15, "=8", 8)]
    {
        let offer = format!("permessage-deflate; client_max_window_bits{offered}");
        let (text, agreed) =
            answer(&with_context().client_max_window_bits(ours), &[&offer]).unwrap();
        assert_eq!(text, format!("permessage-deflate; client_max_window_bits={expected}"));
        assert_eq!(agreed.client_max_window_bits(), expected);
    }
    let limited = with_context().client_max_window_bits(10);
    let takes = |bits: u8| {
        accepted(&limited, &[&format!("permessage-deflate; client_max_window_bits={bits}")])
    };
    assert!(takes(11).is_err());
    assert_eq!(takes(9).unwrap().unwrap().client_max_window_bits(), 9);
    let own = accepted(&limited, &[NAME]).unwrap().unwrap();
    assert_eq!(own.client_max_window_bits(), 10, "its own limit holds without a word");
}

#[test]
fn d7_1_2_2_04_the_answer_has_a_value() {
    let bare = "permessage-deflate; client_max_window_bits";
    assert!(accepted(&with_context(), &[bare]).is_err());
}

#[test]
fn d7_1_2_2_05_windows_are_kept_to_at_every_size_and_level() {
    // Repeats at all distances, so that a larger window would be used if it were there.
    let text = json(3000, 5).repeat(30);
    for bits in 9..=15 {
        for level in 1..=9 {
            let settings = with_context()
                .level(level)
                .client_max_window_bits(bits)
                .server_max_window_bits(bits);
            for role in [Role::Server, Role::Client] {
                let mut sender = sender(role, &agreed(&settings));
                let mut history = Vec::new();
                for message in [&text[..], &text[7000..50_000], &text] {
                    let frame = frame_of(&mut sender, message);
                    assert_eq!(frame.rsv, 4);
                    let inflated = inflate(&frame.payload, &history).unwrap();
                    assert!(inflated.bytes == message.as_bytes(), "the same text");
                    assert!(inflated.farthest <= 1 << bits, "{bits} bits: {}", inflated.farthest);
                    history.extend(inflated.bytes);
                }
            }
        }
    }
}
