//! The example `rooms`, command by command, as a process.
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used)]

mod processes;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use processes::Sample;

struct Guest(BufReader<TcpStream>);

impl Guest {
    fn new(sample: &Sample) -> Guest {
        let mut guest = Guest(BufReader::new(sample.connect()));
        guest.gets("/join ROOM, /leave ROOM, /who, /help");
        guest
    }

    fn sends(&mut self, line: &str) -> &mut Guest {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("written");
        self
    }

    /// The next line begins so.
    fn gets(&mut self, start: &str) -> &mut Guest {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        assert!(line.starts_with(start), "{line:?}, not {start:?}");
        self
    }
}

#[test]
fn every_command_is_acknowledged_and_the_members_of_a_room_hear_it() {
    let sample = Sample::start("rooms");
    let (mut one, mut two) = (Guest::new(&sample), Guest::new(&sample));
    one.sends("/join tea").gets("you joined [tea]");
    one.sends("/join tea").gets("you are in [tea] already");
    two.sends("/join   tea ").gets("you joined [tea]");
    one.gets("[tea] 2 joined, 2 members");
    two.sends("milk?");
    one.gets("[tea] 2: milk?");
    one.sends("/who").gets("[tea] you (1), others: 2");
    two.sends("/leave tea").gets("you left [tea]");
    one.gets("[tea] 2 left, 1 members");
    two.sends("/leave tea").gets("you are not in [tea]");
    two.sends("/who").gets("you are in no room. /join");
}

#[test]
fn what_means_nothing_is_explained_and_makes_no_room() {
    let sample = Sample::start("rooms");
    let mut guest = Guest::new(&sample);
    for line in ["/join", "/join  ", "/leave", &format!("/join {}", "x".repeat(33))] {
        guest.sends(line).gets("usage: /");
    }
    guest.sends("/dance").gets("/dance is no command. /join");
    guest.sends("hello").gets("nobody hears you. /join");
    guest.sends("").sends("/help").gets("/join ROOM");
    guest.sends("/who").gets("you are in no room. /join");
}
