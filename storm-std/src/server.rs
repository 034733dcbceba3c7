//! Listening and accepting.

use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::task::{Context, Poll};

use storm_proto::service::{
    Address, Ends, ListenOptions, Listener as ListenerApi, SocketOptions, park,
};
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
    Tcp(Arc<TcpListener>),
    // The file goes first, while nobody can take it for a stale one.
    #[cfg(unix)]
    Unix {
        _file: storm_socket::SocketFile,
        listener: Arc<UnixListener>,
    },
}

impl Listener {
    /// Listens at an address.
    pub(crate) fn bind(address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        let (bound, address) = storm_socket::bind(address, options)?;
        let socket = match bound {
            Bound::Tcp(listener) => Socket::Tcp(Arc::new(listener)),
            #[cfg(unix)]
            Bound::Unix(listener, _file) => Socket::Unix { _file, listener: Arc::new(listener) },
        };
        Ok(Listener { socket, address, options: options.socket.clone() })
    }
}

impl ListenerApi for Listener {
    type Transport = Transport;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(Transport, Ends)>> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let stop = listener.clone();
                let stop = move || storm_socket::stop_accept(&stop);
                let Some(accepted) = park::blocked(stop, || listener.accept()) else {
                    return Poll::Pending;
                };
                let (stream, peer) = accepted?;
                storm_socket::apply(&stream, &self.options)?;
                let ends = Ends { peer: peer.into(), local: stream.local_addr()?.into() };
                Poll::Ready(Ok((Transport::tcp(stream)?, ends)))
            }
            #[cfg(unix)]
            Socket::Unix { listener, .. } => {
                let stop = listener.clone();
                let stop = move || storm_socket::stop_accept_unix(&stop);
                let Some(accepted) = park::blocked(stop, || listener.accept()) else {
                    return Poll::Pending;
                };
                let (stream, _) = accepted?;
                let ends = Ends { peer: Address::Unix(None), local: self.address.clone() };
                Poll::Ready(Ok((Transport::unix(stream)?, ends)))
            }
        }
    }

    fn local_address(&self) -> io::Result<Address> {
        Ok(self.address.clone())
    }
}
