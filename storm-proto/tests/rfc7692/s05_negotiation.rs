//! Sections 5 and 7: one element is offered, one is answered, and what fits no rule is
//! declined by a server and fails a client.

use storm_proto::websocket::handshake::HandshakeError;
use storm_proto::websocket::{Deflate, Role};

use super::party::{
    accepted, answer, answered, ear, frame_of, json, offered, sender, with_context,
};
use crate::support::wire::{Heard, wire};

const NAME: &str = "permessage-deflate";

/// True if a server passes over this element.
fn is_declined(element: &str) -> bool {
    let declined = answered(&with_context(), element).is_empty();
    // Whatever stands before it, an offer that fits is found.
    let (found, _) = answer(&with_context(), &[&format!("{element}, {NAME}")]).unwrap();
    assert_eq!(declined, found == NAME && element != NAME, "{element}");
    declined
}

/// True if a client fails on these parameters.
#[track_caller]
fn fails(settings: &Deflate, parameters: &str) -> bool {
    match accepted(settings, &[&format!("{NAME}{parameters}")]) {
        Ok(Some(_)) => false,
        Err(HandshakeError::ExtensionParameters) => true,
        other => panic!("{parameters}: {other:?}"),
    }
}

#[test]
fn d5_01_the_offer_is_one_element_by_the_grammar() {
    for settings in [Deflate::new(), with_context(), Deflate::new().client_max_window_bits(9)] {
        let offer = offered(&settings);
        assert!(offer.starts_with(NAME), "{offer}");
        assert!(!offer.contains(','));
        assert!(answer(&settings, &[&offer]).is_some(), "and its own server takes it: {offer}");
    }
}

#[test]
fn d5_02_the_first_offer_that_fits_is_taken_on_whatever_line_it_stands() {
    let first = "permessage-deflate; server_max_window_bits=10";
    let second = "permessage-deflate; server_max_window_bits=11";
    let taken = |lines: &[&str]| answer(&with_context(), lines).unwrap().0;
    assert_eq!(taken(&[first, second]), first);
    assert_eq!(taken(&[second, first]), second);
    assert_eq!(taken(&[&format!("x, y; z, {second}, {first}")]), second);
}

#[test]
fn d5_03_the_answer_is_one_element_for_one_offer() {
    let offers = "permessage-deflate; server_no_context_takeover, permessage-deflate, x";
    let (text, agreed) = answer(&with_context(), &[offers, NAME]).unwrap();
    assert_eq!(text, "permessage-deflate; server_no_context_takeover");
    assert!(agreed.server_no_context_takeover());
    assert_eq!(answered(&with_context(), "x-webkit-deflate-frame, bbf-usp-protocol"), "");
    assert_eq!(answered(&with_context(), "Permessage-Deflate"), "", "another name");
    assert_eq!(answered(&with_context(), "xpermessage-deflate"), "", "not a part of a name");
    assert_eq!(answered(&with_context(), "a; b=permessage-deflate"), "");
}

#[test]
fn d5_04_an_offer_that_does_not_fit_is_passed_over_for_the_next() {
    let offers = "permessage-deflate; server_max_window_bits=7, \
                  permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12";
    let (text, _) = answer(&with_context(), &[offers]).unwrap();
    assert_eq!(text, "permessage-deflate; server_max_window_bits=12");
}

#[test]
fn d5_1_01_a_client_fails_on_an_answer_that_fits_no_offer() {
    let settings = with_context();
    let unoffered = [
        &["x"][..],
        &["permessage-deflate, x"],
        &["x", "permessage-deflate"],
        &["permessage-deflate, permessage-deflate"],
        &["permessage-deflate", "permessage-deflate"],
        &["Permessage-Deflate"],
        &[""],
        &[","],
        &["permessage-deflate;"],
        &["permessage-deflate; a=b c"],
    ];
    for lines in unoffered {
        let error = accepted(&settings, lines).unwrap_err();
        assert!(matches!(error, HandshakeError::UnofferedExtension), "{lines:?}: {error}");
    }
    assert_eq!(accepted(&settings, &[]).unwrap(), None, "no answer is none");
    assert!(accepted(&settings, &[",permessage-deflate ,"]).unwrap().is_some());
}

#[test]
fn d5_1_02_the_parameters_in_use_are_those_of_the_answer() {
    let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                  server_max_window_bits=9; client_max_window_bits=\"1\\0\"";
    let agreed = accepted(&with_context(), &[answer]).unwrap().unwrap();
    assert!(agreed.server_no_context_takeover() && agreed.client_no_context_takeover());
    assert_eq!((agreed.server_max_window_bits(), agreed.client_max_window_bits()), (9, 10));
    let agreed = accepted(&with_context(), &[NAME]).unwrap().unwrap();
    assert!(!agreed.server_no_context_takeover() && !agreed.client_no_context_takeover());
    assert_eq!((agreed.server_max_window_bits(), agreed.client_max_window_bits()), (15, 15));
}

#[test]
fn d7_01_an_offer_with_an_unknown_parameter_is_declined() {
    for parameter in ["foo", "foo=1", "Server_no_context_takeover", "server_max_window_bit=10"] {
        assert!(is_declined(&format!("{NAME}; {parameter}")), "{parameter}");
        assert!(is_declined(&format!("{NAME}; client_max_window_bits; {parameter}")));
    }
    assert!(!is_declined(NAME));
}

#[test]
fn d7_02_an_offer_with_a_bad_value_is_declined() {
    for bad in ["=0", "=7", "=16", "=08", "=10a", "=+10", "=100", "=1", "=ten", "=-9", "=\"016\""] {
        assert!(is_declined(&format!("{NAME}; server_max_window_bits{bad}")), "{bad}");
        assert!(is_declined(&format!("{NAME}; client_max_window_bits{bad}")), "{bad}");
    }
    for value in ["=1", "=true", "=10", "=\"1\""] {
        assert!(is_declined(&format!("{NAME}; server_no_context_takeover{value}")), "{value}");
        assert!(is_declined(&format!("{NAME}; client_no_context_takeover{value}")), "{value}");
    }
}

const EACH_PARAMETER: [&str; 4] = [
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits=10",
    "client_max_window_bits=10",
];

#[test]
fn d7_03_an_offer_with_a_repeated_parameter_is_declined() {
    for parameter in EACH_PARAMETER {
        assert!(!is_declined(&format!("{NAME}; {parameter}")));
        assert!(is_declined(&format!("{NAME}; {parameter}; {parameter}")), "{parameter}");
    }
    assert!(is_declined(&format!("{NAME}; client_max_window_bits=9; client_max_window_bits")));
}

#[test]
fn d7_04_an_offer_that_cannot_be_met_is_declined() {
    assert!(!is_declined(&format!("{NAME}; client_max_window_bits=8")));
    assert!(!is_declined(&format!("{NAME}; server_max_window_bits=8")));
    // A limit that the client does not let us set.
    let limited = with_context().client_max_window_bits(10);
    assert_eq!(answered(&limited, NAME), "");
    assert!(!answered(&limited, "permessage-deflate; client_max_window_bits").is_empty());
}

#[test]
fn d7_05_an_answer_with_an_unknown_parameter_fails() {
    for parameter in ["; mode=x", "; mode", "; server_no_context_takeove"] {
        assert!(fails(&with_context(), parameter), "{parameter}");
    }
}

#[test]
fn d7_06_an_answer_with_a_bad_value_fails() {
    for bad in ["=0", "=7", "=16", "=100", "=08", "=+10", "=x"] {
        assert!(fails(&with_context(), &format!("; server_max_window_bits{bad}")), "{bad}");
        assert!(fails(&with_context(), &format!("; client_max_window_bits{bad}")), "{bad}");
    }
    for parameter in ["; server_no_context_takeover=1", "; client_no_context_takeover=0"] {
        assert!(fails(&with_context(), parameter), "{parameter}");
    }
    // These break the grammar already.
    for bad in ["=", "=\"1 0\"", "=\"\""] {
        let answer = format!("{NAME}; server_max_window_bits{bad}");
        assert!(accepted(&with_context(), &[&answer]).is_err(), "{bad}");
    }
}

#[test]
fn d7_07_an_answer_with_a_repeated_parameter_fails() {
    for parameter in EACH_PARAMETER {
        assert!(!fails(&with_context(), &format!("; {parameter}")), "{parameter}");
        assert!(fails(&with_context(), &format!("; {parameter}; {parameter}")), "{parameter}");
    }
}

#[test]
fn d7_08_an_answer_that_cannot_be_met_fails() {
    let limited = with_context().client_max_window_bits(10).server_max_window_bits(10);
    let both = |server, client| {
        format!("; server_max_window_bits={server}; client_max_window_bits={client}")
    };
    assert!(fails(&limited, &both(11, 10)) && fails(&limited, &both(10, 11)));
    for bits in 8..=10 {
        assert!(!fails(&limited, &both(bits, bits)), "{bits} bits");
    }
}

#[test]
fn d7_04_a_window_of_8_bits_is_agreed_on_and_sends_plain_messages() {
    let text = json(5000, 3);
    let answer_of_8 = "permessage-deflate; server_max_window_bits=\"8\"; client_max_window_bits=8";
    let agreed = accepted(&Deflate::new(), &[answer_of_8]).unwrap().unwrap();
    for role in [Role::Server, Role::Client] {
        let frame = frame_of(&mut sender(role, &agreed), &text);
        assert_eq!((frame.rsv, frame.payload), (0, text.clone().into_bytes()));
    }
    // A server agrees as well; only what it sends itself is plain.
    let offer = "permessage-deflate; server_max_window_bits=8";
    assert_eq!(
        answered(&Deflate::new(), offer),
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=8"
    );
}

#[test]
fn d7_1_1_2_02_by_default_nothing_is_asked_of_the_peer() {
    let offer = offered(&Deflate::new());
    assert_eq!(offer, "permessage-deflate; client_no_context_takeover; client_max_window_bits");
    assert_eq!(answered(&Deflate::new(), NAME), "permessage-deflate; server_no_context_takeover");
    // A hint that the server does not take up binds neither side.
    let agreed = accepted(&Deflate::new(), &[NAME]).unwrap().unwrap();
    assert!(agreed.client_no_context_takeover() && !agreed.server_no_context_takeover());
}

#[test]
fn d7_1_1_2_02_by_default_a_peer_may_keep_its_context() {
    let text = json(5000, 3);
    let (_, server) = answer(&Deflate::new(), &[NAME]).unwrap();
    let client = accepted(&Deflate::new(), &[NAME]).unwrap().unwrap();
    for (role, agreed, peer) in
        [(Role::Server, server, Role::Client), (Role::Client, client, Role::Server)]
    {
        let mut peer = sender(peer, &answer(&with_context(), &[NAME]).unwrap().1);
        let frames = [0; 3].map(|_| frame_of(&mut peer, &text));
        assert!(frames[1].payload.len() * 5 < frames[0].payload.len(), "it refers back");
        let heard = ear(role, &agreed).give(&wire(role, &frames)).take();
        assert_eq!(heard, vec![Heard::Text(text.clone().into_bytes()); 3]);
    }
}
