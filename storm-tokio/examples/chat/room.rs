//! The chat itself, for any runtime: a page, and a room in which everybody hears everybody.
//!
//! A client sends text: `/name Ada` sets its name, anything else is said to all. The server
//! sends JSON: `{"type": "chat", "id", "from", "text"}`, and `note` or `error` with a `text`.
//! Nothing that a client sent is relayed unchecked, and nobody chooses another's name.

use serde_json::json;
use storm_proto::service::{Handler, Session};
use storm_proto::websocket::handshake::{Accept, Decision, Request, Response};
use storm_proto::{DisconnectReason, Message};

/// The longest name and the longest text, in characters.
const MAX_NAME: usize = 32;
const MAX_TEXT: usize = 2000;

pub(crate) struct Chat;

/// The name of a guest who has chosen one; stored in its session.
#[derive(Clone)]
struct Name(String);

impl Handler for Chat {
    async fn on_connecting(&self, request: &Request) -> Decision {
        match (request.path(), request.is_upgrade()) {
            ("/chat", true) => Accept::new().into(),
            ("/", false) => Response::html(include_str!("chat.html")).into(),
            // Browsers ask for it with every page.
            ("/favicon.ico", false) => Response::new(204).into(),
            _ => Response::new(404).body("nothing here\n").into(),
        }
    }

    async fn on_connected(&self, session: &Session) {
        note(session, &format!("{} joined", name(session)));
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        if let Err(error) = obey(session, message) {
            // The outbox of a guest that does not read is full: the guest misses this, too.
            let _ = session.send(&json!({"type": "error", "text": error}).to_string());
        }
    }

    async fn on_disconnected(&self, session: &Session, _: &DisconnectReason) {
        note(session, &format!("{} left", name(session)));
    }
}

fn obey(session: &Session, message: Message<'_>) -> Result<(), String> {
    let text = message.as_text().ok_or("send text, not binary messages")?.trim();
    match text.strip_prefix("/name") {
        Some(new) if new.is_empty() || new.starts_with(char::is_whitespace) => {
            rename(session, new.trim())
        }
        _ => say(session, text),
    }
}

fn rename(session: &Session, new: &str) -> Result<(), String> {
    if new.is_empty() || new.chars().count() > MAX_NAME || new.contains(char::is_control) {
        return Err(format!("a name has 1 to {MAX_NAME} characters, on one line"));
    }
    if new.to_lowercase().starts_with("guest") {
        return Err("names that begin with guest are for those without a name".into());
    }
    let old = name(session);
    if old != new {
        session.insert(Name(new.into()));
        note(session, &format!("{old} is now {new}"));
    }
    Ok(())
}

fn say(session: &Session, text: &str) -> Result<(), String> {
    if text.is_empty() || text.chars().count() > MAX_TEXT {
        return Err(format!("a message has 1 to {MAX_TEXT} characters"));
    }
    let said = json!({"type": "chat", "id": session.id(), "from": name(session), "text": text});
    to_all(session, &said.to_string());
    Ok(())
}

fn name(session: &Session) -> String {
    let guest = || format!("guest {}", session.id());
    session.get().map_or_else(guest, |Name(name)| name)
}

fn note(session: &Session, text: &str) {
    to_all(session, &json!({"type": "note", "text": text}).to_string());
}

/// Sends to everybody: encoded once, and a slow guest holds up nobody.
fn to_all(session: &Session, text: &str) {
    if let Some(hub) = session.hub() {
        // A guest that does not read misses it.
        let _ = hub.all().send(text);
    }
}
