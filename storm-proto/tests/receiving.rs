//! What is read ahead of the handler, and Pings that the application answers, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sim::Sim;
use sim::tools::{masked, start, upgraded, websocket};
use storm_proto::framing::Raw;
use storm_proto::service::{ControlFrame, Handler, Middleware, Session};
use storm_proto::websocket::Role;
use storm_proto::{
    Application, Connection, Heartbeat, Instant, Message, Options, Random, SendError, Sender,
    WebSocket,
};

type Server<H = storm_proto::service::Callbacks> = storm_proto::service::Server<Sim, H>;

/// Counts what it gets, and never comes back from the first message.
#[derive(Clone, Default)]
struct Stuck(Arc<AtomicUsize>);

impl Handler for Stuck {
    async fn on_message(&self, _: &Session, message: Message<'_>) {
        self.0.fetch_add(message.len(), Ordering::Relaxed);
        std::future::pending::<()>().await;
    }
}

#[test]
fn no_more_is_read_than_max_pending_receive_while_a_handler_works() {
    for (limit, read) in [(100, 100), (5_000, 5_000), (0, 64 << 10)] {
        let server = Server::bind("127.0.0.1:80").framed(Raw).max_pending_receive(limit);
        let stuck = Stuck::default();
        let _running = start(server.handler(stuck.clone()));
        let peer = Sim::dial();
        peer.send(&[7; 200_000]);
        assert_eq!(peer.unread(), 200_000 - read, "the rest waits with the network");
        assert_eq!(stuck.0.load(Ordering::Relaxed), read);
    }
}

#[test]
fn a_message_larger_than_max_pending_receive_still_arrives() {
    let server = websocket().max_pending_receive(100);
    let _running = start(server.on_message(|session, message| session.send(message)));
    let peer = upgraded();
    let text = "x".repeat(60_000);
    let len = u16::try_from(text.len()).unwrap().to_be_bytes();
    let frame = [&[0x81, 0xFE, len[0], len[1], 0, 0, 0, 0], text.as_bytes()].concat();
    peer.send(&frame);
    assert_eq!(peer.take().len(), 4 + text.len());
}

/// Answers each Ping in its own words.
struct Pongs;

impl Middleware for Pongs {
    fn control(&self, session: &Session, frame: ControlFrame<'_>) {
        if let ControlFrame::Ping(payload) = frame {
            session.pong(&[b"re:", payload].concat()).unwrap();
        }
    }
}

#[test]
fn without_auto_pong_the_application_answers_pings() {
    let manual = WebSocket::new().heartbeat(Heartbeat::off().auto_pong(false));
    let server = Server::bind("127.0.0.1:80").websocket(manual.clone());
    let running = start(server.middleware(Pongs));
    let peer = upgraded();
    peer.send(&masked(0x89, b"1"));
    assert_eq!(peer.take(), b"\x8a\x04re:1");
    let session = running.session(1).unwrap();
    session.pong(b"unasked").unwrap();
    assert_eq!(peer.take(), b"\x8a\x07unasked");
    assert_eq!(session.pong(&[0; 126]), Err(SendError::ControlTooLong));
    session.close();
    assert_eq!(session.pong(b""), Err(SendError::Closed));
    drop(running);

    struct ByHand;
    impl Application for ByHand {
        fn ping(&mut self, sender: &mut Sender, payload: &[u8]) {
            sender.send_pong(&[payload, b"!"].concat()).unwrap();
        }

        fn message(&mut self, _: &mut Sender, _: Message<'_>) {}
    }
    let now = Instant::from_secs(1);
    let mut options = Options::default();
    options.websocket = manual;
    let mut connection = Connection::upgraded(Role::Server, options, Random::from_seed(1), now);
    connection.receive(&mut &mut masked(0x89, b"hi")[..], now, &mut ByHand);
    assert_eq!(connection.output().next(), Some(&b"\x8a\x03hi!"[..]));
}

#[test]
fn plain_tcp_has_no_pongs() {
    let running = start(Server::bind("127.0.0.1:80"));
    let _peer = Sim::dial();
    Sim::run();
    let error = running.session(1).unwrap().pong(b"");
    assert_eq!(error, Err(SendError::NoControlFrames));
}
