//! A daemon between the load and two backends, measured alone.
//!
//! Backends and generator share processors among themselves and leave one to the
//! daemon, whose processor time is what the table shows.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use spooky_mio::client::{Client, Error, Options, Target, Trust};
use spooky_mio::demo::backend::{self, Backend};
use spooky_mio::demo::identity::{Authority, Identity};
use spooky_mio::demo::scratch::ScratchDir;

use crate::latency::{self, Start};
use crate::load::{self, Plan};
use crate::pin;
use crate::report::Table;

/// Connections of each kind whose handshakes and first bytes are timed.
const TIMED: usize = 500;
/// How long a daemon may take to answer its first handshake.
const START: Duration = Duration::from_secs(10);

/// What `bench demo` measures.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The daemon's program; it is run with `--config FILE`.
    pub daemon: PathBuf,
    /// The processor it has for itself.
    pub daemon_cpu: String,
    /// Those of the backends and the generator.
    pub peer_cpus: String,
    /// Many small answers.
    pub small: Case,
    /// Few large ones.
    pub bulk: Case,
    /// Connections that are held and ask nothing.
    pub idle: usize,
    /// The measured window of each case.
    pub duration: Duration,
    /// Threads of the generator.
    pub threads: usize,
    /// Also ask a backend without the daemon, for comparison.
    pub direct: bool,
}

/// One kind of load.
#[derive(Clone, Debug)]
pub struct Case {
    /// Connections to the server.
    pub connections: usize,
    /// Requests at once on each.
    pub streams: usize,
    /// The body's length.
    pub bytes: u64,
}

/// Measures; progress goes to stderr, the table is the result.
pub fn run(setting: &Setting) -> Result<String, String> {
    let dir =
        ScratchDir::new("spooky-bench").map_err(|e| format!("no temporary directory: {e}"))?;
    pin::this_process(&setting.peer_cpus)?;
    let authority = write_identities(dir.path())?;
    let backends = ["web1", "web2"]
        .iter()
        .map(|id| BackendProcess::start(id, dir.path()))
        .collect::<Result<Vec<_>, _>>()?;
    let trust = Trust::Authorities(authority.pem().as_bytes().to_vec());
    // First of all: where it does not start, nobody should wait to be told.
    let daemon = Daemon::start(setting, dir.path(), &backends, &trust)?;
    let mut table = Table::new();
    if setting.direct {
        let backend = &backends[0];
        measure(
            setting,
            "direct",
            backend.address,
            backend.child.id(),
            &trust,
            &mut table,
        )?;
    }
    measure(
        setting,
        "through",
        daemon.address,
        daemon.child.id(),
        &trust,
        &mut table,
    )?;
    measure_latency(&daemon, &trust, &mut table)?;
    let idle = measure_handshakes(setting, &daemon, &trust, &mut table)?;
    Ok(format!("{}{idle}", table.as_str()))
}

/// What one client after the other waits for.
fn measure_latency(daemon: &Daemon, trust: &Trust, table: &mut Table) -> Result<(), String> {
    let url = format!("https://{}/bytes/16", daemon.address);
    let target: Target = url.parse().map_err(|error: Error| error.to_string())?;
    eprintln!("{TIMED} connections, one at a time: new, resumed, with 0-RTT");
    for (start, name) in [
        (Start::New, "new"),
        (Start::Resumed, "resumed"),
        (Start::Early, "0-RTT"),
    ] {
        let [handshakes, answers] = latency::run(&target, trust, start, TIMED)?;
        table.row(&format!("handshake, {name}"), &handshakes);
        table.row(&format!("first byte, {name}"), &answers);
    }
    Ok(())
}

/// Handshakes one after the other, and many connections that stay.
fn measure_handshakes(
    setting: &Setting,
    daemon: &Daemon,
    trust: &Trust,
    table: &mut Table,
) -> Result<String, String> {
    let url = format!("https://{}/", daemon.address);
    let mut plan = Plan {
        target: url.parse().map_err(|error: Error| error.to_string())?,
        trust: trust.clone(),
        connections: setting.small.connections,
        streams: 0,
        only_handshakes: true,
        warm_up: Duration::from_secs(1),
        duration: setting.duration,
        threads: setting.threads,
        pid: Some(daemon.child.id()),
    };
    eprintln!("handshakes for {:?}", plan.duration);
    table.row("handshakes", &load::run(&plan)?);
    eprintln!("{} idle connections", setting.idle);
    plan.connections = setting.idle;
    plan.only_handshakes = false;
    // Less than the idle timeout, and enough to make them all.
    (plan.warm_up, plan.duration) = (Duration::ZERO, Duration::from_secs(15));
    let outcome = load::run(&plan)?;
    let (held, grown) = (outcome.tally.answered, outcome.grown.unwrap_or(0));
    Ok(format!(
        "{held} idle connections: {:.1} kB each\n",
        grown as f64 / 1000.0 / held.max(1) as f64
    ))
}

fn write_identities(dir: &Path) -> Result<Authority, String> {
    let authority = Authority::new("spooky bench").map_err(|error| error.to_string())?;
    let identity = authority.issue_local().map_err(|error| error.to_string())?;
    identity
        .write(dir, "server")
        .and_then(|()| fs::write(dir.join("ca.pem"), authority.pem()))
        .map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(authority)
}

/// Runs both cases against `address`, whose process is `pid`.
fn measure(
    setting: &Setting,
    name: &str,
    address: SocketAddr,
    pid: u32,
    trust: &Trust,
    table: &mut Table,
) -> Result<(), String> {
    for case in [&setting.small, &setting.bulk] {
        let url = format!("https://{address}/bytes/{}", case.bytes);
        eprintln!(
            "{name}: {} connections × {} streams of {} bytes for {:?}",
            case.connections, case.streams, case.bytes, setting.duration
        );
        let plan = Plan {
            target: url.parse().map_err(|error: Error| error.to_string())?,
            trust: trust.clone(),
            connections: case.connections,
            streams: case.streams,
            only_handshakes: false,
            warm_up: Duration::from_secs(1),
            duration: setting.duration,
            threads: setting.threads,
            pid: Some(pid),
        };
        let outcome = load::run(&plan)?;
        table.row(&format!("{name} {} B", case.bytes), &outcome);
    }
    Ok(())
}

/// A process that is killed with the value.
struct Killed(Child);

impl Killed {
    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // Errors say that it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct BackendProcess {
    child: Killed,
    address: SocketAddr,
    id: String,
}

impl BackendProcess {
    fn start(id: &str, dir: &Path) -> Result<Self, String> {
        let failed = |why: String| format!("backend {id} does not start: {why}");
        let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let child = Command::new(program)
            .args(["backend", "--id", id, "--dir"])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut child = Killed(child);
        let mut line = String::new();
        if let Some(output) = child.0.stdout.take() {
            BufReader::new(output)
                .read_line(&mut line)
                .map_err(|error| failed(error.to_string()))?;
        }
        let address = line
            .trim()
            .parse()
            .map_err(|_| failed(format!("it said {line:?} instead of its address")))?;
        Ok(Self {
            child,
            address,
            id: id.to_owned(),
        })
    }
}

/// The other side of `BackendProcess`: says where it listens, and serves until
/// its standard input ends, which it does when the bench is gone.
pub fn serve_backend(id: &str, dir: &Path) -> Result<(), String> {
    let read = |name: &str| {
        let file = dir.join(name);
        fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let identity = Identity {
        cert: read("server.pem")?,
        key: read("server.key")?,
    };
    let backend = Backend::start(&identity, backend::Options::named(id))
        .map_err(|error| format!("backend {id} does not start: {error}"))?;
    println!("{}", backend.address());
    std::io::stdout()
        .flush()
        .map_err(|error| error.to_string())?;
    let mut nothing = Vec::new();
    std::io::stdin()
        .read_to_end(&mut nothing)
        .map_err(|error| error.to_string())?;
    Ok(())
}

struct Daemon {
    child: Killed,
    address: SocketAddr,
}

impl Daemon {
    fn start(
        setting: &Setting,
        dir: &Path,
        backends: &[BackendProcess],
        trust: &Trust,
    ) -> Result<Self, String> {
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let (config, log) = (dir.join("spooky.yaml"), dir.join("daemon.log"));
        let write = |error: std::io::Error| format!("{}: {error}", dir.display());
        fs::write(&config, configuration(address, backends)).map_err(write)?;
        let output = File::create(&log).map_err(write)?;
        let errors = output.try_clone().map_err(write)?;
        let child = pin::command(&setting.daemon_cpu, &setting.daemon)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| pin::missing(&error))?;
        let mut daemon = Self {
            child: Killed(child),
            address,
        };
        daemon.wait(trust).map_err(|why| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("{}: {why}\n{said}", setting.daemon.display())
        })?;
        Ok(daemon)
    }

    /// Waits until it answers handshakes.
    fn wait(&mut self, trust: &Trust) -> Result<(), String> {
        let url = format!("https://{}/", self.address);
        let target: Target = url.parse().map_err(|error: Error| error.to_string())?;
        let until = Instant::now() + START;
        let options = Options {
            connect_timeout: Duration::from_secs(1),
            ..Options::default()
        };
        loop {
            if let Ok(Some(status)) = self.child.0.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            match Client::connect(&target, trust, &options) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= until => {
                    return Err(format!("no answer in {START:?}: {error}"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn configuration(listen: SocketAddr, backends: &[BackendProcess]) -> String {
    let mut text = format!(
        "workers: 1\n\
         listen:\n  address: \"{}\"\n  port: {}\n\
         tls:\n  cert: server.pem\n  key: server.key\n\
         load_balancing:\n  lb_type: random\n\
         backend_tls:\n  ca: ca.pem\n\
         backends:\n",
        listen.ip(),
        listen.port()
    );
    for backend in backends {
        let (id, address) = (&backend.id, backend.address);
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "  - id: {id}\n    address: \"{address}\"\n    weight: 100\n"
        );
    }
    text
}
