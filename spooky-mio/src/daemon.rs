//! A configuration, run as a service: logs, signals, the access log, an exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use spooky_core::Setup;
use spooky_core::config::Config;
use spooky_core::io::Event;
use spooky_os::{Control, Report};

use crate::access_log::AccessLog;
use crate::server::Server;
use crate::signals::{Caught, Wish};
use crate::traces::Traces;
use crate::trim::Trim;

/// How often the daemon looks whether access log lines were lost, or a crowd has left.
const LOOK: Duration = Duration::from_secs(1);
/// How long a sink may take the last lines of a log.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Runs until it has drained (0), was stopped by a second signal while requests
/// were in flight, or failed (1).
pub fn run(setup: Setup) -> ExitCode {
    match serve(setup) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Sends log lines to standard error, from the level that `config` names on.
/// `RUST_LOG` overrides it. To be called once in a process.
pub fn start_log(config: &Config) {
    let mut builder = env_logger::Builder::new();
    builder
        .filter_level(config.log.level)
        .parse_env(env_logger::Env::default());
    builder.format_timestamp_millis().format_target(false);
    if builder.try_init().is_err() {
        log::warn!("the log was started twice");
    }
}

fn serve(setup: Setup) -> Result<(), String> {
    let caught = Caught::new().map_err(|error| format!("cannot catch signals: {error}"))?;
    let drain_timeout = setup.config().drain_timeout;
    let access_log = match &setup.config().log.access {
        Some(config) => {
            let opened = AccessLog::open(config)
                .map_err(|error| format!("cannot open the access log: {error}"))?;
            Some(Arc::new(opened))
        }
        None => None,
    };
    let traces = Traces::open(&setup.config().log)?.map(Arc::new);
    let mut server = start(setup, access_log.clone(), traces.clone())?;
    let cut_short = Arc::new(AtomicBool::new(false));
    obey(
        caught,
        server.control(),
        drain_timeout,
        Arc::clone(&cut_short),
    )?;
    let (control, mut trim) = (server.control(), Trim::default());
    let ended = loop {
        let ended = server.wait(LOOK);
        trim.look(control.clients());
        if let Some(access_log) = &access_log {
            access_log.complain();
        }
        if let Some(traces) = &traces {
            traces.complain();
        }
        if let Some(ended) = ended {
            break ended;
        }
    };
    // A failed worker may have left anything behind: the others are not waited
    // for, and the process ends with `main`.
    if let Err(failed) = ended {
        std::mem::forget(server);
        return Err(failed.to_string());
    }
    tell(&server.control().report());
    if let Some(access_log) = &access_log {
        access_log.close(LAST_LINES);
        access_log.complain();
    }
    if let Some(traces) = &traces {
        traces.close(LAST_LINES);
        traces.complain();
    }
    if cut_short.load(Ordering::Relaxed) {
        return Err("stopped by a second signal before everything was finished".to_owned());
    }
    log::info!("drained; goodbye");
    Ok(())
}

fn start(
    setup: Setup,
    access_log: Option<Arc<AccessLog>>,
    traces: Option<Arc<Traces>>,
) -> Result<Server, String> {
    let observe = move |event| match event {
        Event::Exchange(record) => {
            if let Some(access_log) = &access_log {
                access_log.record(record);
            }
        }
        Event::KeyLog(lines) => {
            if let Some(traces) = &traces {
                traces.keys(lines);
            }
        }
        Event::Qlog(piece) => {
            if let Some(traces) = &traces {
                traces.qlog(piece);
            }
        }
        Event::Drained => {}
    };
    Server::start(setup, observe).map_err(|error| error.to_string())
}

fn obey(
    caught: Caught,
    control: Control,
    drain_timeout: Duration,
    cut_short: Arc<AtomicBool>,
) -> Result<(), String> {
    let grant = move |wish| match wish {
        Wish::Drain => {
            log::info!("draining for at most {drain_timeout:?}; a second signal stops at once");
            control.drain(drain_timeout);
        }
        Wish::Stop => {
            log::warn!("second signal: stopping at once");
            cut_short.store(true, Ordering::Relaxed);
            control.stop();
        }
        Wish::Reload => {
            log::warn!("SIGHUP: reload is not available yet; restart to apply a new configuration")
        }
    };
    caught
        .each(grant)
        .map_err(|error| format!("cannot listen for signals: {error}"))
}

fn tell(report: &Report) {
    let line = report
        .snapshot
        .counters
        .iter()
        .filter(|(_, count)| *count > 0);
    let line: Vec<String> = line
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    log::debug!("in all: {}; {:?}", line.join(", "), report.io);
}
