//! The machine that asks for a tunnel, whatever the proxy speaks.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::connect::{self, Connect};
use super::socks5::{self, Socks5};
use super::{Kind, Proxy, ProxyError};
use crate::client::uri::is_name;

/// The most bytes of a name that is asked for: what a length of SOCKS5 can say.
const MAX_NAME: usize = 255;

/// Asks a proxy for a tunnel. What stands behind the proxy's last byte in the input stays
/// there: those bytes are the server's.
#[derive(Debug)]
pub(crate) struct Tunnel(State);

#[derive(Debug)]
enum State {
    Connect(Connect),
    Socks5(Socks5),
    Over(Result<(), ProxyError>),
}

/// What a tunnel wants.
#[derive(PartialEq, Eq)]
pub(crate) enum Progress {
    /// More input; all there was is taken.
    More,
    /// These bytes sent; then it goes on, with the rest of the input if there is some.
    Send(Bytes),
    /// Nothing more: it is open.
    Open,
}

impl Tunnel {
    /// A tunnel through `proxy` to a host, by name or by address without brackets, and a
    /// port; and what is to be sent first.
    ///
    /// # Errors
    /// [`ProxyError::Target`] if the host cannot be asked for.
    pub(crate) fn new(proxy: &Proxy, host: &str, port: u16) -> Result<(Tunnel, Bytes), ProxyError> {
        let target = Endpoint::parse(host, port).ok_or(ProxyError::Target)?;
        let credentials = proxy.credentials.as_ref();
        let (state, first) = match proxy.kind {
            Kind::Http => (State::Connect(Connect::new()), connect::request(&target, credentials)),
            Kind::Socks5 => {
                (State::Socks5(Socks5::new(&target, credentials)), socks5::greeting(credentials))
            }
        };
        Ok((Tunnel(state), first))
    }

    /// Takes bytes from `input`, none behind the last one of the proxy.
    ///
    /// # Errors
    /// Says why there is no tunnel, from then on always.
    pub(crate) fn receive(&mut self, input: &mut &[u8]) -> Result<Progress, ProxyError> {
        let progress = match &mut self.0 {
            State::Connect(connect) => connect.receive(input),
            State::Socks5(socks5) => socks5.receive(input),
            State::Over(end) => return end.map(|()| Progress::Open),
        };
        match progress {
            Ok(Progress::Open) => self.0 = State::Over(Ok(())),
            Err(error) => self.0 = State::Over(Err(error)),
            Ok(Progress::More | Progress::Send(_)) => {}
        }
        progress
    }

    /// The stream ended before the tunnel was open: what that means.
    pub(crate) const fn end_of_stream(&self) -> ProxyError {
        match self.0 {
            State::Over(Err(error)) => error,
            _ => ProxyError::EndOfStream,
        }
    }
}

impl fmt::Debug for Progress {
    /// Without what is to be sent: it may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Progress::More => f.write_str("More"),
            Progress::Send(bytes) => write!(f, "Send({} bytes)", bytes.len()),
            Progress::Open => f.write_str("Open"),
        }
    }
}

/// What a proxy is asked for.
pub(super) struct Endpoint<'h> {
    pub(super) host: Host<'h>,
    pub(super) port: u16,
}

pub(super) enum Host<'h> {
    Address(IpAddr),
    Name(&'h str),
}

impl Endpoint<'_> {
    fn parse(host: &str, port: u16) -> Option<Endpoint<'_>> {
        let host = match host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) if is_name(host) && host.len() <= MAX_NAME => Host::Name(host),
            Err(_) => return None,
        };
        Some(Endpoint { host, port })
    }
}

impl fmt::Display for Endpoint<'_> {
    /// As an authority, the port always there (RFC 9112 section 3.2.3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Address(address) => SocketAddr::new(address, self.port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// What is sent after the first bytes, and what of the answer is left when the tunnel
    /// opens; or why it does not. It is the same in however many pieces the answer comes.
    pub(crate) fn play(
        proxy: &str,
        host: &str,
        answer: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), ProxyError> {
        let proxy = proxy.parse().unwrap();
        let whole = play_pieces(&proxy, host, &[answer]);
        let single: Vec<_> = answer.chunks(1).collect();
        assert_eq!(play_pieces(&proxy, host, &single), whole, "byte by byte");
        for second in 0..=answer.len() {
            for first in 0..=second {
                let pieces = [&answer[..first], &answer[first..second], &answer[second..]];
                let played = play_pieces(&proxy, host, &pieces);
                assert_eq!(played, whole, "cut at {first} and {second}");
            }
        }
        whole
    }

    fn play_pieces(
        proxy: &Proxy,
        host: &str,
        pieces: &[&[u8]],
    ) -> Result<(Vec<u8>, Vec<u8>), ProxyError> {
        let (mut tunnel, _) = Tunnel::new(proxy, host, 443).unwrap();
        let mut sent = Vec::new();
        for (at, mut piece) in pieces.iter().copied().enumerate() {
            loop {
                match tunnel.receive(&mut piece) {
                    Ok(Progress::More) => {
                        assert!(piece.is_empty(), "all is taken");
                        break;
                    }
                    Ok(Progress::Send(bytes)) => sent.extend_from_slice(&bytes),
                    Ok(Progress::Open) => {
                        let left = [&[piece], &pieces[at + 1..]].concat().concat();
                        let mut later = &b"x"[..];
                        assert_eq!(tunnel.receive(&mut later), Ok(Progress::Open));
                        assert_eq!(later, b"x", "nothing is taken any more");
                        return Ok((sent, left));
                    }
                    Err(error) => {
                        assert_eq!(tunnel.receive(&mut piece), Err(error), "the last word");
                        assert_eq!(tunnel.end_of_stream(), error);
                        return Err(error);
                    }
                }
            }
        }
        Err(tunnel.end_of_stream())
    }

    /// What is sent first.
    pub(crate) fn first(proxy: &str, host: &str, port: u16) -> Vec<u8> {
        Tunnel::new(&proxy.parse().unwrap(), host, port).unwrap().1.to_vec()
    }

    #[test]
    fn no_debug_output_shows_user_or_password() {
        for scheme in ["http", "socks5"] {
            let proxy: Proxy = alloc::format!("{scheme}://name:secret@p:1").parse().unwrap();
            let (mut tunnel, _) = Tunnel::new(&proxy, "h", 1).unwrap();
            let fresh = alloc::format!("{tunnel:?}");
            let progress = tunnel.receive(&mut &b"\x05\x02"[..]);
            for shown in [
                alloc::format!("{proxy:?}"),
                fresh,
                alloc::format!("{progress:?}"),
                alloc::format!("{tunnel:?}"),
            ] {
                let secrets = ["name", "secret", "115, 101, 99"];
                assert!(!secrets.iter().any(|secret| shown.contains(secret)), "{shown}");
            }
        }
    }

    #[test]
    fn no_proxy_is_asked_for_what_is_no_host() {
        let long = "x".repeat(256);
        for host in ["", "a b", "h\r\nX: y", "bücher.example", "[::1]", "h:80", &long] {
            for proxy in ["http://p", "socks5://p"] {
                let tunnel = Tunnel::new(&proxy.parse().unwrap(), host, 80);
                assert_eq!(tunnel.map(|_| ()), Err(ProxyError::Target), "{host}");
            }
        }
        let longest = &long[1..];
        assert_eq!(first("socks5://p", longest, 80), b"\x05\x01\0");
    }
}
