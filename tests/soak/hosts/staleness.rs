//! How long other hosts do not show a write, where nobody sends a revision back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kenning_tests::report::{Table, Timings, ms};
use kenning_tests::{Answer, Caller, spelled};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Writes in a second: each fact is stored, changed and deleted.
const FACTS_PER_SECOND: u32 = 33;

/// One fact for so many of the calls that the part makes.
const CALLS_PER_FACT: usize = 100;

/// Tenants whose facts these are.
const TENANTS: usize = 8;

/// The pause before a host is asked again.
const POLL: Duration = Duration::from_millis(1);

/// What is not shown by then never will be.
const LONGEST: Duration = Duration::from_secs(60);

/// How a host is asked.
#[derive(Clone, Copy)]
enum Look {
    Search,
    List,
}

/// What was seen of writes of one kind, by how was looked.
#[derive(Default)]
struct Seen {
    /// How many the first answer showed.
    at_once: usize,
    /// From the answer to the write to the first answer of another host that showed it.
    delays: Vec<Duration>,
}

type AllSeen = BTreeMap<(&'static str, &'static str), Seen>;

pub(super) fn table() -> Table {
    let columns = ["beside", "write", "seen by", "writes", "at once", "p50 ms", "p99", "max"];
    let mut table = Table::new("Staleness without the revision", 3, &columns);
    table.note(format!(
        "{} writes a second; from a write's answer to the first answer of another host that \
         shows it",
        3 * FACTS_PER_SECOND
    ));
    table.note("At once: the first answer showed it. Each column includes the time of a call.");
    table
}

pub(super) async fn measure(
    hosts: &[Caller],
    beside: &str,
    calls: usize,
    table: &mut Table,
) -> Result<()> {
    let mut pace = interval(Duration::from_secs(1) / FACTS_PER_SECOND);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut following = JoinSet::new();
    for number in 0..calls / CALLS_PER_FACT {
        pace.tick().await;
        let tenant = format!("s{}", number % TENANTS);
        let [here, there] = [0, 1].map(|next| hosts[(number + next) % hosts.len()].tenant(&tenant));
        let look = if number % 4 == 0 { Look::List } else { Look::Search };
        let name = format!("{}{number}", beside.split(' ').next_back().unwrap_or_default());
        following.spawn(follow(here, there, name, number, look));
    }
    let mut seen = AllSeen::new();
    while let Some(followed) = following.join_next().await {
        for (write, looked, at_once, delay) in followed?? {
            let seen = seen.entry((write, looked)).or_default();
            seen.at_once += usize::from(at_once);
            seen.delays.push(delay);
        }
    }
    for ((write, looked), Seen { at_once, delays }) in seen {
        let delays = Timings::new(delays);
        let names = [beside, write, looked].map(str::to_owned);
        let counts = [delays.count(), at_once].map(|count| count.to_string());
        let times = [50.0, 99.0, 100.0].map(|percent| ms(delays.percentile(percent)));
        table.row(names.into_iter().chain(counts).chain(times));
    }
    Ok(())
}

/// What became of one write: what it was, how it was looked for, whether the first answer showed
/// it, and how long none did.
type Followed = (&'static str, &'static str, bool, Duration);

/// Stores, changes and deletes a fact here, and looks for each there.
async fn follow(
    here: Caller,
    there: Caller,
    id: String,
    number: usize,
    look: Look,
) -> Result<Vec<Followed>> {
    let (first, second) = (spelled("early", number), spelled("late", number));
    let path = format!("/v1/facts/{id}");
    let mut followed = Vec::new();
    let fact = json!({ "fact_id": id, "text": format!("an {first} fact") });
    let answer = here.post("/v1/facts", fact).await?;
    followed.push(until_seen("store", &answer, &there, look, &first, true).await?);
    let answer = here.patch(&path, json!({ "text": format!("a {second} fact") })).await?;
    followed.push(until_seen("change", &answer, &there, look, &second, true).await?);
    let answer = here.delete(&path).await?;
    followed.push(until_seen("delete", &answer, &there, look, &second, false).await?);
    Ok(followed)
}

/// Asks until there is a fact with the word, or no longer one.
async fn until_seen(
    write: &'static str,
    written: &Answer,
    there: &Caller,
    look: Look,
    word: &str,
    wanted: bool,
) -> Result<Followed> {
    ensure!(matches!(written.status, 200 | 201), "not written: {}", written.text);
    let begun = Instant::now();
    let mut at_once = true;
    while begun.elapsed() < LONGEST {
        let (looked, is_there) = match look {
            Look::Search => {
                let query = json!({ "query": word, "mode": "text" });
                ("search", has_any(&there.post("/v1/search", query).await?, "results")?)
            }
            Look::List => {
                let path = format!("/v1/facts?query={word}");
                ("list", has_any(&there.get(&path).await?, "facts")?)
            }
        };
        if is_there == wanted {
            return Ok((write, looked, at_once, begun.elapsed()));
        }
        at_once = false;
        sleep(POLL).await;
    }
    bail!("never seen: {write} of {word}")
}

fn has_any(answer: &Answer, name: &str) -> Result<bool> {
    ensure!(answer.status == 200, "{}", answer.text);
    Ok(!answer.json[name].as_array().context("a list")?.is_empty())
}
