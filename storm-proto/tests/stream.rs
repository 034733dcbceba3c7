//! The second door in virtual time, over a stream in memory.
#![allow(clippy::unwrap_used)]

mod pipe;
mod sim;

mod stream {
    mod dropped;
    mod halves;
}

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use storm_proto::service::{MessageStream, OpenError, Runtime, StreamError};
use storm_proto::websocket::handshake::{Accept, Offer, Response};
use storm_proto::websocket::{Role, WebSocket};
use storm_proto::{
    Cause, CloseCode, Heartbeat, Options, OwnedMessage, SendError, Side, Timer, Uri, WaterMarks,
};

use pipe::{Carried, End, pipe};
use sim::Sim;

type Stream = MessageStream<Carried>;
type Received = Option<Result<OwnedMessage, StreamError>>;

const SECOND: Duration = Duration::from_secs(1);

/// What became of a task.
struct Task<R>(Arc<Mutex<Option<R>>>);

impl<R> Task<R> {
    fn is_done(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }

    /// The result of a task that must be done.
    fn end(&self) -> R {
        self.0.lock().unwrap().take().expect("the task is done")
    }
}

/// Runs a future beside the test, as far as it goes.
fn spawn<R: Send + 'static>(future: impl Future<Output = R> + Send + 'static) -> Task<R> {
    let result = Arc::new(Mutex::new(None));
    let done = result.clone();
    let spawned = Sim.spawn(async move {
        let output = future.await;
        *done.lock().unwrap() = Some(output);
    });
    spawned.unwrap();
    Sim::run();
    Task(result)
}

fn options() -> Options {
    Options::default()
}

fn uri() -> Uri {
    "ws://server.example/chat".parse().unwrap()
}

/// Two streams that have shaken hands; the network holds `room` bytes.
fn opened(room: usize, options: &Options) -> (Stream, Stream) {
    let (near, far) = pipe(room);
    let accepting = spawn(Stream::accept(far, options.clone()));
    let options = options.clone();
    let connecting =
        spawn(async move { Stream::connect(near, &uri(), &Offer::new(), options).await });
    (connecting.end().unwrap(), accepting.end().unwrap())
}

/// A server's stream whose peer is the test.
fn server(room: usize, options: Options) -> (Stream, End) {
    let (near, far) = pipe(room);
    (Stream::from_upgraded(near, Role::Server, options, b""), far)
}

/// A frame of a client whose mask changes nothing.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

fn text(received: &Received) -> &str {
    received.as_ref().unwrap().as_ref().unwrap().as_text().unwrap()
}

fn payloads() -> Vec<OwnedMessage> {
    vec![
        OwnedMessage::text("hello"),
        OwnedMessage::binary(vec![]),
        OwnedMessage::binary(vec![7; 300_000]),
        OwnedMessage::text("x".repeat(70_000)),
        OwnedMessage::text("the last"),
    ]
}

async fn echo(mut stream: Stream) -> Stream {
    while let Some(message) = stream.next().await {
        stream.send(&message.unwrap()).await.unwrap();
    }
    stream
}

#[test]
fn every_kind_and_size_of_message_comes_back_and_both_ends_close_cleanly() {
    for room in [10, 1_000, 1 << 20] {
        let (mut client, server) = opened(room, &options());
        let echo = spawn(echo(server));
        let asking = spawn(async move {
            for message in payloads() {
                client.send(&message).await.unwrap();
                client.flush().await.unwrap();
                assert_eq!(client.next().await.unwrap().unwrap(), message);
            }
            client.close().await.unwrap();
            assert!(client.next().await.is_none());
            client
        });
        let (client, server) = (asking.end(), echo.end());
        for (stream, side) in [(client, Side::Local), (server, Side::Remote)] {
            let reason = stream.reason().unwrap();
            assert_eq!((reason.side, reason.cause, reason.clean), (side, Cause::Closed, true));
            assert!(stream.get_ref().is_none(), "the transport is gone");
        }
    }
}

#[test]
fn a_stream_that_holds_bytes_back_is_flushed() {
    let (near, far) = pipe(100);
    let options = Options::default;
    let client = Stream::from_upgraded(near.buffered(), Role::Client, options(), b"");
    let server = Stream::from_upgraded(far.buffered(), Role::Server, options(), b"");
    let echo = spawn(echo(server));
    let asking = spawn(async move {
        let mut client = client;
        for message in payloads() {
            client.send(&message).await.unwrap();
            client.flush().await.unwrap();
            assert_eq!(client.next().await.unwrap().unwrap(), message);
        }
        client.close().await
    });
    assert_eq!(asking.end(), Ok(()));
    assert!(echo.end().reason().unwrap().clean);
}

#[test]
fn bytes_behind_the_handshake_are_the_first_messages() {
    // A web framework has read one frame and a half.
    let frames = [masked(0x81, b"one"), masked(0x81, b"two"), masked(0x81, b"three")].concat();
    for cut in 0..frames.len() {
        let (near, far) = pipe(1 << 10);
        let mut stream = Stream::from_upgraded(near, Role::Server, options(), &frames[..cut]);
        let reading =
            spawn(async move { [stream.next().await, stream.next().await, stream.next().await] });
        far.send(&frames[cut..]);
        assert_eq!(reading.end().each_ref().map(text), ["one", "two", "three"]);
    }

    // This crate has read them with the request.
    let (near, far) = pipe(1 << 10);
    let accepting = spawn(Stream::accept(near, options()));
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    far.send(&[request.as_bytes(), &frames].concat());
    assert!(far.take().starts_with(b"HTTP/1.1 101 "));
    let mut stream = accepting.end().unwrap();
    let reading =
        spawn(async move { [stream.next().await, stream.next().await, stream.next().await] });
    assert_eq!(reading.end().each_ref().map(text), ["one", "two", "three"]);
}

#[test]
fn both_ends_know_what_the_handshake_agreed_on() {
    let (near, far) = pipe(1 << 10);
    let accepting = spawn(Stream::accept_with(far, options(), |request| {
        assert_eq!(request.path(), "/chat");
        let accept = Accept::new().subprotocol("b").header("X-Room", "7");
        accept.attach(request.header("Authorization").unwrap_or_default().to_owned())
    }));
    let mut wanted = options();
    wanted.websocket = WebSocket::new().subprotocol("b");
    let connecting = spawn(async move {
        let offer = Offer::new().subprotocol("a").header("Authorization", "me");
        Stream::connect(near, &uri(), &offer, wanted).await
    });
    let (client, server) = (connecting.end().unwrap(), accepting.end().unwrap());
    assert_eq!((client.subprotocol(), server.subprotocol()), (Some("b"), Some("b")));
    assert_eq!(client.headers().unwrap().get_str("X-Room"), Some("7"));
    assert_eq!(server.get::<String>().map(String::as_str), Some("me"));
}

#[test]
fn a_server_chooses_the_first_offered_subprotocol_that_its_options_name() {
    let (near, far) = pipe(1 << 10);
    let mut supported = options();
    supported.websocket = WebSocket::new().subprotocol("c").subprotocol("b");
    let accepting = spawn(Stream::accept(far, supported));
    let connecting = spawn(async move {
        let offer = Offer::new().subprotocol("a").subprotocol("b").subprotocol("c");
        Stream::connect(near, &uri(), &offer, options()).await
    });
    assert_eq!(accepting.end().unwrap().subprotocol(), Some("b"));
    assert_eq!(connecting.end().unwrap().subprotocol(), Some("b"));
}

#[test]
fn a_refusal_is_written_before_accepting_fails() {
    let (near, far) = pipe(10);
    let refuse = |_: &_| Response::new(403).body("not you\n");
    let accepting = spawn(Stream::accept_with(far, options(), refuse));
    let connecting =
        spawn(async move { Stream::connect(near, &uri(), &Offer::new(), options()).await });
    let error = connecting.end().unwrap_err();
    assert_eq!(error.to_string(), "the server refused with status 403: not you");
    assert!(matches!(accepting.end(), Err(OpenError::Refused(403))));
}

#[test]
fn what_is_no_upgrade_is_answered_and_what_cannot_be_sent_is_told() {
    for (request, status) in [("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426), ("\x16\x03\x01", 400)] {
        let (near, far) = pipe(1 << 10);
        let accepting = spawn(Stream::accept(near, options()));
        far.send(request.as_bytes());
        far.end();
        assert!(far.take().starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
        assert_eq!(accepting.end().unwrap_err().status(), Some(status));
    }
    let (near, far) = pipe(1 << 10);
    let unsendable = |_: &_| Accept::new().header("Bad", "\r\n");
    let accepting = spawn(Stream::accept_with(near, options(), unsendable));
    let connecting =
        spawn(async move { Stream::connect(far, &uri(), &Offer::new(), options()).await });
    assert_eq!(connecting.end().unwrap_err().status(), Some(500));
    assert!(matches!(accepting.end(), Err(OpenError::Answer(_))));
}

#[test]
fn an_opening_has_one_deadline_and_tells_what_ended_it() {
    let (near, far) = pipe(1 << 10);
    let accepting = spawn(Stream::accept(near, options()));
    far.send(b"GET / HTTP/1.1\r\n");
    Sim::pass(4 * SECOND);
    assert!(!accepting.is_done());
    Sim::pass(SECOND);
    let Err(OpenError::Ended(reason)) = accepting.end() else { panic!("not ended") };
    assert_eq!(reason.cause, Cause::HandshakeTimeout);
    assert!(far.is_ended());

    let (near, far) = pipe(1 << 10);
    let connecting =
        spawn(async move { Stream::connect(near, &uri(), &Offer::new(), options()).await });
    drop(far);
    Sim::run();
    assert_eq!(connecting.end().unwrap_err().to_string(), "the server closed before it answered");
}

#[test]
fn a_dropped_opening_closes_the_stream() {
    let (near, far) = pipe(1 << 10);
    let mut accepting = Box::pin(Stream::accept(near, options()));
    let first = Sim::block_on(poll_fn(|cx| Poll::Ready(accepting.as_mut().poll(cx).is_ready())));
    assert!(!first && !far.is_ended());
    drop(accepting);
    assert!(far.is_ended());
}

#[test]
fn whatever_waits_answers_pings_and_beats() {
    let (mut stream, peer) = server(1 << 10, options());
    let reading = spawn(async move { (stream.next().await, stream) });
    peer.send(&masked(0x89, b"there?"));
    assert_eq!(peer.take(), b"\x8a\x06there?");
    Sim::pass(30 * SECOND);
    assert_eq!(peer.take(), b"\x89\x04\0\0\0\x01", "a heartbeat");
    Sim::pass(SECOND);
    peer.send(&masked(0x8a, b"\0\0\0\x01"));
    peer.send(&masked(0x81, b"hi"));
    let (message, stream) = reading.end();
    assert_eq!((text(&message), stream.round_trip()), ("hi", Some(SECOND)));
}

#[test]
fn a_dead_peer_is_one_error_and_then_the_end() {
    let (mut stream, peer) = server(1 << 10, options());
    let reading =
        spawn(async move { [stream.next().await, stream.next().await, stream.next().await] });
    Sim::pass(119 * SECOND);
    assert!(!reading.is_done());
    Sim::pass(SECOND);
    let [error, none, still_none] = reading.end();
    let Some(Err(StreamError::Ended(reason))) = error else { panic!("no error") };
    assert_eq!(reason.cause, Cause::HeartbeatTimeout);
    assert_eq!(reason.error, Some(storm_proto::Error::Timer(Timer::Ping)));
    assert_eq!((none, still_none), (None, None));
    assert!(peer.is_ended());
}

#[test]
fn a_lost_stream_and_a_broken_rule_are_faults() {
    let (mut stream, peer) = server(1 << 10, options());
    let reading = spawn(async move { [stream.next().await, stream.next().await] });
    peer.end();
    let [Some(Err(StreamError::Ended(reason))), None] = reading.end() else { panic!("no error") };
    assert_eq!(reason.cause, Cause::Lost);

    let (mut stream, peer) = server(1 << 10, options());
    let reading = spawn(async move { [stream.next().await, stream.next().await] });
    peer.send(b"\x81\x02hi");
    assert_eq!(peer.take(), b"\x88\x1e\x03\xeaa client frame is not masked");
    assert!(peer.is_ended() && !reading.is_done(), "the goodbye is read before a reset");
    peer.end();
    let [Some(Err(error)), None] = reading.end() else { panic!("no error") };
    assert_eq!(error.to_string(), "the peer broke the protocol: a client frame is not masked");
}

#[test]
fn a_close_of_the_peer_is_answered_and_waited_out() {
    let (mut stream, peer) = server(1 << 10, options());
    let reading = spawn(async move { (stream.next().await, stream) });
    peer.send(&masked(0x88, b"\x0b\xb8bye"));
    assert_eq!(peer.take(), b"\x88\x05\x0b\xb8bye");
    assert!(peer.is_ended() && !reading.is_done(), "a server ends first and waits");
    peer.end();
    let (none, stream) = reading.end();
    assert_eq!(none, None);
    let reason = stream.reason().unwrap();
    assert_eq!((reason.clean, reason.code()), (true, CloseCode::new(3000).unwrap()));

    let (near, peer) = pipe(1 << 10);
    let mut stream = Stream::from_upgraded(near, Role::Client, options(), b"");
    let reading = spawn(async move { stream.next().await });
    peer.send(b"\x88\x00");
    assert_eq!(peer.take().len(), 6, "an empty close, masked");
    assert!(!peer.is_ended(), "a client waits for the server's end");
    peer.end();
    assert_eq!(reading.end(), None);
}

#[test]
fn a_close_leaves_behind_all_that_was_accepted_and_throws_away_what_comes() {
    let (mut stream, peer) = server(3, options());
    let closing = spawn(async move {
        stream.start_send("last words").unwrap();
        stream.close_with(CloseCode::new(4000).unwrap(), "done").unwrap();
        assert_eq!(stream.start_send("more"), Err(SendError::Closed.into()));
        let next = stream.next().await;
        (next, stream.close().await, stream)
    });
    peer.send(&masked(0x81, b"unheard"));
    assert_eq!(peer.take(), b"\x81\x0alast words\x88\x06\x0f\xa0done");
    peer.send(&masked(0x88, b"\x0f\xa0"));
    peer.end();
    let (next, closed, mut stream) = closing.end();
    assert_eq!((next, closed), (None, Ok(())));
    assert!(stream.reason().unwrap().clean);
    assert!(matches!(stream.start_send("more"), Err(StreamError::Ended(_))));
}

#[test]
fn a_close_without_an_answer_ends_at_its_deadline() {
    let (mut stream, peer) = server(1 << 10, options());
    let closing = spawn(async move { (stream.close().await, stream) });
    assert_eq!(peer.take(), b"\x88\x02\x03\xe8");
    Sim::pass(4 * SECOND);
    assert!(!closing.is_done());
    Sim::pass(SECOND);
    let (closed, stream) = closing.end();
    assert_eq!(closed, Ok(()), "nothing was lost");
    assert!(!stream.reason().unwrap().clean);
}

#[test]
fn what_does_not_fit_waits_or_is_refused_and_one_message_of_any_size_follows_a_wait() {
    let mut small = options();
    small.marks = WaterMarks::new(1000);
    let (mut stream, peer) = server(10, small);
    let sending = spawn(async move {
        stream.start_send(&[1; 490]).unwrap();
        stream.send(&[2; 5000]).await.unwrap();
        assert_eq!(stream.start_send(&[3; 10]), Err(SendError::Full.into()));
        let bound = stream.buffered();
        stream.send(&[4; 10]).await.unwrap();
        let queued = stream.buffered();
        stream.flush().await.unwrap();
        (bound, queued, stream.buffered())
    });
    Sim::run();
    assert!(!sending.is_done());
    let sent = peer.take();
    let (bound, queued, rest) = sending.end();
    assert!(bound <= 500 + 5004, "{bound} bytes: the low mark and one message");
    assert!(queued <= 500 + 12 && rest == 0);
    assert_eq!(sent.len(), 4 + 490 + 4 + 5000 + 2 + 10);
}

#[test]
fn a_peer_that_does_not_read_ends_the_flush() {
    let (mut stream, _peer) = server(10, options());
    let flushing = spawn(async move {
        stream.send(&[7; 100]).await.unwrap();
        let flushed = stream.flush().await;
        (flushed, stream.next().await, stream.next().await)
    });
    Sim::pass(30 * SECOND);
    let (Err(StreamError::Ended(reason)), Some(Err(_)), None) = flushing.end() else {
        panic!("no error");
    };
    assert_eq!((reason.cause, reason.undelivered), (Cause::StallTimeout, 92));
}

#[test]
fn a_caller_that_was_away_for_long_does_not_take_its_silence_for_the_peers() {
    let mut strict = options();
    strict.timeouts.idle = Some(10 * SECOND);
    strict.websocket.heartbeat = Heartbeat::off();
    let (mut stream, peer) = server(1 << 10, strict);
    peer.send(&[masked(0x81, b"one"), masked(0x81, b"two")].concat());
    for expected in ["one", "two"] {
        Sim::pass(20 * SECOND);
        let (message, back) = spawn(async move { (stream.next().await, stream) }).end();
        assert_eq!(text(&message), expected);
        stream = back;
    }
    let reading = spawn(async move { stream.next().await });
    Sim::pass(9 * SECOND);
    assert_eq!(peer.take(), b"");
    Sim::pass(SECOND);
    assert_eq!(peer.take(), b"\x88\x06\x03\xe8idle");
    peer.end();
    let Some(Err(StreamError::Ended(reason))) = reading.end() else { panic!("no error") };
    assert_eq!(reason.cause, Cause::IdleTimeout);
}

#[test]
fn bytes_that_could_leave_while_the_caller_was_away_are_no_stall() {
    for reads in [true, false] {
        let (mut stream, peer) = server(10, options());
        let (left, mut stream) = spawn(async move {
            stream.send(&[7; 100]).await.unwrap();
            (stream.buffered(), stream)
        })
        .end();
        assert_eq!(left, 92);
        Sim::pass(40 * SECOND);
        assert_eq!(peer.take().len(), 10, "there was room, and nobody to use it");
        let going_on = spawn(async move {
            if reads {
                return stream.next().await;
            }
            stream.flush().await.unwrap();
            None
        });
        assert!(peer.take().len() >= 92);
        assert!(!reads || !going_on.is_done());
        peer.send(&masked(0x81, b"thanks"));
        assert!(going_on.end().is_none_or(|message| message.is_ok()));
    }
}

#[test]
fn who_only_writes_pings_and_does_not_take_a_peer_for_dead_that_nobody_listens_to() {
    let mut eager = options();
    eager.timeouts.idle = Some(10 * SECOND);
    eager.websocket.heartbeat = Heartbeat::every(SECOND).missed(1);
    let (stream, peer) = server(1 << 10, eager);
    let stream = Arc::new(Mutex::new(stream));
    for second in 0..20 {
        let shared = stream.clone();
        spawn(poll_fn(move |cx| shared.lock().unwrap().poll_flush(cx))).end().unwrap();
        assert_eq!(peer.take().len(), if second == 0 { 0 } else { 6 }, "a ping");
        Sim::pass(SECOND);
    }
    assert!(stream.lock().unwrap().is_open());
}

#[test]
fn a_stream_does_not_open_with_a_limit_of_zero() {
    let zero = || {
        let mut options = options();
        options.timeouts.stall = Duration::ZERO;
        options
    };
    let (near, far) = pipe(1 << 10);
    let refused = |error: OpenError| match error {
        OpenError::Option(error) => error.option(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(spawn(Stream::accept(near, zero())).end().unwrap_err()), "stall_timeout");
    let uri = "ws://example".parse().unwrap();
    let connecting = spawn(async move { Stream::connect(far, &uri, &Offer::new(), zero()).await });
    assert_eq!(refused(connecting.end().unwrap_err()), "stall_timeout");
}
