//! Listening and accepting.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use storm_proto::service::{Address, Ends, ListenOptions, Listener as ListenerApi, SocketOptions};
use tokio::net::TcpListener;

use crate::socket;
use crate::transport::Transport;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    options: SocketOptions,
}

impl ListenerApi for Listener {
    type Transport = Transport;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Transport, Ends)>> {
        let (stream, peer) = ready!(self.listener.poll_accept(cx))?;
        socket::apply(SockRef::from(&stream), &self.options)?;
        let ends = Ends { peer: peer.into(), local: stream.local_addr()?.into() };
        Poll::Ready(Ok((Transport::new(stream), ends)))
    }

    fn local_address(&self) -> io::Result<Address> {
        self.listener.local_addr().map(Address::from)
    }
}

/// Listens at the first of the addresses behind a name that can be bound.
pub(crate) async fn bind(address: &str, options: &ListenOptions) -> io::Result<Listener> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the address has no ip address");
    for address in tokio::net::lookup_host(address).await? {
        match listen(address, options) {
            Ok(listener) => return Ok(Listener { listener, options: options.socket.clone() }),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server must not wait for old connections to time out.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    socket::apply_buffers(&SockRef::from(&socket), &options.socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_is_bound_as_it_was_asked() {
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
}
