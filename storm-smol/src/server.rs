//! Listening and accepting.

use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::task::{Context, Poll, ready};

use async_io::Async;
use storm_proto::service::{Address, Ends, ListenOptions, Listener as ListenerApi, SocketOptions};
use storm_socket::Bound;

use crate::transport::Transport;

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
    options: SocketOptions,
}

#[derive(Debug)]
enum Socket {
    Tcp(Async<TcpListener>),
    // The file goes first, while nobody can take it for a stale one.
    #[cfg(unix)]
    Unix {
        _file: storm_socket::SocketFile,
        listener: Async<UnixListener>,
    },
}

impl Listener {
    /// Listens at an address.
    pub(crate) fn bind(address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        let (bound, address) = storm_socket::bind(address, options)?;
        let socket = match bound {
            Bound::Tcp(listener) => Socket::Tcp(Async::new(listener)?),
            #[cfg(unix)]
            Bound::Unix(listener, _file) => Socket::Unix { _file, listener: Async::new(listener)? },
        };
        Ok(Listener { socket, address, options: options.socket.clone() })
    }
}

impl ListenerApi for Listener {
    type Transport = Transport;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Transport, Ends)>> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let accept = || listener.get_ref().accept();
                let ready = |cx: &mut Context<'_>| listener.poll_readable(cx);
                let (stream, peer) = ready!(poll_accept(cx, accept, ready))?;
                storm_socket::apply(&stream, &self.options)?;
                let ends = Ends { peer: peer.into(), local: stream.local_addr()?.into() };
                Poll::Ready(Ok((Async::new(stream)?.into(), ends)))
            }
            #[cfg(unix)]
            Socket::Unix { listener, .. } => {
                let accept = || listener.get_ref().accept();
                let ready = |cx: &mut Context<'_>| listener.poll_readable(cx);
                let (stream, _) = ready!(poll_accept(cx, accept, ready))?;
                let ends = Ends { peer: Address::Unix(None), local: self.address.clone() };
                Poll::Ready(Ok((Async::new(stream)?.into(), ends)))
            }
        }
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(self.address.clone())
    }
}

/// Accepts, or waits until there is something to accept.
fn poll_accept<S>(
    cx: &mut Context<'_>,
    accept: impl Fn() -> io::Result<S>,
    ready: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<S>> {
    loop {
        match accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(ready(cx))?,
            accepted => return Poll::Ready(accepted),
        }
    }
}
