//! Servers and clients whose messages are compressed, in virtual time.
#![allow(clippy::unwrap_used)]

mod sim;

use std::thread;

use sim::{Peer, Sim};
use storm_proto::service::{Delivery, Running, Session};
use storm_proto::websocket::Deflate;
use storm_proto::websocket::handshake::Offer;
use storm_proto::{
    Application, Connection, Heartbeat, Instant, Message, Options, Outbox, OwnedMessage, Prepared,
    Random, SendError, Sender, SlowConsumer, WaterMarks, WebSocket,
};

type Server = storm_proto::service::Server<Sim>;
type Client = storm_proto::service::Client<Sim>;

const NOW: Instant = Instant::from_secs(1);

fn with_context() -> Deflate {
    let deflate = Deflate::new().threshold(0);
    deflate.server_no_context_takeover(false).client_no_context_takeover(false)
}

fn websocket(deflate: Deflate) -> WebSocket {
    WebSocket::new().heartbeat(Heartbeat::off()).deflate(deflate)
}

fn with(websocket: WebSocket) -> Options {
    let mut options = Options::default();
    options.websocket = websocket;
    options
}

/// The other end of a connection, driven by hand.
struct Other {
    connection: Connection,
    peer: Peer,
    heard: Heard,
}

#[derive(Default)]
struct Heard {
    messages: Vec<OwnedMessage>,
    echo: bool,
    /// Bytes that came, to tell what was compressed.
    bytes: usize,
}

impl Application for Heard {
    fn message(&mut self, sender: &mut Sender, message: Message<'_>) {
        self.messages.push(message.to_owned());
        if self.echo {
            sender.send(message).unwrap();
        }
    }
}

impl Other {
    /// A client of the server that runs.
    fn client(deflate: Deflate) -> Other {
        Other::client_of(websocket(deflate))
    }

    fn client_of(websocket: WebSocket) -> Other {
        let uri = "ws://server.example/".parse().unwrap();
        let random = Random::from_seed(1);
        let options = with(websocket);
        let connection = Connection::client(&uri, &Offer::new(), options, random, NOW).unwrap();
        let mut other = Other { connection, peer: Sim::dial(), heard: Heard::default() };
        other.turn();
        assert!(other.connection.is_open());
        other.heard.bytes = 0;
        other
    }

    /// Moves bytes both ways until both ends are quiet.
    fn turn(&mut self) {
        loop {
            let out = self.connection.output().collect::<Vec<_>>().concat();
            self.connection.written(out.len(), NOW);
            self.peer.send(&out);
            let mut bytes = self.peer.take();
            if out.is_empty() && bytes.is_empty() {
                return;
            }
            self.heard.bytes += bytes.len();
            self.connection.receive(&mut &mut bytes[..], NOW, &mut self.heard);
        }
    }

    fn send<'a>(&mut self, message: impl Into<Message<'a>>) {
        self.connection.sender().send(message).unwrap();
    }

    fn texts(&mut self) -> Vec<String> {
        let texts = self.heard.messages.iter().map(|message| message.as_text().unwrap().into());
        let texts = texts.collect();
        self.heard.messages.clear();
        texts
    }
}

fn start(server: Server, on_message: fn(&Session, Message<'_>)) -> Running<Sim> {
    let running = Sim::block_on(server.on_message(on_message).start()).unwrap();
    Sim::run();
    running
}

fn echo(session: &Session, message: Message<'_>) {
    session.send(message).unwrap();
}

fn server(deflate: Deflate) -> Server {
    Server::bind("127.0.0.1:80").websocket(websocket(deflate))
}

#[test]
fn a_server_and_a_client_that_agree_compress_both_ways() {
    let _running = start(server(Deflate::new()), echo);
    let mut other = Other::client(Deflate::new());
    let text = "compress this, and this; ".repeat(400);
    other.send(&text);
    other.send("short");
    other.turn();
    assert!(other.heard.bytes < 300, "{} bytes came back", other.heard.bytes);
    assert_eq!(other.texts(), [&text, "short"]);
}

#[test]
fn small_answers_of_a_handler_are_compressed_if_the_threshold_says_so() {
    let text = "the same text again and again, in one context";
    for (threshold, least, most) in [(0, 50, 200), (45, 50, 200), (46, 470, 470)] {
        let _running = start(server(with_context().threshold(threshold)), echo);
        let mut other = Other::client(with_context());
        (0..10).for_each(|_| other.send(text));
        other.turn();
        assert_eq!(other.texts(), [text; 10]);
        let bytes = other.heard.bytes;
        assert!((least..=most).contains(&bytes), "{bytes} bytes, threshold {threshold}");
    }
}

#[test]
fn without_the_settings_or_the_offer_nothing_is_compressed() {
    let text = "compress this, and this; ".repeat(400);
    let _running = start(Server::bind("127.0.0.1:80").websocket(WebSocket::new()), echo);
    let mut other = Other::client(Deflate::new());
    other.send(&text);
    other.turn();
    assert!(other.heard.bytes > text.len(), "the server has no settings");
    assert_eq!(other.texts(), [&text[..]]);
}

#[test]
fn a_client_that_offers_nothing_talks_plain_to_a_server_that_compresses() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let _running = start(server(with_context()), echo);
    let peer = Sim::dial();
    peer.send(REQUEST);
    let answer = String::from_utf8(peer.take()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(!answer.contains("Extensions"), "{answer}");
    peer.send(&sim::tools::masked(0x81, &[b'a'; 100]));
    assert_eq!(peer.take(), [&b"\x81\x64"[..], &[b'a'; 100]].concat());
}

#[test]
fn a_client_of_the_services_offers_and_compresses() {
    let uri = "ws://127.0.0.1/";
    let connected = std::sync::Arc::new(std::sync::Mutex::new(None));
    let slot = connected.clone();
    let connecting = Client::new(uri).websocket(websocket(with_context())).connect();
    let spawned = storm_proto::service::Runtime::spawn(&Sim, async move {
        *slot.lock().unwrap() = Some(connecting.await.unwrap());
    });
    spawned.unwrap();
    Sim::run();
    let connection = Connection::server(with(websocket(with_context())), NOW);
    let heard = Heard { echo: true, ..Heard::default() };
    let mut other = Other { connection, peer: Sim::dialled(), heard };
    other.turn();
    let session: Session = connected.lock().unwrap().take().unwrap();
    other.heard.bytes = 0;
    for _ in 0..10 {
        session.send("the same text again and again, in one context").unwrap();
    }
    other.turn();
    assert_eq!(other.texts().len(), 10);
    assert!(other.heard.bytes < 200, "{} bytes came", other.heard.bytes);
    assert_eq!(session.metrics().messages_received, 10);
}

#[test]
fn a_handlers_messages_keep_their_order_whether_they_are_compressed_or_not() {
    // Small ones go into the batch of the turn, large ones through the compressor, others
    // come from another thread.
    let answer = |session: &Session, _: Message<'_>| {
        let send = |text: &str| session.send(text).unwrap();
        send("1");
        send(&"2".repeat(2000));
        send("3");
        let other = session.clone();
        thread::spawn(move || other.send(&"4".repeat(3000)).unwrap()).join().unwrap();
        send("5");
        session.send(Message::text(&"6".repeat(2000)).uncompressed()).unwrap();
        session.send_prepared(&Prepared::new(&"7".repeat(2000))).unwrap();
        send("8");
    };
    for deflate in [Deflate::new(), with_context(), Deflate::new().threshold(50)] {
        let _running = start(server(deflate), answer);
        let mut other = Other::client(deflate);
        for _ in 0..3 {
            other.send("go");
        }
        other.turn();
        let order: String = other.texts().iter().map(|text| &text[..1]).collect();
        assert_eq!(order, "12345678".repeat(3));
    }
}

#[test]
fn senders_on_many_threads_never_disturb_the_context() {
    let sessions = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let opened = sessions.clone();
    let server = server(with_context().threshold(100)).on_connected(move |session: &Session| {
        opened.lock().unwrap().push(session.clone());
    });
    let _running = Sim::block_on(server.start()).unwrap();
    Sim::run();
    let mut other = Other::client(with_context());
    let session = sessions.lock().unwrap()[0].clone();
    let text = |thread: usize, n: usize| {
        let long = format!("{thread} {n} of the messages, {}", "and more ".repeat(n % 40));
        // Plain ones as well.
        long[..if n.is_multiple_of(5) { 10 } else { long.len() }].to_string()
    };
    thread::scope(|scope| {
        for number in 0..4 {
            let session = &session;
            scope.spawn(move || (0..200).for_each(|n| session.send(&text(number, n)).unwrap()));
        }
    });
    other.turn();
    let mut next = [0; 4];
    for heard in other.texts() {
        let number = usize::from(heard.as_bytes()[0] - b'0');
        assert_eq!(heard, text(number, next[number]));
        next[number] += 1;
    }
    assert_eq!(next, [200; 4]);
}

#[test]
fn an_echo_of_what_inflates_is_lossless_in_a_small_outbox() {
    // All of it fits into one read; two plain answers do not fit into the outbox.
    let echo_plain = |session: &Session, message: Message<'_>| {
        session.send(message.uncompressed()).expect("an echo is never refused");
    };
    let _running = start(server(Deflate::new()).max_pending_send(12_000), echo_plain);
    let mut other = Other::client(Deflate::new());
    other.peer.narrow(500);
    let messages: Vec<_> =
        (0..50u8).map(|n| vec![n; if n % 2 == 0 { 2_500 } else { 9_800 }]).collect();
    for message in &messages {
        other.send(message);
    }
    other.turn();
    let heard = &other.heard.messages;
    assert!(heard.iter().map(OwnedMessage::as_bytes).eq(messages.iter().map(|m| &m[..])));
}

#[test]
fn a_refused_message_costs_the_context_and_nothing_else() {
    let mut sender = Sender::websocket_server(WaterMarks::new(200));
    let mut receiver = agree(&mut sender, with_context());
    let text = |n: u32| format!("{n} is the number of {}", "this and that ".repeat(20));
    let mut sent = Vec::new();
    for n in 0..200 {
        match sender.send(&text(n)) {
            Ok(()) => sent.push(text(n)),
            Err(error) => assert_eq!(error, SendError::Full),
        }
        // The writer comes now and then.
        if n % 40 == 39 {
            let mut wire = Outbox::new();
            sender.take(&mut wire);
            assert!(wire.len() <= 200);
            receiver.receive(wire);
            sender.wrote(0);
        }
    }
    assert!((20..150).contains(&sent.len()), "{} of 200 were taken", sent.len());
    assert_eq!(receiver.heard, sent);
}

#[test]
fn a_broadcast_is_compressed_once_for_all_without_context() {
    let numbers: String = (0..40_000u32).map(|n| format!("{},", n * n / 7)).collect();
    let prepared = Prepared::new(&numbers);
    let payload_of = |deflate: Deflate| {
        let mut sender = Sender::websocket_server(WaterMarks::new(1 << 20));
        let mut receiver = agree(&mut sender, deflate);
        sender.send_prepared(&prepared.clone()).unwrap();
        let payload = sender.outbox().chunks().last().map(<[u8]>::as_ptr).unwrap();
        let mut wire = Outbox::new();
        sender.take(&mut wire);
        receiver.receive(wire);
        assert!(receiver.heard == [&numbers[..]]);
        payload as usize
    };
    let shared = payload_of(Deflate::new());
    assert_eq!(payload_of(Deflate::new()), shared, "the same bytes, by reference");
    let small = payload_of(Deflate::new().server_max_window_bits(9));
    assert_ne!(small, shared, "another window");
    assert_eq!(payload_of(Deflate::new().server_max_window_bits(9)), small);
    assert_ne!(payload_of(with_context()), shared, "a context of its own");
    assert_eq!(payload_of(Deflate::new()), shared);
}

#[test]
fn a_broadcast_reaches_sessions_whatever_they_agreed_on() {
    let running = start(server(with_context()), echo);
    let plain = || WebSocket::new().heartbeat(Heartbeat::off());
    let offers = [
        (Some(with_context()), 1_500),
        (Some(Deflate::new()), 1_500),
        (Some(Deflate::new().server_max_window_bits(9)), 2_500),
        (None, 40_000),
    ];
    let mut others = offers.map(|(deflate, most)| {
        let websocket = deflate.map_or_else(plain, websocket);
        (Other::client_of(websocket), most)
    });
    let text = "compress this, and this; ".repeat(1_000);
    for round in 0..3 {
        let delivery = running.hub().all().send(&text);
        assert_eq!((delivery.queued, delivery.full), (others.len(), 0), "round {round}");
    }
    Sim::run();
    for (other, most) in &mut others {
        other.turn();
        assert_eq!(other.texts(), [&text[..]; 3]);
        let bytes = other.heard.bytes / 3;
        assert!(bytes < *most && (bytes > text.len()) == (*most == 40_000), "{bytes} bytes each");
    }
}

/// The receiving end of a sender.
struct Inflating {
    receiver: storm_proto::Receiver,
    heard: Vec<String>,
}

impl Inflating {
    fn receive(&mut self, wire: Outbox) {
        let mut bytes = wire.chunks().collect::<Vec<_>>().concat();
        let mut input = &mut bytes[..];
        while let Some(event) = self.receiver.next(&mut input) {
            let storm_proto::Event::Message(message) = event else { panic!("{event:?}") };
            self.heard.push(message.as_text().unwrap().into());
        }
    }
}

/// Makes a server's sender and a client's receiver agree on these settings.
fn agree(sender: &mut Sender, deflate: Deflate) -> Inflating {
    use storm_proto::websocket::handshake::{HeadLimits, ServerHandshake};
    use storm_proto::websocket::{Limits, Role};
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    let request = ServerHandshake::new(HeadLimits::new()).receive(&mut &REQUEST[..]);
    let agreed = request.unwrap().unwrap().deflate(&deflate).unwrap();
    sender.deflate(&agreed);
    let mut receiver = storm_proto::Receiver::websocket(Role::Client, Limits::new());
    receiver.deflate(&agreed);
    Inflating { receiver, heard: Vec::new() }
}

#[test]
fn what_is_dropped_for_a_slow_peer_is_missing_from_no_context() {
    let counted = |delivery: Delivery| (delivery.queued == 1, delivery.dropped == 1);
    let result = |sent: Result<(), SendError>| (sent.is_ok(), sent == Err(SendError::Dropped));
    let policies = [
        SlowConsumer::Wait,
        SlowConsumer::Drop,
        SlowConsumer::DropOldest,
        SlowConsumer::KeepLatest,
    ];
    for (deflate, policy) in
        [with_context(), Deflate::new().threshold(0)].iter().flat_map(|d| policies.map(|p| (d, p)))
    {
        let server = server(*deflate).slow_consumer(policy).max_pending_send(400);
        let running = start(server, |_, _| ());
        let mut other = Other::client(*deflate);
        let session = running.session(1).unwrap();
        let (mut accepted, mut denied) = (0, 0);
        for number in 0..600usize {
            // Reads for a while, and then does not.
            other.peer.narrow(if number % 100 < 20 { 150 } else { 0 });
            let words = (0..number % 9).map(|at| format!(" {}", number * at * 7_919 % 100_003));
            let text = format!("{number}{}", words.collect::<String>());
            let all = running.hub().all();
            let (sent, dropped) = match number % 4 {
                0 => result(session.send(&text)),
                1 => result(session.send_latest(number as u64 % 4, &text)),
                2 => counted(all.send(&text)),
                _ => counted(all.send_latest(number as u64 % 4, &text)),
            };
            accepted += usize::from(sent);
            denied += u64::from(dropped);
            let mut bytes = other.peer.take_once();
            other.connection.receive(&mut &mut bytes[..], NOW, &mut other.heard);
        }
        other.peer.narrow(10_000);
        other.turn();
        assert!(other.connection.is_open(), "{:?}", other.connection.reason());
        let heard = other.texts();
        let metrics = session.metrics();
        assert_eq!(metrics.messages_sent as usize, accepted);
        let given_way = metrics.messages_dropped - denied + metrics.messages_superseded;
        assert_eq!(heard.len() + given_way as usize, accepted, "{policy:?}");
        assert!(metrics.messages_superseded > 5 && heard.len() > 50, "{policy:?}: {metrics:?}");
        assert!(metrics.messages_dropped + metrics.messages_refused > 100, "{policy:?}");
        let number = |text: &String| text.split(' ').next().unwrap().parse::<usize>().unwrap();
        let plain = heard.iter().map(number).filter(|number| number % 2 == 0);
        assert!(plain.is_sorted(), "{policy:?}: those without a key stay in order");
    }
}

#[test]
fn undelivered_counts_compressed_messages_as_they_were_given() {
    for deflate in [with_context(), Deflate::new().threshold(0)] {
        let running = start(server(deflate).max_pending_send(1 << 20), |_, _| ());
        let other = Other::client(deflate);
        other.peer.narrow(0);
        let session = running.session(1).unwrap();
        let noise: Vec<u8> = (0..40_000u32).map(|at| (at * at / 7 % 251) as u8).collect();
        session.send("a text that has the same words as the same text").unwrap();
        session.send(&vec![7; 100_000]).unwrap();
        session.send(&noise).unwrap();
        let delivery = running.hub().all().send(&vec![9; 5_000]);
        assert!(delivery.queued == 1 && session.buffered() < 145_000, "they are compressed");
        Sim::run();
        session.abort();
        Sim::run();
        let reason = session.reason().unwrap();
        let lost = (reason.undelivered, reason.undelivered_messages);
        assert_eq!(lost, (47 + 100_000 + 40_000 + 5_000, 4));
    }
}
