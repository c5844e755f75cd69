//! Workers as tasks.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use spooky_core::Setup;
use spooky_core::config::Workers;
use spooky_core::io::Event;
use spooky_core::observe::Snapshot;
use spooky_os::{Control, Observe, Report, StartError, Wake, assemble, bind, worker_count};
use tokio::runtime;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::event_loop;

/// A running Spooky: its workers, one a task.
///
/// Dropping it aborts the tasks: connections are left to time out. To part in
/// peace, [`Handle::drain`] and [`Server::join`].
pub struct Server {
    handle: Handle,
    tasks: JoinSet<Result<(), WorkerFailed>>,
}

/// Commands a running [`Server`] from anywhere. Clones command the same one.
#[derive(Clone)]
pub struct Handle {
    control: Control,
}

/// A worker ended without being asked: a bug, or a system that took its sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerFailed {
    /// What it said last.
    pub reason: String,
}

impl fmt::Display for WorkerFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a worker failed: {}", self.reason)
    }
}

impl std::error::Error for WorkerFailed {}

impl Server {
    /// Binds the sockets and starts the workers: as many as the configuration
    /// says, where `auto` is one for each thread of the runtime.
    ///
    /// `observe` takes the events of all workers, in their tasks, so it must be
    /// quick and never block.
    ///
    /// # Panics
    ///
    /// Outside a runtime, or in one without I/O and time.
    pub fn start(
        setup: Setup,
        observe: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Server, StartError> {
        let workers = match setup.config().workers {
            Workers::Auto => runtime::Handle::current().metrics().num_workers(),
            count @ Workers::Count(_) => worker_count(count),
        };
        let sockets = bind(&setup.config().listen, workers)?;
        let letters: Vec<Arc<Notify>> = (0..workers).map(|_| Arc::default()).collect();
        let observe: Observe = Arc::new(observe);
        let wakes = letters.iter().map(wake).collect();
        let (workers, control) = assemble(setup, sockets, wakes, &observe)?;
        let mut tasks = JoinSet::new();
        for (worker, letters) in workers.into_iter().zip(letters) {
            tasks.spawn(async move {
                let ended = event_loop::run(worker, letters).await;
                ended.map_err(|error| WorkerFailed {
                    reason: error.to_string(),
                })
            });
        }
        Ok(Server {
            handle: Handle { control },
            tasks,
        })
    }

    /// A handle to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends when all workers have drained or were stopped. One that fails takes
    /// the others down.
    pub async fn join(mut self) -> Result<(), WorkerFailed> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|error| WorkerFailed {
                reason: error.to_string(),
            })??;
        }
        Ok(())
    }
}

impl Handle {
    /// Where clients reach it, with the port really bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.control.local_addr()
    }

    /// Lets the workers finish what is in flight within `timeout`, and end.
    pub fn drain(&self, timeout: Duration) {
        self.control.drain(timeout);
    }

    /// Lets the workers close their connections and end at once.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// The core's state, all workers in one.
    pub async fn snapshot(&self) -> Snapshot {
        self.report().await.snapshot
    }

    /// The core's state and the sockets' counts, all workers in one.
    pub async fn report(&self) -> Report {
        let mut answers = Vec::with_capacity(self.control.workers());
        self.control.ask(|_| {
            let (sender, receiver) = oneshot::channel();
            answers.push(receiver);
            move |report| {
                // Whoever asked may have gone.
                let _ = sender.send(report);
            }
        });
        let mut reports = Vec::with_capacity(answers.len());
        for (worker, answer) in answers.into_iter().enumerate() {
            reports.extend(
                answer
                    .await
                    .ok()
                    .or_else(|| self.control.last_report(worker)),
            );
        }
        Report::sum(reports.into_iter())
    }
}

fn wake(letters: &Arc<Notify>) -> Wake {
    let letters = Arc::clone(letters);
    Arc::new(move || letters.notify_one())
}
