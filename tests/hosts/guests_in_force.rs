//! What is installed or promoted on one host is in force on all of them once that was answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::future;
use kenning_tests::{Caller, RedisServer, Server, Setup, component, noted, until};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{host, host_with, ids, search, until_found, words};

/// How often an install races with stores.
const ROUNDS: usize = 12;

/// How many stores each caller makes after the install was answered.
const AFTER: usize = 8;

/// Names the server's own name in answers.
const GENERATION: &str = "x-kenning-generation";

fn bytes(name: &str) -> Result<Vec<u8>> {
    Ok(std::fs::read(component(name)?)?)
}

/// A host whose operator waits for the others only for so long.
async fn host_waiting(redis: &RedisServer, milliseconds: u64) -> Result<Server> {
    host_with(redis, Setup::patient_but(&format!("follow_ms = {milliseconds}"))).await
}

/// When each store that was acknowledged began, and its fact.
type Stored = Arc<Mutex<Vec<(Instant, String)>>>;

/// A caller who stores personal data until told to stop.
struct Storing {
    stop: Arc<AtomicBool>,
    done: Stored,
    task: JoinHandle<Result<()>>,
}

impl Storing {
    fn start(caller: &Caller, name: String) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Stored::default());
        let (caller, stopped, stored) = (caller.clone(), stop.clone(), done.clone());
        let task = tokio::spawn(async move {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let id = format!("{name}-{number}");
                let fact = json!({ "fact_id": id, "text": "write to mia@example.org" });
                let began = Instant::now();
                let answer = caller.post("/v1/facts", fact).await?;
                ensure!(answer.status == 201, "not stored: {}", answer.text);
                stored.lock().expect("not poisoned").push((began, id));
            }
            Ok(())
        });
        Self { stop, done, task }
    }

    fn stored_after(&self, moment: Instant) -> usize {
        let done = self.done.lock().expect("not poisoned");
        done.iter().filter(|(began, _)| *began > moment).count()
    }

    /// The stores that began after `moment`, once there are enough of them.
    async fn until_after(self, moment: Instant) -> Result<Vec<String>> {
        until("stores after the install", async || {
            ensure!(!self.task.is_finished(), "a store failed");
            Ok((self.stored_after(moment) >= AFTER).then_some(()))
        })
        .await?;
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        let done = self.done.lock().expect("not poisoned");
        Ok(done.iter().filter(|(began, _)| *began > moment).map(|(_, id)| id.clone()).collect())
    }
}

/// Those of `ids` that are in Redis as they were sent.
fn unredacted(redis: &RedisServer, tenant: &str, ids: &[String]) -> Vec<String> {
    let is_plain = |id: &&String| {
        let key = format!("kenning:{{{tenant}}}:fact:{id}");
        let content = redis.command(&["HGET", &key, "content"]);
        assert!(content.contains("write to"), "{id}: {content:?}");
        content.contains("mia@example.org")
    };
    ids.iter().filter(is_plain).cloned().collect()
}

fn behind(answer: &kenning_tests::Answer) -> Vec<&str> {
    let names = answer.json["behind"].as_array();
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn after_an_install_no_host_stores_without_it() -> Result<()> {
    let redis = RedisServer::start();
    let hosts = future::try_join_all((0..3).map(|_| host(&redis))).await?;
    install_while_storing(&redis, &hosts, true).await
}

/// Then storage alone keeps the others from storing what is not redacted.
#[tokio::test]
async fn after_an_install_that_waits_for_nobody_no_host_stores_without_it() -> Result<()> {
    let redis = RedisServer::start();
    let hosts = [host_waiting(&redis, 0).await?, host(&redis).await?, host(&redis).await?];
    install_while_storing(&redis, &hosts, false).await
}

async fn install_while_storing(redis: &RedisServer, hosts: &[Server], waits: bool) -> Result<()> {
    let redact = bytes("redact-pii")?;
    let mut checked = 0;
    for round in 0..ROUNDS {
        let tenant = format!("t{round}");
        let callers: Vec<_> = hosts.iter().map(|host| host.tenant(&tenant)).collect();
        let storing: Vec<_> = (1..3)
            .flat_map(|host| [(host, "x"), (host, "y")])
            .map(|(host, name)| Storing::start(&callers[host], format!("{host}{name}")))
            .collect();
        until("each has stored", async || {
            Ok(storing.iter().all(|one| !one.done.lock().unwrap().is_empty()).then_some(()))
        })
        .await?;
        let answer = hosts[0].install(&tenant, "redact", redact.clone(), "").await?;
        let answered = Instant::now();
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!waits || behind(&answer).is_empty(), "{}", answer.text);
        for one in storing {
            let ids = one.until_after(answered).await?;
            assert_eq!(unredacted(redis, &tenant, &ids), [""; 0], "round {round}");
            checked += ids.len();
        }
    }
    assert!(checked >= ROUNDS * 4 * AFTER, "{checked}");
    Ok(())
}

#[tokio::test]
async fn a_host_that_was_stopped_during_an_install_does_not_store_without_it() -> Result<()> {
    let redis = RedisServer::start();
    let hosts = [host_waiting(&redis, 200).await?, host(&redis).await?, host(&redis).await?];
    let redact = bytes("redact-pii")?;
    for round in 0..4 {
        let tenant = format!("t{round}");
        let callers: Vec<_> = hosts.iter().map(|host| host.tenant(&tenant)).collect();
        let storing = [1, 2].map(|host| Storing::start(&callers[host], format!("{host}")));
        until("each has stored", async || {
            Ok(storing.iter().all(|one| !one.done.lock().unwrap().is_empty()).then_some(()))
        })
        .await?;
        hosts[1].pause().await?;
        let answer = hosts[0].install(&tenant, "redact", redact.clone(), "").await?;
        let answered = Instant::now();
        assert_eq!(answer.status, 200, "{}", answer.text);
        let names = behind(&answer);
        let name = format!("-{}", hosts[1].url().rsplit(':').next().context("a port")?);
        assert!(matches!(names[..], [one] if one.ends_with(&name)), "{}", answer.text);
        // It arrives at the stopped host after the answer.
        let late = tokio::spawn({
            let stopped = callers[1].clone();
            let fact = json!({ "fact_id": "late", "text": "write to mia@example.org" });
            async move { stopped.post("/v1/facts", fact).await }
        });
        // The other goes on meanwhile.
        let [of_stopped, of_other] = storing;
        let ids = of_other.until_after(answered).await?;
        assert_eq!(unredacted(&redis, &tenant, &ids), [""; 0], "round {round}");
        hosts[1].resume().await?;
        let mut ids = of_stopped.until_after(answered).await?;
        let late = late.await??;
        assert_eq!(late.status, 201, "{}", late.text);
        ids.push("late".into());
        assert_eq!(unredacted(&redis, &tenant, &ids), [""; 0], "round {round}");
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_does_not_wait_for_a_host_that_is_gone() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two, three) = (host(&redis).await?, host(&redis).await?, host(&redis).await?);
    // One leaves, another dies.
    assert_eq!(two.stop().await?, Some(0));
    let answer = one.install("default", "hooks", bytes("hooks")?, "").await?;
    assert_eq!((answer.status, behind(&answer)), (200, vec![]), "{}", answer.text);
    three.kill().await?;
    let again = one.install("default", "hooks", noted(&bytes("hooks")?, "2"), "").await?;
    assert_eq!((again.status, behind(&again)), (200, vec![]), "{}", again.text);
    Ok(())
}

#[tokio::test]
async fn a_hook_on_reading_is_in_force_on_every_way_out() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    for round in 0..6 {
        let tenant = format!("t{round}");
        let (here, there) = (one.tenant(&tenant), two.tenant(&tenant));
        here.store(json!({ "fact_id": "s", "text": "the secret harbour" })).await?;
        here.store(json!({ "fact_id": "w", "text": "withheld harbour" })).await?;
        until_found(&there, "harbour", &["s".into(), "w".into()]).await?;
        let installed = one.install(&tenant, "hooks", bytes("hooks")?, "").await?;
        assert_eq!(installed.status, 200, "{}", installed.text);
        // The first of them finds the host as it was; each round begins with another.
        for way in 0..6 {
            let said = match (way + round) % 6 {
                0 => there.get("/v1/facts/s").await?.text,
                1 => there.get("/v1/facts").await?.text,
                2 => there.export().await?,
                3 => search(&there, words("harbour"), None).await?.text,
                4 => there.get("/v1/facts?query=harbour").await?.text,
                _ => there
                    .get("/v1/count?filter=%7B%7D")
                    .await?
                    .text
                    .replace("\"count\":1", "[hidden]"),
            };
            assert!(!said.contains("secret") && said.contains("[hidden]"), "{way}: {said}");
            assert!(!said.contains("withheld"), "{way}: {said}");
        }
        let facets = json!({ "query": "nowhere", "mode": "text", "facets": ["topic"] });
        search(&there, facets, None).await?.assert_invalid("/facets");
        // What was removed is no longer in force either.
        let path = format!("/v1/admin/tenants/{tenant}/extensions/hooks");
        assert_eq!(one.delete(&path).await?.status, 200);
        assert_eq!(there.get("/v1/facts/s").await?.json["content"], "the secret harbour");
    }
    Ok(())
}

#[tokio::test]
async fn a_search_that_finds_nothing_is_repeated_with_the_hooks_in_force() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    for round in 0..6 {
        let tenant = format!("t{round}");
        let (here, there) = (one.tenant(&tenant), two.tenant(&tenant));
        here.store(json!({ "fact_id": "r", "text": "renamed thing" })).await?;
        until_found(&there, "renamed", &["r".into()]).await?;
        assert!(ids(&search(&there, words("alias"), None).await?)?.is_empty());
        assert_eq!(one.install(&tenant, "hooks", bytes("hooks")?, "").await?.status, 200);
        assert_eq!(ids(&search(&there, words("alias"), None).await?)?, ["r"], "round {round}");
        // What a hook refuses without asking storage is refused only as long as it is in force.
        there.post("/v1/facts", json!({ "text": "refuse" })).await?.assert_error(422, "rejected");
        let paused = json!({ "paused": true });
        let path = format!("/v1/admin/tenants/{tenant}/extensions/hooks");
        assert_eq!(one.patch(&path, paused).await?.status, 200);
        there.store(json!({ "text": "refuse" })).await?;
    }
    Ok(())
}

/// Stores several groups of drafts in one call while its tenant's registry changes all the time.
#[tokio::test]
async fn a_call_that_has_written_is_not_repeated() -> Result<()> {
    let redis = Arc::new(RedisServer::start());
    let server = host_with(&redis, Setup::patient_but("batch_facts = 2")).await?;
    let acme = server.tenant("acme");
    let installed = server.install("acme", "hooks", bytes("hooks")?, "").await?;
    assert_eq!(installed.status, 200, "{}", installed.text);
    let stop = Arc::new(AtomicBool::new(false));
    let raising = tokio::task::spawn_blocking({
        let (redis, stop) = (redis.clone(), stop.clone());
        move || {
            let key = "kenning:{acme}:registry";
            let pause = std::time::Duration::from_millis(3);
            while !stop.load(Ordering::Relaxed) {
                redis.command(&["INCR", key]);
                std::thread::sleep(pause);
            }
        }
    });
    let mut halfway = 0;
    for batch in 0..2_000 {
        // Two drafts become four facts, which the logic stores in two calls.
        let text = |draft: usize| format!("split {batch} {draft} a\n{batch} {draft} b");
        let facts = json!({ "facts": [{ "text": text(0) }, { "text": text(1) }] });
        let answer = acme.post("/v1/facts/batch", facts).await?;
        let results = answer.json["results"].as_array().cloned().unwrap_or_default();
        let failed = results.iter().filter(|one| one["code"] == "overloaded").count();
        halfway += usize::from(failed > 0 && failed < 2);
        if halfway >= 3 {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    raising.await?;
    assert!(halfway > 0, "no batch was interrupted");
    let exported = until("an export", async || {
        let answer = acme.get("/v1/export").await?;
        Ok((answer.status == 200).then_some(answer.text))
    })
    .await?;
    let lines = exported.lines().map(serde_json::from_str::<Value>);
    let mut texts: Vec<String> =
        lines.map(|line| Ok(line?["content"].to_string())).collect::<Result<_>>()?;
    let stored = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), stored, "something was stored twice");
    let metrics = server.get("/metrics").await?.text;
    assert!(metrics.contains("kenning_stale_calls_total"), "{metrics}");
    Ok(())
}

async fn generation(caller: &Caller) -> Result<String> {
    let answer = caller.get("/v1/facts").await?;
    ensure!(answer.status == 200, "{}", answer.text);
    Ok(answer.header(GENERATION).to_owned())
}

#[tokio::test]
async fn a_server_wide_logic_answers_on_every_host_once_its_promotion_is_answered() -> Result<()> {
    let redis = RedisServer::start();
    let (one, two) = (host(&redis).await?, host(&redis).await?);
    two.store(json!({ "text": "a fact" })).await?;
    let any_time = "?max_time_percent=1000000";
    for number in 2..=5 {
        let logic = noted(&bytes("logic")?, &number.to_string());
        let swapped = one.swap_logic(logic, any_time).await?;
        assert_eq!((swapped.status, behind(&swapped)), (200, vec![]), "{}", swapped.text);
        assert_eq!(generation(&two).await?, number.to_string());
    }
    // A host that was stopped has lost its lease, and asks before it serves.
    two.pause().await?;
    let asking = tokio::spawn({
        let two = two.tenant("default");
        async move { generation(&two).await }
    });
    let swapped = one.swap_logic(noted(&bytes("logic")?, "last"), any_time).await?;
    assert_eq!((swapped.status, behind(&swapped)), (200, vec![]), "{}", swapped.text);
    two.resume().await?;
    assert_eq!(generation(&two).await?, "6");
    asking.await??;
    Ok(())
}
