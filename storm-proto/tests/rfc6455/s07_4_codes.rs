//! Section 7.4: status codes.

use storm_proto::{CloseCode, CloseError, CloseFrame, LocalError, ProtocolError};

use crate::support::endpoint::Endpoint;
use crate::support::faults;
use crate::support::wire::{Frame, Heard, ROLES, hear};

/// The codes that may stand in a Close frame.
fn is_allowed(code: u16) -> bool {
    const REGISTERED: [u16; 12] =
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    REGISTERED.contains(&code) || (3000..5000).contains(&code)
}

fn is_refused_both_ways(code: u16) {
    assert_eq!(CloseCode::new(code), None, "{code} cannot be sent");
    for role in ROLES {
        let heard = hear(role, &Frame::close(code, "").to(role));
        assert_eq!(heard, [Heard::Failed(ProtocolError::InvalidCloseCode(code))]);
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::close(code, "secret")]);
        assert_eq!(
            end.frames(),
            [Frame::fault(ProtocolError::InvalidCloseCode(code))],
            "never echoed"
        );
        assert_eq!(end.end().reason().received, None, "nor shown");
    }
}

#[test]
fn w7_4_1_01_codes_that_stand_for_absence_are_never_on_the_wire() {
    for code in [1005, 1006, 1015] {
        is_refused_both_ways(code);
    }
    for code in [CloseCode::NO_STATUS, CloseCode::ABNORMAL] {
        assert_eq!(CloseFrame::new(code, ""), Err(CloseError::InvalidCode(code.get())));
    }
}

#[test]
fn w7_4_1_02_the_code_1004_is_reserved() {
    is_refused_both_ways(1004);
}

#[test]
fn w7_4_1_03_registered_codes_close_cleanly() {
    for role in ROLES {
        for code in (1000..=1003).chain(1007..=1014) {
            let mut end = Endpoint::open(role);
            end.give_frames(&[Frame::close(code, "")]);
            assert_eq!(end.frames(), [Frame::close(code, "")]);
            let reason = end.end().reason();
            assert_eq!((reason.code().get(), reason.clean), (code, true));
            let mut end = Endpoint::open(role);
            end.close(code, "");
            assert_eq!(end.frames(), [Frame::close(code, "")]);
        }
    }
}

#[test]
fn w7_4_1_05_every_fault_has_the_code_that_names_it() {
    for role in ROLES {
        for fault in faults::all(role) {
            let code = storm_proto::Error::Peer(fault.error).close_code().unwrap().get();
            assert_eq!(code, fault.code, "{}", fault.error);
        }
    }
    let panicked = storm_proto::Error::Local(LocalError::HandlerPanicked);
    assert_eq!(panicked.close_code(), Some(CloseCode::INTERNAL_ERROR));
}

#[test]
fn w7_4_2_01_of_all_numbers_only_the_defined_ranges_are_codes() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let heard = hear(role, &Frame::close(code, "").to(role));
            let expected = if is_allowed(code) {
                Heard::Close(code, String::new())
            } else {
                Heard::Failed(ProtocolError::InvalidCloseCode(code))
            };
            assert_eq!(heard, [expected]);
            assert_eq!(CloseCode::new(code).is_some(), is_allowed(code));
        }
        for code in [0, 1, 999, 1016, 2000, 2999, 5000, 65_535] {
            is_refused_both_ways(code);
        }
    }
}

#[test]
fn w7_4_2_02_codes_of_libraries_and_applications_are_passed_on() {
    for role in ROLES {
        for code in 3000..5000 {
            let mut end = Endpoint::open(role);
            end.give_frames(&[Frame::close(code, "mine")]);
            assert_eq!(end.frames(), [Frame::close(code, "mine")]);
            let reason = end.end().reason();
            assert_eq!(reason.code().get(), code);
            assert_eq!(reason.received.unwrap().reason(), "mine");
        }
    }
}
