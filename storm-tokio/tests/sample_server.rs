//! The example `server`, command by command, over real connections.

#![allow(clippy::unwrap_used)]

#[path = "../examples/server/console.rs"]
mod console;
#[path = "../examples/server/guard.rs"]
mod guard;
#[path = "../examples/server/hall.rs"]
mod hall;
#[path = "../examples/server/protocol.rs"]
mod protocol;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use storm_tokio::{Client, Inbox, Kind, Running, Server, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use hall::Hall;
use protocol::Command;

struct Guest {
    inbox: Inbox,
}

impl Guest {
    async fn new(server: &Running) -> Guest {
        let inbox = Client::new(format!("ws://{}", server.address())).open().await.unwrap();
        Guest { inbox }
    }

    fn says(&self, text: impl ToString) {
        self.inbox.session().send(&text.to_string()).unwrap();
    }

    async fn hears(&mut self) -> Value {
        let message = self.inbox.next().await.unwrap().expect("a message");
        assert_eq!(message.kind(), Kind::Text, "everything is text, what is said in rooms too");
        serde_json::from_str(message.as_text().unwrap()).unwrap()
    }

    /// Says it, and hears this next.
    async fn gets(&mut self, text: impl ToString, answer: Value) {
        self.says(text);
        assert_eq!(self.hears().await, answer);
    }
}

fn system(message: &str) -> Value {
    json!({"type": "system", "message": message})
}

fn error(message: &str) -> Value {
    json!({"type": "error", "message": message})
}

async fn start() -> (Arc<Hall>, Running) {
    let server = Server::bind("127.0.0.1:0").websocket(WebSocket::new().max_message(1 << 10));
    let hall = Arc::new(Hall::new(server.hub()));
    (hall.clone(), server.middleware(guard::Log).handler(hall).start().await.unwrap())
}

/// Two guests who have heard all that their coming caused.
async fn two(server: &Running) -> (Guest, Guest) {
    let mut one = Guest::new(server).await;
    let welcome = one.hears().await;
    assert_eq!(
        (&welcome["type"], &welcome["id"], &welcome["online"]),
        (&json!("welcome"), &json!(1), &json!(1))
    );
    assert_eq!(one.hears().await, system("#1 joined (online: 1)"));
    let mut two = Guest::new(server).await;
    assert_eq!(two.hears().await["type"], "welcome");
    assert_eq!(two.hears().await, system("#2 joined (online: 2)"));
    assert_eq!(one.hears().await, system("#2 joined (online: 2)"));
    (one, two)
}

#[tokio::test]
async fn names_are_told_to_all_and_are_unique_whatever_their_case() {
    let (_, server) = start().await;
    let (mut one, mut two) = two(&server).await;
    one.gets(
        json!({"type": "setName", "name": " Ada "}),
        json!({"type": "nameSet", "name": "Ada"}),
    )
    .await;
    for guest in [&mut one, &mut two] {
        assert_eq!(guest.hears().await, system("anonymous is now known as Ada"));
    }
    two.gets(json!({"type": "setName", "name": "ADA"}), error("'ADA' is taken.")).await;
    two.gets(json!({"type": "setName", "name": " "}), error("Name cannot be empty.")).await;
}

#[tokio::test]
async fn the_lobby_hears_what_is_no_json_and_a_whisper_is_heard_by_one() {
    let (_, server) = start().await;
    let (mut one, mut two) = two(&server).await;
    let chat =
        |message| json!({"type": "chat", "from": "anonymous", "room": "lobby", "message": message});
    one.says(" hello ");
    assert_eq!(two.hears().await, chat("hello"));
    one.says(json!({"type": "chat", "message": "   "}));
    one.says(json!({"type": "chat", "message": "there"}));
    assert_eq!(two.hears().await, chat("there"));

    let sent = json!({"type": "whisperSent", "to": 2, "message": "psst"});
    one.gets(json!({"type": "whisper", "to": 2, "message": "psst"}), sent).await;
    let whisper = json!({"type": "whisper", "from": "anonymous", "fromId": 1, "message": "psst"});
    assert_eq!(two.hears().await, whisper);
    one.gets(json!({"type": "whisper", "to": 9, "message": "psst"}), error("#9 not found.")).await;
}

#[tokio::test]
async fn rooms_are_joined_spoken_in_and_left() {
    let (_, server) = start().await;
    let (mut one, mut two) = two(&server).await;
    let tea = |kind: &str| json!({"type": kind, "room": "tea"});
    two.gets(
        json!({"type": "roomMsg", "room": "tea", "message": "x"}),
        error("Not in room 'tea'."),
    )
    .await;
    two.gets(tea("leave"), error("Not in room 'tea'.")).await;
    one.gets(tea("join"), json!({"type": "joined", "room": "tea", "members": 1})).await;
    two.gets(tea("join"), json!({"type": "joined", "room": "tea", "members": 2})).await;
    assert_eq!(one.hears().await, system("anonymous joined 'tea'"));

    two.says(json!({"type": "roomMsg", "room": "tea", "message": "milk?"}));
    let chat = json!({"type": "chat", "from": "anonymous", "room": "tea", "message": "milk?"});
    assert_eq!(one.hears().await, chat);
    let rooms = json!([{"room": "lobby", "members": 2}, {"room": "tea", "members": 2}]);
    one.gets(json!({"type": "rooms"}), json!({"type": "roomList", "rooms": rooms})).await;

    two.gets(tea("leave"), json!({"type": "left", "room": "tea"})).await;
    assert_eq!(one.hears().await, system("anonymous left 'tea'"));
    one.says(json!({"type": "leave", "room": "lobby"}));
    one.says(json!({"type": "list"}));
    let list = one.hears().await;
    assert_eq!(list["total"], 2, "nobody leaves the lobby");
    assert_eq!(list["users"][0]["groups"], json!(["lobby", "tea"]));
    one.says(json!({"type": "myInfo"}));
    let info = one.hears().await;
    assert_eq!(
        (&info["type"], &info["id"], &info["state"]),
        (&json!("myInfo"), &json!(1), &json!("Open"))
    );
    assert!(info["bytesReceived"].as_u64() > Some(100), "{info}");

    drop(two);
    assert_eq!(one.hears().await, system("anonymous left (online: 1)"));
}

#[tokio::test]
async fn what_is_malformed_is_answered_and_ends_nothing() {
    let (_, server) = start().await;
    let (mut one, _two) = two(&server).await;
    one.gets(json!({"type": "dance"}), error("Unknown: dance")).await;
    for object in ["42", "null", "[1]", r#"{"name":"x"}"#, r#"{"type":7}"#] {
        one.gets(object, error("A command is an object with a type.")).await;
    }
    for text in [r#"{"type":"whisper","to":"2","message":"x"}"#, r#"{"type":"setName"}"#] {
        one.says(text);
        let answer = one.hears().await;
        assert_eq!(answer["type"], "error", "{answer}");
    }
    one.inbox.session().send(&b"binary"[..]).unwrap();
    one.gets(json!({"type": "dance"}), error("Unknown: dance")).await;
}

#[tokio::test]
async fn the_console_lists_kicks_and_speaks_to_all() {
    let (hall, server) = start().await;
    let (mut one, mut two) = two(&server).await;
    let console = |line| console::obey(&hall, line);
    assert_eq!(console("/BROADCAST tea is ready").as_deref(), Some("Sent to 2."));
    for guest in [&mut one, &mut two] {
        assert_eq!(guest.hears().await, system("[ADMIN] tea is ready"));
    }
    assert!(console("/sessions").unwrap().starts_with("2 online\n#1 "));
    assert_eq!(console("/rooms").as_deref(), Some("lobby: 2"));
    assert!(console("/info 2").unwrap().contains("anonymous"));
    assert_eq!(console("/info two").as_deref(), Some("Usage: /info <id>"));
    assert_eq!(console("/broadcast").as_deref(), Some("Usage: /broadcast <text>"));
    assert_eq!(console("/kick 9").as_deref(), Some("#9 not found."));
    assert_eq!(console("  ").as_deref(), Some(""));
    assert_eq!(console("help").as_deref(), Some(console::HELP));

    assert_eq!(console("/kick 2").as_deref(), Some("#2 kicked."));
    assert_eq!(two.hears().await, system("Kicked by admin."));
    assert!(two.inbox.next().await.unwrap().is_none(), "closed in order");
    assert_eq!(one.hears().await, system("anonymous left (online: 1)"));
    assert_eq!(console("/stop"), None);
    assert_eq!(server.stop(Duration::from_secs(5)).await.aborted, 0);
}

#[tokio::test]
async fn who_says_too_much_is_gone_and_everybody_hears_why() {
    let server = Server::bind("127.0.0.1:0").websocket(WebSocket::new());
    let hall = Arc::new(Hall::new(server.hub()));
    let server = server.middleware(guard::limit(&hall)).handler(hall).start().await.unwrap();
    let (mut one, two) = two(&server).await;
    (0..6).for_each(|_| two.says("spam"));
    let mut heard = Vec::new();
    while heard.last() != Some(&system("anonymous left (online: 1)")) {
        heard.push(one.hears().await);
    }
    let spam = heard.iter().filter(|news| news["message"] == "spam").count();
    assert_eq!(spam, 5);
    assert_eq!(heard[5], system("anonymous was disconnected (rate limit exceeded)"));
}

#[tokio::test]
async fn a_page_of_metrics_is_beside_the_chat() {
    let (hall, server) = start().await;
    let (_one, _two) = two(&server).await;
    let mut stream = TcpStream::connect(server.address().to_string()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("# TYPE chat_sessions gauge\nchat_sessions 2\n"), "{answer}");
    assert!(console::obey(&hall, "/metrics").unwrap().contains("chat_sessions_total 2\n"));
}

#[tokio::test]
async fn the_ticker_tells_the_time_to_all() {
    let (hall, server) = start().await;
    let (mut one, mut two) = two(&server).await;
    hall.tick(7);
    for guest in [&mut one, &mut two] {
        let news = guest.hears().await;
        let Value::String(utc) = &news["utc"] else { panic!("{news}") };
        let since = humantime::parse_rfc3339(utc).unwrap().duration_since(UNIX_EPOCH).unwrap();
        let timestamp = since.as_millis() as u64;
        let expected = json!({"type": "heartbeat", "tick": 7, "timestamp": timestamp, "utc": utc, "online": 2});
        assert_eq!(news, expected);
    }
}

#[test]
fn a_line_that_is_no_json_is_for_the_lobby() {
    let said = Command::parse("{not json").unwrap();
    assert_eq!(said, Command::Chat { message: "{not json".into() });
}
