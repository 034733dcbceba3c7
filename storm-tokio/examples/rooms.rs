//! Rooms: `/join tea`, `/leave tea`, `/who`; anything else is said in all rooms of the speaker.
//!
//!     cargo run --release -p storm-tokio --example rooms [address]
//!     nc 127.0.0.1 8080

use std::time::Duration;

use storm_tokio::{Delimiter, GroupChange, Message, Server, Session};

fn on_message(session: &Session, message: Message<'_>) {
    let Ok(line) = message.to_text() else { return };
    let answer = match line.split_once(' ').unwrap_or((line, "")) {
        ("/join", room) => session.join(room).err().map(|error| error.to_string()),
        ("/leave", room) => (!session.leave(room)).then(|| "you are not there".into()),
        ("/who", _) => Some(who(session)),
        _ => {
            for room in session.groups() {
                session.others_in(&room).send(&format!("[{room}] {}: {line}", session.id()));
            }
            None
        }
    };
    if let Some(answer) = answer {
        let _ = session.send(&answer);
    }
}

fn who(session: &Session) -> String {
    let who = |room: &str| session.others_in(room).sessions().iter().map(Session::id).collect();
    let rooms = session.groups().into_iter().map(|room| {
        let others: Vec<u64> = who(&room);
        format!("[{room}] you and {others:?}")
    });
    rooms.collect::<Vec<_>>().join(" ")
}

/// Those who are there are told who comes and goes.
fn on_group(change: &GroupChange) {
    let GroupChange { session, group, joined, members, .. } = change;
    let what = if *joined { "joins" } else { "leaves" };
    let news = format!("[{group}] {} {what}, {members} are here", session.id());
    session.others_in(group).send(&news);
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = Server::bind(address).framed(Delimiter::lines());
    let running = server.on_message(on_message).on_group(on_group).start().await?;
    println!("speak lines to {}", running.address());
    loop {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let (hub, text) = (running.hub(), "another minute has passed");
        println!("{} in {} rooms: {:?}", hub.count(), hub.groups().len(), hub.all().send(text));
    }
}
