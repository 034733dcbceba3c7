//! Where a server listens: what a user may say, and the listeners that come of it.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::borrow::Cow;
use std::boxed::Box;
use std::io;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;

use super::options::ListenOptions;
use super::runtime::{Address, Listener, Runtime};
use crate::client::uri::{split_authority, split_scheme, without_empty_authority};
use crate::error::OptionError;

/// How often a port is chosen anew that is free in one family and taken in the other.
const PORT_ATTEMPTS: u32 = 16;

/// Where a server listens; made from what [`Server::bind`](super::Server::bind) takes.
///
/// | from | listens at |
/// |---|---|
/// | `"127.0.0.1:80"`, `"[::1]:80"`, `SocketAddr`, `(Ipv4Addr, u16)`, `(IpAddr, u16)`.. | that address |
/// | `"localhost:80"`, `("localhost", 80)` | every address of the name |
/// | `":80"`, `"*:80"`, `("*", 80)` | every address of the machine, `0.0.0.0` and `[::]` |
/// | `"unix:/path"`, `Path`, `PathBuf` | a Unix socket |
///
/// Several addresses have one port, also where port 0 lets the system choose it. A family of
/// addresses that the machine does not have is left out, as long as the other is there.
///
/// A text is read when the server starts: what cannot be listened at is an error of
/// [`Server::start`](super::Server::start).
///
/// ```
/// use std::net::Ipv6Addr;
/// use storm_proto::service::BindAddress;
///
/// let address = BindAddress::from((Ipv6Addr::LOCALHOST, 8080));
/// assert_eq!(address.to_string(), "[::1]:8080");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindAddress(Said);

/// What a user said.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said {
    Text(String),
    Host(String, u16),
    Ip(SocketAddr),
    Path(PathBuf),
}

/// What that means.
#[derive(PartialEq, Eq, Debug)]
enum Place<'a> {
    Ip(SocketAddr),
    /// All addresses of the machine.
    Any(u16),
    Name(&'a str, u16),
    Unix(&'a str),
}

impl BindAddress {
    fn place(&self) -> Result<Place<'_>, &'static str> {
        match &self.0 {
            Said::Text(text) => read(text),
            Said::Host(host, port) => host_and_port(host, *port),
            Said::Ip(address) => Ok(Place::Ip(*address)),
            Said::Path(path) => match path.to_str() {
                Some(path) => unix(path),
                None => Err("the path of a unix socket must be utf-8"),
            },
        }
    }
}

fn read(text: &str) -> Result<Place<'_>, &'static str> {
    if let Some((scheme, rest)) = split_scheme(text) {
        if scheme.eq_ignore_ascii_case("unix") {
            return unix(without_empty_authority(rest));
        }
        if rest.starts_with("//") {
            return Err("an address to listen at has no scheme: write host:port");
        }
    }
    let hint = "write host:port, [ipv6]:port, :port for all addresses, or unix:/path";
    let (host, port) = text.rsplit_once(':').ok_or(hint)?;
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(hint);
    }
    let port = port.parse().map_err(|_| "the port is not a number from 0 to 65535")?;
    if host.contains(':') && !host.starts_with('[') {
        return Err("an ipv6 address stands in brackets: [::1]:8080");
    }
    host_and_port(host, port)
}

fn host_and_port(host: &str, port: u16) -> Result<Place<'_>, &'static str> {
    if let "" | "*" = host {
        return Ok(Place::Any(port));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Place::Ip(SocketAddr::new(ip, port)));
    }
    match split_authority(host) {
        Ok((host, None)) => match host.parse() {
            Ok(ip) => Ok(Place::Ip(SocketAddr::new(ip, port))),
            Err(_) => Ok(Place::Name(host, port)),
        },
        _ => Err("the host is neither a name nor an ip address"),
    }
}

fn unix(path: &str) -> Result<Place<'_>, &'static str> {
    if path.is_empty() || path.contains('\0') {
        return Err("the path of the unix socket is empty or has a zero byte");
    }
    Ok(Place::Unix(path))
}

/// Listens at everything that `address` names.
///
/// # Errors
/// Names the address. If one of several cannot be used, no listener is left.
pub(super) async fn listen<R: Runtime>(
    runtime: &R,
    address: &BindAddress,
    options: &ListenOptions,
    used: &[&'static str],
) -> io::Result<Vec<R::Listener>> {
    if let Ok(place) = address.place() {
        check(&place, options, used)?;
    }
    let listening = listen_unnamed(runtime, address, options).await;
    listening.map_err(|source| {
        if source.get_ref().is_some_and(|inner| inner.is::<OptionError>()) {
            return source;
        }
        let address = address.to_string();
        io::Error::new(source.kind(), CannotListen { address, source })
    })
}

async fn listen_unnamed<R: Runtime>(
    runtime: &R,
    address: &BindAddress,
    options: &ListenOptions,
) -> io::Result<Vec<R::Listener>> {
    let place = address.place().map_err(invalid)?;
    match place {
        Place::Unix(path) => {
            let address = Address::Unix(Some(path.into()));
            Ok(std::vec![runtime.listen(&address, options)?])
        }
        Place::Ip(address) => Ok(std::vec![runtime.listen(&address.into(), options)?]),
        Place::Any(port) => {
            let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
            // A dual-stack socket takes both families by itself.
            let all: &[IpAddr] = if options.dual_stack { &[v6] } else { &[v4, v6] };
            listen_at_all(runtime, all, port, options)
        }
        Place::Name(name, port) => {
            let found = runtime.resolve(&crate::client::uri::one_form(name), port).await?;
            if options.dual_stack && !found.iter().any(SocketAddr::is_ipv6) {
                return Err(NO_IPV6.into());
            }
            if let [address] = found[..] {
                // As it is, with the scope of an IPv6 address.
                return Ok(std::vec![runtime.listen(&address.into(), options)?]);
            }
            let mut all: Vec<IpAddr> = Vec::new();
            for address in found {
                if !all.contains(&address.ip()) {
                    all.push(address.ip());
                }
            }
            listen_at_all(runtime, &all, port, options)
        }
    }
}

/// Refuses options that cannot apply to what is listened at; `used` names those that were asked
/// for.
fn check(
    place: &Place<'_>,
    options: &ListenOptions,
    used: &[&'static str],
) -> Result<(), OptionError> {
    const OF_TCP: [&str; 4] = ["backlog", "connect_rate", "max_connections_per_ip", "socket"];
    match (place, options.unix_mode) {
        (Place::Unix(_), _) if options.dual_stack => Err(NO_IPV6),
        (Place::Unix(_), Some(mode)) if mode > 0o777 => {
            Err(OptionError::new("unix_mode", "has more than permission bits: at most 0o777"))
        }
        (Place::Unix(_), _) => {
            OptionError::refuse(used, &OF_TCP, "is for tcp, not for unix sockets")
        }
        (_, Some(_)) => Err(OptionError::new("unix_mode", "is for unix sockets")),
        (Place::Ip(address), None) if options.dual_stack && address.is_ipv4() => Err(NO_IPV6),
        _ => Ok(()),
    }
}

const NO_IPV6: OptionError = OptionError::new("dual_stack", "needs an ipv6 address, such as [::]");

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

/// Listens at all of these addresses, at one port.
fn listen_at_all<R: Runtime>(
    runtime: &R,
    all: &[IpAddr],
    port: u16,
    options: &ListenOptions,
) -> io::Result<Vec<R::Listener>> {
    let mut attempt = 1;
    loop {
        match listen_at_each(runtime, all, port, options) {
            Err(error)
                if port == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && attempt < PORT_ATTEMPTS =>
            {
                attempt += 1;
            }
            listening => return listening,
        }
    }
}

fn listen_at_each<R: Runtime>(
    runtime: &R,
    all: &[IpAddr],
    mut port: u16,
    options: &ListenOptions,
) -> io::Result<Vec<R::Listener>> {
    let mut listeners: Vec<R::Listener> = Vec::new();
    let mut missing = None;
    for ip in all {
        let address = SocketAddr::new(*ip, port);
        match runtime.listen(&address.into(), options) {
            Ok(listener) => {
                if let Some(bound) = listener.local_address()?.ip() {
                    port = bound.port();
                }
                listeners.push(listener);
            }
            Err(error) if is_missing(error.kind()) => missing = Some(error),
            Err(source) => {
                let address = address.to_string();
                return Err(io::Error::new(source.kind(), CannotListen { address, source }));
            }
        }
    }
    let nothing = || io::Error::new(io::ErrorKind::NotFound, "the name has no ip address");
    if listeners.is_empty() { Err(missing.unwrap_or_else(nothing)) } else { Ok(listeners) }
}

/// The machine does not have this address, or none of its family.
fn is_missing(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// Why nothing listens at an address.
#[derive(Debug)]
struct CannotListen {
    address: String,
    source: io::Error,
}

impl fmt::Display for CannotListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at {}: {}", self.address, self.source)
    }
}

impl core::error::Error for CannotListen {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // Quoted, since it may be anything.
            Said::Text(text) => write!(f, "{text:?}"),
            Said::Host(host, port) => write!(f, "{:?}", std::format!("{host}:{port}")),
            Said::Ip(address) => address.fmt(f),
            Said::Path(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One conversion for each kind of thing that is said.
macro_rules! said {
    ($($from:ty: $said:pat => $into:expr;)*) => {
        $(impl From<$from> for BindAddress {
            fn from($said: $from) -> BindAddress {
                BindAddress($into)
            }
        })*
    };
}

said! {
    &str: text => Said::Text(text.into());
    String: text => Said::Text(text);
    &String: text => Said::Text(text.clone());
    Box<str>: text => Said::Text(text.into());
    Cow<'_, str>: text => Said::Text(text.into());
    (&str, u16): (host, port) => Said::Host(host.into(), port);
    (String, u16): (host, port) => Said::Host(host, port);
    SocketAddr: address => Said::Ip(address);
    &SocketAddr: address => Said::Ip(*address);
    SocketAddrV4: address => Said::Ip(address.into());
    SocketAddrV6: address => Said::Ip(address.into());
    (IpAddr, u16): address => Said::Ip(address.into());
    (Ipv4Addr, u16): address => Said::Ip(address.into());
    (Ipv6Addr, u16): address => Said::Ip(address.into());
    ([u8; 4], u16): address => Said::Ip(address.into());
    &Path: path => Said::Path(path.into());
    PathBuf: path => Said::Path(path);
    &PathBuf: path => Said::Path(path.clone());
}

impl From<Address> for BindAddress {
    fn from(address: Address) -> BindAddress {
        BindAddress(match address {
            Address::Ip(address) => Said::Ip(address),
            Address::Unix(path) => Said::Path(path.as_deref().unwrap_or_default().into()),
        })
    }
}

impl From<&Address> for BindAddress {
    fn from(address: &Address) -> BindAddress {
        address.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<String, &'static str> {
        BindAddress::from(text).place().map(|place| std::format!("{place:?}"))
    }

    #[test]
    fn addresses_are_read_as_the_world_writes_them() {
        for (text, expected) in [
            ("127.0.0.1:80", "Ip(127.0.0.1:80)"),
            ("0.0.0.0:0", "Ip(0.0.0.0:0)"),
            ("[::1]:80", "Ip([::1]:80)"),
            (":8080", "Any(8080)"),
            ("*:8080", "Any(8080)"),
            ("localhost:0", r#"Name("localhost", 0)"#),
            ("unix:8080", r#"Unix("8080")"#),
            ("[fe80::1%25eth0]:80", r#"Name("fe80::1%25eth0", 80)"#),
            ("unix:/run/a.sock", r#"Unix("/run/a.sock")"#),
            ("UNIX:/run/a.sock", r#"Unix("/run/a.sock")"#),
            ("unix:///run/unix:a", r#"Unix("/run/unix:a")"#),
            ("unix:a.sock", r#"Unix("a.sock")"#),
        ] {
            assert_eq!(place(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(BindAddress::from(("unix", 80)).place(), Ok(Place::Name("unix", 80)));
        assert_eq!(
            BindAddress::from(("::1", 80)).place(),
            Ok(Place::Ip(([0, 0, 0, 0, 0, 0, 0, 1], 80).into()))
        );
        assert_eq!(BindAddress::from(("*", 80)).place(), Ok(Place::Any(80)));
    }

    #[test]
    fn what_cannot_be_listened_at_says_why() {
        for text in [
            "",
            "80",
            "localhost",
            "localhost:",
            "localhost:http",
            "localhost:+80",
            "h:65536",
            "::1:80",
            "::1",
            "[::1]",
            "[::1]80",
            "ws://0.0.0.0:80",
            "http://h:80/",
            "a b:80",
            "h/x:80",
            "user@h:80",
            "*",
            "unix:",
            "unix://",
            "unix:/a\0b",
            "h:80:",
            ":",
            "[:80",
            " 127.0.0.1:80",
            "127.0.0.1:80\n",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn typed_addresses_need_no_text() {
        let v4: SocketAddr = ([127, 0, 0, 1], 80).into();
        for address in [
            BindAddress::from(v4),
            BindAddress::from(&v4),
            BindAddress::from((Ipv4Addr::LOCALHOST, 80)),
            BindAddress::from((IpAddr::V4(Ipv4Addr::LOCALHOST), 80)),
            BindAddress::from(([127, 0, 0, 1], 80)),
            BindAddress::from(("127.0.0.1", 80)),
            BindAddress::from((String::from("127.0.0.1"), 80)),
            BindAddress::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80)),
            BindAddress::from(Address::Ip(v4)),
        ] {
            assert_eq!(address.place(), Ok(Place::Ip(v4)));
        }
        for address in [
            BindAddress::from(Path::new("/a")),
            BindAddress::from(PathBuf::from("/a")),
            BindAddress::from(Address::Unix(Some("/a".into()))),
        ] {
            assert_eq!(address.place(), Ok(Place::Unix("/a")));
        }
    }

    #[test]
    fn a_mode_is_one_of_a_unix_socket() {
        let options = |mode| ListenOptions { unix_mode: Some(mode), ..ListenOptions::new() };
        assert!(check(&Place::Unix("/a"), &options(0o660), &[]).is_ok());
        assert!(check(&Place::Unix("/a"), &options(0o4777), &[]).is_err());
        assert!(check(&Place::Any(80), &options(0o660), &[]).is_err());
        assert!(check(&Place::Any(80), &ListenOptions::new(), &[]).is_ok());
    }
}
