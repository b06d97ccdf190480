//! The demo's second half: an extension and the logic are swapped while callers search.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kenning_tests::{Answer, Caller, Server, component, noted};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::step;

const CALLERS: usize = 4;
const NAME: &str = "redact-pii";
const TEXT: &str = "Ms Ito has the spare key; write to ito@example.com or call +81 3 1234 5678.";

/// How long they go on when the last guest is swapped.
const AFTERWARDS: Duration = Duration::from_millis(300);

/// What callers ask for as long as guests are swapped.
const QUERY: &str = "how do I get in without my keys?";

pub(crate) async fn swap_while_serving(server: &Server) -> Result<()> {
    step(&format!("Swapping guests while {CALLERS} callers search"));
    let callers = Callers::start(server);
    store_and_show(server, "without an extension", "demo-1").await?;

    println!("\ninstalling {NAME}, which takes personal data out of facts:");
    let redact = std::fs::read(component(NAME)?)?;
    promoted(&server.install("default", NAME, redact.clone(), "").await?)?;
    store_and_show(server, "with it", "demo-2").await?;

    println!("\nanother version of it, which writes EMAIL:");
    let other = noted(&saying(&redact, "[email]", "[EMAIL]")?, "another");
    promoted(&server.install("default", NAME, other, "").await?)?;
    store_and_show(server, "with the other", "demo-3").await?;

    let path = format!("/v1/admin/tenants/default/extensions/{NAME}");
    let rolled = server.post(&format!("{path}/rollback"), json!({})).await?;
    ensure!(rolled.status == 200, "{}", rolled.text);
    println!("\nrolled back to generation {}", rolled.json["generation"]);
    store_and_show(server, "after the rollback", "demo-4").await?;

    let removed = server.delete(&path).await?;
    ensure!(removed.status == 200, "{}", removed.text);
    println!("\n{}", removed.json["message"].as_str().unwrap_or_default());
    store_and_show(server, "without it again", "demo-5").await?;

    println!("\nthe logic itself, another build of the same, held against recent requests:");
    let logic = noted(&std::fs::read(component("logic")?)?, "another");
    promoted(&server.swap_logic(logic, "").await?)?;

    sleep(AFTERWARDS).await;
    let (answered, failed) = callers.stop().await?;
    println!("\nthe callers had, meanwhile, by who answered:");
    for (who, count) in &answered {
        println!("  {count:>6}  {who}");
    }
    println!("  {failed:>6}  failed");
    ensure!(failed == 0, "{failed} searches failed while guests were swapped");
    Ok(())
}

/// Puts `is` where `was` stands.
fn saying(component: &[u8], was: &str, is: &str) -> Result<Vec<u8>> {
    ensure!(was.len() == is.len(), "{was} and {is} differ in length");
    let at = component.windows(was.len()).position(|window| window == was.as_bytes());
    let at = at.with_context(|| format!("the component does not say {was}"))?;
    let mut changed = component.to_vec();
    changed[at..][..is.len()].copy_from_slice(is.as_bytes());
    Ok(changed)
}

/// Stores a fact with personal data in it, and shows what became of it.
async fn store_and_show(server: &Server, when: &str, id: &str) -> Result<()> {
    server.store(json!({ "fact_id": id, "text": TEXT })).await?;
    let answer = server.get(&format!("/v1/facts/{id}")).await?;
    let extensions = match answer.header("x-kenning-extensions") {
        "" => "none",
        names => names,
    };
    println!("\n{when} (x-kenning-extensions: {extensions}), a stored fact reads");
    println!("  {}", answer.json["content"].as_str().context("no content")?);
    ensure!(server.delete(&format!("/v1/facts/{id}")).await?.status == 200, "not deleted");
    Ok(())
}

/// Shows the report of a swap, which must have promoted.
fn promoted(answer: &Answer) -> Result<()> {
    let report = &answer.json;
    ensure!(report["promoted"] == true, "not promoted: {}", answer.text);
    for check in report["checks"].as_array().context("no checks")? {
        let text = |field: &str| check[field].as_str().unwrap_or_default();
        println!("  {:<10} {}", text("check"), text("detail"));
    }
    println!(
        "  generation {}, promoted in {} ms; with all checks {} ms",
        report["generation"], report["promotion_ms"], report["took_ms"]
    );
    Ok(())
}

/// How many answers by each, as its headers name it.
type Response = BTreeMap<String, usize>;

/// Callers who search until they are told to stop.
struct Callers {
    stop: Arc<AtomicBool>,
    calling: JoinSet<Result<(Response, usize)>>,
}

impl Callers {
    fn start(server: &Caller) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut calling = JoinSet::new();
        for _ in 0..CALLERS {
            calling.spawn(search_until(stop.clone(), server.clone()));
        }
        Self { stop, calling }
    }

    /// What they had, and how many calls of theirs failed.
    async fn stop(mut self) -> Result<(Response, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        let (mut all, mut all_failed) = (Response::new(), 0);
        while let Some(one) = self.calling.join_next().await {
            let (answered, failed) = one??;
            answered.into_iter().for_each(|(who, count)| *all.entry(who).or_default() += count);
            all_failed += failed;
        }
        Ok((all, all_failed))
    }
}

async fn search_until(stop: Arc<AtomicBool>, server: Caller) -> Result<(Response, usize)> {
    let (mut answered, mut failed) = (Response::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let answer = server.post("/v1/search", json!({ "query": QUERY, "top_k": 3 })).await;
        match answer {
            Ok(answer) if answer.status == 200 => {
                let header = |name: &str| answer.header(name).to_string();
                let logic = format!("logic {}", header("x-kenning-generation"));
                let who = match header("x-kenning-extensions") {
                    none if none.is_empty() => logic,
                    extensions => format!("{logic}, {extensions}"),
                };
                *answered.entry(who).or_default() += 1;
            }
            _ => failed += 1,
        }
    }
    Ok((answered, failed))
}
