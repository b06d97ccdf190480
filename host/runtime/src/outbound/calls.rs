//! The requests of one guest call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, header};
use http_body_util::BodyExt;
use kenning_core::limits::Limits;
use reqwest::Url;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::client::{Outbound, Request};
use super::host::{Destination, HostPattern};
use super::reply::{Answer, Failed, Reply};
use crate::log_lines::LogLines;
use crate::reserve::reserve;
use crate::wit::Level;

/// What a request may do. `CONNECT` and `TRACE` are no requests for an answer.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// The response and what goes on after it, as `wasi:http` takes them.
type Sent = Result<(http::Response<WasiBody>, Afterwards), Error>;
type Afterwards = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// Where answers come from.
pub(crate) enum Source {
    /// The hosts that requests go to.
    Hosts {
        /// Whether the answers are noted.
        is_recorded: bool,
    },
    /// A recording: the answer to each request, as far as it has one.
    Recording(Vec<Option<Vec<u8>>>),
    /// Nowhere.
    Proof,
}

/// The requests of one guest call.
pub(crate) struct HttpCalls {
    outbound: Arc<Outbound>,
    io: Handle,
    source: Source,
    /// What the extension was granted.
    hosts: Arc<[HostPattern]>,
    deadline: Instant,
    bounds: Bounds,
    log: LogLines,
    sent: usize,
    progress: Arc<Progress>,
    /// One line for each request of a replay.
    trace: Vec<String>,
}

#[derive(Clone, Copy)]
struct Bounds {
    requests: u32,
    request_bytes: usize,
    answer_bytes: usize,
    time: Duration,
}

/// What the tasks that send requests and the call share.
#[derive(Default)]
struct Progress {
    /// Whether the guest's part has ended. What it did not finish until then is not sent.
    is_over: AtomicBool,
    waits: Mutex<Waits>,
    /// The answers, in the order of the requests.
    noted: Mutex<Vec<Option<Vec<u8>>>>,
}

/// How long the call had requests under way.
#[derive(Default)]
struct Waits {
    under_way: usize,
    since: Option<Instant>,
    before: Duration,
}

/// A request that is under way.
struct UnderWay<'a> {
    progress: &'a Progress,
    begun: Instant,
}

impl HttpCalls {
    pub(crate) fn new(
        outbound: Arc<Outbound>,
        io: Handle,
        source: Source,
        deadline: Instant,
        limits: &Limits,
        log: LogLines,
    ) -> Self {
        let bounds = Bounds {
            requests: limits.http_requests,
            request_bytes: limits.http_request_bytes,
            answer_bytes: limits.http_answer_bytes,
            time: limits.http,
        };
        let (hosts, progress) = (Arc::default(), Arc::default());
        let (sent, trace) = Default::default();
        Self { outbound, io, source, hosts, deadline, bounds, log, sent, progress, trace }
    }

    /// Requests may go to these hosts.
    pub(crate) fn allow(&mut self, hosts: Arc<[HostPattern]>) {
        self.hosts = hosts;
    }

    /// How long requests were under way so far.
    pub(crate) fn waited(&self) -> Duration {
        let waits = self.progress.waits();
        waits.before + waits.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// The answers that were noted; `None` for a request that has none.
    pub(crate) fn take_noted(&self) -> Vec<Option<Vec<u8>>> {
        std::mem::take(&mut *self.progress.noted())
    }

    /// One line for each request that a replay answered.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    /// What is to be sent, but for its body.
    fn admit(&self, request: &http::request::Parts, number: usize) -> Result<Request, Failed> {
        if number >= self.bounds.requests as usize {
            return Err(Failed::TooMany(self.bounds.requests));
        }
        let authority = request.uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            let why = "its address has a name before the host; send credentials in a header";
            return Err(Failed::Denied(why.into()));
        }
        let invalid = || Failed::Invalid("its address is no URL".to_owned());
        let url = Url::parse(&request.uri.to_string()).map_err(|_| invalid())?;
        let to = Destination::of(&url).ok_or_else(invalid)?;
        if !METHODS.contains(&request.method) {
            let all = METHODS.map(|method| method.to_string()).join(", ");
            let why = format!("its method is {}, and extensions send {all}", request.method);
            return Err(Failed::Denied(why));
        }
        if !self.hosts.iter().any(|host| host.allows(&to)) {
            let named = match to.is_usual() {
                true => to.host.clone(),
                false => to.to_string(),
            };
            let why = format!("the extension was not granted it: `--grant http:{named}`");
            return Err(Failed::Denied(why));
        }
        let mut headers = request.headers.clone();
        // They follow from the URL and the body.
        for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
            headers.remove(name);
        }
        let (method, body) = (request.method.clone(), Bytes::new());
        Ok(Request { method, url, to, headers, body })
    }

    /// Until when an answer is waited for.
    fn until(&self, options: Option<RequestOptions>) -> Instant {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        let bound = self.bounds.time.min(left - reserve(left));
        // The guest sees nothing before the whole answer, so this is what it means for the host.
        let asked = options.and_then(|options| {
            let first = options.first_byte_timeout?;
            Some(first.saturating_add(options.connect_timeout.unwrap_or_default()))
        });
        now + asked.map_or(bound, |asked| bound.min(asked))
    }

    /// The next request's number, whose answer is to be noted.
    fn number(&mut self) -> usize {
        let number = self.sent;
        self.sent += 1;
        if let Source::Hosts { is_recorded: true } = self.source {
            self.progress.noted().push(None);
        }
        number
    }

    fn recorded(&mut self, request: &http::request::Parts, number: usize) -> Reply {
        let Source::Recording(answers) = &self.source else { return Err(Failed::Proof) };
        let answer = answers.get(number).and_then(Option::as_ref);
        let reply = answer.and_then(|bytes| postcard::from_bytes::<Reply>(bytes).ok());
        let reply = reply.unwrap_or(Err(Failed::NotRecorded));
        let shown = match &reply {
            Ok(Answer { status, body, .. }) => format!("{status} ({} bytes)", body.len()),
            Err(failed) => failed.to_string(),
        };
        self.trace.push(format!("http {} {} -> {shown}", request.method, request.uri));
        reply
    }
}

impl WasiHttpHooks for HttpCalls {
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Afterwards,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let (request, body) = request.into_parts();
        let number = self.number();
        if !matches!(self.source, Source::Hosts { .. }) {
            let reply = self.recorded(&request, number);
            let most = self.bounds.request_bytes;
            return Box::new(async move {
                // As when it was recorded: the guest's body is taken before there is an answer.
                let _ = collect(body, most).await;
                sent(reply)
            });
        }
        let admitted = self.admit(&request, number);
        let until = self.until(options);
        let (outbound, bounds, log) = (self.outbound.clone(), self.bounds, self.log.clone());
        let (progress, io) = (self.progress.clone(), self.io.clone());
        let is_recorded = matches!(self.source, Source::Hosts { is_recorded: true });
        let named = request.uri.host().unwrap_or_default().to_owned();
        Box::new(async move {
            let reply = async {
                // A guest that is refused has written its body, and is told why it is refused.
                let body = collect(body, bounds.request_bytes).await;
                let request = admitted?;
                let request = Request { body: body?, ..request };
                if progress.is_over.load(Ordering::Relaxed) {
                    return Err(Failed::Unfinished);
                }
                let _under_way = UnderWay::begin(&progress);
                let sending =
                    async move { outbound.send(request, bounds.answer_bytes, until).await };
                // Where sockets and timers are.
                let sending = AbortOnDropHandle::new(io.spawn(sending));
                sending.await.unwrap_or_else(|error| Err(Failed::Lost(error.to_string())))
            };
            let reply = reply.await;
            if let Err(failed) = &reply {
                log.write_line(Level::Warn, &format!("a request to {named} failed: {failed}"));
            }
            if is_recorded {
                progress.note(number, &reply);
            }
            sent(reply)
        })
    }
}

impl Drop for HttpCalls {
    fn drop(&mut self) {
        self.progress.is_over.store(true, Ordering::Relaxed);
    }
}

/// The guest's body, once it has finished it.
async fn collect(mut body: WasiBody, most: usize) -> Result<Bytes, Failed> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failed::Unfinished)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(Failed::RequestTooLarge(most as u64));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}

fn sent(reply: Reply) -> Sent {
    let response = reply.map_err(|failed| failed.to_wasi())?.into_wasi()?;
    let afterwards: Afterwards = Box::new(async { Ok(()) });
    Ok((response, afterwards))
}

impl Progress {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn noted(&self) -> MutexGuard<'_, Vec<Option<Vec<u8>>>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, number: usize, reply: &Reply) {
        if let Some(place) = self.noted().get_mut(number) {
            *place = postcard::to_allocvec(reply).ok();
        }
    }
}

impl<'a> UnderWay<'a> {
    fn begin(progress: &'a Progress) -> Self {
        let mut waits = progress.waits();
        waits.under_way += 1;
        let begun = Instant::now();
        waits.since.get_or_insert(begun);
        Self { progress, begun }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let waited = self.begun.elapsed().as_secs_f64();
        metrics::histogram!("kenning_wait_seconds", "on" => "http").record(waited);
        let mut waits = self.progress.waits();
        waits.under_way -= 1;
        if waits.under_way == 0
            && let Some(since) = waits.since.take()
        {
            waits.before += since.elapsed();
        }
    }
}
