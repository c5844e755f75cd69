//! Clients that go on living beside the one a test looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use spooky_mio::client::Client;

/// Clients pumped on a thread of their own: they acknowledge, and read what they
/// do not hold. They are gone when it is dropped.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Takes `clients` away.
    pub fn of(mut clients: Vec<Client>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                for client in &mut clients {
                    while let Ok(Some(_)) = client.next_event(Instant::now()) {}
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in there was printed, and cannot be told better here.
            let _ = thread.join();
        }
    }
}
