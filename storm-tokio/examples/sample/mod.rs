//! What every sample does beside its subject, on any runtime: reads one argument, answers
//! `--help`, ends gracefully on Ctrl-C or SIGTERM, and reports errors as sentences.

#![allow(dead_code)]

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::process::ExitCode;
use std::sync::{Mutex, Once, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use storm_proto::Drain;
use storm_proto::service::{Handler, Runtime, Server, Stopped};

/// How long sessions may take to close before they are cut off: less than their own close
/// timeout of 5 s.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// Runs a server's sample with its one argument, or with `default`, and prints its report.
pub(crate) fn run<E: Into<Box<dyn Error>>>(
    about: &str,
    default: &str,
    sample: impl FnOnce(&str) -> Result<Stopped, E>,
) -> ExitCode {
    run_client(about, default, |address| {
        let report = sample(address)?;
        let Stopped { connections, clean, timed_out, aborted, .. } = report;
        let others = report.failed + report.unopened;
        println!(
            "stopped: {connections} connections, {clean} closed cleanly, {timed_out} timed out, \
             {aborted} cut off, {others} ended otherwise"
        );
        Ok::<(), E>(())
    })
}

/// Runs a sample with its one argument, or with `default`.
pub(crate) fn run_client<E: Into<Box<dyn Error>>>(
    about: &str,
    default: &str,
    sample: impl FnOnce(&str) -> Result<(), E>,
) -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let usage = format!("usage: {name} [address]\n\nThe default address is {default}.");
    let misused = |what: String| {
        eprintln!("{name}: {what}\n\n{usage}");
        ExitCode::from(2)
    };
    let argument = arguments.next();
    let address = match argument.as_deref() {
        Some("-h" | "--help") => {
            println!("{about}\n\n{usage}");
            return ExitCode::SUCCESS;
        }
        Some(option) if option.starts_with('-') => {
            return misused(format!("unknown option {option}"));
        }
        argument => argument.unwrap_or(default),
    };
    if let Some(extra) = arguments.next() {
        return misused(format!("unexpected argument {extra}"));
    }
    match sample(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {address}: {}", sentence(&*error.into()));
            ExitCode::FAILURE
        }
    }
}

/// Serves until Ctrl-C or SIGTERM, then closes every session with 1001. Prints `listening` once
/// clients can connect.
pub(crate) fn serve<R: Runtime, H: Handler>(
    server: Server<R, H>,
    listening: String,
) -> R::Wait<impl Future<Output = io::Result<Stopped>>> {
    // Polled once the server listens.
    let signal = async move {
        println!("{listening}");
        terminated().await;
    };
    server.serve_with_shutdown(signal, drain())
}

/// Closes all sessions at once, and cuts off after [`GRACE`] those that do not answer.
pub(crate) fn drain() -> Drain {
    Drain::new().over(Duration::ZERO).within(GRACE)
}

/// Waits for Ctrl-C or SIGTERM. A second signal ends the process at once.
pub(crate) async fn terminated() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        if let Err(error) = ctrlc::set_handler(signalled) {
            eprintln!("ctrl-c will not end this gracefully: {error}");
        }
    });
    poll_fn(|cx| {
        let mut signal = SIGNAL.lock().unwrap_or_else(PoisonError::into_inner);
        if signal.came {
            return Poll::Ready(());
        }
        if !signal.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            signal.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
}

/// [`terminated`] in the way of a runtime: on threads it blocks.
pub(crate) fn terminated_on<R: Runtime>() -> R::Wait<impl Future<Output = ()>> {
    R::wait(terminated())
}

struct Signal {
    came: bool,
    waiting: Vec<Waker>,
}

static SIGNAL: Mutex<Signal> = Mutex::new(Signal { came: false, waiting: Vec::new() });

fn signalled() {
    let mut signal = SIGNAL.lock().unwrap_or_else(PoisonError::into_inner);
    if signal.came {
        // The status that shells give to a process that Ctrl-C has ended.
        std::process::exit(130);
    }
    signal.came = true;
    signal.waiting.drain(..).for_each(Waker::wake);
}

/// An error with all its sources, none of them twice.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !sentence.contains(&more) {
            sentence = format!("{sentence}: {more}");
        }
        source = error.source();
    }
    sentence
}
