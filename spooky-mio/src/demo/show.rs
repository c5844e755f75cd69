//! The demo's requests, and a line for each answer.

use std::net::SocketAddr;

use super::pattern;
use crate::client::{Client, Error, Options, Payload, Request, Response, Target, Trust};

/// A request of the demo, with what its answer must hold.
struct Show {
    request: Request,
    holds: fn(&Response) -> bool,
}

/// Asks `front`, prints what comes; true if every answer is what it should be.
pub(super) fn requests(front: SocketAddr, ca: &str) -> Result<bool, String> {
    let url = format!("https://{front}/");
    let target: Target = url.parse().map_err(|error: Error| error.to_string())?;
    let trust = Trust::Authorities(ca.as_bytes().to_vec());
    let mut client = Client::connect(&target, &trust, &Options::default())
        .map_err(|error| format!("{url}: {error}"))?;
    println!(
        "{:<22} {:>6}  {:<8} {:>9}  answer",
        "request", "status", "backend", "ms"
    );
    let mut all = true;
    for show in shows(&target) {
        let name = format!("{} {}", show.request.method, show.request.path);
        match client.fetch(show.request) {
            Ok(response) => {
                let right = (show.holds)(&response);
                all &= right;
                print(&name, &response, right);
            }
            Err(error) => {
                all = false;
                println!("{name:<22} {error}");
            }
        }
    }
    Ok(all)
}

fn shows(target: &Target) -> Vec<Show> {
    let get = |path: &str| Request::get(target).path(path);
    let show = |request: Request, holds| Show { request, holds };
    let mut shows: Vec<Show> = (0..6)
        .map(|_| {
            show(get("/"), |r| {
                r.status == 200 && r.body.starts_with(b"hello from")
            })
        })
        .collect();
    shows.push(show(get("/bytes/10485760"), |r| {
        r.status == 200 && r.body.len() == 10 << 20 && pattern::matches(0, &r.body)
    }));
    let upload = Request::post(target, Payload::Pattern(1 << 20)).path("/count");
    shows.push(show(upload, |r| {
        r.status == 200 && r.body.starts_with(b"{\"bytes\":1048576,")
    }));
    let mut echo = Request::post(target, Payload::Bytes(b"say it again".to_vec())).path("/echo");
    echo.trailers = vec![("x-end".to_owned(), "of it".to_owned())];
    shows.push(show(echo, |r| {
        r.status == 200 && r.body == b"say it again" && r.trailers.len() == 1
    }));
    shows.push(show(get("/slow/200"), |r| {
        r.status == 200 && r.first_byte.as_millis() >= 200
    }));
    shows.push(show(get("/status/404"), |r| r.status == 404));
    shows
}

fn print(name: &str, response: &Response, right: bool) {
    let backend = response.field("x-backend").unwrap_or("-");
    let ms = response.total.as_secs_f64() * 1000.0;
    let status = response.status;
    let mut answer = excerpt(&response.body);
    for (name, value) in &response.trailers {
        answer.push_str(&format!(" [trailer {name}: {value}]"));
    }
    let mark = if right {
        ""
    } else {
        "  <- not what was asked for"
    };
    println!("{name:<22} {status:>6}  {backend:<8} {ms:>9.2}  {answer}{mark}");
}

/// A short body as text, a long one as its size.
fn excerpt(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if text.len() <= 120 => text.trim_end().to_owned(),
        Ok(_) | Err(_) => format!("{} bytes", body.len()),
    }
}
