//! Section 5.5: Close, Ping and Pong.

use std::time::Duration;

use storm_proto::websocket::Role;
use storm_proto::{
    Cause, CloseCode, CloseError, CloseFrame, Heartbeat, ProtocolError, SendError, Side,
};

use crate::support::endpoint::{Did, Endpoint, converse, pair, quiet};
use crate::support::wire::{Frame, Heard, ROLES, header_to, hear, hear_at_every_cut, wire};

fn failed(error: ProtocolError) -> Vec<Heard> {
    vec![Heard::Failed(error)]
}

#[test]
fn w5_5_01_a_control_frame_has_125_bytes_at_most() {
    for role in ROLES {
        for opcode in [8, 9, 10] {
            for len in [126, 127, 1000, 65_536] {
                let form = if len < 65_536 { 2 } else { 8 };
                let bytes = header_to(role, 0x80 | opcode, len, form);
                assert_eq!(hear(role, &bytes), failed(ProtocolError::ControlTooLong));
                assert_eq!(hear(role, &bytes[..2]), failed(ProtocolError::ControlTooLong));
            }
        }
    }
    let long = "x".repeat(124);
    assert_eq!(CloseFrame::new(CloseCode::NORMAL, &long), Err(CloseError::ReasonTooLong));
}

#[test]
fn w5_5_02_125_bytes_are_taken_and_sent() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::ping([7; 125])]);
        assert_eq!(end.frames(), [Frame::pong([7; 125])]);
        end.close(1000, &"x".repeat(123));
        assert_eq!(end.frames()[0].payload.len(), 125);
        assert_eq!(hear(role, &Frame::pong([7; 125]).to(role)), [Heard::Pong(vec![7; 125])]);
    }
}

#[test]
fn w5_5_1_01_a_close_with_a_body_of_one_byte_is_refused() {
    for role in ROLES {
        for byte in 0..=255 {
            let bytes = Frame::new(8, [byte]).to(role);
            assert_eq!(hear_at_every_cut(role, &bytes), failed(ProtocolError::TruncatedClose));
        }
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::new(8, b"\x03")]);
        assert_eq!(end.frames(), [Frame::fault(ProtocolError::TruncatedClose)]);
    }
}

#[test]
fn w5_5_1_02_an_empty_close_is_answered_with_an_empty_close() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::new(8, "")]);
        assert_eq!(end.frames(), [Frame::new(8, "")]);
        end.end();
        let reason = end.reason();
        assert_eq!((reason.code(), reason.clean), (CloseCode::NO_STATUS, true));
        assert_eq!(reason.code().get(), 1005);
    }
}

#[test]
fn w5_5_1_03_a_reason_is_utf_8() {
    for role in ROLES {
        for reason in
            [&b"\xff"[..], b"\xc0\x80", b"ok\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]
        {
            let bytes = Frame::close(1000, reason).to(role);
            assert_eq!(hear_at_every_cut(role, &bytes), failed(ProtocolError::InvalidCloseReason));
        }
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::close(1000, b"\xff")]);
        assert_eq!(end.frames(), [Frame::fault(ProtocolError::InvalidCloseReason)]);
        let heard = hear(role, &Frame::close(1000, "\u{20ac}").to(role));
        assert_eq!(heard, [Heard::Close(1000, "\u{20ac}".into())]);
    }
}

#[test]
fn w5_5_1_04_the_text_of_a_peer_is_not_in_what_we_print() {
    let mut end = Endpoint::open(Role::Client);
    end.give_frames(&[Frame::close(4001, "call 555-0100 now")]).end();
    let reason = end.reason();
    assert_eq!(reason.to_string(), "closed by the peer (code 4001)");
    assert_eq!(reason.received.unwrap().reason(), "call 555-0100 now", "who asks gets it");
}

#[test]
fn w5_5_1_05_no_data_follows_our_close() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.send("before").close(1000, "");
        assert_eq!(end.connection.sender().send("after"), Err(SendError::Closed));
        end.settle().wait_millis(10);
        assert_eq!(end.frames(), [Frame::text("before"), Frame::close(1000, "")]);

        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::close(1000, "")]);
        assert_eq!(end.connection.sender().send("after"), Err(SendError::Closed));
        assert_eq!(end.settle().frames(), [Frame::close(1000, "")]);
    }
}

#[test]
fn w5_5_1_06_a_close_is_answered_with_exactly_one_close() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::close(1000, ""), Frame::close(1000, "")]);
        end.close(1001, "again").give_frames(&[Frame::close(1000, "")]).wait_millis(60_000);
        assert_eq!(end.frames(), [Frame::close(1000, "")]);

        let mut end = Endpoint::open(role);
        end.close(1001, "first").give_frames(&[Frame::close(1000, "")]).close(1000, "");
        assert_eq!(end.frames(), [Frame::close(1001, "first")], "ours was sent already");
    }
}

#[test]
fn w5_5_1_07_the_answer_echoes_the_code() {
    for role in ROLES {
        for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
            let mut end = Endpoint::open(role);
            end.give_frames(&[Frame::close(code, "why")]);
            assert_eq!(end.frames(), [Frame::close(code, "why")]);
            assert_eq!(end.end().reason().code().get(), code);
        }
    }
}

#[test]
fn w5_5_1_08_the_answer_waits_for_what_was_accepted_but_not_for_ever() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        for text in ["one", "two"] {
            end.connection.sender().send(text).unwrap();
        }
        end.write(3);
        end.give_to_a_blocked_writer(&Frame::close(1001, "").to(role));
        end.settle();
        assert_eq!(end.frames(), [Frame::text("one"), Frame::text("two"), Frame::close(1001, "")]);

        let mut end = Endpoint::open(role);
        end.connection.sender().send("stuck").unwrap();
        end.write(3);
        end.give_to_a_blocked_writer(&Frame::close(1001, "").to(role));
        let (at, _) = end.connection.poll_timeout().unwrap();
        assert_eq!(at - end.now, Duration::from_secs(5));
        end.connection.handle_timeout(at);
        end.settle();
        assert!(end.did.contains(&Did::Finish { reset: true }), "{:?}", end.did);
    }
}

#[test]
fn w5_5_1_09_after_both_closes_both_ends_close_the_stream() {
    for server_first in [false, true] {
        let (mut client, mut server) = pair();
        if server_first {
            server.close(1000, "bye");
        } else {
            client.close(1000, "bye");
        }
        converse(&mut client, &mut server);
        for end in [&mut client, &mut server] {
            assert!(end.is_shut_down() && end.finished_in_order());
            let reason = end.reason();
            assert_eq!((reason.clean, reason.code().get()), (true, 1000));
        }
    }
}

#[test]
fn w5_5_1_10_a_server_closes_the_stream_as_soon_as_both_closes_are_there() {
    let mut server = Endpoint::open(Role::Server);
    server.give_frames(&[Frame::close(1000, "")]);
    assert_eq!(server.did, [Did::Write(4), Did::Shutdown]);

    let mut server = Endpoint::open(Role::Server);
    server.close(1000, "");
    assert_eq!(server.did, [Did::Write(4)], "the client has not answered");
    server.give_frames(&[Frame::close(1000, "")]);
    assert_eq!(server.did, [Did::Write(4), Did::Shutdown]);
}

#[test]
fn w5_5_1_11_a_client_waits_for_the_server_to_close_the_stream() {
    for client_first in [false, true] {
        let mut client = Endpoint::open(Role::Client);
        if client_first {
            client.close(1000, "").give_frames(&[Frame::close(1000, "")]);
        } else {
            client.give_frames(&[Frame::close(1000, "")]);
        }
        client.wait_millis(4_999);
        assert_eq!(client.did, [Did::Write(8)], "only its Close");
        client.wait_millis(1);
        assert_eq!(client.did, [Did::Write(8), Did::Finish { reset: false }], "at the deadline");

        let mut client = Endpoint::open(Role::Client);
        client.give_frames(&[Frame::close(1000, "")]).end();
        assert_eq!(client.did, [Did::Write(8), Did::Shutdown, Did::Finish { reset: false }]);
    }
}

#[test]
fn w5_5_1_12_both_may_close_at_the_same_time() {
    let (mut client, mut server) = pair();
    client.close(3001, "client");
    server.close(3002, "server");
    let (from_client, from_server) = (client.written.clone(), server.written.clone());
    converse(&mut client, &mut server);
    assert_eq!(crate::support::wire::frames_from(Role::Client, &from_client).len(), 1);
    assert_eq!(crate::support::wire::frames_from(Role::Server, &from_server).len(), 1);
    assert!(client.written.is_empty() && server.written.is_empty());
    for (end, sent, received) in [(&mut client, 3001, 3002), (&mut server, 3002, 3001)] {
        assert!(end.finished_in_order());
        let writes = end.did.iter().filter(|did| matches!(did, Did::Write(_))).count();
        assert_eq!(writes, 1, "one Close");
        let reason = end.reason();
        assert_eq!((reason.clean, reason.side), (true, Side::Local));
        assert_eq!(reason.sent.unwrap().code().get(), sent);
        assert_eq!(reason.received.unwrap().code().get(), received);
    }
}

#[test]
fn w5_5_1_13_a_peer_that_does_not_answer_a_close_cannot_hold_the_connection() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.close(1000, "");
        for _ in 0..49 {
            end.give_frames(&[Frame::ping("alive"), Frame::text("still here")]).wait_millis(100);
            assert!(!end.is_finished());
        }
        end.wait_millis(100);
        assert!(end.finished_in_order(), "five seconds, whatever the peer sends");
        let reason = end.reason();
        assert_eq!((reason.cause, reason.clean), (Cause::Closed, false));
        assert_eq!(reason.code(), CloseCode::ABNORMAL);
    }
}

#[test]
fn w5_5_1_13_while_closing_no_other_deadline_counts() {
    for role in ROLES {
        let mut options = quiet();
        options.websocket.heartbeat = Heartbeat::every(Duration::from_secs(1)).missed(1);
        options.timeouts.idle = Some(Duration::from_secs(2));
        let mut end = Endpoint::open_with(role, options);
        end.close(1000, "").wait_millis(4_999);
        assert!(!end.is_finished(), "neither the heartbeat nor idleness cuts it short");
        end.wait_millis(1);
        assert!(end.finished_in_order());
        assert_eq!(end.frames(), [Frame::close(1000, "")]);
    }
}

#[test]
fn w5_5_1_14_what_follows_a_close_is_thrown_away() {
    for role in ROLES {
        let frames = [
            Frame::close(1000, ""),
            Frame::text("late"),
            Frame::ping("late"),
            Frame::new(3, "not even a frame"),
        ];
        let expected = [Heard::Close(1000, String::new())];
        assert_eq!(hear_at_every_cut(role, &wire(role, &frames)), expected);
        let mut end = Endpoint::open(role);
        end.give_frames(&frames).give(b"garbage");
        assert_eq!(end.frames(), [Frame::close(1000, "")]);
        assert!(end.messages().is_empty());
        assert!(end.end().reason().clean);
    }
}

#[test]
fn w5_5_2_01_a_ping_is_answered_unless_a_close_was_received() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        end.give_frames(&[Frame::ping("one"), Frame::ping("")]);
        assert_eq!(end.frames(), [Frame::pong("one"), Frame::pong("")]);
        end.give_frames(&[Frame::close(1000, ""), Frame::ping("late")]);
        assert_eq!(end.frames(), [Frame::close(1000, "")]);
    }
}

#[test]
fn w5_5_2_02_a_pong_overtakes_the_data_that_waits() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        for number in 0..10 {
            end.connection.sender().send(&[number; 100]).unwrap();
        }
        end.write(50);
        end.give_to_a_blocked_writer(&Frame::ping("now").to(role));
        let frames = end.settle().frames();
        assert_eq!(frames[0], Frame::binary([0; 100]), "the frame that is being written");
        assert_eq!(frames[1], Frame::pong("now"));
        assert_eq!(frames[2..].len(), 9);

        // Taken over by the writer, but not a byte of it has left.
        let mut end = Endpoint::open(role);
        end.connection.sender().send("waits").unwrap();
        assert!(end.waiting() > 0);
        end.give_to_a_blocked_writer(&Frame::ping("now").to(role));
        assert_eq!(end.settle().frames(), [Frame::pong("now"), Frame::text("waits")]);
    }
}

#[test]
fn w5_5_2_03_pings_may_be_sent_while_the_connection_is_open() {
    for role in ROLES {
        let mut options = quiet();
        options.websocket.heartbeat = Heartbeat::every(Duration::from_secs(1));
        let mut end = Endpoint::open_with(role, options);
        end.wait_millis(999);
        assert_eq!(end.frames(), []);
        end.wait_millis(1);
        let frames = end.frames();
        assert_eq!((frames.len(), frames[0].opcode, frames[0].fin), (1, 9, true));
        end.give_frames(&[Frame::text("part").more()]).wait_millis(1000);
        assert_eq!(end.frames()[0].opcode, 9, "also in the middle of a message");
        end.close(1000, "").wait_millis(3000);
        assert_eq!(end.frames(), [Frame::close(1000, "")], "and none after our Close");
    }
}

#[test]
fn w5_5_3_01_a_pong_repeats_the_payload_of_its_ping() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        for len in 0..=125 {
            let payload: Vec<u8> = (0..len).map(|i| (i * 37 + len) as u8).collect();
            end.give_frames(&[Frame::ping(&payload)]);
            assert_eq!(end.frames(), [Frame::pong(&payload)]);
        }
    }
}

#[test]
fn w5_5_3_02_the_pongs_that_wait_are_bounded_and_the_latest_ping_is_answered() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        let ping = |number: u32| {
            let mut payload = [7; 125];
            payload[..4].copy_from_slice(&number.to_be_bytes());
            payload
        };
        for number in 0..10_000 {
            let left = end.give_to_a_blocked_writer(&Frame::ping(ping(number)).to(role));
            assert_eq!(left, 0);
            assert!(end.waiting() <= 16 * 131, "{} bytes wait", end.waiting());
        }
        let frames = end.settle().frames();
        assert!((1..=16).contains(&frames.len()));
        assert_eq!(frames.last(), Some(&Frame::pong(ping(9_999))));
    }
}

#[test]
fn w5_5_3_03_a_pong_that_nobody_asked_for_needs_no_answer() {
    for role in ROLES {
        let mut end = Endpoint::open(role);
        let pongs = wire(role, &vec![Frame::pong([7; 125]); 1000]);
        for _ in 0..100 {
            end.give(&pongs);
        }
        assert!(end.written.is_empty() && end.did.is_empty());
        end.send("alive");
        assert_eq!(end.frames(), [Frame::text("alive")]);
    }
}
