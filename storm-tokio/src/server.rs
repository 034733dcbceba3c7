//! Listening and accepting.

use std::io;
use std::task::{Context, Poll, ready};

use storm_proto::service::{Address, Ends, ListenOptions, Listener as ListenerApi, SocketOptions};
use storm_socket::Bound;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

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
    Tcp(TcpListener),
    // The file goes first, while nobody can take it for a stale one.
    #[cfg(unix)]
    Unix {
        _file: storm_socket::SocketFile,
        listener: UnixListener,
    },
}

impl Listener {
    /// Listens at an address.
    pub(crate) fn bind(address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        let (bound, address) = storm_socket::bind(address, options)?;
        let socket = match bound {
            Bound::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Socket::Tcp(TcpListener::from_std(listener)?)
            }
            #[cfg(unix)]
            Bound::Unix(listener, _file) => {
                listener.set_nonblocking(true)?;
                Socket::Unix { _file, listener: UnixListener::from_std(listener)? }
            }
        };
        Ok(Listener { socket, address, options: options.socket.clone() })
    }
}

impl ListenerApi for Listener {
    type Transport = Transport;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Transport, Ends)>> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                storm_socket::apply(&stream, &self.options)?;
                let ends = Ends { peer: peer.into(), local: stream.local_addr()?.into() };
                Poll::Ready(Ok((stream.into(), ends)))
            }
            #[cfg(unix)]
            Socket::Unix { listener, .. } => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                let ends = Ends { peer: Address::Unix(None), local: self.address.clone() };
                Poll::Ready(Ok((stream.into(), ends)))
            }
        }
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(self.address.clone())
    }
}
