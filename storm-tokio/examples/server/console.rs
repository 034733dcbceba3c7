//! What the administrator types.

use storm_tokio::Session;

use crate::hall::{Hall, tell};
use crate::protocol::{Info, News};

pub(crate) const HELP: &str =
    "/sessions  /kick <id>  /broadcast <text>  /rooms  /info <id>  /metrics  /stop";

/// What is to be printed; `None` to stop.
pub(crate) fn obey(hall: &Hall, line: &str) -> Option<String> {
    let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let rest = rest.trim();
    Some(match command.to_lowercase().as_str() {
        "" => String::new(),
        "/sessions" => sessions(hall),
        "/kick" => with_session(hall, rest, "/kick <id>", |session| {
            tell(session, &News::System { message: "Kicked by admin." });
            session.close();
            format!("#{} kicked.", session.id())
        }),
        "/broadcast" if rest.is_empty() => "Usage: /broadcast <text>".into(),
        "/broadcast" => format!("Sent to {}.", hall.announce(&format!("[ADMIN] {rest}"))),
        "/rooms" => {
            let rooms =
                hall.rooms().into_iter().map(|room| format!("{}: {}", room.room, room.members));
            rooms.collect::<Vec<_>>().join("\n")
        }
        "/info" => with_session(hall, rest, "/info <id>", |session| row(&hall.info(session))),
        "/metrics" => hall.metrics(),
        "/stop" => return None,
        _ => HELP.into(),
    })
}

fn sessions(hall: &Hall) -> String {
    let sessions = hall.hub.sessions();
    let rows = sessions.iter().map(|session| row(&hall.info(session)));
    let head = format!("{} online", sessions.len());
    core::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}

fn row(info: &Info) -> String {
    let Info { user, state, bytes_sent, bytes_received } = info;
    let groups = user.groups.join(",");
    format!(
        "#{:<5} {:<16} {state:<8} {}  [{groups}]  {bytes_sent} sent, {bytes_received} received",
        user.id, user.name, user.uptime
    )
}

fn with_session(hall: &Hall, id: &str, usage: &str, then: impl Fn(&Session) -> String) -> String {
    let Ok(id) = id.parse() else { return format!("Usage: {usage}") };
    hall.hub.session(id).map_or_else(|| format!("#{id} not found."), |session| then(&session))
}
