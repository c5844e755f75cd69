//! What is to be built: backends, relays, a Spooky and its configuration.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use spooky_mio::client::transport::Windows;
use spooky_mio::demo::backend::{Backend, Options};
use spooky_mio::demo::identity::{Authority, Identity};
use spooky_mio::demo::scratch::ScratchDir;

use crate::running::Front;
use crate::{Relay, Running};

/// Which driver the Spooky of a [`Stack`] runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The daemon's: a thread a worker.
    Mio,
    /// The adapter: a task a worker.
    Tokio,
}

impl Driver {
    /// Each of them.
    pub const ALL: [Driver; 2] = [Driver::Mio, Driver::Tokio];
}

/// A description of a Spooky and its surroundings; [`Stack::start`] builds it.
#[derive(Clone, Debug)]
pub struct Stack {
    driver: Driver,
    backends: usize,
    elsewhere: Vec<SocketAddr>,
    weights: Vec<u32>,
    relayed: bool,
    windows: Windows,
    names: Vec<String>,
    untrusted: bool,
    backend_tls: String,
    listen: String,
    workers: usize,
    config: String,
}

impl Default for Stack {
    fn default() -> Self {
        Self::new()
    }
}

impl Stack {
    /// One backend, one worker, nothing special.
    pub fn new() -> Self {
        Self {
            driver: Driver::Mio,
            backends: 1,
            elsewhere: Vec::new(),
            weights: Vec::new(),
            relayed: false,
            windows: Windows::default(),
            names: vec!["127.0.0.1".into()],
            untrusted: false,
            backend_tls: "ca: ca.pem".into(),
            listen: "127.0.0.1".into(),
            workers: 1,
            config: String::new(),
        }
    }

    /// Runs Spooky on this driver.
    #[must_use]
    pub fn on(self, driver: Driver) -> Self {
        Self { driver, ..self }
    }

    /// So many backends, called web1, web2, ….
    #[must_use]
    pub fn backends(self, backends: usize) -> Self {
        Self { backends, ..self }
    }

    /// One more backend in the configuration, after the others, of which there is
    /// only an address.
    #[must_use]
    pub fn backend_at(mut self, address: SocketAddr) -> Self {
        self.elsewhere.push(address);
        self
    }

    /// The backends' weights, in order; those left out have the default.
    #[must_use]
    pub fn weights(self, weights: &[u32]) -> Self {
        let weights = weights.to_vec();
        Self { weights, ..self }
    }

    /// Puts a [`Relay`] before each backend.
    #[must_use]
    pub fn relayed(self) -> Self {
        let relayed = true;
        Self { relayed, ..self }
    }

    /// Flow control and stream limit of the backends.
    #[must_use]
    pub fn backend_windows(self, windows: Windows) -> Self {
        Self { windows, ..self }
    }

    /// What the backends' certificate names.
    #[must_use]
    pub fn backends_named(self, names: &[&str]) -> Self {
        let names = names.iter().map(ToString::to_string).collect();
        Self { names, ..self }
    }

    /// The backends' certificate is signed by somebody else.
    #[must_use]
    pub fn untrusted_backends(self) -> Self {
        let untrusted = true;
        Self { untrusted, ..self }
    }

    /// The section `backend_tls`, within its braces.
    #[must_use]
    pub fn backend_tls(self, section: &str) -> Self {
        let backend_tls = section.to_owned();
        Self {
            backend_tls,
            ..self
        }
    }

    /// Where Spooky listens, on a free port.
    #[must_use]
    pub fn listen(self, address: &str) -> Self {
        let listen = address.to_owned();
        Self { listen, ..self }
    }

    /// How many workers Spooky has.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// More sections of the configuration, in YAML.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        self.config.push_str(yaml);
        self.config.push('\n');
        self
    }

    /// Builds it and starts it in this process.
    pub fn start(self) -> Running {
        let built = self.build(0);
        let config = spooky_mio::read_config(&built.config)
            .unwrap_or_else(|all| panic!("the configuration is wrong: {}", all[0]));
        let setup = spooky_mio::setup(config)
            .unwrap_or_else(|all| panic!("the configuration is wrong: {}", all[0]));
        let front = Front::start(self.driver, setup);
        Running::new(built, front)
    }

    /// Builds all but the Spooky: `port` is what the configuration says.
    pub(crate) fn build(&self, port: u16) -> Built {
        let dir = ScratchDir::new("spooky-tests").expect("a directory for the test");
        let authority = Authority::new("spooky tests").expect("an authority");
        let (trusted, all) = ("ca.pem", ["localhost", "127.0.0.1", "127.0.0.2", "::1"]);
        fs::write(dir.path().join(trusted), authority.pem()).expect("a file in there");
        let front = authority.issue(&all).expect("an identity for Spooky");
        front.write(dir.path(), "spooky").expect("a file in there");
        let stranger = Authority::new("somebody else").expect("an authority");
        let signer = if self.untrusted {
            &stranger
        } else {
            &authority
        };
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let identity = signer.issue(&names).expect("an identity for the backends");
        let backends: Vec<Backend> = (1..=self.backends)
            .map(|n| start_backend(&identity, self.options(n)))
            .collect();
        let relays: Vec<Relay> = match self.relayed {
            true => backends.iter().map(|b| Relay::to(b.address())).collect(),
            false => Vec::new(),
        };
        let mut addresses: Vec<SocketAddr> = match self.relayed {
            true => relays.iter().map(Relay::address).collect(),
            false => backends.iter().map(Backend::address).collect(),
        };
        addresses.extend(&self.elsewhere);
        let config = dir.path().join("spooky.yaml");
        fs::write(&config, self.yaml(port, &addresses)).expect("a file in there");
        Built {
            stack: self.clone(),
            identity,
            ca: authority.pem().to_owned(),
            backends: backends.into_iter().map(Some).collect(),
            relays,
            config,
            _dir: dir,
        }
    }

    /// How backend `number` is made.
    pub(crate) fn options(&self, number: usize) -> Options {
        Options {
            windows: self.windows.clone(),
            ..Options::named(&format!("web{number}"))
        }
    }

    fn yaml(&self, port: u16, backends: &[SocketAddr]) -> String {
        let mut text = format!(
            "listen: {{address: \"{}\", port: {port}}}\n\
             tls: {{cert: spooky.pem, key: spooky.key}}\n\
             workers: {}\n\
             backend_tls: {{{}}}\n\
             {}\
             backends:\n",
            self.listen, self.workers, self.backend_tls, self.config
        );
        for (index, address) in backends.iter().enumerate() {
            let (id, weight) = (index + 1, self.weights.get(index).unwrap_or(&100));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "  - {{id: web{id}, address: \"{address}\", weight: {weight}}}"
            );
        }
        text
    }
}

/// Everything but the Spooky.
pub(crate) struct Built {
    pub(crate) stack: Stack,
    pub(crate) identity: Identity,
    pub(crate) ca: String,
    pub(crate) backends: Vec<Option<Backend>>,
    pub(crate) relays: Vec<Relay>,
    pub(crate) config: PathBuf,
    /// Last, because the others may still read in there.
    pub(crate) _dir: ScratchDir,
}

pub(crate) fn start_backend(identity: &Identity, options: Options) -> Backend {
    Backend::start(identity, options).expect("a backend on a free port")
}
