//! Rows of the backend's side: a response's bytes, and what the client gets.

use spooky_core::observe::Reason;
use spooky_tests::raw::Message;
use spooky_tests::rig::Rig;

use crate::row::{self, List, Pieces, Stream, comparable, get, headers, holds, request, same};

/// What a response's bytes must lead to.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// The client gets this.
    Passed(Passes),
    /// A whole 502 of our own, for one of the reasons; the backend's connection
    /// lives on.
    BadGateway(&'static [Reason]),
    /// What shows after the head: the stream is reset, or there is a 502 where the
    /// head had not gone out. The backend's connection lives on.
    Cut(&'static [Reason]),
    /// The backend's connection is closed. The client has a 502, or a reset where
    /// the head had gone out.
    Closed(u64),
}

/// A response as it must arrive.
#[derive(Clone, Debug)]
pub(crate) struct Passes {
    /// Informational ones first.
    pub(crate) heads: Vec<List>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<List>,
    pub(crate) ended: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) rule: &'static str,
    pub(crate) method: &'static str,
    pub(crate) stream: Stream,
    pub(crate) verdict: Verdict,
}

pub(crate) const BAD: &[Reason] = &[Reason::BadResponse];
pub(crate) const LENGTH: &[Reason] = &[Reason::BadResponse, Reason::ResponseIncomplete];

/// Bytes with a FIN in answer to a GET, and their verdict.
pub(crate) fn row(name: &str, rule: &'static str, bytes: Vec<u8>, verdict: Verdict) -> Row {
    Row {
        name: name.to_owned(),
        rule,
        method: "GET",
        stream: Stream { bytes, fin: true },
        verdict,
    }
}

impl Row {
    /// The same without a FIN.
    pub(crate) fn open(mut self) -> Row {
        self.stream.fin = false;
        self.name += ", not ended";
        if let Verdict::Passed(passes) = &mut self.verdict {
            passes.ended = false;
        }
        self
    }

    /// The same in answer to another method.
    pub(crate) fn to(mut self, method: &'static str) -> Row {
        self.method = method;
        self
    }
}

/// A head that must become a 502, whether the response ends with it or not.
pub(crate) fn refused(name: &str, rule: &'static str, head: List) -> [Row; 2] {
    let row = row(name, rule, headers(&head), Verdict::BadGateway(BAD));
    [row.clone(), row.open()]
}

/// The verdict that all this is passed on, and its end.
pub(crate) fn passed(head: &List, body: &[u8], trailers: Option<List>) -> Verdict {
    passed_all(std::slice::from_ref(head), body, trailers)
}

/// The same of several heads, of which the last is the response's own.
pub(crate) fn passed_all(heads: &[List], body: &[u8], trailers: Option<List>) -> Verdict {
    Verdict::Passed(Passes {
        heads: heads.to_vec(),
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

/// What Spooky adds to responses, which tests of its own look at.
const ADDED: &[&str] = &["via", "date"];

fn run(row: &Row, pieces: Pieces) -> Result<(), String> {
    let mut rig = row::rig("");
    rig.client
        .put(0, &headers(&request(row.method, "/", &[])), true);
    rig.settle();
    same("connections to backends", &rig.connections.len(), &1)?;
    holds(
        "the backend has the request",
        rig.connections[0].1.on(0).fin,
    )?;
    for (part, fin) in row.stream.cut(pieces) {
        row::pour(&mut rig, row::backend, 0, part, fin);
    }
    judge(&mut rig, &row.verdict)?;
    lives_on(&mut rig, !matches!(row.verdict, Verdict::Closed(_)))
}

fn judge(rig: &mut Rig, verdict: &Verdict) -> Result<(), String> {
    same(
        "the client was closed with",
        &rig.client.close_code(),
        &None,
    )?;
    let code = rig.connections[0].1.close_code();
    let expected = match verdict {
        Verdict::Closed(code) => Some(*code),
        Verdict::Passed(_) | Verdict::BadGateway(_) | Verdict::Cut(_) => None,
    };
    same("the backend was closed with", &code, &expected)?;
    match verdict {
        Verdict::Passed(passes) => passes_whole(rig, passes),
        Verdict::BadGateway(reasons) => {
            bad_gateway(rig)?;
            told(rig, reasons)
        }
        Verdict::Cut(reasons) => {
            cut(rig)?;
            told(rig, reasons)
        }
        Verdict::Closed(_) => {
            cut(rig)?;
            told(rig, &[Reason::BadResponse, Reason::BackendGone])
        }
    }
}

fn told(rig: &Rig, reasons: &[Reason]) -> Result<(), String> {
    let [record] = &rig.records[..] else {
        return Err(format!("not one record: {:?}", rig.records));
    };
    let reason = record.reason;
    let known = reason.is_some_and(|reason| reasons.contains(&reason));
    holds(&format!("reason {reason:?}"), known)
}

/// A 502 behind whatever was informational, whole.
fn bad_gateway(rig: &Rig) -> Result<(), String> {
    let came = rig.client.on(0);
    same("the reset", &came.reset, &None)?;
    holds("the reply has an end", came.fin)?;
    let message = Message::read(&came.bytes);
    let statuses = message.statuses();
    let last = statuses.last().map(String::as_str).unwrap_or_default();
    let final_ones = statuses.iter().filter(|status| !status.starts_with('1'));
    holds(
        &format!("statuses {statuses:?}"),
        last == "502" && final_ones.count() == 1,
    )?;
    let head = Message::pairs(message.heads.last().expect("a status has a head"));
    let told = head.iter().find(|(name, _)| name == "proxy-status");
    let told = told.map(|(_, value)| value.as_str()).unwrap_or_default();
    holds("proxy-status tells why", told.starts_with("spooky; error="))
}

/// A reset, or a 502 in place of the response.
fn cut(rig: &Rig) -> Result<(), String> {
    let came = rig.client.on(0);
    match came.reset {
        Some(code) => same("the reset", &code, &0x102),
        None => bad_gateway(rig),
    }
}

fn passes_whole(rig: &Rig, passes: &Passes) -> Result<(), String> {
    let came = rig.client.on(0);
    same("the reset", &came.reset, &None)?;
    let message = Message::read(&came.bytes);
    let heads: Vec<List> = message
        .heads
        .iter()
        .map(|head| Message::pairs(head))
        .collect();
    // Trailers behind no body stand with the heads.
    let (heads, trailers) = match (heads.len() > passes.heads.len(), &message.trailers) {
        (true, None) => {
            let (heads, last) = heads.split_at(heads.len() - 1);
            (heads.to_vec(), Some(last[0].clone()))
        }
        (true | false, trailers) => (heads, trailers.as_deref().map(Message::pairs)),
    };
    let heads: Vec<List> = heads.into_iter().map(|h| comparable(h, ADDED)).collect();
    let plain = |head: &List| comparable(head.clone(), ADDED);
    same("heads", &heads, &passes.heads.iter().map(plain).collect())?;
    same("body", &message.body, &passes.body)?;
    // RFC 9209 section 2: trailers may say what was done to them.
    let trailers = trailers.map(|list| comparable(list, &["proxy-status"]));
    same("trailers", &trailers, &passes.trailers)?;
    same("its end", &came.fin, &passes.ended)
}

/// The next request on the client's connection is served, `same_one` if by the same
/// connection to the backend.
fn lives_on(rig: &mut Rig, same_one: bool) -> Result<(), String> {
    rig.client.put(4, &headers(&get(&[("x-next", "1")])), true);
    rig.settle();
    let (at, stream) = if same_one { (0, 4) } else { (1, 0) };
    let count = if same_one { 1 } else { 2 };
    same("connections to backends", &rig.connections.len(), &count)?;
    holds(
        "the next request arrives",
        rig.connections[at].1.on(stream).fin,
    )?;
    let bytes = headers(&row::list(&[(":status", "204")]));
    rig.connections[at].1.put(stream, &bytes, true);
    rig.settle();
    let came = rig.client.on(4);
    let statuses = Message::read(&came.bytes).statuses();
    same("the next status", &statuses, &vec!["204".to_owned()])?;
    holds("the next response has an end", came.fin)
}
