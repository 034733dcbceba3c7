//! The example `chat`: what a guest sends, and what the others get of it.
#![allow(clippy::unwrap_used)]

#[path = "../examples/chat/room.rs"]
mod room;

use serde_json::{Value, json};
use storm_tokio::{Client, Inbox, Kind, Message, Running, Server, WebSocket};

struct Guest(Inbox);

impl Guest {
    async fn new(server: &Running) -> Guest {
        Guest(Client::new(format!("ws://{}/chat", server.address())).open().await.unwrap())
    }

    fn sends<'a>(&self, message: impl Into<Message<'a>>) {
        self.0.session().send(message).unwrap();
    }

    async fn gets(&mut self, expected: Value) {
        let message = self.0.next().await.unwrap().expect("a message");
        assert_eq!(message.kind(), Kind::Text);
        let got: Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
        assert_eq!(got, expected);
    }
}

fn note(text: &str) -> Value {
    json!({"type": "note", "text": text})
}

fn error(text: &str) -> Value {
    json!({"type": "error", "text": text})
}

fn chat(id: u64, from: &str, text: &str) -> Value {
    json!({"type": "chat", "id": id, "from": from, "text": text})
}

async fn two() -> (Running, Guest, Guest) {
    let server = Server::bind("127.0.0.1:0").websocket(WebSocket::new());
    let server = server.handler(room::Chat).start().await.unwrap();
    let mut one = Guest::new(&server).await;
    one.gets(note("guest 1 joined")).await;
    let mut two = Guest::new(&server).await;
    for guest in [&mut one, &mut two] {
        guest.gets(note("guest 2 joined")).await;
    }
    (server, one, two)
}

#[tokio::test]
async fn whatever_a_guest_sends_reaches_the_others_as_text_of_that_guest() {
    let (_server, one, mut two) = two().await;
    for text in ["{}", "null", r#"{"from":null,"text":"x"}"#, "{\"", "<b>bold</b>", "\"\\\u{7}"] {
        one.sends(text);
        two.gets(chat(1, "guest 1", text)).await;
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_to_its_sender_alone() {
    let (_server, mut one, mut two) = two().await;
    let long = "x".repeat(2001);
    let too_long = error("a message has 1 to 2000 characters");
    for (text, refusal) in [(" ", &too_long), (long.as_str(), &too_long)] {
        one.sends(text);
        one.gets(refusal.clone()).await;
    }
    one.sends(&b"{}"[..]);
    one.gets(error("send text, not binary messages")).await;
    one.sends("hello");
    two.gets(chat(1, "guest 1", "hello")).await;
}

#[tokio::test]
async fn a_name_is_chosen_by_its_bearer_and_kept_by_the_server() {
    let (_server, mut one, mut two) = two().await;
    one.sends("/name  Ada ");
    two.gets(note("guest 1 is now Ada")).await;
    one.gets(note("guest 1 is now Ada")).await;
    one.sends("/name Ada");
    one.sends("/namesake");
    two.gets(chat(1, "Ada", "/namesake")).await;
    one.gets(chat(1, "Ada", "/namesake")).await;

    let wrong = error("a name has 1 to 32 characters, on one line");
    for name in ["", " ", "a\nb", "a\u{7}b", &"x".repeat(33)] {
        two.sends(&format!("/name {name}"));
        two.gets(wrong.clone()).await;
    }
    two.sends("/name Guest 1");
    two.gets(error("names that begin with guest are for those without a name")).await;
    drop(one);
    two.gets(note("Ada left")).await;
}
