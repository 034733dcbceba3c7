//! The head of an HTTP message: found resumably, bounded, parsed once.
//!
//! The strict rules that a security boundary wants (RFC 9112): lines end with CR LF
//! and nothing else, no control characters, no folded lines, a start line of the right form.
//! The first byte that breaks one ends the search, so that a TLS hello on a plain port, or the
//! greeting of another protocol, is answered at once and not when a deadline passes.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use super::start_line::{Fault, Kind, StartLine};
use super::token;
use crate::connection::assembly::append;

/// How many empty lines before a start line are forgiven (RFC 9112 section 2.2).
pub(crate) const MAX_EMPTY_LINES: u8 = 4;

/// How much of a head is read before it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HeadLimits {
    /// All of the head in bytes; 16 KiB (what Node.js allows). More is answered with 431.
    pub bytes: usize,
    /// One line in bytes; 8 KiB (what nginx allows). More is answered with 431, or 414
    /// if it is the request line.
    pub line: usize,
    /// The number of header lines; 100. More are answered with 431.
    pub headers: usize,
}

impl HeadLimits {
    /// The defaults.
    #[must_use]
    pub const fn new() -> HeadLimits {
        HeadLimits { bytes: 16 << 10, line: 8 << 10, headers: 100 }
    }
}

impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits::new()
    }
}

/// Which of the [`HeadLimits`] a head went over, and what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HeadLimit {
    /// [`HeadLimits::bytes`]: the head as a whole.
    Bytes(usize),
    /// [`HeadLimits::line`], or [`HeadLimits::bytes`] if that is less: the request or status line.
    StartLine(usize),
    /// [`HeadLimits::line`]: a header line.
    HeaderLine(usize),
    /// [`HeadLimits::headers`]: the number of header lines.
    Headers(usize),
}

impl fmt::Display for HeadLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadLimit::Bytes(bytes) => write!(f, "the http head is longer than {bytes} bytes"),
            HeadLimit::StartLine(bytes) => {
                write!(f, "the first line of the http head is longer than {bytes} bytes")
            }
            HeadLimit::HeaderLine(bytes) => {
                write!(f, "a header line is longer than {bytes} bytes")
            }
            HeadLimit::Headers(lines) => write!(f, "there are more than {lines} header lines"),
        }
    }
}

/// What is wrong with a head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeadError {
    /// It goes over a limit.
    TooLarge(HeadLimit),
    /// More empty lines stand before it than are forgiven.
    EmptyLines,
    /// A byte that may not stand in a head.
    BadByte,
    /// Its first bytes cannot be a status line.
    NotHttp,
    /// Its first byte is one of TLS.
    Tls,
    /// It is not the head of an HTTP message of the kind expected.
    Malformed,
    /// Another version than HTTP/1.0 and HTTP/1.1.
    Version,
}

/// All bytes of a head, and how many header lines they are.
pub(crate) type RawHead = (Box<[u8]>, usize);

/// Collects a head from pieces. Each byte is looked at once.
#[derive(Debug)]
pub(crate) struct HeadReader {
    limits: HeadLimits,
    kind: Kind,
    bytes: Vec<u8>,
    /// Empty lines before the start line.
    empty: u8,
    start: StartLine,
    /// Length of the line under way, without its end.
    line: usize,
    /// Complete lines, the start line included.
    lines: usize,
    /// The last byte was a CR.
    after_cr: bool,
}

impl HeadReader {
    pub(crate) fn of_request(limits: HeadLimits) -> HeadReader {
        HeadReader::new(limits, Kind::Request)
    }

    pub(crate) fn of_response(limits: HeadLimits) -> HeadReader {
        HeadReader::new(limits, Kind::Status)
    }

    fn new(limits: HeadLimits, kind: Kind) -> HeadReader {
        HeadReader {
            limits,
            kind,
            bytes: Vec::new(),
            empty: 0,
            start: StartLine::default(),
            line: 0,
            lines: 0,
            after_cr: false,
        }
    }

    /// Takes bytes up to the end of the head and leaves the rest in `input`; `None` if the
    /// head goes on.
    pub(crate) fn receive(&mut self, input: &mut &[u8]) -> Option<Result<RawHead, HeadError>> {
        for (at, &byte) in input.iter().enumerate() {
            if self.bytes.len() + at >= self.limits.bytes {
                return Some(Err(self.too_large(HeadLimit::Bytes(self.limits.bytes))));
            }
            match self.step(byte) {
                Ok(false) => {}
                Ok(true) => {
                    append(&mut self.bytes, &input[..=at]);
                    *input = &input[at + 1..];
                    let head = core::mem::take(&mut self.bytes).into_boxed_slice();
                    let headers = core::mem::take(&mut self.lines) - 1;
                    (self.empty, self.start) = (0, StartLine::default());
                    return Some(Ok((head, headers)));
                }
                Err(error) => return Some(Err(error)),
            }
        }
        append(&mut self.bytes, input);
        *input = &[];
        None
    }

    /// True once a byte of a head has arrived.
    pub(crate) fn has_started(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Looks at one byte; true if it ends the head.
    fn step(&mut self, byte: u8) -> Result<bool, HeadError> {
        match (self.after_cr, byte) {
            (true, b'\n') => {
                self.after_cr = false;
                self.end_line()
            }
            (true, _) | (false, b'\n') => Err(self.bad(byte)),
            (false, b'\r') => {
                self.after_cr = true;
                Ok(false)
            }
            (false, _) if !token::is_field_value(&[byte]) => Err(self.bad(byte)),
            (false, _) => {
                self.line += 1;
                if self.line > self.limits.line {
                    return Err(self.too_large(HeadLimit::HeaderLine(self.limits.line)));
                }
                if self.lines == 0 {
                    self.start.next(self.kind, byte).map_err(|Fault| self.not_started())?;
                }
                Ok(false)
            }
        }
    }

    fn end_line(&mut self) -> Result<bool, HeadError> {
        let empty = core::mem::take(&mut self.line) == 0;
        match (empty, self.lines) {
            (true, 0) => {
                self.empty += 1;
                if self.empty > MAX_EMPTY_LINES { Err(HeadError::EmptyLines) } else { Ok(false) }
            }
            (true, _) => Ok(true),
            (false, _) => {
                if self.lines == 0 {
                    self.start.end(self.kind).map_err(|Fault| self.not_started())?;
                }
                self.lines += 1;
                if self.lines > self.limits.headers + 1 {
                    return Err(HeadError::TooLarge(HeadLimit::Headers(self.limits.headers)));
                }
                Ok(false)
            }
        }
    }

    fn too_large(&self, limit: HeadLimit) -> HeadError {
        HeadError::TooLarge(match self.lines {
            0 => HeadLimit::StartLine(self.limits.line.min(self.limits.bytes)),
            _ => limit,
        })
    }

    /// A byte that stands in no head. As the first of an answer it may be that of an alert or a
    /// handshake record, which is how TLS answers what it does not understand.
    fn bad(&self, byte: u8) -> HeadError {
        match (self.kind, self.lines, self.line) {
            (Kind::Status, 0, 0) if matches!(byte, 0x15 | 0x16) => HeadError::Tls,
            (Kind::Status, 0, 0) if !self.after_cr => HeadError::NotHttp,
            _ => HeadError::BadByte,
        }
    }

    fn not_started(&self) -> HeadError {
        match self.kind {
            Kind::Request => HeadError::Malformed,
            Kind::Status => HeadError::NotHttp,
        }
    }
}

/// The header lines of a request or response. Names compare without case.
#[derive(Clone)]
pub struct Headers {
    head: Box<[u8]>,
    lines: Box<[Line]>,
}

impl Headers {
    /// Every line in order: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|(name, value)| (self.str(name), self.slice(value)))
    }

    /// The value of the first line with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The value of the first line with this name, if it is UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The values of all lines with this name.
    pub fn all<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// The value of the only line with this name; an error if there are several.
    pub(crate) fn only<'h>(&'h self, name: &str) -> Result<Option<&'h [u8]>, HeadError> {
        let mut all = self.all(name);
        let first = all.next();
        if all.next().is_some() { Err(HeadError::Malformed) } else { Ok(first) }
    }

    /// True if the lists in all lines with this name together contain `token`.
    pub(crate) fn list_contains(&self, name: &str, token: &str) -> bool {
        self.all(name).any(|value| token::list_contains(value, token))
    }

    /// What the `Content-Length` says; `None` without one. Several of the same number, in a list
    /// or on lines of their own, are that number (RFC 9110 section 8.6), and digits that are no
    /// number are a very large one. Anything else is an error.
    pub(crate) fn content_length(&self) -> Result<Option<u64>, HeadError> {
        let mut length = None;
        for element in self.all("Content-Length").flat_map(|value| value.split(|&b| b == b',')) {
            let element = token::trim(element);
            if element.is_empty() || !element.iter().all(u8::is_ascii_digit) {
                return Err(HeadError::Malformed);
            }
            let digits = core::str::from_utf8(element).unwrap_or_default();
            let found = digits.parse().unwrap_or(u64::MAX);
            if *length.get_or_insert(found) != found {
                return Err(HeadError::Malformed);
            }
        }
        Ok(length)
    }

    /// Puts another value in the place of that of every line with this name.
    pub(crate) fn set_all(&mut self, name: &str, value: &Range<u32>) {
        let head = &self.head;
        for (found, old) in &mut self.lines {
            let found = &head[found.start as usize..found.end as usize];
            if found.eq_ignore_ascii_case(name.as_bytes()) {
                *old = value.clone();
            }
        }
    }

    pub(crate) fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.head[range.start as usize..range.end as usize]
    }

    /// A part that was checked to be ASCII.
    pub(crate) fn str(&self, range: &Range<u32>) -> &str {
        core::str::from_utf8(self.slice(range)).unwrap_or_default()
    }
}

impl fmt::Debug for Headers {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

/// A parsed request head.
pub(crate) struct RequestHead {
    pub(crate) method: Range<u32>,
    pub(crate) target: Range<u32>,
    /// 0 or 1: the digit behind `HTTP/1.`.
    pub(crate) minor: u8,
    pub(crate) headers: Headers,
}

/// A parsed response head.
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) minor: u8,
    pub(crate) headers: Headers,
}

/// Parses a whole request head with `count` header lines.
pub(crate) fn parse_request(head: Box<[u8]>, count: usize) -> Result<RequestHead, HeadError> {
    let mut slots = vec![httparse::EMPTY_HEADER; count];
    let mut request = httparse::Request::new(&mut slots);
    complete(request.parse(&head))?;
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(HeadError::Malformed);
    };
    let (method, target) = (range_in(&head, method.as_bytes()), range_in(&head, target.as_bytes()));
    let lines = ranges(&head, request.headers);
    Ok(RequestHead { method, target, minor, headers: Headers { head, lines } })
}

/// Parses a whole response head with `count` header lines.
pub(crate) fn parse_response(head: Box<[u8]>, count: usize) -> Result<ResponseHead, HeadError> {
    let mut slots = vec![httparse::EMPTY_HEADER; count];
    let mut response = httparse::Response::new(&mut slots);
    complete(response.parse(&head))?;
    let (Some(status), Some(minor)) = (response.code, response.version) else {
        return Err(HeadError::Malformed);
    };
    let lines = ranges(&head, response.headers);
    Ok(ResponseHead { status, minor, headers: Headers { head, lines } })
}

/// The start line was checked while it arrived: its version is well-formed.
fn complete(parsed: httparse::Result<usize>) -> Result<(), HeadError> {
    match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Err(httparse::Error::Version) => Err(HeadError::Version),
        Ok(httparse::Status::Partial) | Err(_) => Err(HeadError::Malformed),
    }
}

type Line = (Range<u32>, Range<u32>);

fn ranges(head: &[u8], headers: &[httparse::Header<'_>]) -> Box<[Line]> {
    let line = |header: &httparse::Header<'_>| {
        (range_in(head, header.name.as_bytes()), range_in(head, token::trim(header.value)))
    };
    headers.iter().map(line).collect()
}

/// Where `part`, a slice of `whole`, stands in it. Heads are far shorter than 4 GiB.
fn range_in(whole: &[u8], part: &[u8]) -> Range<u32> {
    let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr()) as u32;
    start..start + part.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (Option<Result<(Box<[u8]>, usize), HeadError>>, Vec<u8>);

    /// The verdict on `wire` given in pieces of `size`, and what it left.
    fn read(wire: &[u8], size: usize, limits: HeadLimits) -> Read {
        let mut reader = HeadReader::of_request(limits);
        let mut rest = wire;
        while !rest.is_empty() {
            let (mut piece, behind) = rest.split_at(size.min(rest.len()));
            let read = reader.receive(&mut piece);
            if read.is_some() {
                return (read, [piece, behind].concat());
            }
            rest = behind;
        }
        (None, Vec::new())
    }

    fn verdict(wire: &[u8], limits: HeadLimits) -> Option<Result<usize, HeadError>> {
        let at_once = read(wire, wire.len().max(1), limits);
        for size in [1, 2, 3, 7] {
            let (cut, left) = read(wire, size, limits);
            assert_eq!(cut, at_once.0, "cut into {size}");
            if matches!(cut, Some(Ok(_))) {
                assert_eq!(left, at_once.1, "cut into {size}");
            }
        }
        at_once.0.map(|read| read.map(|(_, headers)| headers))
    }

    #[test]
    fn a_head_ends_at_its_empty_line_and_the_rest_stays_in_the_input() {
        let (head, rest) = read(b"GET / HTTP/1.1\r\na: b\r\n\r\nframes", 100, HeadLimits::new());
        let (bytes, headers) = head.unwrap().unwrap();
        assert_eq!((bytes.len(), headers, &rest[..]), (24, 1, &b"frames"[..]));
    }

    #[test]
    fn only_cr_lf_ends_a_line_and_no_control_character_passes() {
        let verdict = |wire: &[u8]| verdict(wire, HeadLimits::new());
        assert_eq!(verdict(b"\r\nGET / HTTP/1.1\r\n\r\n"), Some(Ok(0)), "an empty line before");
        assert_eq!(verdict(b"GET / HTTP/1.1\r\na: \xff\tb\r\n\r\n"), Some(Ok(1)), "opaque bytes");
        for wire in [
            &b"GET / HTTP/1.1\n"[..],
            b"GET / HTTP/1.1\ra",
            b"GET /\0",
            b"a\x0b",
            b"\x16\x03\x01",
            b"\x7f",
        ] {
            assert_eq!(verdict(wire), Some(Err(HeadError::BadByte)), "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn a_few_empty_lines_before_a_head_are_forgiven_and_no_more() {
        let forgiven = usize::from(MAX_EMPTY_LINES);
        for (count, expected) in
            [(0, Ok(0)), (forgiven, Ok(0)), (forgiven + 1, Err(HeadError::EmptyLines))]
        {
            let wire = ["\r\n".repeat(count), "GET / HTTP/1.1\r\n\r\n".into()].concat();
            assert_eq!(verdict(wire.as_bytes(), HeadLimits::new()), Some(expected), "{count}");
        }
    }

    #[test]
    fn limits_hold_as_soon_as_they_are_passed_and_are_named() {
        let limits = HeadLimits { bytes: 64, line: 20, headers: 2 };
        let verdict = |wire: &[u8]| verdict(wire, limits);
        let over = |limit| Some(Err(HeadError::TooLarge(limit)));
        let get = |rest: &[u8]| [b"GET / HTTP/1.1\r\n", rest].concat();
        assert_eq!(verdict(&[b'x'; 20]), None);
        assert_eq!(verdict(&[b'x'; 21]), over(HeadLimit::StartLine(20)));
        assert_eq!(verdict(&get(b"a: 345678901234567890")), over(HeadLimit::HeaderLine(20)));
        assert_eq!(verdict(&get(b"a: 1\r\nb: 2\r\n\r\n")), Some(Ok(2)));
        assert_eq!(verdict(&get(b"a: 1\r\nb: 2\r\nc: 3\r\n")), over(HeadLimit::Headers(2)));
        // 16 bytes before, 4 behind.
        let lines = |first: usize, second: usize| {
            let line = |len| ["a: ".into(), "x".repeat(len - 5), "\r\n".into()].concat();
            get([line(first), line(second), "\r\n".into()].concat().as_bytes())
        };
        assert_eq!(verdict(&lines(22, 22)), Some(Ok(2)), "62 bytes");
        let limits = HeadLimits { bytes: 64, line: 30, headers: 2 };
        let verdict = |wire: &[u8]| self::verdict(wire, limits);
        assert_eq!(verdict(&lines(23, 23)), Some(Ok(2)), "64 bytes");
        assert_eq!(verdict(&lines(23, 24)), over(HeadLimit::Bytes(64)), "65, though it ends there");
    }

    #[test]
    fn several_lengths_are_one_if_they_are_the_same() {
        let length = |lines: &str| {
            let count = lines.matches("\r\n").count();
            let head = alloc::format!("GET / HTTP/1.1\r\n{lines}\r\n");
            let head = parse_request(head.into_bytes().into(), count).unwrap();
            head.headers.content_length().ok()
        };
        for (lines, expected) in [
            ("", Some(None)),
            ("Content-Length: 2\r\n", Some(Some(2))),
            ("Content-Length: 2, 2\r\n", Some(Some(2))),
            ("Content-Length: 2,\t2 ,2\r\n", Some(Some(2))),
            ("Content-Length: 2\r\ncontent-length: 2\r\n", Some(Some(2))),
            ("Content-Length: 002\r\n", Some(Some(2))),
            ("Content-Length: 99999999999999999999\r\n", Some(Some(u64::MAX))),
            ("Content-Length: 2, 3\r\n", None),
            ("Content-Length: 2\r\nContent-Length: 3\r\n", None),
            ("Content-Length: +2\r\n", None),
            ("Content-Length: -2\r\n", None),
            ("Content-Length: 0x2\r\n", None),
            ("Content-Length: 2 2\r\n", None),
            ("Content-Length: 2,\r\n", None),
            ("Content-Length: ,2\r\n", None),
            ("Content-Length:\r\n", None),
        ] {
            assert_eq!(length(lines), expected, "{lines}");
        }
    }

    #[test]
    fn names_compare_without_case_and_values_lose_their_blanks() {
        let head = b"GET /x HTTP/1.1\r\nHost:  a \r\nX: 1\r\nx: 2\r\n\r\n";
        let head = parse_request(head[..].into(), 3).unwrap();
        assert_eq!(head.headers.get("host"), Some(&b"a"[..]));
        assert_eq!(head.headers.get_str("HOST"), Some("a"));
        assert_eq!(head.headers.all("x").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(head.headers.only("x"), Err(HeadError::Malformed));
        assert_eq!(head.headers.str(&head.target), "/x");
    }

    #[test]
    fn folded_lines_and_blanks_around_names_are_refused() {
        for head in [
            &b"GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\n a: b\r\n\r\n",
            b"GET / HTTP/1.1\r\na : b\r\n\r\n",
            b"GET / HTTP/1.1\r\n: b\r\n\r\n",
            b"GET / HTTP/1.1\r\na(b: c\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            let count = head.windows(2).filter(|window| window == b"\r\n").count();
            let refused = parse_request(head.into(), count).err();
            assert_eq!(refused, Some(HeadError::Malformed), "{}", head.escape_ascii());
        }
    }
}
