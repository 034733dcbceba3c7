//! A chat server and its page on one port: open it in two tabs and talk.
//!
//!     cargo run --release -p storm-tokio --example chat [address]

use storm_tokio::{
    Accept, Decision, DisconnectReason, Handler, Message, Request, Response, Server, Session,
    WebSocket,
};

struct Chat;

/// Says it to everybody: encoded once, and a slow guest holds up nobody.
fn say<'a>(session: &Session, message: impl Into<Message<'a>>) {
    if let Some(hub) = session.hub() {
        hub.all().send(message);
    }
}

fn announce(session: &Session, what: &str) {
    say(session, &format!(r#"{{"from":null,"text":"guest {} {what}"}}"#, session.id()));
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
        announce(session, "joined");
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        say(session, message);
    }

    async fn on_disconnected(&self, session: &Session, _: &DisconnectReason) {
        announce(session, "left");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let chat = Server::bind(address).websocket(WebSocket::new().max_message(8 << 10));
    let running = chat.handler(Chat).start().await?;
    println!("open http://{} in two tabs", running.address());
    std::future::pending().await
}
