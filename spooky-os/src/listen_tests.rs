use std::collections::HashSet;
use std::time::Duration;

use super::*;

fn loopback(port: u16) -> Listen {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Listen {
        address,
        port,
        receive_buffer: 256 * 1024,
        send_buffer: 256 * 1024,
    }
}

#[test]
fn a_second_instance_is_told_that_the_address_is_in_use() {
    let first = bind(&loopback(0), 2).expect("bind");
    let port = first[0][0].local_addr().port();
    assert_eq!(first[1][0].local_addr().port(), port);
    let error = bind(&loopback(port), 2)
        .map(|_| ())
        .expect_err("the address is taken");
    assert!(error.to_string().ends_with("address in use"), "{error}");
    // Nor behind a wildcard.
    let wildcard = Listen {
        address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ..loopback(port)
    };
    bind(&wildcard, 1)
        .map(|_| ())
        .expect_err("the port is taken");
    drop(first);
    bind(&loopback(port), 2).expect("the address is free again");
}

#[test]
fn the_kernel_spreads_clients_over_the_listeners() {
    let workers = bind(&loopback(0), 2).expect("bind");
    let to = workers[0][0].local_addr();
    let clients: Vec<UdpSocket> = (0..64)
        .map(|_| UdpSocket::bind("127.0.0.1:0").expect("bind"))
        .collect();
    for client in &clients {
        client.send_to(b"hello", to).expect("send");
    }
    thread::sleep(Duration::from_millis(50));
    let mut seen = Vec::new();
    for worker in &workers {
        let mut batch = crate::Batch::new();
        let mut here = HashSet::new();
        while batch.receive(&worker[0]).is_ok() {
            here.extend(batch.messages().map(|message| message.from));
        }
        seen.push(here.len());
    }
    assert_eq!(seen.iter().sum::<usize>(), clients.len());
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn a_worker_has_a_listener_and_sockets_of_both_families() {
    let workers = bind(&loopback(0), 1).expect("bind");
    let names = names(&workers[0]).expect("there is a listener");
    assert_eq!(names.listener, workers[0][0].local_addr());
    let ids: Vec<u16> = names.backends.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, (1..=names.backends.len() as u16).collect::<Vec<_>>());
    let ipv4 = names
        .backends
        .iter()
        .filter(|(_, address)| address.is_ipv4())
        .count();
    assert_eq!(ipv4, usize::from(BACKEND_SOCKETS));
    let ports: HashSet<u16> = names
        .backends
        .iter()
        .map(|(_, address)| address.port())
        .collect();
    assert!(ports.len() >= usize::from(BACKEND_SOCKETS) && !ports.contains(&0));
}
