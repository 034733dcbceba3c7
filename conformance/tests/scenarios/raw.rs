//! The other end: a plain blocking socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::harness::PATIENCE;
use super::secured::Stream;

/// A peer that speaks bytes.
pub(crate) struct Raw {
    stream: Stream,
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Raw {
        let socket = TcpStream::connect(address).expect("a connection");
        Raw { stream: Stream::client(patient(socket)) }
    }

    pub(crate) fn accept(listener: &TcpListener) -> Raw {
        let (socket, _) = listener.accept().expect("a connection");
        Raw { stream: Stream::server(patient(socket)) }
    }

    /// Accepts, and says nothing, not even what TLS would.
    pub(crate) fn accept_silently(listener: &TcpListener) -> Raw {
        let (socket, _) = listener.accept().expect("a connection");
        Raw { stream: Stream::plain(patient(socket)) }
    }

    /// A WebSocket whose opening handshake is done.
    pub(crate) fn websocket(address: SocketAddr) -> Raw {
        let mut raw = Raw::connect(address);
        raw.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        raw
    }

    /// Takes a client's request and accepts it.
    pub(crate) fn serve_websocket(&mut self) -> String {
        use storm_proto::websocket::handshake::{Accept, ServerHandshake};
        let head = self.head();
        let mut handshake = ServerHandshake::new(Default::default());
        let request = handshake.receive(&mut head.as_bytes()).unwrap().unwrap();
        self.send(&request.accept(&Accept::new()).unwrap());
        head
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the peer takes bytes");
    }

    /// Sends a client's frame.
    pub(crate) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(&frame(first, 0x80, payload));
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

    /// Reads a frame: its first byte and its payload, unmasked.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let start = self.exactly(2);
        let len = match start[1] & 0x7F {
            126 => u64::from(u16::from_be_bytes(self.exactly(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.exactly(8).try_into().unwrap()),
            len => len.into(),
        };
        let key = if start[1] & 0x80 != 0 { self.exactly(4) } else { vec![0; 4] };
        let mut payload = self.exactly(len as usize);
        payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= key[at % 4]);
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
        Raw { stream: self.stream.try_clone() }
    }
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
