//! What the author of a hand-written scenario uses: it reads as prose.

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::Duration;

use super::network::Link;
use super::plan::{
    BackendPlan, Behaviour, ClientPlan, Fault, FaultKind, Method, RequestPlan, Scenario,
};
use super::sweep::{self, SEED, SEEDS};
use super::told::Told;

/// A scenario in the making. See the [module](super) for an example.
#[derive(Clone, Debug)]
pub struct Story {
    scenario: Scenario,
    load: Load,
    client: ClientPlan,
    clients: u32,
    /// Clients that differ from those.
    others: Vec<(u32, Load, ClientPlan)>,
    together: bool,
    backend: BackendPlan,
}

/// The requests of each client.
#[derive(Clone, Debug)]
pub struct Load {
    request: RequestPlan,
    times: u32,
    every: Duration,
    /// What the same client asks for besides.
    others: Vec<Load>,
}

/// A GET that is answered with so many bytes.
pub fn get(download: u64) -> Load {
    request(Method::Get, 0, download)
}

/// A POST of so many bytes that is answered with as many.
pub fn post(upload: u64) -> Load {
    request(Method::Post, upload, upload)
}

/// A tunnel through which so many bytes go either way. The backend begins at once, and
/// each side ends its way when its bytes are sent.
pub fn tunnel(up: u64, down: u64) -> Load {
    request(Method::Connect, up, down).asks(Behaviour::Early)
}

fn request(method: Method, upload: u64, download: u64) -> Load {
    Load {
        request: RequestPlan {
            at: Duration::ZERO,
            method,
            upload,
            announced: true,
            stalls: false,
            padding: 0,
            priority: None,
            cancelled: None,
            download,
            asks: Behaviour::Answer,
        },
        times: 1,
        every: Duration::ZERO,
        others: Vec::new(),
    }
}

impl Load {
    /// So often.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Not before the client's start but so long after it.
    #[must_use]
    pub fn after(mut self, at: Duration) -> Self {
        self.request.at = at;
        self
    }

    /// The same client asks for this as well.
    #[must_use]
    pub fn and(mut self, other: Load) -> Self {
        self.others.push(other);
        self
    }

    /// One each so long, not all at once.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// The backend does this with each.
    #[must_use]
    pub fn asks(mut self, asks: Behaviour) -> Self {
        self.request.asks = asks;
        self
    }

    /// The client gives each up after this.
    #[must_use]
    pub fn cancelled_after(mut self, after: Duration) -> Self {
        self.request.cancelled = Some(after);
        self
    }

    /// Each says how much it is wanted.
    #[must_use]
    pub fn priority(mut self, value: &str) -> Self {
        self.request.priority = Some(value.to_owned());
        self
    }

    /// The client sends half of each body and then nothing.
    #[must_use]
    pub fn stalls(mut self) -> Self {
        self.request.stalls = true;
        self
    }

    /// Changes what has no word of its own.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut RequestPlan)) -> Self {
        change(&mut self.request);
        self
    }

    /// In order of their times.
    fn plan(&self) -> Vec<RequestPlan> {
        let own = (0..self.times).map(|n| RequestPlan {
            at: self.request.at + self.every * n,
            ..self.request.clone()
        });
        let mut plan: Vec<RequestPlan> = own.collect();
        plan.extend(self.others.iter().flat_map(Load::plan));
        plan.sort_by_key(|request| request.at);
        plan
    }
}

impl Default for Story {
    fn default() -> Self {
        Self::new()
    }
}

impl Story {
    /// One client that asks once, one backend that answers, clean links, a minute.
    pub fn new() -> Self {
        Story {
            scenario: Scenario {
                seed: 0,
                config: String::new(),
                workers: 1,
                segments: 8,
                turn: Duration::ZERO,
                blocked: 0,
                names: 0,
                clients: Vec::new(),
                backends: Vec::new(),
                client_link: Link::clean(),
                backend_link: Link::rack(),
                faults: Vec::new(),
                until: Duration::from_secs(60),
                kept: None,
            },
            load: get(1_000),
            client: ClientPlan {
                start: Duration::ZERO,
                requests: Vec::new(),
                window: 1 << 20,
                reads: None,
                resumes: false,
                early: false,
                vanishes: false,
                link: None,
            },
            clients: 1,
            others: Vec::new(),
            together: false,
            backend: BackendPlan {
                weight: 100,
                thinks: Duration::ZERO,
                streams: 100,
                window: 256_000,
                leaves_after: None,
                absent: false,
                link: None,
            },
        }
        .backends(1)
    }

    /// So many clients with the same load, their starts spread over its first second.
    #[must_use]
    pub fn clients(mut self, count: u32, load: Load) -> Self {
        self.clients = count;
        self.load = load;
        self
    }

    /// Other clients besides, with a load of their own.
    #[must_use]
    pub fn also(mut self, count: u32, load: Load, change: impl FnOnce(&mut ClientPlan)) -> Self {
        let mut client = self.client.clone();
        change(&mut client);
        self.others.push((count, load, client));
        self
    }

    /// Clients begin in the same moment.
    #[must_use]
    pub fn all_at_once(mut self) -> Self {
        self.together = true;
        self
    }

    /// Changes every client.
    #[must_use]
    pub fn client(mut self, change: impl FnOnce(&mut ClientPlan)) -> Self {
        change(&mut self.client);
        self
    }

    /// So many backends.
    #[must_use]
    pub fn backends(mut self, count: usize) -> Self {
        self.scenario.backends = vec![self.backend.clone(); count];
        self
    }

    /// Changes one backend.
    #[must_use]
    pub fn backend(mut self, index: usize, change: impl FnOnce(&mut BackendPlan)) -> Self {
        change(&mut self.scenario.backends[index]);
        self
    }

    /// Between clients and the balancer.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.scenario.client_link = link;
        self
    }

    /// Between the balancer and its backends.
    #[must_use]
    pub fn backend_link(mut self, link: Link) -> Self {
        self.scenario.backend_link = link;
        self
    }

    /// Keys added to the balancer's configuration, a line each.
    #[must_use]
    pub fn config(mut self, line: &str) -> Self {
        self.scenario.config += line;
        self.scenario.config.push('\n');
        self
    }

    /// Workers of the balancer.
    #[must_use]
    pub fn workers(mut self, count: u32) -> Self {
        self.scenario.workers = count;
        self
    }

    /// So often in a million a socket of the balancer is full when it sends.
    #[must_use]
    pub fn blocked(mut self, chance: u32) -> Self {
        self.scenario.blocked = chance;
        self
    }

    /// The balancer has its turn so long after a datagram came.
    #[must_use]
    pub fn turn(mut self, turn: Duration) -> Self {
        self.scenario.turn = turn;
        self
    }

    /// So many more names on the certificates, for a long handshake.
    #[must_use]
    pub fn names(mut self, count: u32) -> Self {
        self.scenario.names = count;
        self
    }

    /// Something happens at a time.
    #[must_use]
    pub fn at(mut self, at: Duration, what: FaultKind) -> Self {
        self.scenario.faults.push(Fault { at, what });
        self
    }

    /// When clients leave.
    #[must_use]
    pub fn until(mut self, until: Duration) -> Self {
        self.scenario.until = until;
        self
    }

    /// The scenario of a seed.
    pub fn scenario(&self, seed: u64) -> Scenario {
        let mut scenario = self.scenario.clone();
        scenario.seed = seed;
        scenario.clients = self.crowd(self.clients, &self.load, &self.client);
        for (count, load, client) in &self.others {
            scenario.clients.extend(self.crowd(*count, load, client));
        }
        scenario
    }

    fn crowd(&self, count: u32, load: &Load, client: &ClientPlan) -> Vec<ClientPlan> {
        let apart = if self.together {
            Duration::ZERO
        } else {
            Duration::from_secs(1) / count.max(1)
        };
        let clients = (0..count).map(|n| ClientPlan {
            start: client.start + apart * n,
            requests: load.plan(),
            ..client.clone()
        });
        clients.collect()
    }

    /// Plays it with `seeds` seeds (`SPOOKY_SIM_SEEDS`: with so many;
    /// `SPOOKY_SIM_SEED`: with this one) and lets `check` look at each outcome.
    ///
    /// # Panics
    /// If a promise is broken or `check` panics; first it is printed how to see that again.
    pub fn check(&self, seeds: u64, check: impl Fn(&Told)) {
        let seeds = match sweep::variable(SEED) {
            Some(seed) => seed..seed + 1,
            None => 0..sweep::variable(SEEDS).unwrap_or(seeds),
        };
        for seed in seeds {
            let log = sweep::log_file();
            let told = match self.scenario(seed).run_logged(log.as_deref()) {
                Ok(report) => Told { report },
                Err(failure) => panic!("{failure}{}", replay(seed)),
            };
            let checked = catch_unwind(AssertUnwindSafe(|| check(&told)));
            if let Err(panic) = checked {
                eprintln!("seed {seed}: {:?}\n{}", told.tally(), replay(seed));
                resume_unwind(panic);
            }
        }
    }
}

/// The command that shows a failure of the running test again.
fn replay(seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("");
    // Cargo calls a test's binary after its file, and adds a hash.
    let binary = std::env::current_exe().ok();
    let binary = binary.as_deref().and_then(Path::file_stem);
    let binary = binary.and_then(OsStr::to_str).unwrap_or("");
    let binary = binary.rsplit_once('-').map_or(binary, |(name, _)| name);
    format!(
        "to see it again: {SEED}={seed} ./x test rust -p spooky-tests --test {binary} -- --exact {test}"
    )
}
