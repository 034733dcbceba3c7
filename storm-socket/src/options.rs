//! Socket options, really applied.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use storm_proto::service::{KeepAlive, SocketOptions};

/// Applies the options of a connected TCP socket.
///
/// # Errors
/// As the operating system gives them.
pub fn apply<'s>(socket: impl Into<SockRef<'s>>, options: &SocketOptions) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(options.nodelay)?;
    apply_buffers(&socket, options)?;
    match &options.keep_alive {
        Some(keep_alive) => socket.set_tcp_keepalive(&tcp_keep_alive(keep_alive)),
        None => socket.set_keepalive(false),
    }
}

/// Buffer sizes have to be set before the connection is there, so that they can take part
/// in its window: on the listener, from which accepted sockets inherit them.
pub(crate) fn apply_buffers(socket: &SockRef<'_>, options: &SocketOptions) -> io::Result<()> {
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

/// Makes the close of a TCP socket a reset. If that fails, a close it is.
pub fn reset_on_close<'s>(socket: impl Into<SockRef<'s>>) {
    let _ = socket.into().set_linger(Some(Duration::ZERO));
}

fn tcp_keep_alive(options: &KeepAlive) -> TcpKeepalive {
    let mut keep_alive = TcpKeepalive::new();
    if let Some(idle) = options.idle {
        keep_alive = keep_alive.with_time(idle);
    }
    if let Some(interval) = options.interval {
        keep_alive = keep_alive.with_interval(interval);
    }
    if let Some(count) = options.count {
        keep_alive = keep_alive.with_retries(count);
    }
    keep_alive
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connected() -> (TcpStream, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener)
    }

    #[test]
    fn every_option_is_really_applied() {
        let (stream, _listener) = connected();
        let probes = KeepAlive::new()
            .idle(Duration::from_secs(120))
            .interval(Duration::from_secs(30))
            .count(3);
        let options = SocketOptions::new()
            .keep_alive(Some(probes))
            .receive_buffer(20_000)
            .send_buffer(30_000);
        apply(&stream, &options).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(120));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(30));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        // Linux doubles what is asked for, to have room for its own bookkeeping.
        assert!((20_000..=40_000).contains(&socket.recv_buffer_size().unwrap()));
        assert!((30_000..=60_000).contains(&socket.send_buffer_size().unwrap()));
    }

    #[test]
    fn options_that_are_on_by_default_can_be_turned_off() {
        let (stream, _listener) = connected();
        apply(&stream, &SocketOptions::new()).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        apply(&stream, &SocketOptions::new().nodelay(false).keep_alive(None)).unwrap();
        assert!(!socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
    }

    #[test]
    fn a_socket_that_is_to_reset_does() {
        let (stream, listener) = connected();
        let (mut peer, _) = listener.accept().unwrap();
        reset_on_close(&stream);
        drop(stream);
        let error = std::io::Read::read(&mut peer, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
