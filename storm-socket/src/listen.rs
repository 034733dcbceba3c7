//! TCP listeners.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use storm_proto::service::ListenOptions;

use crate::options::apply_buffers;

/// Listens at one address.
///
/// # Errors
/// As the operating system gives them, above all if the address is in use; `Unsupported` for a
/// family of addresses that this system does not have.
pub fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(name_unsupported)?;
    // A restarted server must not wait for old connections to time out.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    apply_buffers(&SockRef::from(&socket), &options.socket)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// EAFNOSUPPORT, for which the standard library has no kind: no IPv6 in this system, or no IPv4.
fn name_unsupported(error: io::Error) -> io::Error {
    const AF_NO_SUPPORT: i32 = if cfg!(windows) {
        10047
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        97
    } else {
        47
    };
    if error.raw_os_error() == Some(AF_NO_SUPPORT) {
        return io::Error::new(io::ErrorKind::Unsupported, error);
    }
    error
}

/// Ends an accept that blocks on another thread, with an error or with a connection of our
/// own. The listener is of no use afterwards.
pub fn stop_accept(listener: &TcpListener) {
    if stop(&SockRef::from(listener)).is_ok() {
        return;
    }
    if let Ok(mut address) = listener.local_addr() {
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        // A connection that is not taken at once finds others that will end the accept.
        let _ = TcpStream::connect_timeout(&address, Duration::from_millis(100));
    }
}

/// Where the system allows it, a listener that is shut down ends its accepts, without any
/// descriptor that might not be there.
pub(crate) fn stop(listener: &SockRef<'_>) -> io::Result<()> {
    if cfg!(any(target_os = "linux", target_os = "android")) {
        return listener.shutdown(Shutdown::Both);
    }
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use storm_proto::service::SocketOptions;

    #[test]
    fn a_listener_is_bound_as_it_was_asked() {
        let mut options = ListenOptions::new();
        options.socket = SocketOptions::new().receive_buffer(50_000);
        let listener = listen("127.0.0.1:0".parse().unwrap(), &options).unwrap();
        let socket = SockRef::from(&listener);
        assert!(socket.reuse_address().unwrap() && socket.is_listener().unwrap());
        assert!((50_000..=100_000).contains(&socket.recv_buffer_size().unwrap()));
        for dual_stack in [false, true] {
            options.dual_stack = dual_stack;
            let listener = listen("[::]:0".parse().unwrap(), &options).unwrap();
            assert_eq!(SockRef::from(&listener).only_v6().unwrap(), !dual_stack);
        }
    }

    #[test]
    fn an_accept_that_blocks_is_ended() {
        let listener = listen("[::]:0".parse().unwrap(), &ListenOptions::new()).unwrap();
        std::thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept().is_ok());
            stop_accept(&listener);
            // Whether it came before the accept or after it.
            accepting.join().unwrap();
        });
    }
}
