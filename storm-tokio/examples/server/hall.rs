//! The guests, their names and their rooms.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storm_tokio::{
    Accept, Decision, DisconnectReason, Handler, Hub, Message, Request, Response, Session,
};

use crate::protocol::{Command, Info, News, Room, User};

const LOBBY: &str = "lobby";
const COMMANDS: &str = "Connected. Commands: setName, chat, whisper, join, leave, roomMsg, list, \
                        rooms, myInfo";

pub(crate) struct Hall {
    pub(crate) hub: Hub,
    names: Mutex<BTreeMap<u64, String>>,
}

impl Handler for Hall {
    async fn on_connecting(&self, request: &Request) -> Decision {
        match (request.path(), request.is_upgrade()) {
            (_, true) => Accept::new().into(),
            ("/metrics", false) => Response::new(200)
                .header("Content-Type", "text/plain; version=0.0.4")
                .body(self.metrics())
                .into(),
            // Browsers ask for it with every page.
            ("/favicon.ico", false) => Response::new(204).into(),
            _ => Response::new(404).body("speak WebSocket, or get /metrics\n").into(),
        }
    }

    async fn on_connected(&self, session: &Session) {
        let (id, online) = (session.id(), self.hub.count());
        self.names().insert(id, "anonymous".into());
        let _ = session.join(LOBBY);
        tell(session, &News::Welcome { id, message: COMMANDS, online });
        self.announce(&format!("#{id} joined (online: {online})"));
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        let Some(text) = message.as_text() else { return };
        let done = Command::parse(text).and_then(|command| self.obey(session, command));
        if let Err(message) = done {
            tell(session, &News::Error { message: &message });
        }
    }

    async fn on_disconnected(&self, session: &Session, _: &DisconnectReason) {
        let name = self.names().remove(&session.id()).unwrap_or_default();
        self.announce(&format!("{name} left (online: {})", self.hub.count()));
    }
}

impl Hall {
    pub(crate) fn new(hub: Hub) -> Hall {
        Hall { hub, names: Mutex::default() }
    }

    fn obey(&self, session: &Session, command: Command) -> Result<(), String> {
        match command {
            Command::SetName { name } => self.set_name(session, name.trim()),
            Command::Chat { message } => self.say(session, LOBBY, message.trim()),
            Command::Whisper { to, message } => self.whisper(session, to, message.trim()),
            Command::Join { room } => self.join(session, room.trim()),
            Command::Leave { room } => self.leave(session, room.trim()),
            Command::RoomMsg { room, message } => self.say(session, room.trim(), message.trim()),
            Command::List => {
                let users: Vec<_> = self.hub.sessions().iter().map(|s| self.user(s)).collect();
                tell(session, &News::UserList { users: &users, total: users.len() });
                Ok(())
            }
            Command::Rooms => {
                tell(session, &News::RoomList { rooms: &self.rooms() });
                Ok(())
            }
            Command::MyInfo => {
                tell(session, &News::MyInfo(&self.info(session)));
                Ok(())
            }
            Command::Unknown => Err("Unknown".into()),
        }
    }

    fn set_name(&self, session: &Session, name: &str) -> Result<(), String> {
        if name.is_empty() {
            return Err("Name cannot be empty.".into());
        }
        let old = {
            let mut names = self.names();
            let same = |(id, other): (&u64, &String)| {
                *id != session.id() && other.to_lowercase() == name.to_lowercase()
            };
            if names.iter().any(same) {
                return Err(format!("'{name}' is taken."));
            }
            names.insert(session.id(), name.into()).unwrap_or_default()
        };
        tell(session, &News::NameSet { name });
        self.announce(&format!("{old} is now known as {name}"));
        Ok(())
    }

    fn say(&self, session: &Session, room: &str, message: &str) -> Result<(), String> {
        if message.is_empty() || room.is_empty() {
            return Ok(());
        }
        if !session.is_in(room) {
            return Err(format!("Not in room '{room}'."));
        }
        let from = &self.name(session);
        let _ = session.others_in(room).send(&News::Chat { from, room, message }.to_json());
        Ok(())
    }

    fn whisper(&self, session: &Session, to: u64, message: &str) -> Result<(), String> {
        if message.is_empty() {
            return Ok(());
        }
        let guest = self.hub.session(to).ok_or_else(|| format!("#{to} not found."))?;
        let (from, from_id) = (&self.name(session), session.id());
        tell(&guest, &News::Whisper { from, from_id, message });
        tell(session, &News::WhisperSent { to, message });
        Ok(())
    }

    fn join(&self, session: &Session, room: &str) -> Result<(), String> {
        if room.is_empty() {
            return Ok(());
        }
        session.join(room).map_err(|error| error.to_string())?;
        tell(session, &News::Joined { room, members: self.hub.member_count(room) });
        let message = &format!("{} joined '{room}'", self.name(session));
        let _ = session.others_in(room).send(&News::System { message }.to_json());
        Ok(())
    }

    fn leave(&self, session: &Session, room: &str) -> Result<(), String> {
        if room.is_empty() || room == LOBBY {
            return Ok(());
        }
        if !session.leave(room) {
            return Err(format!("Not in room '{room}'."));
        }
        tell(session, &News::Left { room });
        let message = &format!("{} left '{room}'", self.name(session));
        let _ = session.others_in(room).send(&News::System { message }.to_json());
        Ok(())
    }

    /// To everybody; returns how many will hear it.
    pub(crate) fn announce(&self, message: &str) -> usize {
        self.hub.all().send(&News::System { message }.to_json()).queued
    }

    /// The time, for all: as text of JSON, encoded once.
    pub(crate) fn tick(&self, tick: u64) {
        let now = SystemTime::now();
        let timestamp = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        let utc = humantime::format_rfc3339_millis(now).to_string();
        let news = News::Heartbeat { tick, timestamp, utc, online: self.hub.count() };
        let _ = self.hub.all().send(&news.to_json());
    }

    pub(crate) fn name(&self, session: &Session) -> String {
        self.names().get(&session.id()).cloned().unwrap_or_default()
    }

    pub(crate) fn user(&self, session: &Session) -> User {
        let groups = session.groups().iter().map(ToString::to_string).collect();
        let uptime = clock(session.metrics().uptime);
        User { id: session.id(), name: self.name(session), uptime, groups }
    }

    pub(crate) fn info(&self, session: &Session) -> Info {
        let metrics = session.metrics();
        Info {
            user: self.user(session),
            state: format!("{:?}", session.state()),
            bytes_sent: metrics.bytes_sent,
            bytes_received: metrics.bytes_received,
        }
    }

    /// As Prometheus reads it.
    pub(crate) fn metrics(&self) -> String {
        let all = self.hub.metrics().sessions;
        let lines = [
            ("chat_sessions gauge", all.open as u64),
            ("chat_sessions_total counter", all.opened),
            ("chat_messages_sent_total counter", all.messages_sent),
            ("chat_messages_received_total counter", all.messages_received),
            ("chat_messages_dropped_total counter", all.messages_dropped),
            ("chat_bytes_sent_total counter", all.bytes_sent),
            ("chat_bytes_received_total counter", all.bytes_received),
            ("chat_errors_total counter", all.errors),
        ];
        let line = |(what, value): (&str, u64)| {
            let name = what.split(' ').next().unwrap_or(what);
            format!("# TYPE {what}\n{name} {value}\n")
        };
        lines.into_iter().map(line).collect()
    }

    pub(crate) fn rooms(&self) -> Vec<Room> {
        let mut rooms: Vec<_> = self.hub.groups().iter().map(ToString::to_string).collect();
        rooms.sort();
        let room = |room: String| Room { members: self.hub.member_count(&room), room };
        rooms.into_iter().map(room).collect()
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// To one; who has no room for it is too slow for a chat.
pub(crate) fn tell(session: &Session, news: &News<'_>) {
    let _ = session.send(&news.to_json());
}

/// hh:mm:ss
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
