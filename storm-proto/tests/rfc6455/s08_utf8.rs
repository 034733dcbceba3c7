//! Section 8.1: text that is not UTF-8.

use storm_proto::websocket::Role;
use storm_proto::{ProtocolError, Random};

use super::s04_1_client::verdict;
use super::s04_2_server::{request, status};
use crate::support::endpoint::Endpoint;
use crate::support::http::Text;
use crate::support::wire::{Ear, Frame, Heard, ROLES, hear};

fn failed() -> Vec<Heard> {
    vec![Heard::Failed(ProtocolError::InvalidUtf8)]
}

/// The verdict on a text given whole, in two fragments, and in two reads: always std's.
fn agrees_with_std(role: Role, text: &[u8]) {
    let expected = match std::str::from_utf8(text) {
        Ok(_) => vec![Heard::Text(text.to_vec())],
        Err(_) => failed(),
    };
    let whole = Frame::text(text).to(role);
    assert_eq!(hear(role, &whole), expected, "{text:x?}");
    let (head, tail) = text.split_at(text.len() / 2);
    let cut = [Frame::text(head).more().to(role), Frame::continuation(tail).to(role)].concat();
    assert_eq!(hear(role, &cut), expected, "{text:x?} in fragments");
    let mut ear = Ear::new(role);
    let middle = whole.len() - text.len().div_ceil(2);
    assert_eq!(ear.give(&whole[..middle]).give(&whole[middle..]).take(), expected);
}

#[test]
fn w8_1_01_text_is_valid_exactly_where_std_says_so() {
    let edges = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xff];
    for role in ROLES {
        for first in 0..=255 {
            agrees_with_std(role, &[first]);
            for second in 0..=255 {
                agrees_with_std(role, &[first, second]);
            }
        }
        // Behind every lead byte of three or four, the edges of all ranges.
        for first in 0xe0..=0xff {
            for second in edges {
                for third in edges {
                    agrees_with_std(role, &[first, second, third]);
                    for fourth in edges {
                        agrees_with_std(role, &[first, second, third, fourth]);
                    }
                }
            }
        }
    }
    let mut random = Random::from_seed(81);
    for round in 0..20_000 {
        let bytes = random.bytes::<4>();
        let lead = [b"ok".to_vec(), vec![b'x'; 70]][round % 2].clone();
        agrees_with_std(ROLES[round / 2 % 2], &[&lead[..], &bytes, b"behind"].concat());
    }
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::text(b"\xce\xba\xed\xa0\x80edited")]);
        assert_eq!(end.frames(), [Frame::fault(ProtocolError::InvalidUtf8)]);
    }
}

#[test]
fn w8_1_01_a_large_text_is_checked_by_every_way_in() {
    let valid = "a\u{fc}\u{20ac}\u{1f600}".repeat(12_000).into_bytes();
    let mut random = Random::from_seed(82);
    for role in ROLES {
        let expected = [Heard::Text(valid.clone())];
        let bytes = Frame::text(&valid).to(role);
        assert!(hear(role, &bytes) == expected);
        assert!(Ear::new(role).give_directly(&bytes).take() == expected);
        for _ in 0..100 {
            let at = usize::from(u16::from_le_bytes(random.bytes())) + 20_000;
            let mut broken = valid.clone();
            broken[at] = 0xff;
            let bytes = Frame::text(&broken).to(role);
            assert_eq!(hear(role, &bytes), failed(), "byte {at}");
            // Up to the bad byte: enough to know.
            let bad = bytes.len() - broken.len() + at + 1;
            assert_eq!(Ear::new(role).give_directly(&bytes[..bad]).take(), failed(), "byte {at}");
            let fine = Ear::new(role).give_directly(&bytes[..bad - 1]).take();
            assert_eq!(fine, [], "byte {at}");
        }
    }
}

#[test]
fn w8_1_02_a_text_fails_at_the_first_byte_that_cannot_be_part_of_one() {
    let texts: [&[u8]; 8] = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
        b"\xf4\x90\x80\x80",
        b"\xc0\x80",
        b"a\xe0\x80\x80",
        b"long enough to be looked at in blocks of many bytes at once: \xed\xa0\x80",
        b"\xf8\x88\x80\x80\x80",
        b"ab\xffcd",
        b"\xe2\x28\xa1",
    ];
    for role in ROLES {
        for text in texts {
            let first_bad = (1..=text.len())
                .find(|&len| {
                    let error = std::str::from_utf8(&text[..len]).err();
                    error.is_some_and(|error| error.error_len().is_some())
                })
                .unwrap();
            // As one frame that is far from its end, and as fragments of one byte.
            let frame = Frame::text([text, &[b'x'; 1000]].concat()).to(role);
            let header = frame.len() - text.len() - 1000;
            let mut ear = Ear::new(role);
            ear.give(&frame[..header]);
            let mut fragments = Ear::new(role);
            fragments.give(&Frame::text("").more().to(role));
            for at in 0..first_bad {
                assert_eq!((&ear.heard[..], &fragments.heard[..]), (&[][..], &[][..]));
                ear.give(&frame[header + at..=header + at]);
                fragments.give(&Frame::continuation(&text[at..=at]).more().to(role));
            }
            assert_eq!(ear.take(), failed(), "{text:x?} at byte {first_bad}");
            assert_eq!(fragments.take(), failed(), "{text:x?} at byte {first_bad}");
        }
    }
}

#[test]
fn w8_1_03_a_text_that_ends_inside_a_character_is_invalid() {
    let starts: [&[u8]; 6] =
        [b"\xe2\x82", b"\xe2", b"ok\xc3", b"\xf0\x9f\x98", b"\xf0\x9f", b"\xf0"];
    for role in ROLES {
        for start in starts {
            assert_eq!(hear(role, &Frame::text(start).to(role)), failed());
            let frames = [Frame::text(start).more(), Frame::continuation("")];
            assert_eq!(hear(role, &crate::support::wire::wire(role, &frames)), failed());
            let frames = [Frame::text("").more(), Frame::continuation(start)];
            assert_eq!(hear(role, &crate::support::wire::wire(role, &frames)), failed());
        }
        // Nothing of one message completes a character of another.
        let frames = [Frame::text("\u{20ac}"), Frame::text(b"\x82\xac")];
        let heard = hear(role, &crate::support::wire::wire(role, &frames));
        assert_eq!(heard, [vec![Heard::Text("\u{20ac}".into())], failed()].concat());
    }
}

#[test]
fn w8_1_04_surrogates_and_overlong_forms_are_invalid_and_noncharacters_are_valid() {
    let invalid: [&[u8]; 9] = [
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
    ];
    let valid: [&[u8]; 7] = [
        b"\xef\xbf\xbf",
        b"\xef\xbf\xbe",
        b"\xef\xb7\x90",
        b"\xf4\x8f\xbf\xbf",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\0\xef\xbb\xbf",
    ];
    for role in ROLES {
        for text in invalid {
            assert_eq!(hear(role, &Frame::text(text).to(role)), failed(), "{text:x?}");
        }
        for text in valid {
            let heard = hear(role, &Frame::text(text).to(role));
            assert_eq!(heard, [Heard::Text(text.to_vec())], "{text:x?}");
        }
    }
}

#[test]
fn w8_1_05_a_handshake_is_never_decided_on_bytes_that_were_repaired() {
    let set = |name: &str, value: &[u8]| status(&Text::request().set(name, value));
    assert_eq!(set("Connection", b"upgrade\xff"), 400);
    assert_eq!(set("Upgrade", b"\xffwebsocket"), 426);
    assert_eq!(set("Sec-WebSocket-Version", b"13\xc2\xa0"), 426);
    assert_eq!(set("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=\xff"), 400);
    assert_eq!(set("Sec-WebSocket-Protocol", b"chat\xff"), 400);
    assert_eq!(set("Host", b"example.org\xff"), 400);

    let odd = request(&Text::request().add("Origin", b"https://a\xff").add("X", b"\xff"));
    assert_eq!((odd.origin(), odd.header("X")), (None, None));
    assert_eq!(odd.headers().get("origin"), Some(&b"https://a\xff"[..]), "as it came");

    for (name, value) in [
        ("Upgrade", &b"websocket\xff"[..]),
        ("Connection", b"Upgrade\xff"),
        ("Sec-WebSocket-Accept", b"\xff"),
        ("Sec-WebSocket-Protocol", b"chat\xff"),
    ] {
        assert!(verdict(|text| text.set(name, value)).is_some(), "{name}");
    }
}
