//! Requests and their answers: sent, tried again where that is safe, and refused in the words of the command line.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use ureq::http::{HeaderName, HeaderValue, Method, Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, Body, SendBody};

use super::address::{Address, Connection};
use super::problem::{Problem, Refusal};
use super::transport::PatientConnector;
use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::literal::visible;

/// The longest head of an answer: it may repeat a key.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// Of what is wrong no more is read.
const PROBLEM_BYTES_MAX: u64 = 64 << 10;
/// A file of certificates has no more bytes.
const CA_BYTES_MAX: u64 = 16 << 20;
/// How long to wait for a service to say that it wants a long value, before it is sent all the same.
const AWAIT_100: Duration = Duration::from_secs(1);
/// How often a read is tried again whose connection has broken off.
const READ_ATTEMPTS: u32 = 3;
/// How long to wait for a service that does not say how long.
const PAUSE: Duration = Duration::from_millis(250);

/// Speaks to one service. Clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    address: Arc<Address>,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

/// What a request carries.
pub(super) enum Content<'a> {
    Nothing,
    /// What can be sent again.
    Bytes(&'a [u8]),
    Json(String),
    /// What comes as it is read, once.
    Stream(&'a mut dyn Read),
}

/// A request.
pub(super) struct Call<'a> {
    method: Method,
    path: String,
    headers: Vec<(HeaderName, String)>,
    content: Content<'a>,
    /// What it is about, for failures.
    about: Option<(&'a str, &'a [u8])>,
}

/// The header for keys that are too long for a path.
const KEY: HeaderName = HeaderName::from_static("atomkv-key");
const EXPECT: HeaderName = HeaderName::from_static("expect");

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: String) -> Call<'a> {
        Call { method, path, headers: Vec::new(), content: Content::Nothing, about: None }
    }

    pub(super) fn get(path: String) -> Call<'a> {
        Call::new(Method::GET, path)
    }

    /// About a document, whose path is followed by more of it.
    pub(super) fn document(method: Method, table: &'a str, key: &'a [u8], behind: &str) -> Result<Call<'a>> {
        let (path, header) = super::address::document_path(table, key)?;
        let mut call = Call::new(method, format!("{path}{behind}"));
        call.headers.extend(header.map(|key| (KEY, key)));
        call.about = Some((table, key));
        Ok(call)
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Call<'a> {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn accept(self, media_type: &str) -> Call<'a> {
        self.header(ACCEPT, media_type)
    }

    pub(super) fn content(mut self, content: Content<'a>) -> Call<'a> {
        self.content = content;
        self
    }
}

impl Client {
    /// # Errors
    /// An address that is none; files that cannot be read.
    pub(super) fn new(text: &str, connection: &Connection) -> Result<Client> {
        let address = Address::parse(text)?;
        let authorization = connection.token()?.map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            value.map(|mut value| {
                value.set_sensitive(true);
                value
            })
        });
        let authorization = authorization
            .transpose()
            .map_err(|_| Failure::usage("the token cannot be sent: it is no text"))?;
        let roots = match &connection.ca_file {
            Some(file) => RootCerts::Specific(Arc::new(certificates(file)?)),
            None => RootCerts::PlatformVerifier,
        };
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("atomkv/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEAD_BYTES_MAX)
            .input_buffer_size(HEAD_BYTES_MAX)
            .output_buffer_size(HEAD_BYTES_MAX)
            .timeout_connect(Some(connection.timeout))
            .timeout_await_100(Some(AWAIT_100.min(connection.timeout / 2)))
            .timeout_per_read(Some(connection.timeout))
            .timeout_per_write(Some(connection.timeout))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        if address.is_loopback {
            config = config.proxy(None);
        }
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(PatientConnector)
                .chain(RustlsConnector::default());
        let agent = Agent::with_parts(config.build(), connector, DefaultResolver::default());
        Ok(Client { agent, address: Arc::new(address), authorization, timeout: connection.timeout })
    }

    /// The address, for people.
    pub(super) fn name(&self) -> &str {
        &self.address.base
    }

    /// How long it waits for a service that says nothing.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a request and returns the answer to it. One that was not let in is sent again when the service wants it; one
    /// that only reads also if the connection breaks off.
    ///
    /// # Errors
    /// Whatever keeps it from being answered as it wished.
    pub(super) fn call(&self, call: Call<'_>) -> std::result::Result<Response<Body>, Refusal> {
        let Call { method, path, headers, mut content, about } = call;
        let begin = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let answer = match self.send(&method, &path, &headers, &mut content) {
                Ok(answer) => answer,
                Err(error) if attempts < READ_ATTEMPTS && method == Method::GET && is_broken(&error) => {
                    self.pause(PAUSE)?;
                    continue;
                }
                Err(error) => return Err(self.unreachable(&error, &method, &content).into()),
            };
            if answer.status().is_success() {
                return Ok(answer);
            }
            let wait = retry_after(&answer);
            let refusal = self.refusal(answer, about);
            // Nothing has been done of what was not let in.
            let is_early = refusal.is("too-many-requests") || refusal.is("overloaded");
            let can_repeat = !matches!(content, Content::Stream(_));
            if !is_early || !can_repeat || begin.elapsed() + wait > self.timeout {
                return Err(refusal);
            }
            self.pause(wait)?;
        }
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(HeaderName, String)],
        content: &mut Content<'_>,
    ) -> std::result::Result<Response<Body>, ureq::Error> {
        interrupt::check().map_err(ureq_other)?;
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.address.base));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        match content {
            Content::Nothing if *method == Method::POST || *method == Method::PUT => {
                self.agent.run(request.body(&b""[..])?)
            }
            Content::Nothing => self.agent.run(request.body(())?),
            Content::Bytes(bytes) => self.agent.run(request.body(*bytes)?),
            Content::Json(text) => {
                self.agent.run(request.header(CONTENT_TYPE, "application/json").body(text.as_bytes())?)
            }
            Content::Stream(reader) => {
                // Whether it is wanted at all is told before it is sent.
                let request = request.header(EXPECT, "100-continue");
                self.agent.run(request.body(SendBody::from_reader(reader))?)
            }
        }
    }

    /// Waits, unless somebody presses Ctrl-C.
    ///
    /// # Errors
    /// Ctrl-C.
    pub(super) fn pause(&self, time: Duration) -> Result<()> {
        let begin = Instant::now();
        while let Some(left) = time.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
            interrupt::check()?;
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        interrupt::check()
    }

    /// What an answer says that is not the one that was wished for.
    fn refusal(&self, answer: Response<Body>, about: Option<(&str, &[u8])>) -> Refusal {
        let status = answer.status();
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(visible);
        let media_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_problem =
            media_type.is_some_and(|media_type| media_type.starts_with("application/problem+json"));
        let mut text = Vec::new();
        let read = answer.into_body().into_reader().take(PROBLEM_BYTES_MAX).read_to_end(&mut text);
        let problem: Option<Problem> =
            read.ok().filter(|_| is_problem).and_then(|_| serde_json::from_slice(&text).ok());
        if let Some(problem) = problem.filter(|problem| problem.code != "route-not-found") {
            return Refusal { failure: problem.failure(about), problem: Box::new(problem) };
        }
        let name = self.name();
        let failure = match (status.as_u16(), location) {
            (300..=399, Some(location)) => {
                Failure::new(Kind::Unavailable, format!("{name} sends on to {location}"))
                    .hint("give the address where the service is itself")
            }
            (502..=504, _) => Failure::new(
                Kind::Unavailable,
                format!("the proxy at {name} does not reach the service (status {})", status.as_u16()),
            )
            .hint("is the service running?"),
            (status, _) => Failure::new(
                Kind::Unavailable,
                format!("{name} answers, but not as an AtomKV service does (status {status})"),
            )
            .hint("is the address right, and is the service as new as this command?"),
        };
        failure.into()
    }

    /// Why there is no answer.
    fn unreachable(&self, error: &ureq::Error, method: &Method, content: &Content<'_>) -> Failure {
        let failure = self.broken(error);
        let may_have_happened = *method != Method::GET && is_broken(error);
        let was_sent_in_part = may_have_happened || interrupt::is_asked();
        match content {
            Content::Stream(_) if was_sent_in_part && *method == Method::POST => {
                failure.hint("what was imported until then stays")
            }
            Content::Stream(_) if may_have_happened => failure.hint(
                "the service may have refused it, as it does with a value that is too long (--document-bytes-max): \
                 look whether it has happened before you do it again",
            ),
            _ if may_have_happened => failure.hint("look whether it has happened before you do it again"),
            _ => failure,
        }
    }

    /// Why a connection is none.
    pub(super) fn broken(&self, error: &ureq::Error) -> Failure {
        if interrupt::is_asked() {
            return Failure::new(Kind::Cancelled, "cancelled");
        }
        let name = self.name();
        let failed = |what: String| Failure::new(Kind::Unavailable, what);
        let text = visible(&error.to_string());
        if text.contains("CaUsedAsEndEntity") {
            return failed(format!(
                "the certificate of {name} is one to issue others with, and is not trusted as its own"
            ))
            .hint("make it with basicConstraints=critical,CA:FALSE, or issue one for the service with it");
        }
        if text.contains("certificate") || text.contains("UnknownIssuer") {
            return failed(format!("the certificate of {name} is not trusted: {text}"))
                .hint("--ca-file FILE names the certificate of the one that has issued it");
        }
        match error {
            ureq::Error::HostNotFound => failed(format!("the host of {name} is not known"))
                .hint("is the name right? http://127.0.0.1:7070 is this machine"),
            ureq::Error::Timeout(_) => {
                failed(format!("{name} has not answered within {}", humantime::format_duration(self.timeout)))
                    .hint("--timeout TIME waits longer")
            }
            ureq::Error::Io(source) if source.kind() == io::ErrorKind::ConnectionRefused => {
                failed(format!("nobody answers at {name}: connection refused"))
                    .hint("is the service running? atomkv serve DIR begins one")
            }
            _ if self.address.is_secure && !is_broken(error) => {
                failed(format!("no secure connection to {name}: {text}"))
                    .hint("a service without a certificate is http://…")
            }
            ureq::Error::Protocol(_) => failed(format!("{name} does not speak HTTP: {text}"))
                .hint("a service with a certificate is https://…"),
            _ if is_broken(error) => failed(format!("the connection to {name} has broken off: {text}"))
                .hint("is the service still running? One with a certificate is https://…"),
            _ => failed(format!("cannot reach {name}: {text}")),
        }
    }

    /// The same of what was read of a body.
    pub(super) fn body_failure(&self, error: io::Error) -> Failure {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => self.broken(&ureq::Error::from(error)),
        }
    }

    /// The body of an answer whole, of no more than so many bytes.
    ///
    /// # Errors
    /// If it is longer, or breaks off.
    pub(super) fn whole(&self, answer: Response<Body>, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut reader = answer.into_body().into_reader().take(limit + 1);
        reader.read_to_end(&mut bytes).map_err(|error| self.body_failure(error))?;
        if bytes.len() as u64 > limit {
            return Err(self.strange("an answer that is too long"));
        }
        Ok(bytes)
    }

    /// The body of an answer as JSON.
    ///
    /// # Errors
    /// If it is none, or of another shape.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, answer: Response<Body>) -> Result<T> {
        let bytes = self.whole(answer, 1 << 30)?;
        serde_json::from_slice(&bytes).map_err(|_| self.strange("an answer that is not understood"))
    }

    /// That a service says what none would say.
    pub(super) fn strange(&self, what: &str) -> Failure {
        Failure::new(Kind::Unavailable, format!("{} gives {what}", self.name()))
            .hint("is the address right, and is the service as new as this command?")
    }
}

fn ureq_other(failure: Failure) -> ureq::Error {
    ureq::Error::Other(Box::new(failure))
}

/// Whether a connection was there and is not any more.
fn is_broken(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    match error {
        ureq::Error::Io(source) => matches!(
            source.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
        ),
        _ => false,
    }
}

fn retry_after(answer: &Response<Body>) -> Duration {
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    seconds.and_then(|text| text.parse().ok()).map_or(PAUSE, Duration::from_secs)
}

/// The certificates of a file in PEM.
fn certificates(file: &std::path::Path) -> Result<Vec<Certificate<'static>>> {
    let mut text = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(CA_BYTES_MAX).read_to_end(&mut text))
        .map_err(|error| Failure::file("read", file, &error))?;
    let found = ureq::tls::parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = found.collect();
    if certificates.is_empty() {
        return Err(Failure::usage(format!("{} holds no certificate in PEM", file.display()))
            .hint("it has lines -----BEGIN CERTIFICATE-----"));
    }
    Ok(certificates)
}
