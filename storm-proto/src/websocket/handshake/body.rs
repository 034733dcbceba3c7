//! The body of a refusal while it arrives, as far as it is kept (RFC 9112 section 6.3).

use alloc::vec::Vec;

use super::head::ResponseHead;
use super::token;
use crate::connection::assembly::append;

/// How much of the body of a refusal is kept: enough for a message to a human.
pub(crate) const MAX_BODY: usize = 4 << 10;

/// How many bytes of chunks are read for that, with all that stands around them.
pub(crate) const MAX_CHUNKED: usize = 4 * MAX_BODY;

#[derive(Debug)]
pub(super) struct Body {
    kept: Vec<u8>,
    end: End,
}

/// Where the body ends.
#[derive(Debug)]
enum End {
    /// So many bytes on.
    After(u64),
    /// Behind the chunk of length 0.
    Chunked(Chunks),
    /// Where the stream does.
    OfStream,
}

/// A place in a chunked body (RFC 9112 section 7.1).
#[derive(Debug)]
struct Chunks {
    place: Place,
    /// Bytes so far.
    read: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the length of a chunk; how many digits it has.
    Length(u64, u8),
    /// Behind the length.
    Extension(u64),
    /// In the data; how much of it is missing.
    Data(u64),
    /// Behind the data, before the length that is next.
    DataEnd,
    /// Behind the last chunk, or where no chunk can be: nothing more is read.
    Over,
}

impl Body {
    pub(super) fn of(head: &ResponseHead) -> Body {
        let end = match head.status {
            204 | 304 => End::After(0),
            _ if head.headers.get("Transfer-Encoding").is_some() => {
                let codings = head.headers.all("Transfer-Encoding").flat_map(token::list);
                match codings.last() {
                    Some(last) if last.eq_ignore_ascii_case(b"chunked") => {
                        End::Chunked(Chunks { place: Place::Length(0, 0), read: 0 })
                    }
                    _ => End::OfStream,
                }
            }
            _ => match head.headers.content_length() {
                Ok(Some(length)) => End::After(length),
                Ok(None) => End::OfStream,
                // Nobody knows where it ends, so nothing of it is believed.
                Err(_) => End::After(0),
            },
        };
        Body { kept: Vec::new(), end }
    }

    /// Takes bytes; true once the body is whole, or as much of it is there as is kept. None may
    /// come behind that.
    pub(super) fn receive(&mut self, input: &[u8]) -> bool {
        match &mut self.end {
            End::OfStream => self.keep(input),
            End::After(missing) => {
                let len = usize::try_from(*missing).unwrap_or(usize::MAX).min(input.len());
                *missing -= len as u64;
                let is_whole = *missing == 0;
                self.keep(&input[..len]) || is_whole
            }
            End::Chunked(chunks) => {
                let room = MAX_BODY - self.kept.len();
                let data = input.iter().filter(|&&byte| chunks.is_data(byte)).take(room);
                self.kept.extend(data);
                self.kept.len() == MAX_BODY || chunks.is_over()
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> bool {
        let room = MAX_BODY - self.kept.len();
        append(&mut self.kept, &bytes[..room.min(bytes.len())]);
        self.kept.len() == MAX_BODY
    }

    pub(super) fn into_kept(self) -> Vec<u8> {
        self.kept
    }
}

impl Chunks {
    /// Takes a byte; true if it is one of the body itself. What breaks the rules ends the body:
    /// that the server refused is known already.
    fn is_data(&mut self, byte: u8) -> bool {
        if self.is_over() {
            return false;
        }
        self.read += 1;
        let (place, is_data) = match (self.place, byte) {
            (Place::Data(1), _) => (Place::DataEnd, true),
            (Place::Data(missing), _) => (Place::Data(missing - 1), true),
            (Place::DataEnd, b'\r') => (Place::DataEnd, false),
            (Place::DataEnd, b'\n') => (Place::Length(0, 0), false),
            (Place::Length(length, digits), _) => match char::from(byte).to_digit(16) {
                Some(digit) if digits < 16 => {
                    (Place::Length(length << 4 | u64::from(digit), digits + 1), false)
                }
                None if digits > 0 && b"; \t\r".contains(&byte) => {
                    (Place::Extension(length), false)
                }
                _ => (Place::Over, false),
            },
            (Place::Extension(0), b'\n') => (Place::Over, false),
            (Place::Extension(length), b'\n') => (Place::Data(length), false),
            (Place::Extension(length), _) => (Place::Extension(length), false),
            (Place::DataEnd | Place::Over, _) => (Place::Over, false),
        };
        self.place = place;
        is_data
    }

    fn is_over(&self) -> bool {
        matches!(self.place, Place::Over) || self.read >= MAX_CHUNKED
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::parse_response;
    use super::*;

    /// What is kept of a body, and if it took no more than these bytes; cut anywhere.
    fn read(headers: &str, body: &[u8]) -> (Vec<u8>, bool) {
        let count = headers.matches("\r\n").count();
        let head = alloc::format!("HTTP/1.1 403 x\r\n{headers}\r\n");
        let head = parse_response(head.into_bytes().into(), count).unwrap();
        let read_pieces = |size: usize| {
            let mut parsed = Body::of(&head);
            let mut is_whole = parsed.receive(b"");
            for piece in body.chunks(size) {
                is_whole |= parsed.receive(piece);
                if is_whole {
                    break;
                }
            }
            (parsed.into_kept(), is_whole)
        };
        let whole = read_pieces(body.len().max(1));
        for size in [1, 2, 3, 7, 100] {
            assert_eq!(read_pieces(size), whole, "cut into {size}: {headers}");
        }
        whole
    }

    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

    #[test]
    fn chunks_are_put_together_and_what_stands_around_them_is_left_out() {
        for (body, kept) in [
            ("0\r\n\r\n", ""),
            ("4\r\nnope\r\n0\r\n\r\n", "nope"),
            (
                "4\r\nno, \r\nA;x=\"y\"\r\n0123\r\n\r\n89\r\n0;last\r\nTrailer: x\r\n",
                "no, 0123\r\n\r\n89",
            ),
            ("0004\r\nnope\r\n000\r\n", "nope"),
            ("4 \r\nnope\r\n0\r\n", "nope"),
        ] {
            assert_eq!(read(CHUNKED, body.as_bytes()), (kept.into(), true), "{body}");
        }
        let listed = "Transfer-Encoding: gzip\r\nTransfer-Encoding: x, CHUNKED\r\n";
        assert_eq!(read(listed, b"1\r\nx\r\n0\r\n"), (b"x".to_vec(), true));
        let both = "Content-Length: 100\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(read(both, b"1\r\nx\r\n0\r\n"), (b"x".to_vec(), true), "chunks win");
    }

    #[test]
    fn chunks_that_are_none_end_the_body() {
        for body in ["<p>", "\r\n", "-1\r\nx", "g\r\n", "11111111111111111\r\n", ";\r\n"] {
            assert_eq!(read(CHUNKED, body.as_bytes()), (Vec::new(), true), "{body}");
        }
        assert_eq!(read(CHUNKED, b"2\r\nnope\r\n"), (b"no".to_vec(), true), "a wrong length");
        assert_eq!(read(CHUNKED, b"4\r\nno"), (b"no".to_vec(), false), "more is to come");
    }

    #[test]
    fn what_is_kept_and_what_is_read_for_it_is_bounded() {
        let endless = b"fffffff\r\n".iter().copied().chain([b'x'; 2 * MAX_BODY]);
        let (kept, is_whole) = read(CHUNKED, &endless.collect::<Vec<_>>());
        assert!(is_whole && kept.len() == MAX_BODY);
        let extensions = [b"1;", &[b'x'; 2 * MAX_CHUNKED][..]].concat();
        assert_eq!(read(CHUNKED, &extensions), (Vec::new(), true));
        let crumbs = b"1;xxxxxxxx\r\ny\r\n".repeat(MAX_BODY);
        let (kept, is_whole) = read(CHUNKED, &crumbs);
        assert!(is_whole && kept.len() < MAX_BODY);
        for headers in ["", "Content-Length: 99999999999999999999999\r\n"] {
            let (kept, is_whole) = read(headers, &[b'x'; 2 * MAX_BODY]);
            assert!(is_whole && kept.len() == MAX_BODY, "{headers}");
        }
    }

    #[test]
    fn a_length_that_is_one_is_waited_for_and_one_that_is_none_is_not() {
        assert_eq!(read("Content-Length: 2, 2\r\n", b"no"), (b"no".to_vec(), true));
        assert_eq!(read("Content-Length: 3\r\n", b"no"), (b"no".to_vec(), false));
        assert_eq!(read("Content-Length: 1\r\n", b"no"), (b"n".to_vec(), true));
        assert_eq!(read("Content-Length: +2\r\n", b"no"), (Vec::new(), true));
        assert_eq!(read("Content-Length: 2, 3\r\n", b"no"), (Vec::new(), true));
        assert_eq!(read("Transfer-Encoding: gzip\r\n", b"no"), (b"no".to_vec(), false));
        assert_eq!(read("", b"no"), (b"no".to_vec(), false), "to the end of the stream");
    }
}
