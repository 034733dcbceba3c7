//! As much of RFC 6455 as a load generator needs: the opening handshake, client frames made ahead
//! of time, and a reader of the headers of server frames.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Result;

const BINARY: u8 = 0x2;
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The one mask of every frame. A real client must draw an unpredictable one per frame, to protect
/// proxies from content that an attacker chose. Here there is neither, the server's work is the
/// same, and frames can be made once.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Key and answer are the example of RFC 6455 section 1.3. A fixed key spares the generator SHA-1.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Opens a WebSocket on a connected, blocking stream.
pub fn handshake(stream: &mut TcpStream) -> Result<()> {
    let host = stream.peer_addr()?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.ends_with(b"\r\n\r\n") {
        let received = stream.read(&mut buffer)?;
        head.extend_from_slice(&buffer[..received]);
        // Nothing may follow the head yet: these servers only ever answer.
        if received == 0 || head.len() > 16 << 10 {
            return Err(format!("not an HTTP head: {:?}", String::from_utf8_lossy(&head)).into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let accepted = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == ACCEPT
        })
    });
    if head.starts_with("HTTP/1.1 101 ") && accepted {
        return Ok(());
    }
    Err(format!("the handshake was refused: {head:?}").into())
}

/// Appends `payload` as one masked binary frame.
pub fn push_client_frame(payload: &[u8], out: &mut Vec<u8>) {
    push_header(payload.len(), MASKED, out);
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Appends `payload` as the one frame, of least length, that a server answers with.
pub fn push_server_frame(payload: &[u8], out: &mut Vec<u8>) {
    push_header(payload.len(), 0, out);
    out.extend_from_slice(payload);
}

fn push_header(len: usize, masked: u8, out: &mut Vec<u8>) {
    out.push(FIN | BINARY);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ ..126), _) => out.push(masked | len),
        (_, Ok(len)) => {
            out.push(masked | 126);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// A server frame whose header has been read.
#[derive(Clone, Copy)]
pub struct Frame {
    /// Payload bytes still to come.
    pub remaining: usize,
    /// The message ends with this frame.
    pub last: bool,
    /// Ping or pong: skipped. Pings stay unanswered, since a turn is shorter than a heartbeat.
    pub control: bool,
}

/// Collects the bytes of one frame header after another.
#[derive(Default)]
pub struct HeaderReader {
    bytes: [u8; 10],
    have: usize,
    /// A fragment came and the message's last one has not yet.
    in_message: bool,
}

impl HeaderReader {
    /// Whether the next byte starts a new message (or a control frame before one).
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && !self.in_message
    }

    /// Takes one byte; answers with the frame when that byte ends a header.
    pub fn push(&mut self, byte: u8) -> Result<Option<Frame>> {
        self.bytes[self.have] = byte;
        self.have += 1;
        let extended = match self.bytes[1] & 0x7f {
            _ if self.have < 2 => return Ok(None),
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.have < 2 + extended {
            return Ok(None);
        }
        self.have = 0;
        let [first, second, ..] = self.bytes;
        if first & 0x70 != 0 || second & MASKED != 0 {
            return Err(format!(
                "reserved or mask bits in a server frame: {first:#04x} {second:#04x}"
            )
            .into());
        }
        let remaining = match extended {
            0 => usize::from(second),
            _ => self.bytes[2..2 + extended]
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte)),
        };
        let last = first & FIN != 0;
        let control = match (first & 0x0f, self.in_message) {
            (0x9 | 0xa, _) => true,
            (BINARY, false) | (0x0, true) => false,
            (0x8, _) => return Err("the server sent a Close frame".into()),
            (opcode, _) => return Err(format!("unexpected opcode {opcode:#x}").into()),
        };
        if !control {
            self.in_message = !last;
        }
        Ok(Some(Frame { remaining, last, control }))
    }
}
