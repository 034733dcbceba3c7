//! Servers under test as child processes, and what Linux says they used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::Sub;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::Result;
use crate::cli::ServerSpec;

const START: Duration = Duration::from_secs(10);

/// Linux reports times in hundredths of a second (USER_HZ), whatever its own tick is.
const TICK: Duration = Duration::from_millis(10);

/// A running server; dropping it ends it.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts the command and waits for its `listening on <scheme>://<address>`.
    pub fn start(spec: &ServerSpec, cpu: Option<u32>) -> Result<Self> {
        // taskset replaces itself by the server, so the child's id is the server's.
        let pin = cpu.map(|cpu| ["taskset".to_owned(), "-c".to_owned(), cpu.to_string()]);
        let command: Vec<&String> = pin.iter().flatten().chain(&spec.command).collect();
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let (tell, told) = mpsc::channel();
        // Reads on after the first line, so that a talkative server never waits for a full pipe.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    // Nobody listens any more once the first address was taken.
                    let _ = tell.send(url.to_owned());
                }
            }
        });
        // Made first, so that an address that cannot be used ends the child too. Other addresses
        // than loopback are refused: this tool must not be able to load somebody else's machine.
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let url = told
            .recv_timeout(START)
            .map_err(|_| "the command ended, or stayed silent, before it said where it listens")?;
        let address = url
            .strip_prefix(spec.protocol.scheme())
            .and_then(|rest| rest.strip_prefix("://"))
            .and_then(|rest| rest.trim_end().trim_end_matches('/').parse::<SocketAddr>().ok())
            .ok_or_else(|| format!("expected {}://IP:PORT, not {url}", spec.protocol.scheme()))?;
        if !address.ip().is_loopback() {
            return Err(format!("{address} is not a loopback address").into());
        }
        server.address = address;
        Ok(server)
    }

    pub fn cpu(&self) -> Result<CpuTime> {
        CpuTime::of(&self.child.id().to_string())
    }

    /// Resident memory of the process, in bytes.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kib.ok_or("no VmRSS: has the server ended?")?.trim().parse::<u64>()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of all threads of a process since its start.
#[derive(Clone, Copy)]
pub struct CpuTime {
    pub user: Duration,
    pub system: Duration,
}

impl CpuTime {
    /// `process` is an id or `self`.
    pub fn of(process: &str) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name, in parentheses, may contain anything; what follows the last one is regular.
        let mut fields =
            stat.rsplit_once(')').ok_or("malformed stat")?.1.split_ascii_whitespace().skip(11);
        let mut next = || -> Result<Duration> {
            Ok(TICK * fields.next().ok_or("short stat")?.parse::<u32>()?)
        };
        Ok(Self { user: next()?, system: next()? })
    }

    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        // The kernel splits an exact sum by samples; saturating, as a part may move back a tick.
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// Pins this process to a cpu; `false` where that is not possible (no taskset, no such cpu).
pub fn pin_self(cpu: u32) -> bool {
    let process = std::process::id().to_string();
    let status = Command::new("taskset")
        .args(["-cp", &cpu.to_string(), &process])
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
