//! Socket options, really applied.

use std::io;

use socket2::{SockRef, TcpKeepalive};
use storm_proto::service::{KeepAlive, SocketOptions};

/// Applies the options of a connected socket.
pub(crate) fn apply(socket: SockRef<'_>, options: &SocketOptions) -> io::Result<()> {
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
