//! Requests, and all that came back of them, also when it was not complete.

use std::fmt;
use std::time::{Duration, Instant};

use spooky_mio::client::{Client, Error, Event, ExchangeId, Request};
use spooky_mio::demo::pattern;

/// What came back for one request.
pub struct Answer {
    /// The final status, if a head came.
    pub head: Option<u16>,
    /// Fields of the head.
    pub fields: Vec<(String, String)>,
    /// Statuses of 1xx responses.
    pub interim: Vec<u16>,
    /// Bytes of body.
    pub bytes: u64,
    /// The first kilobytes of the body, for people and for short answers.
    pub text: Vec<u8>,
    /// The body is the pattern of `/bytes/N`, as far as it came.
    pub is_pattern: bool,
    /// Fields after the body.
    pub trailers: Vec<(String, String)>,
    /// How it ended; an end without an error is a clean one.
    pub end: Result<(), Error>,
    /// From asking to the end.
    pub took: Duration,
}

impl fmt::Debug for Answer {
    /// Without the body, which may be long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("head", &self.head)
            .field("proxy_status", &self.proxy_status())
            .field("backend", &self.backend())
            .field("bytes", &self.bytes)
            .field("end", &self.end)
            .field("took", &self.took)
            .finish_non_exhaustive()
    }
}

impl Answer {
    fn none_yet() -> Self {
        Self {
            head: None,
            fields: Vec::new(),
            interim: Vec::new(),
            bytes: 0,
            text: Vec::new(),
            is_pattern: true,
            trailers: Vec::new(),
            end: Err(Error::TimedOut(Duration::ZERO)),
            took: Duration::ZERO,
        }
    }

    /// The status of an answer that is complete; anything else fails the test.
    pub fn status(&self) -> u16 {
        assert!(self.end.is_ok(), "not complete: {self:?}");
        self.head.expect("a complete answer has a head")
    }

    /// The first field of that name.
    pub fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Which backend answered.
    pub fn backend(&self) -> &str {
        self.field("x-backend")
    }

    /// What Spooky says about an answer of its own (RFC 9209).
    pub fn proxy_status(&self) -> &str {
        self.field("proxy-status")
    }

    /// The code of a RESET_STREAM, if that was the end.
    pub fn reset(&self) -> Option<u64> {
        match &self.end {
            Err(Error::Reset(code)) => Some(*code),
            Ok(()) | Err(_) => None,
        }
    }

    /// No end was seen in the time given: it hangs.
    pub fn hangs(&self) -> bool {
        matches!(self.end, Err(Error::TimedOut(_)))
    }

    /// Takes an event in; true if it was the last.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Interim { status } => self.interim.push(status),
            Event::Head { status, fields } => {
                self.head = Some(status);
                self.fields = fields;
            }
            Event::Body(bytes) => {
                self.is_pattern &= pattern::matches(self.bytes, &bytes);
                self.bytes += bytes.len() as u64;
                if self.text.len() < 4096 {
                    self.text.extend_from_slice(&bytes);
                }
            }
            Event::Trailers(list) => self.trailers = list,
            Event::End => {
                self.end = Ok(());
                return true;
            }
            Event::Failed(why) => {
                self.end = Err(why);
                return true;
            }
        }
        false
    }
}

/// Asks, and waits for the end of the answer, or for `within` to pass.
pub fn ask(client: &mut Client, request: Request, within: Duration) -> Answer {
    let mut answers = ask_all(client, vec![request], within);
    answers.pop().expect("one request, one answer")
}

/// Asks for all of these at once; answers come in the order of the requests.
/// What has no end after `within` is given up, and [hangs](Answer::hangs).
pub fn ask_all(client: &mut Client, requests: Vec<Request>, within: Duration) -> Vec<Answer> {
    let began = Instant::now();
    let ids: Vec<ExchangeId> = requests.into_iter().map(|r| client.send(r)).collect();
    let mut answers: Vec<Answer> = ids.iter().map(|_| Answer::none_yet()).collect();
    let mut left = ids.len();
    while left > 0 {
        let Ok(Some((of, event))) = client.next_event(began + within) else {
            break;
        };
        let Some(index) = ids.iter().position(|&id| id == of) else {
            continue;
        };
        if answers[index].take(event) {
            answers[index].took = began.elapsed();
            left -= 1;
        }
    }
    for (&id, answer) in ids.iter().zip(&mut answers) {
        if answer.hangs() {
            client.cancel(id);
            answer.took = began.elapsed();
        }
    }
    answers
}

/// Lets a client do its part for so long; what comes for it is thrown away.
pub fn pump(client: &mut Client, time: Duration) {
    let end = Instant::now() + time;
    // An error is the end of the connection: there is nothing to do for it.
    while let Ok(Some(_)) = client.next_event(end) {}
}
