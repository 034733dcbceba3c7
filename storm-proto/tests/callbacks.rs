//! Closures as handlers: what they return, how many there may be, those that wait.
#![allow(clippy::unwrap_used)]

mod sim;

use std::error::Error as _;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use sim::tools::{Journal, masked, seconds, start, websocket};
use sim::{Peer, Sim};
use storm_proto::framing::Delimiter;
use storm_proto::service::{ErrorContext, Handler, JoinError, Server, Session};
use storm_proto::websocket::handshake::{Accept, Decision, IntoDecision, Request, Response};
use storm_proto::{
    CloseCode, DisconnectReason, Error, LocalError, Message, Overrides, OwnedMessage, Reconnect,
    SendError, SlowConsumer,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn ask(path: &str) -> (Peer, String) {
    let peer = Sim::dial();
    peer.send(REQUEST.replacen('/', path, 1).as_bytes());
    let answer = String::from_utf8(peer.take()).unwrap();
    (peer, answer)
}

fn open() -> Peer {
    let (peer, answer) = ask("/");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    peer
}

fn text(payload: &str) -> Vec<u8> {
    masked(0x81, payload.as_bytes())
}

/// A closure for `on_error` that notes what failed.
fn noting(journal: &Journal) -> impl Fn(&ErrorContext, &Error) + Send + Sync + 'static {
    let journal = journal.clone();
    move |context, error| {
        journal.note(format!("{:?}: {error}", context.session().map(Session::id)));
    }
}

// What closures return.

#[test]
fn an_error_of_a_closure_reaches_on_error_and_the_session_goes_on() {
    let journal = Journal::default();
    let server = websocket()
        .max_pending_send(8)
        .slow_consumer(SlowConsumer::Drop)
        .on_connected(|session| session.join(&"x".repeat(1000)))
        .on_message(|_, message| match message.as_text() {
            Some("io") => Err(io::Error::from(io::ErrorKind::NotFound)),
            _ => Ok(()),
        })
        .on_group(|change| if change.joined { Err("no room") } else { Ok(()) })
        .on_lag(|session, _| session.close_with(CloseCode::NORMAL, &"x".repeat(124)))
        .on_disconnected(|session, _| session.send("too late"))
        .on_error(noting(&journal));
    let running = start(server);
    let peer = open();
    assert_eq!(
        journal.take(),
        ["Some(1): a handler failed: the name of the group is over the limit of 256 bytes"]
    );
    peer.send(&text("io"));
    assert_eq!(journal.take(), ["Some(1): a handler failed: entity not found"]);
    let session = running.session(1).unwrap();
    session.join("hall").unwrap();
    assert_eq!(journal.take(), ["Some(1): a handler failed: no room"]);
    peer.narrow(0);
    while session.send("12345678").is_ok() {}
    assert_eq!(journal.take(), ["Some(1): a handler failed: a close reason has at most 123 bytes"]);
    peer.reset();
    let told = journal.take();
    assert_eq!(told[told.len() - 1], "Some(1): a handler failed: the session is closed");
}

/// What a channel returns with the message that it cannot take.
type SendMessage = std::sync::mpsc::SendError<OwnedMessage>;

#[test]
fn an_error_of_a_closure_keeps_its_type_and_its_message() {
    let (tell, heard) = std::sync::mpsc::channel::<OwnedMessage>();
    drop(heard);
    let seen: Arc<Mutex<Vec<Error>>> = Arc::default();
    let seeing = seen.clone();
    let server = websocket()
        .on_message(move |_, message| tell.send(message.to_owned()))
        .on_error(move |_, error| seeing.lock().unwrap().push(error.clone()));
    let _running = start(server.on_connected(|_| Err::<(), _>(SendError::Full)));
    let peer = open();
    peer.send(&text("x"));
    let seen = seen.lock().unwrap();
    let [full @ Error::Local(LocalError::Handler(_)), unheard] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(full.source().unwrap().downcast_ref(), Some(&SendError::Full));
    let unheard: &SendMessage = unheard.source().unwrap().downcast_ref().unwrap();
    assert_eq!(unheard.0, OwnedMessage::text("x"));
}

#[test]
fn an_error_of_on_error_is_not_reported_to_itself() {
    let journal = Journal::default();
    let notes = journal.clone();
    let server = websocket().on_message(|_, _| Err::<(), _>("first")).on_error(move |_, error| {
        notes.note(error.to_string());
        Err::<(), _>("second")
    });
    let _running = start(server);
    open().send(&text("x"));
    assert_eq!(journal.take(), ["a handler failed: first"]);
}

#[test]
fn a_closure_of_a_client_reports_its_errors_too() {
    let journal = Journal::default();
    Sim::refuse(true);
    let client = storm_proto::service::Client::<Sim>::new("ws://example")
        .on_reconnecting(|_| Err::<(), _>("told"))
        .on_error(noting(&journal))
        .reconnect(Reconnect::new().max_attempts(1))
        .unwrap();
    Sim::pass(seconds(10));
    Sim::refuse(false);
    assert_eq!(journal.take(), ["None: a handler failed: told"; 2]);
    drop(client);
}

// Several of them.

/// Notes at once; the rest is a future.
fn noted(note: &impl Fn()) -> std::future::Ready<()> {
    note();
    std::future::ready(())
}

#[test]
fn each_closure_of_an_event_is_called_in_the_order_of_the_calls() {
    let journal = Journal::default();
    let note = |line: &'static str| {
        let journal = journal.clone();
        move || journal.note(line)
    };
    let (a, b, c, d, e) = (note("a"), note("b"), note("c"), note("d"), note("e"));
    let (f, g, h) = (note("f"), note("g"), note("h"));
    let server = websocket()
        .on_connected(move |_| a())
        .on_connected_async(move |_| noted(&b))
        .on_message(move |_, _| c())
        .on_connected(move |_| d())
        .on_message(move |_, _| e())
        .on_disconnected(move |_, _| f())
        .on_disconnected(move |_, _| g())
        .on_message_async(move |_, _| noted(&h));
    let _running = start(server);
    let peer = open();
    peer.send(&text("x"));
    peer.reset();
    assert_eq!(journal.take(), ["a", "b", "d", "c", "e", "h", "f", "g"]);
}

/// Notes everything.
struct Scribe(Journal);

impl Handler for Scribe {
    async fn on_connecting(&self, request: &Request) -> Decision {
        self.0.note("handler decides");
        match request.path() {
            "/handler" => Response::new(403).into(),
            _ => Accept::new().attach(1u8).header("X-Handler", "1").into(),
        }
    }

    async fn on_connected(&self, _: &Session) {
        self.0.note("handler connected");
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        self.0.note("handler message");
        session.send(message).unwrap();
    }

    async fn on_disconnected(&self, _: &Session, _: &DisconnectReason) {
        self.0.note("handler disconnected");
        panic!("on purpose");
    }

    async fn on_error(&self, _: &ErrorContext, error: &Error) {
        self.0.note(format!("handler told {error}"));
        panic!("on purpose");
    }
}

#[test]
fn a_handler_and_closures_hear_of_the_same_events() {
    let journal = Journal::default();
    let note = |line: &'static str| {
        let journal = journal.clone();
        move || journal.note(line)
    };
    let (before, after, ended, told) = (note("before"), note("after"), note("ended"), note("told"));
    let server = websocket()
        .on_message(move |_, _| before())
        .handler(Scribe(journal.clone()))
        .on_message(move |_, _| {
            after();
            Err::<(), _>("oops")
        })
        .on_disconnected(move |_, _| ended())
        .on_error(move |_, _| told());
    let _running = start(server);
    let peer = open();
    peer.send(&text("x"));
    assert_eq!(peer.take(), b"\x81\x01x");
    peer.send(&masked(0x88, b"\x03\xe8"));
    peer.end();
    let expected = [
        "handler decides",
        "handler connected",
        "before",
        "handler message",
        "after",
        "handler told a handler failed: oops",
        "told",
        "handler disconnected",
        "ended",
    ];
    assert_eq!(journal.take(), expected, "whatever the one before panics of");
}

// Decisions.

#[test]
fn the_first_refusal_decides_and_acceptances_are_joined() {
    let journal = Journal::default();
    let notes = journal.clone();
    let server = websocket()
        .on_connecting(|request| match request.path() {
            "/first" => Err(Response::new(401)),
            _ => Ok(Accept::new().attach(1u8).attach("first").header("X-First", "1")),
        })
        .handler(Scribe(journal.clone()))
        .on_connecting_async(move |request: Request| {
            notes.note("closure decides");
            async move {
                match request.path() {
                    "/page" => Response::html("<p>").into_decision(),
                    _ => Accept::new()
                        .attach(3u32)
                        .attach("last")
                        .overrides(Overrides::new().max_pending_send(7))
                        .into_decision(),
                }
            }
        });
    let running = start(server);
    for (path, status, asked) in [
        ("/first", "HTTP/1.1 401", &[][..]),
        ("/handler", "HTTP/1.1 403", &["handler decides"]),
        ("/page", "HTTP/1.1 200", &["handler decides", "closure decides"]),
        ("/", "HTTP/1.1 101", &["handler decides", "closure decides", "handler connected"]),
    ] {
        let (peer, answer) = ask(path);
        assert!(answer.starts_with(status), "{path}: {answer}");
        assert_eq!(journal.take(), asked, "{path}");
        if path == "/" {
            assert!(answer.contains("X-First: 1\r\nX-Handler: 1\r\n"), "{answer}");
            let session = running.sessions().remove(0);
            let attached = (session.get::<u8>(), session.get::<u32>(), session.get::<&str>());
            assert_eq!(attached, (Some(1), Some(3), Some("last")));
            drop(peer);
        }
    }
}

#[test]
fn a_decision_is_an_acceptance_a_response_or_a_result_of_them() {
    fn answer_of<A: IntoDecision>(
        decide: impl Fn(&Request) -> A + Send + Sync + 'static,
    ) -> String {
        let running = start(websocket().on_connecting(decide));
        let answer = ask("/").1;
        drop(running);
        Sim::run();
        answer
    }
    assert!(answer_of(|_| Accept::new()).starts_with("HTTP/1.1 101"));
    assert!(answer_of(|_| Response::new(404)).starts_with("HTTP/1.1 404"));
    assert!(answer_of(|_| Decision::from(Response::new(404))).starts_with("HTTP/1.1 404"));
    assert!(answer_of(|_| Ok::<_, Response>(Accept::new())).starts_with("HTTP/1.1 101"));
    let by_question = |request: &Request| -> Result<Accept, Response> {
        request.header("authorization").ok_or_else(|| Response::new(401))?;
        Ok(Accept::new())
    };
    assert!(answer_of(by_question).starts_with("HTTP/1.1 401"));
}

// Those that wait.

#[test]
fn an_async_closure_holds_up_the_messages_of_its_session_only() {
    let journal = Journal::default();
    let notes = journal.clone();
    let gate: Arc<Mutex<bool>> = Arc::default();
    let shut = gate.clone();
    let server = websocket().on_message_async(move |session, message| {
        let (notes, shut) = (notes.clone(), shut.clone());
        async move {
            let text = message.as_message().as_text().unwrap().to_owned();
            notes.note(format!("{text} begins"));
            if text == "slow" {
                std::future::poll_fn(|_| {
                    if *shut.lock().unwrap() { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            notes.note(format!("{text} ends"));
            session.send(&message)
        }
    });
    let _running = start(server);
    let (first, second) = (open(), open());
    first.send(&[text("slow"), text("next")].concat());
    second.send(&text("other"));
    assert_eq!(journal.take(), ["slow begins", "other begins", "other ends"]);
    *gate.lock().unwrap() = true;
    // Anything that arrives polls it.
    first.send(&text("last"));
    Sim::pass(seconds(60));
    let rest = ["slow ends", "next begins", "next ends", "last begins", "last ends"];
    assert_eq!(journal.take(), rest);
    assert_eq!(first.take(), b"\x81\x04slow\x81\x04next\x81\x04last");
}

#[test]
fn every_event_that_may_be_waited_for_has_an_async_closure() {
    let journal = Journal::default();
    let note = |line: &'static str| {
        let journal = journal.clone();
        move || {
            let journal = journal.clone();
            async move { journal.note(line) }
        }
    };
    let (a, b, c, d) = (note("connecting"), note("connected"), note("message"), note("over"));
    let errors = journal.clone();
    let server = websocket()
        .on_connecting_async(move |request: Request| {
            let noted = a();
            async move {
                noted.await;
                request
                    .header("x")
                    .ok_or(Response::new(401))
                    .map(|_| Accept::new())
                    .or_else(|_| Ok::<_, Response>(Accept::new()))
            }
        })
        .on_connected_async(move |session: Session| {
            let noted = b();
            async move {
                noted.await;
                session.join("hall").map(drop)?;
                Ok::<_, JoinError>(session.leave("hall"))
            }
        })
        .on_message_async(move |session, message| {
            let noted = c();
            async move {
                noted.await;
                session.send_wait(&message).await?;
                Err::<(), Box<dyn std::error::Error + Send + Sync>>("sent".into())
            }
        })
        .on_disconnected_async(move |_, reason| {
            let noted = d();
            async move {
                noted.await;
                assert!(reason.clean);
                panic!("on purpose")
            }
        })
        .on_error_async(move |context, error| {
            let errors = errors.clone();
            let session = context.session().map(Session::id);
            async move { errors.note(format!("{session:?} {error}")) }
        });
    let running = start(server);
    let peer = open();
    peer.send(&text("x"));
    assert_eq!(peer.take(), b"\x81\x01x");
    peer.send(&masked(0x88, b"\x03\xe8"));
    peer.end();
    let expected = ["connecting", "connected", "message", "Some(1) a handler failed: sent", "over"];
    assert_eq!(journal.take(), expected);
    assert_eq!(running.connections(), 0);
}

#[test]
fn a_panic_in_an_async_closure_ends_its_session_only() {
    let server = websocket().on_message_async(|session, message| async move {
        std::future::ready(()).await;
        assert_ne!(message.as_message().as_text(), Some("panic"), "on purpose");
        session.send(&message)
    });
    let _running = start(server);
    let (first, second) = (open(), open());
    first.send(&text("panic"));
    assert_eq!(first.take(), b"\x88\x10\x03\xf3internal error");
    second.send(&text("x"));
    assert_eq!(second.take(), b"\x81\x01x");
}

#[test]
fn an_async_closure_is_dropped_when_its_connection_is_over() {
    struct Dropped(Journal);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    let journal = Journal::default();
    let notes = journal.clone();
    let server = Server::<Sim>::bind("127.0.0.1:80").framed(Delimiter::lines());
    let server = server.on_message_async(move |session, _| {
        let guard = Dropped(notes.clone());
        async move {
            session.abort();
            pending::<()>().await;
            drop(guard);
        }
    });
    let _running = start(server);
    let peer = Sim::dial();
    peer.send(b"x\n");
    assert_eq!(journal.take(), ["dropped"]);
}
