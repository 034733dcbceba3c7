//! Sections 7.1 to 7.3: how connections end.

use std::time::Duration;

use storm_proto::websocket::Role;
use storm_proto::{
    Cause, CloseCode, CloseError, CloseFrame, Error, Heartbeat, SendError, Side, Step,
    TransportError, TransportErrorKind,
};

use crate::support::endpoint::{Did, Endpoint, converse, pair, pair_with, quiet};
use crate::support::faults;
use crate::support::wire::{Frame, ROLES, wire};

fn reset() -> TransportError {
    TransportError::new(TransportErrorKind::Reset, Some(104))
}

#[test]
fn w7_1_1_01_a_stream_is_ended_in_order_and_what_still_comes_is_discarded() {
    let mut server = Endpoint::open(Role::Server);
    server.give_frames(&[Frame::close(1000, "")]);
    assert_eq!(server.did, [Did::Write(4), Did::Shutdown]);
    server.give(&[7; 1 << 20]).wait_millis(4_000);
    assert_eq!(server.connection.step(), Step::Continue, "no reset while the peer still sends");
    server.end();
    assert_eq!(server.did[2..], [Did::Finish { reset: false }]);

    // But neither bytes nor time without end.
    let mut server = Endpoint::open(Role::Server);
    server.give_frames(&[Frame::close(1000, "")]);
    for _ in 0..17 {
        server.give(&[7; 1 << 20]);
    }
    assert_eq!(server.did[2..], [Did::Finish { reset: true }]);
    let mut server = Endpoint::open(Role::Server);
    server.give_frames(&[Frame::close(1000, "")]).wait_millis(5_000);
    assert_eq!(server.did[2..], [Did::Finish { reset: false }]);
}

#[test]
fn w7_1_1_02_an_abort_ends_a_connection_at_once() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.connection.sender().send("never sent").unwrap();
        end.connection.abort();
        end.settle();
        assert_eq!(end.did.last(), Some(&Did::Finish { reset: true }));
        assert_eq!(end.connection.poll_timeout(), None, "nothing is left to wait for");
        let reason = end.reason();
        assert_eq!((reason.cause, reason.side, reason.clean), (Cause::Aborted, Side::Local, false));
    }
}

#[test]
fn w7_1_1_03_the_server_ends_the_stream_first() {
    for server_first in [false, true] {
        let (mut client, mut server) = pair();
        let (first, second) =
            if server_first { (&mut server, &mut client) } else { (&mut client, &mut server) };
        first.close(1000, "");
        second.give(&std::mem::take(&mut first.written));
        first.give(&std::mem::take(&mut second.written));
        assert!(server.is_shut_down() && !client.is_shut_down(), "both Closes are there");
        client.end();
        assert_eq!(client.did[1..], [Did::Shutdown, Did::Finish { reset: false }]);
        server.end();
        assert_eq!(server.did[1..], [Did::Shutdown, Did::Finish { reset: false }]);
    }
}

#[test]
fn w7_1_2_01_a_close_carries_the_given_code_and_reason() {
    for role in ROLES {
        for (code, reason) in [(1000, ""), (1001, "going"), (4999, "\u{20ac}")] {
            let mut end = Endpoint::open(role);
            end.close(code, reason);
            assert_eq!(end.frames(), [Frame::close(code, reason)]);
        }
    }
    let mut server = Endpoint::open(Role::Server);
    server.close(1000, "bye");
    assert_eq!(server.written, b"\x88\x05\x03\xe8bye");

    // In bytes: 123 of them are 41 euro signs.
    let reason = "\u{20ac}".repeat(41);
    assert!(CloseFrame::new(CloseCode::NORMAL, &reason).is_ok());
    let reason = reason + "x";
    assert_eq!(CloseFrame::new(CloseCode::NORMAL, &reason), Err(CloseError::ReasonTooLong));
}

#[test]
fn w7_1_3_01_a_connection_closes_from_the_first_close_on() {
    for role in ROLES {
        let starts: [fn(&mut Endpoint); 2] = [
            |end| {
                end.close(1000, "");
            },
            |end| {
                end.give_frames(&[Frame::close(1000, "")]);
            },
        ];
        for start in starts {
            let mut end = Endpoint::open(role);
            assert!(end.connection.is_open() && end.connection.sender().is_open());
            start(&mut end);
            assert!(!end.connection.is_open() && !end.connection.sender().is_open());
            assert_eq!(end.connection.sender().send("late"), Err(SendError::Closed));
            end.give_frames(&[Frame::text("late")]);
            assert!(end.messages().is_empty() && !end.is_finished());
        }
    }
}

#[test]
fn w7_1_4_01_clean_means_that_both_closes_were_exchanged() {
    for role in ROLES {
        let mut lost = Endpoint::open(role);
        assert!(!lost.end().reason().clean, "no Close at all");

        let mut unanswered = Endpoint::open(role);
        assert!(!unanswered.close(1000, "").end().reason().clean, "only ours");

        let mut unsent = Endpoint::open(role);
        unsent.give_to_a_blocked_writer(&Frame::close(1000, "").to(role));
        unsent.connection.transport_failed(reset());
        assert!(!unsent.reason().clean, "our answer did not leave");

        let mut ours = Endpoint::open(role);
        ours.close(1000, "").give_frames(&[Frame::close(1000, "")]).end();
        assert!(ours.is_finished() && ours.reason().clean);

        let mut theirs = Endpoint::open(role);
        theirs.give_frames(&[Frame::close(1000, "")]).end();
        assert!(theirs.is_finished() && theirs.reason().clean);

        let mut failed = Endpoint::open(role);
        failed.give_frames(&[Frame::new(3, ""), Frame::close(1000, "")]).end();
        assert!(!failed.reason().clean, "what follows a fault does not count");
    }
}

#[test]
fn w7_1_5_01_the_code_is_that_of_the_first_close_received() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::close(3001, "first"), Frame::close(3002, "second")]).end();
        let reason = end.reason();
        assert_eq!(reason.code().get(), 3001);
        assert_eq!(reason.received.unwrap().reason(), "first");

        let mut end = Endpoint::open(role);
        end.close(3000, "ours").give_frames(&[Frame::close(3001, "theirs")]).end();
        assert_eq!(end.reason().code().get(), 3001, "the peer's, not our own");
    }
}

#[test]
fn w7_1_5_02_no_code_is_1005_and_no_close_is_1006() {
    for role in ROLES {
        let mut empty = Endpoint::open(role);
        assert_eq!(empty.give_frames(&[Frame::new(8, "")]).end().reason().code().get(), 1005);
        let mut ended = Endpoint::open(role);
        assert_eq!(ended.end().reason().code().get(), 1006);
        let mut failed = Endpoint::open(role);
        failed.connection.transport_failed(reset());
        assert_eq!(failed.settle().reason().code().get(), 1006);
        let mut closed = Endpoint::open(role);
        assert_eq!(closed.close(1000, "").end().reason().code().get(), 1006, "ours alone");
    }
}

#[test]
fn w7_1_6_01_the_reason_is_the_text_behind_the_code() {
    for role in ROLES {
        for reason in ["", "x", "\u{20ac}\u{1f600}", &"y".repeat(123)] {
            let mut end = Endpoint::open(role);
            end.give_frames(&[Frame::close(1000, reason)]).end();
            assert_eq!(end.reason().received.unwrap().reason(), reason);
        }
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::new(8, "")]).end();
        assert_eq!(end.reason().received.unwrap().reason(), "");
    }
}

/// Lets a peer break every rule once, with more behind it.
fn break_every_rule(role: Role, mut check: impl FnMut(&mut Endpoint, &faults::Fault)) {
    for fault in faults::all(role) {
        let mut end = Endpoint::open_with(role, faults::options());
        let good = wire(role, &[Frame::text("good"), Frame::ping("p"), Frame::close(1000, "")]);
        end.give(&[&Frame::text("before").to(role)[..], &fault.wire, &good].concat());
        assert_eq!(end.messages().len(), 1, "what came before the fault counts");
        check(&mut end, &fault);
    }
}

#[test]
fn w7_1_7_01_a_client_that_fails_the_connection_ends_it_and_says_why() {
    ends_and_says_why(Role::Client);
}

#[test]
fn w7_1_7_02_a_server_that_fails_the_connection_ends_it_and_says_why() {
    ends_and_says_why(Role::Server);
}

fn ends_and_says_why(role: Role) {
    break_every_rule(role, |end, fault| {
        assert_eq!(end.did.last(), Some(&Did::Shutdown), "without waiting for an answer");
        end.end();
        assert!(end.finished_in_order());
        let reason = end.reason();
        assert_eq!(reason.error, Some(Error::Peer(fault.error)));
        assert_eq!((reason.side, reason.clean), (Side::Remote, false));
        assert_eq!(reason.code(), CloseCode::ABNORMAL);
        assert!(reason.to_string().starts_with("the peer broke the protocol: "));
    });
}

#[test]
fn w7_1_7_03_the_close_of_a_failed_connection_has_a_fitting_code() {
    for role in ROLES {
        break_every_rule(role, |end, fault| {
            let frames = end.frames();
            assert_eq!(frames.len(), 1, "{}", fault.error);
            assert_eq!(frames[0].opcode, 8);
            assert_eq!(frames[0].payload[..2], fault.code.to_be_bytes(), "{}", fault.error);
            assert_eq!(end.reason().sent.unwrap().code().get(), fault.code);
        });
    }
}

#[test]
fn w7_1_7_04_nothing_behind_a_fault_is_looked_at() {
    for role in ROLES {
        break_every_rule(role, |end, fault| {
            end.written.clear();
            let more = [Frame::text("late"), Frame::ping("late"), Frame::close(3000, "")];
            end.give_frames(&more).give(&fault.wire);
            assert!(end.messages().is_empty() && end.written.is_empty(), "{}", fault.error);
            assert_eq!(end.reason().received, None, "not even a Close");
        });
    }
}

#[test]
fn w7_1_7_05_a_connection_without_a_cause_stays_open() {
    let mut options = quiet();
    options.websocket.heartbeat = Heartbeat::every(Duration::from_secs(30));
    let (mut client, mut server) = pair_with(options);
    for hour in 0..24 {
        for _ in 0..120 {
            client.wait(Duration::from_secs(30));
            server.wait(Duration::from_secs(30));
            converse(&mut client, &mut server);
        }
        assert!(client.connection.is_open() && server.connection.is_open(), "hour {hour}");
    }
    client.send("still here");
    converse(&mut client, &mut server);
    assert_eq!(server.messages()[0].as_text(), Some("still here"));
}

#[test]
fn w7_2_1_01_a_transport_that_is_lost_fails_the_connection() {
    for role in ROLES {
        let mut ended = Endpoint::open(role);
        ended.end();
        assert_eq!(ended.did, [Did::Shutdown, Did::Finish { reset: false }]);
        let reason = ended.reason();
        assert_eq!((reason.cause, reason.code().get()), (Cause::Lost, 1006));

        let mut failed = Endpoint::open(role);
        failed.connection.transport_failed(reset());
        assert!(failed.settle().is_finished());
        let reason = failed.reason();
        assert_eq!((reason.cause, reason.code().get()), (Cause::TransportError, 1006));
        assert_eq!(reason.error, Some(Error::Transport(reset())));

        let mut options = quiet();
        options.websocket.heartbeat = Heartbeat::every(Duration::from_secs(1)).missed(3);
        let mut silent = Endpoint::open_with(role, options);
        silent.wait_millis(4_000);
        assert!(silent.did.contains(&Did::Finish { reset: true }));
        let reason = silent.reason();
        assert_eq!((reason.cause, reason.code().get()), (Cause::HeartbeatTimeout, 1006));
    }
}

#[test]
fn w7_3_01_either_end_may_close_at_any_time() {
    for server_first in [false, true] {
        for in_message in [false, true] {
            let (mut client, mut server) = pair();
            if in_message {
                client.give(&Frame::text("part").more().to(Role::Client));
                server.give(&Frame::text("part").more().to(Role::Server));
            }
            if server_first {
                server.close(3000, "")
            } else {
                client.close(3000, "")
            };
            converse(&mut client, &mut server);
            assert!(client.finished_in_order() && server.finished_in_order());
            assert!(client.reason().clean && server.reason().clean);
        }
    }
}
