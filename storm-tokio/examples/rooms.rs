//! Rooms on plain TCP, one line a message; `/help` lists the commands.
//!
//!     cargo run --release -p storm-tokio --example rooms [address]
//!     nc 127.0.0.1 8080

mod sample;

use std::process::ExitCode;
use std::time::Duration;

use storm_tokio::{Delimiter, GroupChange, Hub, Message, Server, Session};

const HELP: &str = "/join ROOM, /leave ROOM, /who, /help; anything else is said in all your rooms";

/// The longest name of a room, in characters.
const MAX_NAME: usize = 32;

fn on_message(session: &Session, message: Message<'_>) {
    let response = match message.to_text() {
        Ok(line) => obey(session, line.trim()),
        Err(_) => Some("send UTF-8".into()),
    };
    if let Some(response) = response {
        // The outbox of a guest that does not read is full: the guest misses this, too.
        let _ = session.send(&response);
    }
}

/// Does what a line says; returns what its author is to see.
fn obey(session: &Session, line: &str) -> Option<String> {
    let (command, room) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let room = room.trim();
    match command {
        "" => None,
        "/help" => Some(HELP.into()),
        "/who" => Some(who(session)),
        "/join" | "/leave" if room.is_empty() || room.chars().count() > MAX_NAME => {
            Some(format!("usage: {command} ROOM, of 1 to {MAX_NAME} characters"))
        }
        "/join" => Some(match session.join(room) {
            Ok(true) => format!("you joined [{room}]"),
            Ok(false) => format!("you are in [{room}] already"),
            Err(error) => format!("you did not join [{room}]: {error}"),
        }),
        "/leave" if session.leave(room) => Some(format!("you left [{room}]")),
        "/leave" => Some(format!("you are not in [{room}]")),
        _ if command.starts_with('/') => Some(format!("{command} is no command. {HELP}")),
        _ => say(session, line),
    }
}

fn say(session: &Session, line: &str) -> Option<String> {
    let rooms = session.groups();
    for room in &rooms {
        // Those who do not read miss it.
        let _ = session.others_in(room).send(&format!("[{room}] {}: {line}", session.id()));
    }
    rooms.is_empty().then(|| format!("nobody hears you. {HELP}"))
}

fn who(session: &Session) -> String {
    let rooms = session.groups().into_iter().map(|room| {
        let others = session.others_in(&room).sessions();
        let others = others.iter().map(|other| other.id().to_string()).collect::<Vec<_>>();
        format!("[{room}] you ({}), others: {}", session.id(), others.join(", "))
    });
    let rooms = rooms.collect::<Vec<_>>().join("; ");
    if rooms.is_empty() { format!("you are in no room. {HELP}") } else { rooms }
}

/// The members of a room see who joins and leaves.
fn on_group(change: &GroupChange) {
    let GroupChange { session, group, joined, members, .. } = change;
    let what = if *joined { "joined" } else { "left" };
    let news = format!("[{group}] {} {what}, {members} members", session.id());
    let _ = session.others_in(group).send(&news);
}

/// Each minute everybody hears the time, and the terminal shows who missed it.
async fn tick(hub: Hub) {
    loop {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let sent = hub.all().send("another minute has passed");
        let missed = sent.dropped + sent.full;
        let (sessions, rooms) = (hub.count(), hub.groups().len());
        println!("{sessions} sessions in {rooms} rooms; {missed} missed the time");
    }
}

fn main() -> ExitCode {
    sample::run("Rooms on plain TCP, one line a message.", "127.0.0.1:8080", |address| {
        tokio::runtime::Runtime::new()?.block_on(async {
            let server = Server::bind(address).framed(Delimiter::lines());
            let server = server.on_connected(|session| session.send(HELP));
            let running = server.on_message(on_message).on_group(on_group).start().await?;
            println!("speak lines to {}", running.address());
            let ticker = tokio::spawn(tick(running.hub()));
            sample::terminated().await;
            ticker.abort();
            Ok::<_, std::io::Error>(running.shutdown(sample::drain()).await)
        })
    })
}
