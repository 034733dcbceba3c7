//! `conformance autobahn`: runs the cases, prints a table by section, judges.
//!
//! The cases themselves are driven by the Python script beside this package; see
//! `conformance/autobahn/README.md`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::Runtime;
use crate::echo::Deflating;

/// Section 9 sends frames of 16 MiB.
const MAX_MESSAGE: &str = "67108864";

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, value_enum, default_value = "tokio")]
    runtime: Runtime,
    #[arg(long, value_enum, default_value = "both")]
    role: Roles,
    /// Which cases: '1.*,6.4.1', with '!' before those to leave out. All by default, those
    /// of compression only with --deflate.
    #[arg(long)]
    cases: Option<String>,
    /// Compresses: sections 12 and 13 then have to pass as well.
    #[arg(long)]
    deflate: bool,
    /// Speaks TLS below it, with a certificate that openssl makes.
    #[arg(long)]
    tls: bool,
    /// Python 3.11 or later, for the environment that the cases run in.
    #[arg(long, default_value = "python3")]
    python: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Roles {
    Server,
    Client,
    Both,
}

impl Roles {
    fn list(self) -> &'static [Role] {
        match self {
            Roles::Server => &[Role::Server],
            Roles::Client => &[Role::Client],
            Roles::Both => &[Role::Server, Role::Client],
        }
    }
}

/// The side that is under test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Client => "client",
        }
    }
}

pub(crate) fn run(options: &Options) -> io::Result<ExitCode> {
    let python = environment(&options.python)?;
    let tls = options.tls.then(Certificate::make).transpose()?;
    let mut clean = true;
    let Options { deflate, .. } = *options;
    let usual = if deflate { "*" } else { "*,!12.*,!13.*" };
    let cases = options.cases.as_deref().unwrap_or(usual);
    for runtime in options.runtime.each() {
        for &role in options.role.list() {
            let run = Run { python: &python, role, runtime, cases, deflate, tls: tls.as_ref() };
            clean &= report(&run, &run.results()?);
        }
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The folder of the driver.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("autobahn")
}

/// Where this package may write.
fn work() -> io::Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    };
    let folder = target.join("conformance");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A Python environment with the case files, made on the first run.
fn environment(python: &str) -> io::Result<PathBuf> {
    let folder = work()?.join("venv");
    let inside = folder.join("bin/python");
    let installed =
        Command::new(&inside).args(["-c", "import kosoku"]).stderr(Stdio::null()).status();
    if installed.is_ok_and(|status| status.success()) {
        return Ok(inside);
    }
    eprintln!("installing the case files into {}", folder.display());
    checked(Command::new(python).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let requirements = self::folder().join("requirements.txt");
    let mut pip = Command::new(&inside);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    checked(pip.args(["--require-hashes", "-r"]).arg(requirements))?;
    Ok(inside)
}

fn checked(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{:?} failed: {status}", command.get_program())))
}

/// What a server shows, and a client of the suite's trusts: two PEM files.
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn make() -> io::Result<Certificate> {
        let folder = work()?;
        let (chain, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        openssl.arg("-keyout").arg(&key).arg("-out").arg(&chain);
        checked(openssl.stderr(Stdio::null()))?;
        Ok(Certificate { chain, key })
    }
}

/// One side of one runtime.
struct Run<'a> {
    python: &'a Path,
    role: Role,
    runtime: Runtime,
    cases: &'a str,
    deflate: bool,
    tls: Option<&'a Certificate>,
}

impl Run<'_> {
    /// Runs the cases; returns what the driver says of each.
    fn results(&self) -> io::Result<Vec<Value>> {
        let report = work()?.join(format!("{}-{}.json", self.runtime.name(), self.role.name()));
        // A report that is there was written by this run.
        let _ = std::fs::remove_file(&report);
        match self.role {
            Role::Server => {
                // The suite asks for what it wants; a server with contexts can give it all.
                let mut echo = self.storm("echo", Deflating::Context);
                echo.args(["--listen", "127.0.0.1:0", "--max-message", MAX_MESSAGE]);
                let mut driver = self.driver(&report);
                if let Some(Certificate { chain, key }) = self.tls {
                    echo.arg("--certificate").arg(chain).arg("--key").arg(key);
                    driver.arg("--ca").arg(chain);
                }
                let (server, address) = Started::with_address(&mut echo)?;
                driver.args(["--url", &address]).status()?;
                drop(server);
            }
            Role::Client => {
                let mut driver = self.driver(&report);
                if let Some(Certificate { chain, key }) = self.tls {
                    driver.arg("--cert").arg(chain).arg("--key").arg(key);
                }
                let (mut driver, address) =
                    Started::with_address(driver.args(["--listen", "127.0.0.1:0"]))?;
                // The suite has cases for those only who promise to do without contexts.
                let mut client = self.storm("client", Deflating::NoContext);
                checked(client.args(["--url", &address]))?;
                driver.0.wait()?;
            }
        }
        serde_json::from_reader(std::fs::File::open(report)?).map_err(io::Error::other)
    }

    /// A subcommand of this program, on the runtime under test.
    fn storm(&self, subcommand: &str, deflating: Deflating) -> Command {
        let this = std::env::current_exe().unwrap_or_else(|_| "conformance".into());
        let mut command = Command::new(this);
        command.args([subcommand, "--runtime", &self.runtime.name()]);
        if self.deflate {
            command.args(["--deflate", &deflating.name()]);
        }
        if self.tls.is_some() {
            command.arg("--tls");
        }
        command
    }

    fn driver(&self, report: &Path) -> Command {
        let mut command = Command::new(self.python);
        command.arg(folder().join("driver.py")).arg(self.role.name());
        command.args(["--strict", "--cases", self.cases, "--out"]).arg(report);
        command.stdout(Stdio::null());
        command
    }
}

/// A process that ends with its owner.
struct Started(Child);

impl Started {
    /// Starts a process that says `listening on ADDRESS` when it is ready.
    fn with_address(command: &mut Command) -> io::Result<(Started, String)> {
        let mut started = Started(command.stdout(Stdio::piped()).spawn()?);
        let mut line = String::new();
        if let Some(out) = started.0.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        match line.trim().strip_prefix("listening on ") {
            Some(address) => Ok((started, address.to_owned())),
            None => Err(io::Error::other(format!("{:?} did not start", command.get_program()))),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints the table of a run; true if every case is OK or informational.
fn report(run: &Run<'_>, results: &[Value]) -> bool {
    const COLUMNS: [&str; 4] = ["OK", "INFORMATIONAL", "NON-STRICT", "other"];
    let tls = if run.tls.is_some() { ", over TLS" } else { "" };
    println!("\n{} as {}{tls}\n", run.runtime.name(), run.role.name());
    println!("| section | cases | OK | informational | non-strict | failed |");
    println!("|---|---:|---:|---:|---:|---:|");
    let mut sections = BTreeMap::<u32, [usize; 4]>::new();
    let mut failed = Vec::new();
    for result in results {
        let text = |key| result.get(key).and_then(Value::as_str).unwrap_or("MISSING");
        let close_is_fine = matches!(text("behaviorClose"), "OK" | "INFORMATIONAL");
        let behavior = text("behavior");
        let mut column = COLUMNS.iter().position(|known| *known == behavior).unwrap_or(3);
        if column > 1 || !close_is_fine {
            column = if close_is_fine { column } else { 3 };
            failed.push(format!("{}: {behavior}, {}", text("case"), text("detail")));
        }
        let section = text("case").split('.').next().and_then(|number| number.parse().ok());
        sections.entry(section.unwrap_or_default()).or_default()[column] += 1;
    }
    let mut total = [0; 4];
    for (section, counts) in &sections {
        print_row(&section.to_string(), counts);
        total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    print_row("all", &total);
    for case in &failed {
        println!("  {case}");
    }
    if results.is_empty() {
        println!("  no case ran");
    }
    failed.is_empty() && !results.is_empty()
}

fn print_row(name: &str, counts: &[usize; 4]) {
    let [ok, informational, non_strict, other] = counts;
    let cases: usize = counts.iter().sum();
    println!("| {name} | {cases} | {ok} | {informational} | {non_strict} | {other} |");
}
