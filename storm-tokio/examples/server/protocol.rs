//! What is said: JSON in text messages, each an object with a `type`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a guest asks for.
#[derive(Deserialize, PartialEq, Debug)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum Command {
    SetName {
        name: String,
    },
    Chat {
        message: String,
    },
    Whisper {
        to: u64,
        message: String,
    },
    Join {
        room: String,
    },
    Leave {
        room: String,
    },
    RoomMsg {
        room: String,
        message: String,
    },
    List,
    Rooms,
    MyInfo,
    #[serde(other)]
    Unknown,
}

/// What a guest is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum News<'a> {
    Welcome { id: u64, message: &'a str, online: usize },
    System { message: &'a str },
    Error { message: &'a str },
    NameSet { name: &'a str },
    Chat { from: &'a str, room: &'a str, message: &'a str },
    Whisper { from: &'a str, from_id: u64, message: &'a str },
    WhisperSent { to: u64, message: &'a str },
    Joined { room: &'a str, members: usize },
    Left { room: &'a str },
    UserList { users: &'a [User], total: usize },
    RoomList { rooms: &'a [Room] },
    MyInfo(&'a Info),
    Heartbeat { tick: u64, timestamp: u64, utc: String, online: usize },
}

#[derive(Serialize)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) uptime: String,
    pub(crate) groups: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Room {
    pub(crate) room: String,
    pub(crate) members: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Info {
    #[serde(flatten)]
    pub(crate) user: User,
    pub(crate) state: String,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

impl Command {
    /// Text that is no JSON is said in the lobby.
    pub(crate) fn parse(text: &str) -> Result<Command, String> {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return Ok(Command::Chat { message: text.into() });
        };
        let Some(kind) = value.get("type").and_then(Value::as_str) else {
            return Err("A command is an object with a type.".into());
        };
        match Command::deserialize(&value) {
            Ok(Command::Unknown) => Err(format!("Unknown: {kind}")),
            Ok(command) => Ok(command),
            Err(error) => Err(format!("{kind}: {error}.")),
        }
    }
}

impl News<'_> {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("has only string keys")
    }
}
