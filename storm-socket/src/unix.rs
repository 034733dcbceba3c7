//! Unix listeners, and the files they leave behind.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::SockRef;

use crate::listen::stop;

/// The file of a listening socket; dropping it removes the file, if it is still ours.
///
/// To be dropped before the listener: as long as that listens, nobody takes the file for a
/// stale one and puts another in its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, number and time of making: numbers are used again soon.
type Identity = (u64, u64, i64, i64);

fn identity(file: &fs::Metadata) -> Option<Identity> {
    let is_socket = file.file_type().is_socket();
    is_socket.then(|| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec()))
}

/// Listens at `path`. A socket file that nobody listens on any more is removed first; any
/// other file is left alone.
///
/// # Errors
/// As the operating system gives them; `AddrInUse` if a server listens there or a file of
/// another kind is in the way.
pub fn listen_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let identity = identity(&fs::symlink_metadata(path)?).ok_or_else(gone)?;
    Ok((listener, SocketFile { path: path.into(), identity }))
}

/// As [`stop_accept`](crate::stop_accept).
pub fn stop_accept_unix(listener: &UnixListener) {
    if stop(&SockRef::from(listener)).is_err()
        && let Ok(address) = listener.local_addr()
    {
        let _ = UnixStream::connect_addr(&address);
    }
}

/// True for a socket that refuses connections: its server is gone.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refuses = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refuses)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let file = fs::symlink_metadata(&self.path).ok();
        if file.and_then(|file| identity(&file)) == Some(self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of this test's own.
    fn path(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("storm-{}-{name}.sock", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn the_file_goes_with_the_listener() {
        let path = path("goes");
        let (listener, file) = listen_unix(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(file);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let path = path("stale");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "left behind");
        let (_listener, _file) = listen_unix(&path).unwrap();
        let error = listen_unix(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let path = path("regular");
        fs::write(&path, "precious").unwrap();
        let error = listen_unix(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_stands_in_the_place_of_our_socket_is_left_alone() {
        let path = path("successor");
        let (_listener, file) = listen_unix(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(file);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
    }
}
