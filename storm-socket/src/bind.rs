//! Listeners of every kind.

use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::net::UnixListener;

use storm_proto::service::{Address, ListenOptions};

use crate::listen;
#[cfg(unix)]
use crate::{SocketFile, listen_unix};

/// A listening socket that blocks.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums)] // An adapter takes each kind.
pub enum Bound {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket and its file.
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

/// Listens at an address; returns it with the port that the system chose for port 0.
///
/// # Errors
/// As the operating system gives them, above all if the address is in use; `Unsupported` for
/// a kind of address that this system does not have.
pub fn bind(address: &Address, options: &ListenOptions) -> io::Result<(Bound, Address)> {
    match address {
        Address::Ip(address) => {
            let listener = listen(*address, options)?;
            let address = listener.local_addr()?.into();
            Ok((Bound::Tcp(listener), address))
        }
        #[cfg(unix)]
        Address::Unix(Some(path)) => {
            let (listener, file) = listen_unix(path.as_ref().as_ref(), options)?;
            Ok((Bound::Unix(listener, file), address.clone()))
        }
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
