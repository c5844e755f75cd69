//! Spooky inside a program of one's own: `cargo run --example embed -- FILE`.
//!
//! The program counts answers by status, prints them every ten seconds, and
//! drains when its standard input ends.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spooky_core::config::Diagnostic;
use spooky_core::io::Event;
use spooky_tokio::{Handle, Server};

type Statuses = Arc<Mutex<BTreeMap<Option<u16>, u64>>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: embed FILE")?;
    let setup = spooky_tokio::read_config(path.as_ref())
        .and_then(spooky_tokio::setup)
        .map_err(told)?;
    let drain_timeout = setup.config().drain_timeout;
    let statuses = Statuses::default();
    let counted = Arc::clone(&statuses);
    let server = Server::start(setup, move |event| match event {
        Event::Exchange(record) => {
            let mut statuses = counted.lock().unwrap_or_else(PoisonError::into_inner);
            *statuses.entry(record.status).or_default() += 1;
        }
        // Come only if the configuration asks for them; the daemon writes them to files.
        Event::KeyLog(_) | Event::Qlog(_) | Event::Drained => {}
    })?;
    let handle = server.handle();
    println!(
        "listening on {}; end the input to drain",
        handle.local_addr()
    );
    tokio::spawn(print_now_and_then(handle.clone(), Arc::clone(&statuses)));
    let input = std::thread::spawn(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    while !input.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    handle.drain(drain_timeout);
    server.join().await?;
    println!(
        "drained: {:?}",
        statuses.lock().unwrap_or_else(PoisonError::into_inner)
    );
    Ok(())
}

async fn print_now_and_then(handle: Handle, statuses: Statuses) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let snapshot = handle.snapshot().await;
        let (connections, exchanges) = (snapshot.downstream_connections, snapshot.exchanges);
        let statuses = statuses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        println!(
            "{connections} connections, {exchanges} requests in flight, ended so far: {statuses:?}"
        );
    }
}

/// Every diagnostic on a line of its own.
fn told(diagnostics: Vec<Diagnostic>) -> String {
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
