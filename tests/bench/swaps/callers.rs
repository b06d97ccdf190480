//! Callers that go on whatever happens, and keep an account of it: how long each call took and
//! when it ended, what failed, and who each answer says and shows that it is of.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use fastrand::Rng;
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use super::marks::{Guest, Seen, shown};
use crate::generator::request;
use crate::load::{Body, Connection, Exchanged};
use crate::texts::Texts;

/// What a fact's text ends with, so that the extension shows itself when the fact is read, and
/// when it is stored.
pub(crate) const SECRET: &str = " secret mark";

/// What all callers ask about.
pub(crate) struct Subject {
    pub(crate) url: String,
    pub(crate) ids: Vec<String>,
    pub(crate) texts: Texts,
    pub(crate) guest: Guest,
}

/// What callers saw.
#[derive(Default)]
pub(crate) struct Account {
    /// When each call ended, since the first began, and how long it took.
    pub(crate) calls: Vec<(Duration, Duration)>,
    pub(crate) failed: usize,
    pub(crate) first_failure: Option<String>,
    /// Answers, and facts that show who stored them.
    pub(crate) seen: HashMap<Seen, usize>,
}

/// Callers that call until they are stopped.
pub(crate) struct Callers {
    pub(crate) begun: Instant,
    stop: Arc<AtomicBool>,
    calling: JoinSet<Result<Account>>,
}

impl Callers {
    pub(crate) async fn start(subject: &Arc<Subject>, count: usize) -> Result<Self> {
        let (stop, begun) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let mut calling = JoinSet::new();
        for (number, connection) in
            Connection::open_all(&subject.url, count).await?.into_iter().enumerate()
        {
            let (subject, stop) = (subject.clone(), stop.clone());
            let random = Rng::with_seed(number as u64);
            let account = Account::default();
            let mut caller = OneCaller { subject, connection, random, begun, account, number };
            calling.spawn(async move {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    caller.turn(turn).await?;
                }
                Ok(caller.account)
            });
        }
        Ok(Self { begun, stop, calling })
    }

    pub(crate) async fn stop(mut self) -> Result<Account> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Account::default();
        while let Some(one) = self.calling.join_next().await {
            let one = one??;
            all.calls.extend(one.calls);
            all.failed += one.failed;
            all.first_failure = all.first_failure.or(one.first_failure);
            one.seen
                .into_iter()
                .for_each(|(seen, count)| *all.seen.entry(seen).or_default() += count);
        }
        Ok(all)
    }
}

struct OneCaller {
    subject: Arc<Subject>,
    connection: Connection,
    random: Rng,
    begun: Instant,
    account: Account,
    number: usize,
}

impl OneCaller {
    /// One of each verb.
    async fn turn(&mut self, turn: usize) -> Result<()> {
        let id = self.subject.ids[self.random.usize(..self.subject.ids.len())].clone();
        self.call(request(Method::GET, &format!("/v1/facts/{id}"), None)?, StatusCode::OK).await?;
        let query = json!({ "query": self.subject.texts.query(&mut self.random) });
        let search = request(Method::POST, "/v1/search", Some(query))?;
        self.call(search, StatusCode::OK).await?;
        self.store(format!("c{}-{turn}", self.number)).await?;
        if self.subject.guest == Guest::Logic {
            let blank = request(Method::POST, "/v1/facts", Some(json!({ "text": " " })))?;
            self.call(blank, StatusCode::BAD_REQUEST).await?;
        }
        Ok(())
    }

    /// Stores a fact, looks who stored it, and deletes it, so that what is searched stays as it is.
    async fn store(&mut self, id: String) -> Result<()> {
        let text = self.subject.texts.fact(&mut self.random) + SECRET;
        let fact = json!({ "fact_id": id, "text": text });
        let stored = request(Method::POST, "/v1/facts", Some(fact))?;
        let Some((storer, _)) = self.call(stored, StatusCode::CREATED).await? else {
            return Ok(());
        };
        let path = format!("/v1/facts/{id}");
        let read = self.call(request(Method::GET, &path, None)?, StatusCode::OK).await?;
        if let (Guest::Extension, Some((_, read))) = (self.subject.guest, read) {
            self.note(storer.with(shown(&read.body, "\"marked\":")));
        }
        self.call(request(Method::DELETE, &path, None)?, StatusCode::OK).await?;
        Ok(())
    }

    /// Sends one request. What fails is counted, and the caller goes on.
    async fn call(
        &mut self,
        request: Request<Body>,
        expected: StatusCode,
    ) -> Result<Option<(Seen, Exchanged)>> {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = match self.connection.exchange(request).await {
            Ok(answer) if answer.head.status == expected => answer,
            Ok(Exchanged { head, body, .. }) => {
                self.fail(anyhow!("{what}: {}: {body:?}", head.status));
                return Ok(None);
            }
            Err(error) => {
                self.fail(error.context(what));
                self.connection = Connection::open(&self.subject.url).await?;
                return Ok(None);
            }
        };
        self.account.calls.push((self.begun.elapsed(), answer.took));
        let before = match self.subject.guest {
            Guest::Logic => "say it to ",
            Guest::Extension => "[seen-",
        };
        let seen = Seen::new(&answer.head.headers, shown(&answer.body, before));
        self.note(seen.clone());
        Ok(Some((seen, answer)))
    }

    fn note(&mut self, seen: Seen) {
        *self.account.seen.entry(seen).or_default() += 1;
    }

    fn fail(&mut self, error: anyhow::Error) {
        self.account.failed += 1;
        self.account.first_failure.get_or_insert_with(|| format!("{error:#}"));
    }
}
