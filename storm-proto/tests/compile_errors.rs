//! What must not compile, and what the compiler says of it: `rustc` is run on a few lines
//! against the library that this test was linked with.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The lines of the body of a function, in which `server` has no closures yet.
fn program(body: &str) -> String {
    format!(
        "#![allow(unused)]
        use storm_proto::service::*;
        use storm_proto::facade::*;
        pub fn body() {{ let callbacks = Callbacks::new(); {body}; }}
        pub async fn by_name(session: &Session, message: Message<'_>) {{}}"
    )
}

/// What the compiler says of a program; empty if it compiles.
fn errors_of(program: &str, library: &std::path::Path) -> String {
    let deps = library.parent().unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.args(["--edition=2024", "--crate-type=lib", "--crate-name=program", "--emit=metadata"]);
    rustc.args(["-o", "-", "-"]).env("RUSTC_BOOTSTRAP", "0").env_remove("RUSTFLAGS");
    rustc.arg("--extern").arg(format!("storm_proto={}", library.display()));
    rustc.arg("-L").arg(format!("dependency={}", deps.display()));
    let mut rustc =
        rustc.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    rustc.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = rustc.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { String::new() } else { said }
}

/// The library, beside this test: the newest with which an empty program compiles. Others were
/// built before, or with other features.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let files = std::fs::read_dir(test.parent().unwrap()).unwrap().map(|file| file.unwrap());
    let mut libraries: Vec<_> = files
        .filter(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.starts_with("libstorm_proto-") && name.ends_with(".rlib")
        })
        .map(|file| (file.metadata().unwrap().modified().unwrap(), file.path()))
        .collect();
    libraries.sort();
    let mut said = String::new();
    for (_, library) in libraries.into_iter().rev() {
        said = errors_of(&program(""), &library);
        if said.is_empty() {
            return library;
        }
    }
    panic!("no library compiles: {said}");
}

#[test]
fn a_closure_that_returns_a_future_is_told_of_the_async_method() {
    let library = library();
    for body in [
        "callbacks.on_message(|session, message| session.send_wait(message))",
        "callbacks.on_message(|session, message| async move { })",
        "callbacks.on_message(async |session, message| { })",
        "callbacks.on_connected(|session| async { })",
        "callbacks.on_connected(|session| Box::pin(async { }))",
        "callbacks.on_connected(|session| Ok::<_, SendError>(async { }))",
        "callbacks.on_disconnected(|session, reason| async { })",
        "callbacks.on_error(|session, error| async { })",
        "callbacks.on_reconnecting(|retry| async { })",
        "callbacks.on_group(|change| async { })",
        "callbacks.on_lag(|session, lag| async { })",
    ] {
        let said = errors_of(&program(body), &library);
        assert!(said.contains("a closure that handles an event cannot return"), "{body}: {said}");
        assert!(said.contains(".on_message_async(|session, message| async move {"), "{body}");
    }
    let said =
        errors_of(&program("callbacks.on_connecting(|_| async { Accept::new() })"), &library);
    assert!(said.contains("a closure that decides on a request cannot return"), "{said}");
    assert!(said.contains(".on_connecting_async(|request| async move {"), "{said}");
}

#[test]
fn a_value_that_says_nothing_to_a_server_is_refused() {
    let library = library();
    for body in [
        "callbacks.on_message(|session, message| message.to_owned())",
        "callbacks.on_connected(|session| vec![1])",
        "callbacks.on_connecting(|request| true)",
    ] {
        let said = errors_of(&program(body), &library);
        assert!(said.contains("cannot return"), "{body}: {said}");
    }
}

#[test]
fn what_a_closure_may_return_compiles() {
    let library = library();
    for body in [
        "callbacks.on_message(|session, message| session.send(message))",
        "callbacks.on_message(|session, message| session.others_in(\"a\").send(message))",
        "callbacks.on_message(|_, _| panic!())",
        "callbacks.on_message_async(|s, m| async move { s.send_wait(&m).await })",
        "callbacks.on_message_async(async |s: Session, m: OwnedMessage| s.send_wait(&m).await)",
        "callbacks.on_connected(|session| session.join(\"a\"))",
        "callbacks.on_connected(|session| session.leave(\"a\"))",
        "callbacks.on_connected(|session| session.leave_all())",
        "callbacks.on_connected(|_| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            std::fs::read(\"x\")?; Ok(())
        })",
        "let (tell, _) = std::sync::mpsc::channel();
         callbacks.on_message(move |_, message| tell.send(message.to_owned()))",
        "callbacks.on_connecting(|request| match request.path() {
            \"/\" => Ok(Accept::new()), _ => Err(Response::new(404))
        })",
        "callbacks.on_connecting(|request| -> Result<Accept, Response> {
            let _user = request.header(\"user\").ok_or_else(|| Response::new(401))?;
            Ok(Accept::new())
        })",
        "callbacks.on_connecting_async(|request| async move { Response::new(404) })",
    ] {
        assert_eq!(errors_of(&program(body), &library), "", "{body}");
    }
}
