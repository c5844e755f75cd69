//! Rows of the client's side: a request's bytes, and what becomes of them.

use spooky_core::observe::{Outcome, Reason, Record};
use spooky_tests::raw::Message;
use spooky_tests::rig::Rig;

use crate::row::{self, List, Pieces, Stream, comparable, data, get, headers, holds, list, same};

/// What a request's bytes must lead to.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The backend gets this.
    Forwarded(Arrives),
    /// A local reply with one of the reasons; no backend hears of it.
    Refused(u16, &'static [Reason]),
    /// The same for what shows after the head: a backend that heard of it sees its
    /// stream reset.
    Late(u16, &'static [Reason]),
    /// The stream is reset; no backend hears of it.
    Reset(u64),
    /// The connection is closed; no backend sees a request with a clean end.
    Closed(u64),
    /// Nothing yet, anywhere.
    Waits,
}

/// A request as it must arrive.
#[derive(Clone, Debug)]
pub(crate) struct Arrives {
    pub(crate) head: List,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<List>,
    pub(crate) ended: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) rule: &'static str,
    pub(crate) stream: Stream,
    pub(crate) verdict: Verdict,
    pub(crate) config: &'static str,
}

pub(crate) const BAD: &[Reason] = &[Reason::BadRequest];
pub(crate) const LENGTH: &[Reason] = &[Reason::BadRequest, Reason::RequestIncomplete];
pub(crate) const LARGE: &[Reason] = &[Reason::RequestHeadTooLarge];

/// Bytes with a FIN, and their verdict.
pub(crate) fn row(name: &str, rule: &'static str, bytes: Vec<u8>, verdict: Verdict) -> Row {
    Row {
        name: name.to_owned(),
        rule,
        stream: Stream { bytes, fin: true },
        verdict,
        config: "",
    }
}

impl Row {
    /// The same without a FIN.
    pub(crate) fn open(mut self) -> Row {
        self.stream.fin = false;
        self.name += ", not ended";
        if let Verdict::Forwarded(arrives) = &mut self.verdict {
            arrives.ended = false;
        }
        self
    }

    pub(crate) fn config(mut self, config: &'static str) -> Row {
        self.config = config;
        self
    }
}

/// A head that must be refused, whether the request ends with it or not.
pub(crate) fn refused(name: &str, rule: &'static str, head: List) -> [Row; 2] {
    let row = row(name, rule, headers(&head), Verdict::Refused(400, BAD));
    [row.clone(), row.open()]
}

/// A head that must arrive as it is.
pub(crate) fn forwarded(name: &str, rule: &'static str, head: List) -> Row {
    becomes(name, rule, head.clone(), head)
}

/// A head that must arrive as another.
pub(crate) fn becomes(name: &str, rule: &'static str, head: List, arrives: List) -> Row {
    row(name, rule, headers(&head), arrived(arrives, b"", None))
}

/// The verdict that all this arrives, and its end.
pub(crate) fn arrived(head: List, body: &[u8], trailers: Option<List>) -> Verdict {
    Verdict::Forwarded(Arrives {
        head,
        body: body.to_vec(),
        trailers,
        ended: true,
    })
}

/// Runs the rows.
pub(crate) fn check(rows: &[Row]) {
    row::all(
        rows,
        |row| format!("{} [{}]", row.name, row.rule),
        |row| row.stream.ways(),
        run,
    );
}

/// What Spooky adds to requests, which tests of its own look at.
const ADDED: &[&str] = &[
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
];

fn run(row: &Row, pieces: Pieces) -> Result<(), String> {
    let mut rig = row::rig(row.config);
    for (part, fin) in row.stream.cut(pieces) {
        row::pour(&mut rig, row::client, 0, part, fin);
    }
    judge(&mut rig, &row.verdict, row.stream.fin)?;
    if matches!(row.verdict, Verdict::Closed(_)) {
        return Ok(());
    }
    lives_on(&mut rig)
}

fn judge(rig: &mut Rig, verdict: &Verdict, ended: bool) -> Result<(), String> {
    match verdict {
        Verdict::Forwarded(arrives) => arrives_whole(rig, arrives),
        Verdict::Refused(status, reasons) => {
            replied(rig, *status, reasons, ended)?;
            holds("a backend heard of it", rig.connections.is_empty())
        }
        Verdict::Late(status, reasons) => {
            replied(rig, *status, reasons, ended)?;
            not_clean(rig)?;
            for (_, backend) in &rig.connections {
                for stream in backend.raw.as_ref().expect("raw").requests() {
                    let code = backend.on(stream).reset;
                    same("the backend's reset", &code, &Some(0x10c))?;
                }
            }
            Ok(())
        }
        Verdict::Reset(code) => {
            same("closed with", &rig.client.close_code(), &None)?;
            same("the reset", &rig.client.on(0).reset, &Some(*code))?;
            holds("a backend heard of it", rig.connections.is_empty())
        }
        Verdict::Closed(code) => {
            same("closed with", &rig.client.close_code(), &Some(*code))?;
            let complete = |record: &Record| record.outcome == Outcome::Complete;
            holds("a complete exchange", !rig.records.iter().any(complete))?;
            holds("two records of one request", rig.records.len() < 2)?;
            if !rig.connections.is_empty() {
                same("records", &rig.records.len(), &1)?;
            }
            not_clean(rig)
        }
        Verdict::Waits => {
            same("closed with", &rig.client.close_code(), &None)?;
            let came = rig.client.on(0);
            holds("something came back", came.bytes.is_empty() && !came.fin)?;
            same("the reset", &came.reset, &None)?;
            holds("a backend heard of it", rig.connections.is_empty())
        }
    }
}

/// A local reply has come, whole, and its record was made. Who had not ended the request
/// is told to.
fn replied(rig: &mut Rig, status: u16, reasons: &[Reason], ended: bool) -> Result<(), String> {
    same("closed with", &rig.client.close_code(), &None)?;
    let came = rig.client.on(0);
    same("the reset", &came.reset, &None)?;
    let message = Message::read(&came.bytes);
    same("status", &message.statuses(), &vec![status.to_string()])?;
    holds("the reply has an end", came.fin)?;
    let head = Message::pairs(&message.heads[0]);
    let told = head.iter().find(|(name, _)| name == "proxy-status");
    let told = told.map(|(_, value)| value.as_str()).unwrap_or_default();
    holds("proxy-status tells why", told.starts_with("spooky; error="))?;
    let stopped = rig.client.stop_code(0);
    if !ended || stopped.is_some() {
        // RFC 9114 section 4.1: "The error code H3_NO_ERROR SHOULD be used when requesting
        // that the client stop sending on the request stream."
        same("the stop", &stopped, &Some(0x100))?;
    }
    let [record] = &rig.records[..] else {
        return Err(format!("not one record: {:?}", rig.records));
    };
    same("outcome", &record.outcome, &Outcome::LocalReply)?;
    let reason = record.reason;
    holds(
        &format!("reason {reason:?}"),
        reason.is_some_and(|reason| reasons.contains(&reason)),
    )
}

/// No backend has a request with a clean end.
fn not_clean(rig: &Rig) -> Result<(), String> {
    for (_, backend) in &rig.connections {
        for stream in backend.raw.as_ref().expect("raw").requests() {
            holds("a clean end at the backend", !backend.on(stream).fin)?;
        }
    }
    Ok(())
}

fn arrives_whole(rig: &mut Rig, arrives: &Arrives) -> Result<(), String> {
    same("closed with", &rig.client.close_code(), &None)?;
    let back = Message::read(&rig.client.on(0).bytes);
    holds(
        &format!("answered {:?}", back.statuses()),
        back.heads.is_empty(),
    )?;
    same("connections to backends", &rig.connections.len(), &1)?;
    let came = rig.connections[0].1.on(0);
    let message = Message::read(&came.bytes);
    let head = message.heads.first().ok_or("no head arrived")?;
    let head = comparable(Message::pairs(head), ADDED);
    same("head", &head, &comparable(arrives.head.clone(), &[]))?;
    same("body", &latin(&message.body), &latin(&arrives.body))?;
    // Trailers behind no body stand with the heads.
    let trailers = message.trailers.as_ref().or(message.heads.get(1));
    let trailers = trailers.map(|lines| Message::pairs(lines));
    same("trailers", &trailers, &arrives.trailers)?;
    same("its end", &came.fin, &arrives.ended)?;
    if arrives.ended {
        answer(rig, 0, 0)?;
    }
    Ok(())
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// The newest backend connection answers its newest request, and the client gets it.
fn answer(rig: &mut Rig, at: u64, asked: u64) -> Result<(), String> {
    let head = list(&[(":status", "200"), ("content-length", "2")]);
    let bytes = [headers(&head), data(b"ok")].concat();
    let newest = rig.connections.len() - 1;
    rig.connections[newest].1.put(asked, &bytes, true);
    rig.settle();
    let came = rig.client.on(at);
    let message = Message::read(&came.bytes);
    same("status", &message.statuses(), &vec!["200".to_owned()])?;
    same("body", &latin(&message.body), &"ok".to_owned())?;
    holds("the response has an end", came.fin)
}

/// The next request on the connection is served.
pub(crate) fn lives_on(rig: &mut Rig) -> Result<(), String> {
    let before = rig.connections.last().map_or(vec![], |(_, backend)| {
        backend.raw.as_ref().expect("raw").requests()
    });
    rig.client.put(4, &headers(&get(&[("x-next", "1")])), true);
    rig.settle();
    let (_, backend) = rig
        .connections
        .last()
        .ok_or("the next request goes nowhere")?;
    let asked = backend.raw.as_ref().expect("raw").requests();
    let fresh = asked.iter().find(|stream| !before.contains(stream));
    let fresh = *fresh.ok_or("the next request does not arrive")?;
    answer(rig, 4, fresh).map_err(|why| format!("the next request: {why}"))
}
