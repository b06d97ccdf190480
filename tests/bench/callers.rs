//! `bench callers`: callers of any server that speaks HTTP, for `make bench-peers`.
//!
//! The path and the body are templates, so that no request is like another: `<NAME>` is a line of
//! the list NAME, drawn at random, `<NAME*20>` is twenty of them with blanks between, and
//! `<unique>` is an identifier that no other request has. Prints one JSON object: `n`, `seconds`,
//! `p50_us`, `p99_us`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use fastrand::Rng;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request};
use serde_json::json;

use crate::load::{self, Body, Requests};

/// Send requests to a server, and print how long they took.
#[derive(Parser)]
#[command(name = "bench callers")]
pub(crate) struct Arguments {
    /// The server, as http://ADDRESS:PORT
    #[arg(long)]
    url: String,
    /// Callers at once
    #[arg(long)]
    callers: usize,
    /// How long they call, after a short time to warm up
    #[arg(long)]
    seconds: f64,
    #[arg(long, default_value = "GET")]
    method: Method,
    /// A template
    #[arg(long)]
    path: String,
    /// NAME:VALUE
    #[arg(long = "header", value_parser = pair::<HeaderName, HeaderValue>)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// A template
    #[arg(long, default_value = "")]
    body: String,
    /// NAME:FILE, with an entry a line
    #[arg(long = "list", value_parser = pair::<String, PathBuf>)]
    lists: Vec<(String, PathBuf)>,
    /// No two runs against the same server may have the same
    #[arg(long)]
    seed: u64,
}

/// Two values with the first colon between them.
fn pair<L, R>(text: &str) -> Result<(L, R)>
where
    L: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
    R: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let (left, right) = text.split_once(':').context("a colon is missing")?;
    Ok((left.parse()?, right.trim_start().parse()?))
}

/// Calls, and prints.
pub(crate) async fn measure(arguments: Arguments) -> Result<()> {
    ensure!(arguments.callers > 0, "--callers must be at least 1");
    let span = Duration::try_from_secs_f64(arguments.seconds).context("--seconds")?;
    let (url, callers) = (arguments.url.clone(), arguments.callers);
    let requests = Arc::new(Templates::new(arguments)?);
    let connections = load::warm(&url, callers, &requests).await?;
    let (_, load) = load::run(connections, &requests, span).await?;
    let figures = json!({
        "n": load.samples.count(),
        "seconds": load.elapsed.as_secs_f64(),
        "p50_us": load.samples.median().as_secs_f64() * 1e6,
        "p99_us": load.samples.percentile(99.0).as_secs_f64() * 1e6,
    });
    println!("{figures}");
    Ok(())
}

/// Makes requests of templates.
struct Templates {
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    path: Template,
    body: Template,
    lists: Vec<Vec<String>>,
    random: Mutex<Rng>,
}

impl Templates {
    fn new(arguments: Arguments) -> Result<Self> {
        let names: Vec<&str> = arguments.lists.iter().map(|(name, _)| name.as_str()).collect();
        let path = Template::parse(&arguments.path, &names)?;
        let body = Template::parse(&arguments.body, &names)?;
        let mut lists = Vec::new();
        for (name, file) in &arguments.lists {
            let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            let lines: Vec<String> = text.lines().map(Into::into).collect();
            ensure!(!lines.is_empty(), "the list {name} is empty");
            lists.push(lines);
        }
        let random = Mutex::new(Rng::with_seed(arguments.seed));
        let Arguments { method, headers, .. } = arguments;
        Ok(Self { method, headers, path, body, lists, random })
    }
}

impl Requests for Templates {
    fn request(&self) -> Result<Request<Body>> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path.fill(&self.lists, &mut random);
        let body = self.body.fill(&self.lists, &mut random);
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        Ok(request.body(Body::new(Bytes::from(body)))?)
    }
}

/// Text with places that are filled for each request.
struct Template(Vec<Piece>);

enum Piece {
    Text(String),
    /// So many entries of the list with this index.
    Drawn(usize, usize),
    Unique,
}

impl Template {
    fn parse(text: &str, lists: &[&str]) -> Result<Self> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('<') {
            let (place, after) = after.split_once('>').context("`<` without `>` in a template")?;
            pieces.push(Piece::Text(before.into()));
            pieces.push(Piece::parse(place, lists)?);
            rest = after;
        }
        pieces.push(Piece::Text(rest.into()));
        Ok(Self(pieces))
    }

    fn fill(&self, lists: &[Vec<String>], random: &mut Rng) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Unique => filled.push_str(&format!("{:032x}", random.u128(..))),
                Piece::Drawn(list, count) => {
                    for at in 0..*count {
                        filled.push_str(if at == 0 { "" } else { " " });
                        filled.push_str(&lists[*list][random.usize(..lists[*list].len())]);
                    }
                }
            }
        }
        filled
    }
}

impl Piece {
    fn parse(place: &str, lists: &[&str]) -> Result<Self> {
        if place == "unique" {
            return Ok(Self::Unique);
        }
        let (name, count) = place.split_once('*').unwrap_or((place, "1"));
        let list = lists.iter().position(|list| *list == name);
        let list = list.with_context(|| format!("no --list has the name {name}"))?;
        Ok(Self::Drawn(list, count.parse().context("a count after `*`")?))
    }
}
