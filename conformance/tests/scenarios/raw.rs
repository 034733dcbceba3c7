//! The other end: a plain blocking socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::harness::PATIENCE;
use storm_proto::Message;
use storm_proto::websocket::Deflate;
use storm_proto::websocket::handshake::{Accept, Request, ServerHandshake};

use super::compressed::{Compressed, RSV1};
use super::ports::spoken_at;
use super::secured::Stream;

/// Offers to compress in all terms; a server without settings does not care.
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
      Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// A peer that speaks bytes.
pub(crate) struct Raw {
    stream: Stream,
    /// What a WebSocket at this port is to agree on.
    deflate: Option<Deflate>,
    /// Once it has.
    compressed: Option<Compressed>,
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Raw {
        let socket = TcpStream::connect(address).expect("a connection");
        Raw::new(Stream::client(patient(socket)), address.port())
    }

    pub(crate) fn accept(listener: &TcpListener) -> Raw {
        let (socket, address) = accepted(listener);
        Raw::new(Stream::server(socket), address.port())
    }

    /// Accepts, and says nothing, not even what TLS would.
    pub(crate) fn accept_silently(listener: &TcpListener) -> Raw {
        let (socket, address) = accepted(listener);
        Raw::new(Stream::plain(socket), address.port())
    }

    fn new(stream: Stream, port: u16) -> Raw {
        Raw { stream, deflate: spoken_at(port).deflate, compressed: None }
    }

    /// A WebSocket whose opening handshake is done.
    pub(crate) fn websocket(address: SocketAddr) -> Raw {
        let mut raw = Raw::connect(address);
        raw.send(REQUEST);
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert_eq!(head.contains("permessage-deflate"), raw.deflate.is_some(), "{head}");
        raw.compressed = Compressed::client(&request(REQUEST), raw.deflate);
        raw
    }

    /// Takes a client's request and accepts it.
    pub(crate) fn serve_websocket(&mut self) -> String {
        let head = self.head();
        let request = request(head.as_bytes());
        let accept = match self.deflate {
            Some(deflate) => Accept::new().deflate(deflate),
            None => Accept::new(),
        };
        self.send(&request.accept(&accept).unwrap());
        self.compressed = Compressed::server(&request, self.deflate);
        assert_eq!(self.compressed.is_some(), self.deflate.is_some(), "{head}");
        head
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the peer takes bytes");
    }

    /// Sends a client's frame; a whole message may come compressed.
    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let message = match first {
            0x81 => str::from_utf8(payload).ok().map(Message::text),
            0x82 => Some(Message::binary(payload)),
            _ => None,
        };
        let frame = match (&self.compressed, message) {
            (Some(compressed), Some(message)) => compressed.frame(message),
            _ => frame(first, 0x80, payload),
        };
        self.send(&frame);
    }

    /// Reads up to the end of an HTTP head.
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.exactly(1)[0]);
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) fn exactly(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// Reads a frame: its first byte and its payload, unmasked and inflated.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let (first, payload) = self.frame_as_it_is();
        (first & !RSV1, payload)
    }

    /// As [`Raw::frame`]; the first byte says if it came compressed.
    pub(crate) fn frame_as_it_is(&mut self) -> (u8, Vec<u8>) {
        let start = self.exactly(2);
        let wide = self.exactly(match start[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        });
        let len = match &wide[..] {
            [] => usize::from(start[1] & 0x7F),
            wide => wide.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
        };
        let key = self.exactly(if start[1] & 0x80 != 0 { 4 } else { 0 });
        let mut payload = self.exactly(len);
        if start[0] & RSV1 != 0 {
            let compressed = self.compressed.as_ref().expect("nobody agreed on compression");
            return (start[0], compressed.inflate([start, wide, key, payload].concat()));
        }
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        (start[0], payload)
    }

    /// Everything up to the end of the stream, which must be an orderly one.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the stream ends in order");
        rest
    }

    /// Waits for the peer's reset.
    pub(crate) fn is_reset(&mut self) -> bool {
        let mut byte = [0];
        loop {
            match self.stream.socket.read(&mut byte) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    /// Ends this direction.
    pub(crate) fn end(&mut self) {
        self.stream.close();
        self.stream.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn try_clone(&self) -> Raw {
        let compressed = self.compressed.clone();
        Raw { stream: self.stream.try_clone(), deflate: self.deflate, compressed }
    }
}

fn request(head: &[u8]) -> Request {
    ServerHandshake::new(Default::default()).receive(&mut &head[..]).unwrap().unwrap()
}

fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (socket, _) = listener.accept().expect("a connection");
    (patient(socket), listener.local_addr().unwrap())
}

fn patient(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A frame with the mask key 0, or without a mask.
pub(crate) fn frame(first: u8, mask: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(mask | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(mask | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(mask | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    if mask != 0 {
        frame.extend([0; 4]);
    }
    frame.extend(payload);
    frame
}
