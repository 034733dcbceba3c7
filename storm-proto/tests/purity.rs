//! The core names no socket, no thread, no clock, no runtime.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// What must not be named, and why.
const BANNED: [(&str, &str); 12] = [
    ("std::net", "addresses come from core::net; sockets belong to adapters"),
    ("std::thread::", "threads belong to adapters"),
    ("std::time::Instant", "time is an input"),
    ("SystemTime", "time is an input"),
    ("Instant::now", "time is an input"),
    ("std::fs", "the core does no IO"),
    ("std::process", "the core does no IO"),
    ("std::env", "settings are arguments"),
    ("tokio", "runtimes belong to adapters"),
    ("smol", "runtimes belong to adapters"),
    ("async_std", "runtimes belong to adapters"),
    ("socket2", "sockets belong to adapters"),
];

/// A client that is told to goes the way that the environment names.
const EXCEPTION: (&str, &str) = ("std::env", "service/connector.rs");

/// Where `std` may be named at all: what an application sees needs locks and wakers,
/// compression pools of its threads, and TLS is rustls with std.
const WITH_STD: [&str; 3] = ["service", "deflate", "tls"];

#[test]
fn no_source_of_the_core_names_io_a_runtime_or_a_clock() {
    let mut seen = 0;
    for (path, code) in sources() {
        seen += 1;
        for (number, line) in code.lines().enumerate().filter(|(_, line)| is_code(line)) {
            for (name, reason) in BANNED {
                if name == EXCEPTION.0 && path.ends_with(EXCEPTION.1) {
                    continue;
                }
                assert!(
                    !line.contains(name),
                    "{}:{}: {name}: {reason}",
                    path.display(),
                    number + 1
                );
            }
        }
    }
    assert!(seen > 30, "the sources were found");
}

#[test]
fn only_the_services_use_std() {
    for (path, code) in sources() {
        if WITH_STD.iter().any(|part| path.components().any(|c| c.as_os_str() == *part)) {
            continue;
        }
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = code.lines().collect::<Vec<_>>();
        for (at, line) in lines.iter().enumerate() {
            // A std item outside of the services stands behind the feature.
            let gated =
                lines[..at].iter().rev().take(3).any(|line| line.contains("feature = \"std\""));
            let uses_std = is_code(line) && line.contains("std::") && !line.contains("feature");
            assert!(
                !uses_std || gated || in_gated_item(&lines[..at]),
                "{}:{}",
                path.display(),
                at + 1
            );
        }
    }
}

/// True inside of an item that stands behind the feature: between its attribute and the
/// next line that starts with a brace.
fn in_gated_item(before: &[&str]) -> bool {
    let item = before.iter().rev().take_while(|line| !line.starts_with('}'));
    item.into_iter().any(|line| line.contains("feature = \"std\""))
}

fn is_code(line: &str) -> bool {
    !line.trim_start().starts_with("//")
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = fs::read_to_string(&path).unwrap();
                found.push((path, code));
            }
        }
    }
    found
}
