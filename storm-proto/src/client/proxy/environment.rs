//! Which proxy the environment of a process names: `http_proxy`, `no_proxy` and their kin.
//!
//! There is no standard. These are the rules of curl, and those of Go where curl has none.

use alloc::string::String;
use core::net::IpAddr;

use super::super::uri::{parse_port, split_authority, split_scheme, without_zone};
use super::{Proxy, ProxyError};

/// For `ws`. Not `HTTP_PROXY`: in a CGI program that is a header of whoever sends a request
/// (httpoxy, CVE-2016-5385).
const PLAIN: [&str; 3] = ["http_proxy", "all_proxy", "ALL_PROXY"];

/// For `wss`.
const SECURE: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

impl Proxy {
    /// The proxy that an environment names for a host and port; `None` for a direct way.
    /// `variable` gives the value of an environment variable, if it is set; an empty one
    /// counts as not set.
    ///
    /// - A plain connection asks `http_proxy`, one over TLS (`secure`) `https_proxy` and then
    ///   `HTTPS_PROXY`; both ask `all_proxy` and `ALL_PROXY` after that. A value without a
    ///   scheme is an HTTP proxy.
    /// - `no_proxy`, or else `NO_PROXY`, lists hosts that are reached without: separated by
    ///   commas or blanks, each a domain with all below it (a leading `.` or `*.` changes
    ///   nothing), an IP address, a range of them such as `10.0.0.0/8`, or `*` for all. A
    ///   `:port` behind a domain or address (an IPv6 address in brackets) restricts it to
    ///   that port. Addresses are compared with addresses only; nothing is looked up.
    ///
    /// # Errors
    /// If the value that counts is no address of a proxy.
    pub fn choose(
        variable: impl Fn(&str) -> Option<String>,
        secure: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<Proxy>, ProxyError> {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| variable(name).filter(|value| !value.trim().is_empty()))
        };
        let Some(value) = first(if secure { &SECURE } else { &PLAIN }) else { return Ok(None) };
        if is_exception(&first(&EXCEPTIONS).unwrap_or_default(), host, port) {
            return Ok(None);
        }
        let value = value.trim();
        let has_scheme = split_scheme(value).is_some_and(|(_, rest)| rest.starts_with("//"));
        let scheme = if has_scheme { "" } else { "http://" };
        alloc::format!("{scheme}{value}").parse().map(Some)
    }
}

/// True if one of the entries of `list` covers the host and port.
fn is_exception(list: &str, host: &str, port: u16) -> bool {
    let entries = list.split(|separator: char| separator == ',' || separator.is_whitespace());
    let host = without_zone(host).trim_end_matches('.');
    let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
    let mut entries = entries.filter(|entry| !entry.is_empty());
    entries.any(|entry| match (entry, address) {
        ("*", _) => true,
        (_, Some(address)) => covers_address(entry, address, port),
        (_, None) => covers_name(entry, host, port),
    })
}

/// True if `entry` is a range around the address, or the address itself, maybe with a port.
fn covers_address(entry: &str, address: IpAddr, port: u16) -> bool {
    if let Some((network, prefix)) = entry.split_once('/') {
        let range = network.parse().ok().zip(prefix.parse().ok());
        return range.is_some_and(|(network, prefix)| is_within(address, network, prefix));
    }
    let is_it =
        |text: &str| text.parse().is_ok_and(|entry: IpAddr| entry.to_canonical() == address);
    is_it(entry) || without_port(entry, port).is_some_and(is_it)
}

/// True if the first `prefix` bits are the same (RFC 4632 section 3.1).
fn is_within(address: IpAddr, network: IpAddr, prefix: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= prefix,
        _ => false,
    }
}

/// True if `entry` is the domain or one above it, maybe with a port.
fn covers_name(entry: &str, name: &str, port: u16) -> bool {
    let entry = entry.strip_prefix('*').unwrap_or(entry).trim_start_matches('.');
    let Some(domain) = without_port(entry, port) else { return false };
    let (domain, name) = (domain.trim_end_matches('.').as_bytes(), name.as_bytes());
    let Some(at) = name.len().checked_sub(domain.len()) else { return false };
    !domain.is_empty()
        && name[at..].eq_ignore_ascii_case(domain)
        && (at == 0 || name[at - 1] == b'.')
}

/// The host of an entry, unless it is for another port.
fn without_port(entry: &str, port: u16) -> Option<&str> {
    match split_authority(entry).ok()? {
        (host, None) => Some(host),
        (host, Some(digits)) => (parse_port(digits) == Ok(port)).then_some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::uri::Target;

    /// All variables that may name a proxy.
    const ALL: [&str; 5] = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

    /// The variable whose proxy is chosen; each names one at a port of its own here.
    fn chosen(set: &[&str], secure: bool) -> Option<&'static str> {
        let port = |name: &str| ALL.iter().position(|known| *known == name).unwrap() + 1;
        let variable =
            |name: &str| set.contains(&name).then(|| alloc::format!("http://p:{}", port(name)));
        let proxy = Proxy::choose(variable, secure, "h.example", 443).unwrap()?;
        let Target::Tcp { port, .. } = proxy.target() else { panic!("{proxy:?}") };
        Some(ALL[usize::from(*port) - 1])
    }

    fn of_value(value: &str) -> Result<Option<Proxy>, ProxyError> {
        Proxy::choose(|name| (name == "http_proxy").then(|| value.into()), false, "h", 80)
    }

    #[test]
    fn the_variable_of_the_scheme_counts_and_then_the_one_for_all() {
        for (secure, order) in [(false, &PLAIN[..]), (true, &SECURE)] {
            for (at, name) in order.iter().enumerate() {
                let set = ALL.iter().copied().filter(|name| !order[..at].contains(name));
                let set = set.collect::<alloc::vec::Vec<_>>();
                assert_eq!(chosen(&set, secure), Some(*name), "{secure} {set:?}");
            }
        }
        assert_eq!(chosen(&["https_proxy", "HTTPS_PROXY"], false), None);
        assert_eq!(chosen(&["http_proxy"], true), None);
        assert_eq!(chosen(&[], true), None);
    }

    #[test]
    fn http_proxy_in_capitals_is_never_read() {
        let variable = |name: &str| {
            assert_ne!(name, "HTTP_PROXY");
            None
        };
        for secure in [false, true] {
            assert_eq!(Proxy::choose(variable, secure, "h", 80), Ok(None));
        }
    }

    #[test]
    fn a_value_may_lack_a_scheme_and_an_empty_one_is_none() {
        let expected: Proxy = "http://u:p@proxy:3128".parse().unwrap();
        assert_eq!(of_value(" u:p@proxy:3128 "), Ok(Some(expected)));
        assert_eq!(of_value("socks5h://p"), Ok(Some("socks5://p".parse().unwrap())));
        assert_eq!(of_value(""), Ok(None));
        assert_eq!(of_value(" "), Ok(None));
        assert_eq!(of_value("https://proxy"), Err(ProxyError::Scheme));
        assert_eq!(of_value("proxy:x"), Err(ProxyError::Port));
    }

    #[test]
    fn exceptions_go_direct_and_small_letters_win() {
        let go = |lower: Option<&str>, upper: Option<&str>| {
            let variable = |name: &str| match name {
                "http_proxy" => Some("p".into()),
                "no_proxy" => lower.map(String::from),
                "NO_PROXY" => upper.map(String::from),
                _ => None,
            };
            Proxy::choose(variable, false, "h", 80).unwrap().is_none()
        };
        assert!(go(Some("h"), None));
        assert!(go(None, Some("h")));
        assert!(go(Some(""), Some("h")));
        assert!(!go(Some("x"), Some("h")));
        assert!(!go(None, None));
    }

    #[test]
    fn exceptions_cover_domains_addresses_and_ranges() {
        for (list, host, covered) in [
            ("", "h", false),
            ("*", "h", true),
            ("*", "::1", true),
            ("x, *", "h", true),
            (" a ,, b\tc", "b", true),
            (" a ,, b\tc", "c", true),
            (" a ,, b\tc", "d", false),
            // Domains, at their borders.
            ("example.com", "example.com", true),
            ("example.com", "EXAMPLE.com.", true),
            ("Example.com.", "a.b.example.com", true),
            (".example.com", "example.com", true),
            (".example.com", "a.example.com", true),
            ("*.example.com", "a.example.com", true),
            ("example.com", "notexample.com", false),
            (".example.com", "notexample.com", false),
            ("a.example.com", "example.com", false),
            ("example.com", "example.com.evil", false),
            ("ample.com", "example.com", false),
            ("com", "example.com", true),
            (".", "example.com", false),
            ("*.", "example.com", false),
            ("**", "example.com", false),
            ("ex*.com", "example.com", false),
            ("bücher", "h", false),
            // Ports; the connection is to 443.
            ("example.com:443", "example.com", true),
            (".example.com:443", "a.example.com", true),
            ("example.com:80", "example.com", false),
            ("example.com:", "example.com", false),
            ("example.com:x", "example.com", false),
            ("192.0.2.1:443", "192.0.2.1", true),
            ("192.0.2.1:80", "192.0.2.1", false),
            ("[::1]:443", "::1", true),
            ("[::1]:80", "::1", false),
            ("[::1]", "::1", true),
            // Addresses, in any form; never as names.
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.10", false),
            ("2.1", "192.0.2.1", false),
            (".1", "192.0.2.1", false),
            ("::1", "0:0:0:0:0:0:0:1", true),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("127.0.0.1", "localhost", false),
            // Ranges.
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.1.2.3/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.0", false),
            ("192.0.2.1/33", "192.0.2.1", false),
            ("192.0.2.1/-1", "192.0.2.1", false),
            ("192.0.2.1/", "192.0.2.1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "fe80::1", true),
            ("::1/128", "::1", true),
            ("::1/129", "::1", false),
            ("10.0.0.0/8", "h", false),
        ] {
            assert_eq!(is_exception(list, host, 443), covered, "{list:?} {host}");
        }
    }
}
