//! `spooky get URL`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::{Client, Error, Event, Options, Payload, Request, Target, Trust};

/// Exit codes: an answer came, none did, the command line is wrong.
const ANSWERED: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;

/// Ask an HTTP/3 server, and print the body of its answer.
///
/// The exit code is 0 when a complete answer came, whatever its status; 1 when
/// none came; 2 when the command line is wrong.
#[derive(clap::Args, Clone, Debug)]
pub struct GetArgs {
    /// What to ask for
    #[arg(value_name = "https://HOST[:PORT][/PATH]")]
    pub url: String,
    /// Believe servers that the authorities in this PEM file vouch for
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Believe any server
    #[arg(long)]
    pub insecure: bool,
    /// A field to send; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// The method [default: GET, or POST with -d]
    #[arg(short = 'X', long = "method", value_name = "METHOD")]
    pub method: Option<String>,
    /// A body to send; @FILE sends a file
    #[arg(short = 'd', long = "data", value_name = "DATA")]
    pub data: Option<String>,
    /// Print heads and times to stderr
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Give up when the answer is not complete by then, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
}

/// Runs `spooky get`.
pub fn run(args: GetArgs) -> ExitCode {
    let prepared = match prepare(&args) {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("spooky get: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match ask(prepared, &args, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::from(ANSWERED),
        // The reader of our output left, as `head` does.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::from(FAILED)
        }
        Err(Failure::Output(error)) => {
            eprintln!("spooky get: cannot write the body: {error}");
            ExitCode::from(FAILED)
        }
        Err(Failure::Network(error)) => {
            eprintln!("spooky get: {}: {error}", args.url);
            ExitCode::from(FAILED)
        }
    }
}

enum Failure {
    Network(Error),
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Network(error)
    }
}

/// All that can be wrong with the command line is found here.
fn prepare(args: &GetArgs) -> Result<(Target, Request, Trust), String> {
    let target: Target = args.url.parse().map_err(|error: Error| error.to_string())?;
    let trust = Trust::from_flags(args.ca.as_deref(), args.insecure).map_err(|e| e.to_string())?;
    let body = match args.data.as_deref() {
        None => Payload::Empty,
        Some(data) => match data.strip_prefix('@') {
            None => Payload::Bytes(data.as_bytes().to_vec()),
            Some(file) => Payload::Bytes(
                std::fs::read(Path::new(file)).map_err(|error| format!("-d @{file}: {error}"))?,
            ),
        },
    };
    let usual = if args.data.is_some() { "POST" } else { "GET" };
    let method = args.method.clone().unwrap_or_else(|| usual.to_owned());
    if !is_token(&method) {
        return Err(format!("-X {method:?} is no method"));
    }
    let mut request = Request {
        method,
        body,
        ..Request::get(&target)
    };
    for line in &args.headers {
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case("host") {
            value.clone_into(&mut request.authority);
        } else {
            request.fields.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok((target, request, trust))
}

/// Takes `NAME: VALUE` apart.
pub(crate) fn field(line: &str) -> Result<(&str, &str), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("-H {line:?} has no colon: write -H 'name: value'"))?;
    let value = value.trim();
    if !is_token(name) {
        return Err(format!("-H {line:?}: {name:?} is no field name"));
    }
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!("-H {line:?}: the value has control characters"));
    }
    // RFC 9114 section 4.2: these are for connections of older versions.
    let connection_specific = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    if connection_specific
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
    {
        return Err(format!("-H {line:?}: HTTP/3 has no {name} field"));
    }
    Ok((name, value))
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let of_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(of_token)
}

fn ask(
    (target, request, trust): (Target, Request, Trust),
    args: &GetArgs,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let timeout = Duration::from_secs(args.timeout);
    let began = Instant::now();
    let mut client = Client::connect(&target, &trust, &Options::default())?;
    let mut notes = Notes {
        wanted: args.verbose,
        began,
    };
    notes.say(&format!("* connected to {} over HTTP/3", client.peer()));
    notes.request(&request);
    client.send(request);
    let mut total = 0;
    loop {
        let Some((_, event)) = client.next_event(began + timeout)? else {
            return Err(Error::TimedOut(timeout).into());
        };
        match event {
            Event::Interim { status } => notes.say(&format!("< HTTP/3 {status}")),
            Event::Head { status, fields } => {
                notes.say(&format!("< HTTP/3 {status}"));
                notes.fields('<', &fields);
            }
            Event::Body(bytes) => {
                total += bytes.len();
                out.write_all(&bytes).map_err(Failure::Output)?;
            }
            Event::Trailers(fields) => {
                notes.say("< trailers");
                notes.fields('<', &fields);
            }
            Event::End => {
                notes.say(&format!("* complete: {total} bytes"));
                return out.flush().map_err(Failure::Output);
            }
            Event::Failed(error) => {
                out.flush().map_err(Failure::Output)?;
                return Err(error.into());
            }
        }
    }
}

/// What `-v` prints.
struct Notes {
    wanted: bool,
    began: Instant,
}

impl Notes {
    fn say(&mut self, line: &str) {
        if self.wanted {
            let ms = self.began.elapsed().as_secs_f64() * 1000.0;
            eprintln!("{ms:9.2} ms {line}");
        }
    }

    fn request(&mut self, request: &Request) {
        self.say(&format!("> {} {} HTTP/3", request.method, request.path));
        self.fields('>', &[("host".to_owned(), request.authority.clone())]);
        self.fields('>', &request.fields);
    }

    fn fields(&mut self, direction: char, fields: &[(String, String)]) {
        for (name, value) in fields {
            self.say(&format!("{direction} {name}: {value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::backend::{self, Backend};
    use crate::demo::identity::Authority;

    #[test]
    fn any_status_is_an_answer_and_a_reset_is_none() {
        let identity = Authority::new("get").unwrap().issue_local().unwrap();
        let backend = Backend::start(&identity, backend::Options::named("web1")).unwrap();
        let asked = |path: &str| {
            let args = args(&format!("https://{}{path}", backend.address()));
            ask(prepare(&args).unwrap(), &args, &mut io::sink())
        };
        assert!(asked("/status/200").is_ok());
        assert!(asked("/status/500").is_ok());
        assert!(matches!(
            asked("/reset"),
            Err(Failure::Network(Error::Reset(_)))
        ));
        assert!(matches!(
            asked("/stall"),
            Err(Failure::Network(Error::TimedOut(_)))
        ));
    }

    #[test]
    fn a_field_is_a_name_and_a_value() {
        assert_eq!(field("x-a:  b: c "), Ok(("x-a", "b: c")));
        assert_eq!(field("x-empty:"), Ok(("x-empty", "")));
    }

    #[test]
    fn fields_http3_has_no_room_for_are_refused() {
        for line in [
            "no colon",
            ": x",
            "a b: c",
            "x: a\nb",
            "Connection: close",
            ":path: /",
        ] {
            let error = field(line).unwrap_err();
            assert!(error.starts_with("-H "), "{error}");
        }
    }

    #[test]
    fn data_makes_it_a_post_and_host_the_authority() {
        let mut args = args("https://localhost:1/x");
        args.data = Some("abc".to_owned());
        args.headers = vec!["Host: example.com".to_owned()];
        let (_, request, _) = prepare(&args).unwrap();
        assert_eq!(request.method, "POST");
        assert_eq!(request.authority, "example.com");
        assert_eq!(request.body.len(), 3);
    }

    #[test]
    fn a_missing_file_is_a_usage_error_that_names_it() {
        let mut args = args("https://localhost:1/x");
        args.data = Some("@/no/such/file".to_owned());
        assert!(prepare(&args).unwrap_err().contains("/no/such/file"));
    }

    fn args(url: &str) -> GetArgs {
        GetArgs {
            url: url.to_owned(),
            ca: None,
            insecure: true,
            headers: Vec::new(),
            method: None,
            data: None,
            verbose: false,
            timeout: 1,
        }
    }
}
