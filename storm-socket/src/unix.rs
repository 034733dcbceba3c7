//! Unix listeners, and the files they leave behind.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use storm_proto::service::ListenOptions;

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
/// The file has the permission bits of the options before anybody can connect: a socket that is
/// bound and does not listen yet refuses connections.
///
/// # Errors
/// As the operating system gives them; `AddrInUse` if a server listens there or a file of
/// another kind is in the way.
pub fn listen_unix(path: &Path, options: &ListenOptions) -> io::Result<(UnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    // From here on a failure takes the file along.
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let identity = identity(&fs::symlink_metadata(path)?).ok_or_else(gone)?;
    let file = SocketFile { path: path.into(), identity };
    if let Some(mode) = options.unix_mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok((socket.into(), file))
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
        let (listener, file) = listen_unix(&path, &ListenOptions::new()).unwrap();
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
        let (_listener, _file) = listen_unix(&path, &ListenOptions::new()).unwrap();
        let error = listen_unix(&path, &ListenOptions::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn the_file_has_the_mode_that_was_asked_for() {
        let path = path("mode");
        for mode in [0o600, 0o660, 0o777, 0o000] {
            let mut options = ListenOptions::new();
            options.unix_mode = Some(mode);
            let (_listener, _file) = listen_unix(&path, &options).unwrap();
            let found = fs::symlink_metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode);
        }
        assert!(!path.exists(), "a change of the mode changes nothing of whose file it is");
    }

    #[test]
    fn a_path_that_is_too_long_leaves_no_file() {
        let path = path(&"x".repeat(200));
        let error = listen_unix(&path, &ListenOptions::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let path = path("regular");
        fs::write(&path, "precious").unwrap();
        let error = listen_unix(&path, &ListenOptions::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_stands_in_the_place_of_our_socket_is_left_alone() {
        let path = path("successor");
        let (_listener, file) = listen_unix(&path, &ListenOptions::new()).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        drop(file);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
    }
}
