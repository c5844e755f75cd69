//! Clients that come back, to another worker, a restarted process, or another machine.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use spooky_core::config::Config;
use spooky_core::io::{SocketId, Sockets};
use spooky_core::{Material, Params, Proxy, Setup, Shared};

use super::{
    ID, Peer, Rig, backend_address, backend_socket, client_address, listener, peer_config,
};
use crate::sim::memory::charged;

/// What every proxy of a rig is made from, besides the keys of a test.
pub(super) struct Plan {
    pub(super) backends: usize,
    pub(super) cert: String,
    pub(super) key: String,
}

impl Plan {
    /// The only worker of a process.
    pub(super) fn proxy(&self, config: &str, seed: [u8; 32]) -> Proxy {
        let setup = Arc::new(self.setup(config));
        let shared = Shared::new(&setup, 1, seed);
        worker(setup, shared, 0)
    }

    fn setup(&self, keys: &str) -> Setup {
        let rows = (0..self.backends)
            .map(|i| format!("  - {{ id: b{i}, address: \"{}\" }}\n", backend_address(i)));
        // The section `tls` is ours; a test adds to it with lines `tls.KEY: VALUE`.
        let (in_tls, others): (Vec<&str>, Vec<&str>) =
            keys.lines().partition(|line| line.starts_with("tls."));
        let in_tls = in_tls.iter().map(|line| line.replace("tls.", ", "));
        let text = format!(
            "listen: {{ address: \"127.0.0.1\", port: 443 }}\n\
             tls: {{ cert: c.pem, key: k.pem{} }}\n\
             backend_tls: {{ verify: false }}\nbackends:\n{}{}\n",
            in_tls.collect::<String>(),
            rows.collect::<String>(),
            others.join("\n"),
        );
        let config =
            Config::parse("rig.yaml", &text).unwrap_or_else(|found| panic!("{found:?}\n{text}"));
        let pem = [self.cert.as_bytes(), self.key.as_bytes()];
        let files = config.files().into_iter();
        let material = Material {
            files: files.zip(pem.map(|pem| Ok(pem.to_vec()))).collect(),
            // Each variable's value is made from its name.
            env: (config.env_vars().into_iter())
                .map(|name| (name.clone(), name.repeat(32).into_bytes()))
                .collect(),
            ..Material::default()
        };
        Setup::build(config, &material).unwrap_or_else(|found| panic!("{found:?}\n{text}"))
    }
}

fn worker(setup: Arc<Setup>, shared: Arc<Shared>, worker: usize) -> Proxy {
    let sockets = Sockets {
        listener: listener(),
        backends: vec![(SocketId(1), backend_socket())],
    };
    let mut seed = [2; 32];
    seed[0] += u8::try_from(worker).expect("a few workers");
    let params = Params {
        setup,
        shared,
        worker,
        seed,
        wall: SystemTime::now(),
        sockets,
    };
    Proxy::new(params, Instant::now())
}

impl Rig {
    /// The last ticket that the client got, in quiche's own form.
    pub fn ticket(&self) -> Option<Vec<u8>> {
        self.client.quic.session().map(<[u8]>::to_vec)
    }

    /// Another client comes, from the same address; with `ticket` it resumes, and may
    /// send early data. Returns its first datagrams, which nobody has been given: with
    /// `ticket`, [`Rig::get`] may be called before they are.
    pub fn come_again(&mut self, ticket: Option<&[u8]>) -> Vec<Vec<u8>> {
        let mut config = peer_config(None);
        config.enable_early_data();
        self.come(config, ticket)
    }

    /// The same of a client that sends no early data, whatever its ticket allows.
    pub fn come_again_late(&mut self, ticket: &[u8]) -> Vec<Vec<u8>> {
        self.come(peer_config(None), Some(ticket))
    }

    fn come(&mut self, mut config: quiche::Config, ticket: Option<&[u8]>) -> Vec<Vec<u8>> {
        self.next_id += 1;
        let id = [0x80 | self.next_id; ID];
        let scid = quiche::ConnectionId::from_ref(&id);
        let (from, to) = (client_address(), listener());
        let mut quic =
            quiche::connect(Some("localhost"), &scid, from, to, &mut config).expect("a client");
        if let Some(ticket) = ticket {
            quic.set_session(ticket).expect("a ticket of quiche's");
        }
        self.client = Peer::new(quic, from, to, &id, &[]);
        let first = self.client.datagrams();
        if self.client.quic.is_in_early_data() {
            self.client.begin_http(false);
        }
        first
    }

    /// Gives the proxy datagrams of the client and lets it work with its backends, who
    /// may answer. The client hears nothing: what was for it is returned.
    pub fn without_client(&mut self, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        self.from_address(datagrams);
        self.deaf_client = true;
        while self.run() + self.from_backends() > 0 {}
        self.deaf_client = false;
        std::mem::take(&mut self.unheard)
    }

    /// [`Rig::skip`], and the client hears nothing meanwhile.
    pub fn skip_without_client(&mut self, time: Duration) {
        self.ahead += time;
        self.proxy.handle_timeout(self.now());
    }

    /// The client is given what it did not hear.
    pub fn to_client(&mut self, datagrams: Vec<Vec<u8>>) {
        for data in datagrams {
            self.client.receive(data);
        }
    }

    /// Another process takes the proxy's place, with another configuration or the same.
    /// `seed` is its randomness.
    pub fn restart(&mut self, config: &str, seed: u8) {
        self.proxy = charged(|| self.plan.proxy(config, [seed; 32]));
        self.ahead = Duration::ZERO;
    }

    /// A process of two workers takes the proxy's place: the first one is there, the
    /// other is returned. They may be swapped.
    pub fn two_workers(&mut self, config: &str) -> Proxy {
        let (first, second) = charged(|| {
            let setup = Arc::new(self.plan.setup(config));
            let shared = Shared::new(&setup, 2, [1; 32]);
            let first = worker(Arc::clone(&setup), Arc::clone(&shared), 0);
            (first, worker(setup, shared, 1))
        });
        self.proxy = first;
        second
    }

    /// How many heads of requests came at backends.
    pub fn asked_of_backends(&self) -> usize {
        self.connections.iter().map(|(_, peer)| peer.heads()).sum()
    }
}
