//! The form of a start line, checked byte by byte while it arrives (RFC 9112 sections 3 and 4).
//!
//! Who speaks another protocol mostly says so in the first bytes, and then waits.

/// Which start line is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `method SP target SP HTTP/d.d`.
    Request,
    /// `HTTP/d.d SP ddd`, and maybe a reason.
    Status,
}

/// A place in a start line.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct StartLine {
    /// Blanks so far, of a request; a third one is never right.
    blanks: u8,
    /// Bytes of the word under way, of a request; bytes so far, of a status line. More than 13
    /// are not counted.
    at: u8,
}

/// The line cannot be the start of a message any more.
pub(super) struct Fault;

/// The length of a version, `HTTP/1.1`.
const VERSION: u8 = 8;

/// The length of a status line up to its reason.
const STATUS: u8 = 12;

impl StartLine {
    /// Takes the next byte of the line.
    pub(super) fn next(&mut self, kind: Kind, byte: u8) -> Result<(), Fault> {
        let fits = match (kind, self.blanks) {
            (Kind::Status, _) => match self.at {
                0..VERSION => is_version_byte(self.at, byte),
                VERSION | STATUS => byte == b' ',
                at => at > STATUS || byte.is_ascii_digit(),
            },
            (Kind::Request, 2) => is_version_byte(self.at, byte),
            (Kind::Request, _) if byte == b' ' => {
                let has_word = self.at > 0;
                (self.blanks, self.at) = (self.blanks + 1, 0);
                return if has_word { Ok(()) } else { Err(Fault) };
            }
            (Kind::Request, _) => true,
        };
        self.at = (self.at + 1).min(STATUS + 1);
        if fits { Ok(()) } else { Err(Fault) }
    }

    /// The line ends here.
    pub(super) fn end(&self, kind: Kind) -> Result<(), Fault> {
        let is_whole = match kind {
            Kind::Request => self.blanks == 2 && self.at == VERSION,
            Kind::Status => self.at >= STATUS,
        };
        if is_whole { Ok(()) } else { Err(Fault) }
    }
}

/// True if a version can have `byte` at this place (RFC 9112 section 2.3).
fn is_version_byte(at: u8, byte: u8) -> bool {
    match (at, b"HTTP/".get(usize::from(at))) {
        (_, Some(&expected)) => byte == expected,
        (5 | 7, None) => byte.is_ascii_digit(),
        (6, None) => byte == b'.',
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes of a line fit, and if it may end there.
    fn fits(kind: Kind, line: &str) -> (usize, bool) {
        let mut start = StartLine::default();
        let fit = line.bytes().take_while(|&byte| start.next(kind, byte).is_ok()).count();
        (fit, start.end(kind).is_ok())
    }

    #[test]
    fn a_request_line_is_three_words_and_the_last_one_a_version() {
        for line in ["GET / HTTP/1.1", "PRI * HTTP/2.0", "x y HTTP/9.9"] {
            assert_eq!(fits(Kind::Request, line), (line.len(), true), "{line}");
        }
        for (line, fit) in
            [("GET /", 5), ("GET / ", 6), ("GET / HTTP/1.", 13), ("SSH-2.0-OpenSSH_9.6", 19)]
        {
            assert_eq!(fits(Kind::Request, line), (fit, false), "{line}: not yet");
        }
        for (line, fit) in [
            (" GET / HTTP/1.1", 0),
            ("GET  / HTTP/1.1", 4),
            ("GET / http/1.1", 6),
            ("GET /a b HTTP/1.1", 7),
            ("GET / HTTP/11", 12),
            ("GET / HTTP/1.10", 14),
            ("GET / HTTP/1.1 ", 14),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2", 11),
        ] {
            assert_eq!(fits(Kind::Request, line).0, fit, "{line}");
        }
    }

    #[test]
    fn a_status_line_is_a_version_and_three_digits() {
        for line in ["HTTP/1.1 101 Switching Protocols", "HTTP/1.0 200 ", "HTTP/2.0 999"] {
            assert_eq!(fits(Kind::Status, line), (line.len(), true), "{line}");
        }
        for (line, fit) in [
            ("SSH-2.0-OpenSSH_9.6", 0),
            ("<!DOCTYPE html>", 0),
            ("220 mail.example ESMTP", 0),
            ("HTTQ/1.1 200", 3),
            ("http/1.1 200", 0),
            ("HTTP/2 200", 6),
            ("HTTP/1.1  200", 9),
            ("HTTP/1.1 20O", 11),
            ("HTTP/1.1 2000", 12),
            ("HTTP/1.1\t200", 8),
        ] {
            assert_eq!(fits(Kind::Status, line).0, fit, "{line}");
        }
    }
}
