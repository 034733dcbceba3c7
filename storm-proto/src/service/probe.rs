//! What is spoken at an address where a handshake ended without an answer.
//!
//! Most servers of TLS close without a word when they are sent plain HTTP, and some that speak
//! plain do so when they are sent TLS. A server that restarts does the same, so that end alone
//! says nothing, and a client that reconnects would try for ever. The address is asked once
//! more, in the other way: with a `ClientHello`, or with a request that says nothing of the
//! first one.

use core::future::poll_fn;
use core::time::Duration;
use std::io::{self, IoSlice};
use std::vec::Vec;

use super::options::SocketOptions;
use super::runtime::{Address, Runtime, Transport};

/// How long the answer to a probe is waited for: long enough for a server across the world.
pub(crate) const PROBE_WAIT: Duration = Duration::from_secs(1);

/// A `ClientHello` of TLS 1.2 (RFC 5246 section 7.4.1.2) with nothing in it that is random or says
/// who asks. It offers what most servers take, since some send no alert when they refuse.
const HELLO: [&[u8]; 5] = [
    // A record, and in it the message, with their lengths.
    &[22, 3, 1, 0, HELLO_LEN + 4, 1, 0, 0, HELLO_LEN],
    // The version, a random that is not, no session.
    &[3, 3],
    &[0; 33],
    // Suites of ECDHE with AES and ChaCha20, and of RSA; no compression.
    &[
        0, 16, 0xC0, 0x2B, 0xC0, 0x2F, 0xC0, 0x2C, 0xC0, 0x30, 0xCC, 0xA9, 0xCC, 0xA8, 0, 0x9C, 0,
        0x2F, 1, 0,
    ],
    // Groups, point formats, signatures.
    &[
        0, 34, 0, 10, 0, 6, 0, 4, 0, 23, 0, 29, 0, 11, 0, 2, 1, 0, 0, 13, 0, 14, 0, 12, 4, 3, 8, 4,
        4, 1, 5, 3, 8, 5, 5, 1,
    ],
];

/// The length of the message behind its header: the last four parts.
const HELLO_LEN: u8 = 91;

/// What a probe asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Probe {
    /// A record of TLS.
    Tls,
    /// A status line in plain.
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    Http,
}

impl Probe {
    fn question(self, authority: &str) -> Vec<u8> {
        match self {
            Probe::Tls => HELLO.concat(),
            Probe::Http => {
                let head = "GET / HTTP/1.1\r\nHost: ";
                [head, authority, "\r\nConnection: close\r\n\r\n"].concat().into_bytes()
            }
        }
    }

    fn is_answered_by(self, answer: &[u8]) -> bool {
        match self {
            // An alert or a handshake record, of any version (RFC 8446 section 5.1).
            Probe::Tls => matches!(answer, [21 | 22, 3, ..]),
            Probe::Http => answer.starts_with(b"HTTP/"),
        }
    }

    /// True if the server at `address` speaks that.
    pub(super) async fn ask<R: Runtime>(
        self,
        runtime: &R,
        address: Address,
        socket: &SocketOptions,
        authority: &str,
    ) -> bool {
        match runtime.dial(address, socket.clone()).await {
            Ok((transport, _)) => match exchange(transport, &self.question(authority)).await {
                Ok((answer, len)) => self.is_answered_by(&answer[..len]),
                Err(_) => false,
            },
            Err(_) => false,
        }
    }
}

/// Sends a question and takes the first bytes of the answer.
async fn exchange<T: Transport>(
    mut transport: T,
    mut question: &[u8],
) -> io::Result<([u8; 5], usize)> {
    while !question.is_empty() {
        let chunk = [IoSlice::new(question)];
        let written = poll_fn(|cx| transport.poll_write(cx, &chunk)).await?;
        question = &question[written..];
    }
    let (mut answer, mut len) = ([0; 5], 0);
    while len < answer.len() {
        match poll_fn(|cx| transport.poll_read(cx, &mut answer[len..])).await? {
            0 => break,
            read => len += read,
        }
    }
    Ok((answer, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lengths_of_the_hello_are_those_of_its_parts() {
        let hello = Probe::Tls.question("h");
        assert_eq!(hello.len(), usize::from(HELLO_LEN) + 9);
        let parts = HELLO.map(<[u8]>::len);
        assert_eq!((parts[3], parts[4]), (2 + 16 + 2, 2 + 34));
    }

    #[test]
    fn an_answer_is_known_by_its_first_bytes() {
        for (answer, tls, http) in [
            (&b"\x16\x03\x03\0\x7a"[..], true, false),
            (b"\x15\x03\x01\0\x02", true, false),
            (b"HTTP/", false, true),
            (b"HTTP", false, false),
            (b"SSH-2", false, false),
            (b"\x16", false, false),
            (b"", false, false),
        ] {
            assert_eq!(Probe::Tls.is_answered_by(answer), tls);
            assert_eq!(Probe::Http.is_answered_by(answer), http);
        }
    }
}
