//! A tunnel by SOCKS5 (RFC 1928), with user and password if they are known (RFC 1929).
//!
//! ```text
//!   client                              proxy
//!   greeting: methods  --------------->
//!                      <---------------  method                  State::Method
//!   user, password     --------------->
//!                      <---------------  status                  State::Login
//!   request: host      --------------->
//!                      <---------------  reply: bound address    State::Reply
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use bytes::Bytes;

use super::tunnel::{Endpoint, Host, Progress};
use super::{Credentials, ProxyError};

const VERSION: u8 = 5;
/// The version of the login (RFC 1929 section 2).
const LOGIN_VERSION: u8 = 1;

const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xFF;

const CONNECT: u8 = 1;

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Why a SOCKS5 proxy did not connect (RFC 1928 section 6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SocksReply {
    /// 1: the proxy failed in some way.
    GeneralFailure,
    /// 2: its rules do not allow the connection.
    NotAllowed,
    /// 3: the network of the host cannot be reached.
    NetworkUnreachable,
    /// 4: the host cannot be reached, or its name is not known.
    HostUnreachable,
    /// 5: nobody listens at the address.
    ConnectionRefused,
    /// 6: the way is too long, or took too long.
    TtlExpired,
    /// 7: the proxy cannot connect for others.
    CommandNotSupported,
    /// 8: the proxy does not know this kind of address.
    AddressNotSupported,
    /// A code that RFC 1928 leaves open.
    Unassigned(u8),
}

impl SocksReply {
    const fn new(code: u8) -> SocksReply {
        match code {
            1 => SocksReply::GeneralFailure,
            2 => SocksReply::NotAllowed,
            3 => SocksReply::NetworkUnreachable,
            4 => SocksReply::HostUnreachable,
            5 => SocksReply::ConnectionRefused,
            6 => SocksReply::TtlExpired,
            7 => SocksReply::CommandNotSupported,
            8 => SocksReply::AddressNotSupported,
            code => SocksReply::Unassigned(code),
        }
    }

    /// True if it speaks of the moment and not of the request.
    pub(super) const fn is_passing(self) -> bool {
        !matches!(
            self,
            SocksReply::NotAllowed
                | SocksReply::CommandNotSupported
                | SocksReply::AddressNotSupported
        )
    }
}

impl fmt::Display for SocksReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SocksReply::GeneralFailure => "it failed",
            SocksReply::NotAllowed => "its rules do not allow it",
            SocksReply::NetworkUnreachable => "the network cannot be reached",
            SocksReply::HostUnreachable => "the host cannot be reached",
            SocksReply::ConnectionRefused => "the connection was refused",
            SocksReply::TtlExpired => "the way is too long",
            SocksReply::CommandNotSupported => "it cannot connect for others",
            SocksReply::AddressNotSupported => "it does not know this kind of address",
            SocksReply::Unassigned(code) => return write!(f, "its reply has the code {code:#x}"),
        })
    }
}

/// Waits for the three answers of a proxy.
#[derive(Debug)]
pub(super) struct Socks5 {
    state: State,
    credentials: Option<Credentials>,
    request: Bytes,
    /// The answer under way, at most 262 bytes.
    answer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Method,
    Login,
    Reply,
}

/// The methods of authentication that can be had (section 3).
pub(super) fn greeting(credentials: Option<&Credentials>) -> Bytes {
    Bytes::from_static(match credentials {
        None => &[VERSION, 1, NO_LOGIN],
        Some(_) => &[VERSION, 2, NO_LOGIN, PASSWORD],
    })
}

impl Socks5 {
    pub(super) fn new(target: &Endpoint<'_>, credentials: Option<&Credentials>) -> Socks5 {
        let credentials = credentials.cloned();
        Socks5 { state: State::Method, credentials, request: request(target), answer: Vec::new() }
    }

    /// Takes bytes up to the end of the answer under way.
    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Result<Progress, ProxyError> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.answer.push(byte);
            let progress = match self.state {
                State::Method => self.method()?,
                State::Login => self.login()?,
                State::Reply => self.reply()?,
            };
            if progress != Progress::More {
                self.answer.clear();
                return Ok(progress);
            }
        }
        Ok(Progress::More)
    }

    /// Section 3.
    fn method(&mut self) -> Result<Progress, ProxyError> {
        match (&self.answer[..], &self.credentials) {
            ([VERSION], _) => Ok(Progress::More),
            ([VERSION, NO_LOGIN], _) => Ok(self.ask()),
            ([VERSION, PASSWORD], Some(credentials)) => {
                self.state = State::Login;
                Ok(Progress::Send(login(credentials)))
            }
            ([VERSION, NO_METHOD], _) => Err(ProxyError::Authentication),
            _ => Err(ProxyError::InvalidResponse),
        }
    }

    /// RFC 1929 section 2. Proxies disagree on the version here; the status tells enough.
    fn login(&mut self) -> Result<Progress, ProxyError> {
        match self.answer[..] {
            [_] => Ok(Progress::More),
            [_, 0] => Ok(self.ask()),
            _ => Err(ProxyError::Login),
        }
    }

    fn ask(&mut self) -> Progress {
        self.state = State::Reply;
        Progress::Send(core::mem::take(&mut self.request))
    }

    /// Section 6. A failure is told at its code: not every proxy sends the rest.
    fn reply(&self) -> Result<Progress, ProxyError> {
        let bound = match self.answer[..] {
            [VERSION] | [VERSION, 0] | [VERSION, 0, _] | [VERSION, 0, _, NAME] => {
                return Ok(Progress::More);
            }
            [VERSION, code] => return Err(ProxyError::Socks(SocksReply::new(code))),
            [VERSION, 0, _, IPV4, ..] => 4,
            [VERSION, 0, _, IPV6, ..] => 16,
            [VERSION, 0, _, NAME, len, ..] => 1 + usize::from(len),
            _ => return Err(ProxyError::InvalidResponse),
        };
        let all = 4 + bound + 2;
        Ok(if self.answer.len() < all { Progress::More } else { Progress::Open })
    }
}

/// RFC 1929 section 2; the lengths were checked when the address of the proxy was parsed.
fn login(credentials: &Credentials) -> Bytes {
    let mut login = Vec::from([LOGIN_VERSION]);
    push_counted(&mut login, &credentials.user);
    push_counted(&mut login, &credentials.password);
    Bytes::from(login)
}

/// Section 4. A name goes as it is; the proxy looks it up.
fn request(target: &Endpoint<'_>) -> Bytes {
    let mut request = Vec::from([VERSION, CONNECT, 0]);
    match target.host {
        Host::Address(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Host::Name(name) => {
            request.push(NAME);
            push_counted(&mut request, name.as_bytes());
        }
    }
    request.extend_from_slice(&target.port.to_be_bytes());
    Bytes::from(request)
}

/// Text behind its length in one byte; the length was checked to fit.
fn push_counted(bytes: &mut Vec<u8>, text: &[u8]) {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    bytes.push(len);
    bytes.extend_from_slice(&text[..usize::from(len)]);
}

#[cfg(test)]
mod tests {
    use super::super::tunnel::tests::{first, play};
    use super::*;

    const PLAIN: &str = "socks5://p";
    const LOGIN: &str = "socks5h://user:pw@p";

    /// A reply of success that binds 1.2.3.4:5.
    const OPEN: &[u8] = b"\x05\0\0\x01\x01\x02\x03\x04\0\x05";

    fn refused(proxy: &str, answer: &[u8]) -> ProxyError {
        play(proxy, "h", answer).unwrap_err()
    }

    #[test]
    fn a_name_is_sent_to_the_proxy_as_it_is() {
        assert_eq!(first(PLAIN, "h.example", 443), b"\x05\x01\0");
        let (sent, left) = play(PLAIN, "h.example", &[b"\x05\0", OPEN].concat()).unwrap();
        assert_eq!(sent, b"\x05\x01\0\x03\x09h.example\x01\xBB");
        assert!(left.is_empty());
    }

    #[test]
    fn an_address_is_sent_as_one() {
        let answer = [b"\x05\0", OPEN].concat();
        let (sent, _) = play(PLAIN, "192.0.2.1", &answer).unwrap();
        assert_eq!(sent, b"\x05\x01\0\x01\xC0\0\x02\x01\x01\xBB");
        let (sent, _) = play(PLAIN, "2001:db8::1", &answer).unwrap();
        assert_eq!(sent, b"\x05\x01\0\x04\x20\x01\x0D\xB8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xBB");
    }

    #[test]
    fn user_and_password_are_sent_if_the_proxy_asks() {
        assert_eq!(first(LOGIN, "h", 443), b"\x05\x02\0\x02");
        let request = b"\x05\x01\0\x03\x01h\x01\xBB";
        // The version of the second answer is not looked at.
        for asks in [&b"\x05\x02\x01\0"[..], b"\x05\x02\x05\0"] {
            let (sent, _) = play(LOGIN, "h", &[asks, OPEN].concat()).unwrap();
            assert_eq!(sent, [b"\x01\x04user\x02pw", &request[..]].concat());
        }
        let (sent, _) = play(LOGIN, "h", &[b"\x05\0", OPEN].concat()).unwrap();
        assert_eq!(sent, request, "it does not ask");
    }

    #[test]
    fn bytes_behind_the_reply_are_the_servers_whatever_address_is_bound() {
        let v6 = [b"\x05\0\0\x04", &[9; 18][..]].concat();
        let name = [b"\x05\0\0\x03\x05bound", &[9; 2][..]].concat();
        let empty = b"\x05\0\0\x03\0\0\x05".to_vec();
        for reply in [OPEN.to_vec(), v6, name, empty] {
            let (_, left) =
                play(PLAIN, "h", &[b"\x05\0", &reply[..], b"\x05\0ab"].concat()).unwrap();
            assert_eq!(left, b"\x05\0ab");
        }
    }

    #[test]
    fn every_code_of_a_reply_is_told() {
        let names = [
            SocksReply::GeneralFailure,
            SocksReply::NotAllowed,
            SocksReply::NetworkUnreachable,
            SocksReply::HostUnreachable,
            SocksReply::ConnectionRefused,
            SocksReply::TtlExpired,
            SocksReply::CommandNotSupported,
            SocksReply::AddressNotSupported,
        ];
        for code in 1..=255 {
            let reply = names.get(usize::from(code) - 1).copied();
            let reply = reply.unwrap_or(SocksReply::Unassigned(code));
            // Some proxies send no more than the code.
            for rest in [&b""[..], b"\0\x01\0\0\0\0\0\0"] {
                let answer = [&[5, 0, 5, code], rest].concat();
                assert_eq!(refused(PLAIN, &answer), ProxyError::Socks(reply));
            }
        }
    }

    #[test]
    fn a_proxy_that_wants_other_credentials_is_told_from_one_that_wants_another_method() {
        assert_eq!(refused(PLAIN, b"\x05\xFF"), ProxyError::Authentication);
        assert_eq!(refused(LOGIN, b"\x05\xFF"), ProxyError::Authentication);
        for status in 1..=255 {
            assert_eq!(refused(LOGIN, &[5, 2, 1, status]), ProxyError::Login);
        }
    }

    #[test]
    fn what_does_not_answer_in_socks5_is_no_proxy() {
        for answer in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"\x04\0",
            b"\x05\x01",
            b"\x05\x02",
            b"\x05\0\x04\0",
            b"\x05\0\x05\0\0\x02",
            b"\x05\0\x05\0\0\0",
        ] {
            assert_eq!(refused(PLAIN, answer), ProxyError::InvalidResponse, "{answer:?}");
        }
    }

    #[test]
    fn an_end_within_an_answer_is_told() {
        let whole = [b"\x05\x02\x01\0", OPEN].concat();
        for cut in 0..whole.len() {
            assert_eq!(refused(LOGIN, &whole[..cut]), ProxyError::EndOfStream, "cut at {cut}");
        }
    }

    #[test]
    fn an_empty_or_a_long_password_fits_the_login() {
        let long = "x".repeat(255);
        for password in ["", &long] {
            let proxy = alloc::format!("socks5://u:{password}@p");
            let (sent, _) = play(&proxy, "h", &[b"\x05\x02\x01\0", OPEN].concat()).unwrap();
            let len = u8::try_from(password.len()).unwrap();
            let login = [b"\x01\x01u", &[len][..], password.as_bytes()].concat();
            assert!(sent.starts_with(&login));
        }
    }
}
