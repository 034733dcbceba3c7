//! A chat server and its page on one port: open it in two tabs and talk.
//!
//!     cargo run --release -p storm-tokio --example chat [address]

use std::collections::HashMap;
use std::sync::Mutex;

use storm_tokio::{
    Accept, Decision, DisconnectReason, Handler, Message, Prepared, Request, Response, Server,
    Session, WebSocket,
};

#[derive(Default)]
struct Chat {
    guests: Mutex<HashMap<u64, Session>>,
}

impl Chat {
    /// Says it to everybody: encoded once, and a slow guest holds up nobody.
    fn say(&self, message: Message<'_>) {
        let prepared = Prepared::new(message);
        for guest in self.guests.lock().expect("no panic under the lock").values() {
            let _ = guest.send_prepared(&prepared);
        }
    }

    fn announce(&self, session: &Session, what: &str) {
        let text = format!(r#"{{"from":null,"text":"guest {} {what}"}}"#, session.id());
        self.say(Message::text(&text));
    }
}

impl Handler for Chat {
    async fn on_connecting(&self, request: &Request) -> Decision {
        match (request.path(), request.is_upgrade()) {
            ("/chat", true) => Accept::new().into(),
            ("/", false) => Response::html(include_str!("chat.html")).into(),
            _ => Response::new(404).body("nothing here\n").into(),
        }
    }

    async fn on_connected(&self, session: &Session) {
        self.guests.lock().expect("no panic under the lock").insert(session.id(), session.clone());
        self.announce(session, "joined");
    }

    async fn on_message(&self, _: &Session, message: Message<'_>) {
        self.say(message);
    }

    async fn on_disconnected(&self, session: &Session, _: &DisconnectReason) {
        self.guests.lock().expect("no panic under the lock").remove(&session.id());
        self.announce(session, "left");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let chat = Server::bind(address).websocket(WebSocket::new().max_message(8 << 10));
    let running = chat.handler(Chat::default()).start().await?;
    println!("open http://{} in two tabs", running.address());
    std::future::pending().await
}
