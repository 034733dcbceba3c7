//! The limits of threads in the readme's table, held against the code.

use storm_proto::service::Runtime;
use storm_std::Std;

const README: &str = include_str!("../../README.md");

/// The default of a limit, as the table writes it.
fn documented(limit: &str) -> &'static str {
    let row = README.lines().find(|line| line.starts_with(&format!("| {limit} |")));
    row.and_then(|row| row.split('|').nth(3)).expect("a row of the table").trim()
}

#[test]
fn a_server_takes_as_many_connections_as_the_readme_says() {
    assert_eq!(Std::MAX_CONNECTIONS, Some(1024));
    assert_eq!(documented("connections, from accept"), "unlimited; on threads 1,024");
}

#[test]
fn the_stack_of_a_handler_is_as_large_as_the_readme_says() {
    assert_eq!(format!("{:?}", Std::default()), format!("{:?}", Std::stack_size(256 << 10)));
    assert_eq!(documented("stack of a handler's thread"), "256 KiB");
}
