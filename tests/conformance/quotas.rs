//! Quotas that several hosts count together.

use std::sync::Arc;
use std::time::Duration;

use kenning_storage::testing::RedisServer;
use kenning_storage::{Draw, Drawn, Layout, Rate, Storage, StorageError, StorageLimits, open};

use crate::backends::Backend;
use crate::tools::*;

const USED: &str = "kenning:{default}:used";

const ALLOWANCES: &str = "kenning:{default}:allowances";

/// Longer than a test.
const LONG: Duration = Duration::from_secs(600);

/// A host that uses `default`'s quotas.
struct Host {
    storage: Arc<dyn Storage>,
    rate: Rate,
    allowed: u64,
    used: u64,
    /// What it may use beyond `used`.
    granted: u64,
}

impl Host {
    async fn new(server: &RedisServer, rate: Rate, allowed: u64) -> Self {
        let storage = open(&server.url(), Layout::Tenant, StorageLimits::default()).await.unwrap();
        Self { storage, rate, allowed, used: 0, granted: 0 }
    }

    /// Reports, and asks for so much.
    async fn draw(&mut self, needed: u64, wanted: u64) -> Drawn {
        self.draw_for(needed, wanted, LONG).await
    }

    async fn draw_for(&mut self, needed: u64, wanted: u64, time: Duration) -> Drawn {
        let kept = if wanted > 0 { self.granted } else { 0 };
        let (allowed, used, counted) = (Some(self.allowed), self.used, self.used);
        let draw = Draw { allowed, used, counted, kept, needed, wanted };
        let drawn = draw_one(&*self.storage, self.rate, draw, time).await.unwrap();
        self.granted = drawn.granted;
        drawn
    }

    /// Uses what it may, and returns how much that is.
    fn use_all(&mut self) -> u64 {
        self.used += self.granted;
        std::mem::take(&mut self.granted)
    }
}

async fn draw_one(
    storage: &dyn Storage,
    rate: Rate,
    draw: Draw,
    time: Duration,
) -> Result<Drawn, StorageError> {
    let mut draws = [Draw::default(); 3];
    draws[rate as usize] = draw;
    let drawn = storage.draw(&default_tenant(), &draws, time, later()).await?;
    Ok(drawn.rates[rate as usize])
}

async fn hosts<const N: usize>(server: &RedisServer, rate: Rate, allowed: u64) -> [Host; N] {
    let mut hosts = Vec::new();
    for _ in 0..N {
        hosts.push(Host::new(server, rate, allowed).await);
    }
    hosts.try_into().ok().unwrap()
}

/// The server's clock, in seconds.
fn time(server: &RedisServer) -> f64 {
    let reply = server.command(&["TIME"]);
    let numbers: Vec<f64> = reply.split("\r\n").filter_map(|line| line.parse().ok()).collect();
    numbers[0] + numbers[1] / 1e6
}

/// Over every backend.
pub(crate) async fn what_is_needed_is_given_up_to_the_quota(backend: &mut impl Backend) {
    let storage = backend.open().await;
    for rate in Rate::ALL {
        let of = |allowed, needed| Draw { allowed, needed, wanted: needed, ..Draw::default() };
        let none = draw_one(&*storage, rate, of(None, 5), LONG).await.unwrap();
        assert_eq!(none.granted, 0, "there is no quota");
        let drawn = draw_one(&*storage, rate, of(Some(1_000), 5), LONG).await.unwrap();
        assert!((5..1_000).contains(&drawn.granted), "{drawn:?}");
        let drawn = draw_one(&*storage, rate, of(Some(1_000), 5_000), LONG).await.unwrap();
        assert_eq!((drawn.granted, drawn.held), (1_000, 1_000), "{rate:?}");
    }
    storage.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minutes_quota_is_used_up_by_all_hosts_together_and_never_exceeded() {
    for rate in [Rate::Fuel, Rate::Tokens] {
        let server = RedisServer::start();
        let mut hosts: [Host; 3] = hosts(&server, rate, 1_000).await;
        let (begun, mut used) = (time(&server), 0);
        for round in 0..200 {
            let host = &mut hosts[round % 3];
            let drawn = host.draw(1, 50).await;
            assert!(drawn.used + drawn.held <= 1_000, "{drawn:?}");
            used += host.use_all();
        }
        if time(&server) < begun + 59.0 {
            assert_eq!(used, 1_000, "{rate:?}");
            let drawn = hosts[0].draw(1, 50).await;
            assert_eq!((drawn.granted, drawn.used), (0, 1_000));
            let after = drawn.after.as_secs_f64();
            assert!((0.0..=60.0).contains(&after) && after > 0.0, "{after}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_by_all_hosts_together_are_one_seconds_and_the_rate() {
    let server = RedisServer::start();
    let rate = 50;
    let mut hosts: [Host; 3] = hosts(&server, Rate::Requests, rate).await;
    let (begun, mut used) = (time(&server), 0);
    let mut round = 0;
    while used < 3 * rate {
        let host = &mut hosts[round % 3];
        host.draw(1, 10).await;
        used += host.use_all();
        round += 1;
    }
    let span = time(&server) - begun;
    let most = (1.0 + span) * rate as f64;
    assert!(used as f64 <= most, "{used} in {span} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_small_quota_a_host_gets_no_more_than_it_needs() {
    let server = RedisServer::start();
    let mut hosts: [Host; 3] = hosts(&server, Rate::Tokens, 300).await;
    for host in &mut hosts {
        host.draw(1, 100).await;
    }
    assert!(hosts[0].draw(1, 100).await.is_ahead, "100 a minute for each host");
    for host in &mut hosts {
        host.allowed = 299;
        host.granted = 0;
        let drawn = host.draw(2, 100).await;
        assert_eq!((drawn.granted, drawn.is_ahead), (2, false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_is_a_small_part_and_smaller_the_more_hosts_there_are() {
    let server = RedisServer::start();
    let mut hosts: [Host; 2] = hosts(&server, Rate::Fuel, 10_000).await;
    assert_eq!(hosts[0].draw(1, 1).await.granted, 100, "one in a hundred");
    assert_eq!(hosts[0].draw(1, 1_000_000).await.granted, 1_000, "one in ten");
    assert_eq!(hosts[1].draw(1, 1_000_000).await.granted, 500);
    assert_eq!(hosts[1].draw(8_000, 0).await.granted, 8_000, "what calls wait for is given");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_another_host_may_use() {
    let server = RedisServer::start();
    let [mut one, mut two]: [Host; 2] = hosts(&server, Rate::Tokens, 1_000).await;
    one.draw(400, 1).await;
    one.used += 100;
    assert_eq!(two.draw(1_000, 1).await.granted, 600);
    assert_eq!(one.draw(0, 0).await.granted, 0);
    let drawn = two.draw(1_000, 1).await;
    assert_eq!((drawn.granted, drawn.used), (900, 100));
}

/// Its host may have been killed, having used it or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_that_is_not_renewed_ends_and_counts_as_used() {
    let server = RedisServer::start();
    let [mut killed, mut living]: [Host; 2] = hosts(&server, Rate::Tokens, 1_000).await;
    killed.draw_for(400, 1, Duration::from_millis(1)).await;
    let drawn = loop {
        let drawn = living.draw(0, 1).await;
        if drawn.used > 0 {
            break drawn;
        }
    };
    assert_eq!((drawn.used, drawn.held), (400, drawn.granted));
    // It lived after all: what it used of its allowance was counted, and the rest was not given.
    killed.used += 450;
    assert_eq!(killed.draw(0, 0).await.used, 450);
    killed.used += 50;
    assert_eq!(killed.draw(0, 0).await.used, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_of_requests_that_a_killed_host_had_is_refilled() {
    let server = RedisServer::start();
    let [mut killed, mut living]: [Host; 2] = hosts(&server, Rate::Requests, 20).await;
    killed.draw_for(20, 1, Duration::from_millis(1)).await;
    while living.draw(1, 0).await.granted == 0 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_is_repeated_counts_once() {
    let server = RedisServer::start();
    let [mut one]: [Host; 1] = hosts(&server, Rate::Fuel, 1_000).await;
    let draw = Draw { allowed: Some(1_000), used: 300, counted: 100, needed: 1, ..Draw::default() };
    for _ in 0..3 {
        let drawn = draw_one(&*one.storage, Rate::Fuel, draw, LONG).await.unwrap();
        assert_eq!(drawn.used, 200, "100 were counted before");
    }
    // What is beyond the quota is owed.
    one.used = 5_000;
    let drawn = one.draw(1, 1).await;
    assert_eq!((drawn.granted, drawn.used), (0, 4_900));
    // A host that storage has forgotten says what was counted.
    server.command(&["DEL", ALLOWANCES]);
    assert_eq!(one.draw(1, 1).await.used, 4_900);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_it_stays_for_ever() {
    let server = RedisServer::start();
    let [mut one]: [Host; 1] = hosts(&server, Rate::Fuel, 1_000).await;
    put(&*one.storage, &[("a", 1)]).await;
    one.draw(5, 5).await;
    for key in [USED, ALLOWANCES] {
        let reply = server.command(&["PTTL", key]);
        let left: u64 = reply.trim().trim_start_matches(':').parse().unwrap();
        assert!((1..=120_000).contains(&left), "{key}: {reply}");
    }
    while one.storage.delete_tenant(&default_tenant(), later()).await.unwrap() {}
    assert_eq!(server.command(&["EXISTS", USED, ALLOWANCES]), ":0\r\n");
    // What was used by then counts for nobody.
    assert_eq!(one.draw(5, 5).await.used, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_program_put_there_is_named_or_passed_over() {
    let server = RedisServer::start();
    let [mut one, mut two]: [Host; 2] = hosts(&server, Rate::Fuel, 1_000).await;
    server.command(&["HSET", ALLOWANCES, "x", "of another program"]);
    one.used = 7;
    one.draw(1, 1).await;
    two.draw(1, 1).await;
    assert_eq!(server.command(&["HLEN", ALLOWANCES]), ":2\r\n");
    server.command(&["SET", USED, "x"]);
    let refused = draw_one(&*one.storage, Rate::Fuel, Draw::default(), LONG).await;
    let Err(StorageError::Refused(message)) = refused else { panic!("{refused:?}") };
    assert!(message.contains(USED), "{message}");
}
