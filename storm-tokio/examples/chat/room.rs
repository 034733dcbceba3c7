//! The chat itself, for any runtime: a page, and a room in which everybody hears everybody.

use storm_proto::service::{Handler, Session};
use storm_proto::websocket::handshake::{Accept, Decision, Request, Response};
use storm_proto::{DisconnectReason, Message};

pub(crate) struct Chat;

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
