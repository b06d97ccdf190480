//! What a hook adds to a call: the same call of a tenant with an extension and of one without, in
//! turns, each through `Kb` in this process, over embedded storage.
//!
//! Each hook runs in a fresh instance. In Rust it is the tests' `passing`, which lets what it is
//! given pass, with the exports of its other hooks under names that no host calls. In JavaScript
//! it is `synonyms`, which lets a search by meaning pass and looks for synonyms in any other; in
//! Python `tag-rules`, which tries its rules on a fact.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use fastrand::Rng;
use kenning::kb::Kb;
use kenning::swap::{Bounds, ExtensionTarget, Proposal, Steps, Swapper};
use kenning_core::limits::Limits;
use kenning_runtime::wit::Mode;
use kenning_storage::TenantId;
use kenning_tests::component;
use kenning_tests::report::{Table, Timings, micros, us};

use crate::inside::{Inside, draft, query};
use crate::place::Backend;
use crate::texts::{Texts, metadata};

const FACTS: usize = 1_000;
const HITS: u32 = 10;

/// Calls of one tenant before the other has its turn.
const TURN: usize = 20;
/// Turns thrown away.
const WARM_UP: usize = 4;

/// One extension with one hook, and the call that it is part of.
struct Case {
    language: &'static str,
    hook: &'static str,
    call: Call,
    turns: usize,
}

#[derive(Clone, Copy)]
enum Call {
    Store,
    Get,
    Search(Mode),
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Get => "get by id",
            Self::Search(Mode::Vector) => "search by meaning",
            Self::Search(_) => "search",
        }
    }
}

const HYBRID: Call = Call::Search(Mode::Hybrid);

#[rustfmt::skip]
const CASES: [Case; 7] = [
    Case { language: "Rust", hook: "on-store", call: Call::Store, turns: 80 },
    Case { language: "Rust", hook: "on-query", call: HYBRID, turns: 160 },
    Case { language: "Rust", hook: "on-read", call: Call::Get, turns: 160 },
    Case { language: "Rust", hook: "rerank", call: HYBRID, turns: 160 },
    Case { language: "JavaScript", hook: "on-query", call: Call::Search(Mode::Vector), turns: 80 },
    Case { language: "JavaScript", hook: "on-query", call: HYBRID, turns: 80 },
    Case { language: "Python", hook: "on-store", call: Call::Store, turns: 40 },
];

impl Case {
    fn component(&self) -> Result<Vec<u8>> {
        let read = |name| Ok(std::fs::read(component(name)?)?);
        match self.language {
            "Rust" => only(read("passing")?, self.hook),
            "JavaScript" => read("synonyms"),
            _ => read("tag-rules"),
        }
    }
}

/// The component with the interfaces of its other hooks renamed.
fn only(mut component: Vec<u8>, hook: &str) -> Result<Vec<u8>> {
    for (other, unknown) in [
        ("on-store", "no-store"),
        ("on-query", "no-query"),
        ("on-read", "no-read"),
        ("rerank", "norank"),
    ] {
        if other != hook {
            let (from, to) = (format!("/{other}@"), format!("/{unknown}@"));
            rename(&mut component, from.as_bytes(), to.as_bytes())?;
        }
    }
    Ok(component)
}

fn rename(bytes: &mut [u8], from: &[u8], to: &[u8]) -> Result<()> {
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    ensure!(!places.is_empty(), "the component does not name {}", String::from_utf8_lossy(from));
    places.iter().for_each(|at| bytes[*at..][..to.len()].copy_from_slice(to));
    Ok(())
}

/// Measures and prints.
pub(crate) fn measure() -> Result<()> {
    let columns = [
        "language",
        "hook",
        "in a",
        "n each",
        "without p50 µs",
        "p99",
        "with p50",
        "p99",
        "the hook adds",
    ];
    let title =
        format!("What a hook adds: one caller, in one process, {FACTS} facts, embedder hash");
    let mut table = Table::new(title, 3, &columns);
    table.note("a fresh instance for each call; adds: the difference of the medians, µs");
    let bench = Bench::new()?;
    for (number, case) in CASES.iter().enumerate() {
        let plain = bench.tenant(&format!("without-{number}"))?;
        let tenant = bench.tenant(&format!("with-{number}"))?;
        bench.install(&tenant.id, case)?;
        let [without, with] = bench.compare(case, [&plain, &tenant])?;
        let adds = with.median().as_secs_f64() - without.median().as_secs_f64();
        table.row([
            case.language.into(),
            case.hook.into(),
            case.call.name().into(),
            with.count().to_string(),
            us(without.median()),
            us(without.percentile(99.0)),
            us(with.median()),
            us(with.percentile(99.0)),
            micros(adds * 1e6),
        ]);
    }
    table.print();
    bench.inside.close();
    Ok(())
}

struct Bench {
    inside: Inside,
    swapper: Swapper,
    texts: Texts,
}

/// A tenant with facts.
struct Tenant {
    id: TenantId,
    facts: Vec<String>,
}

impl Bench {
    fn new() -> Result<Self> {
        let inside = Inside::new(Backend::Embedded)?;
        let swapper = Swapper::new(inside.kb.clone());
        Ok(Self { inside, swapper, texts: Texts::harmless()? })
    }

    fn tenant(&self, name: &str) -> Result<Tenant> {
        let id = TenantId::parse(name)?;
        let facts = self.inside.fill(&id, FACTS, &self.texts)?;
        Ok(Tenant { id, facts })
    }

    fn install(&self, tenant: &TenantId, case: &Case) -> Result<()> {
        let name = case.hook.to_string();
        let place = ExtensionTarget {
            tenant: tenant.clone(),
            name,
            order: None,
            policy: None,
            grants: Vec::new(),
            values: None,
        };
        let bounds = Bounds::new(&Limits::default());
        let proposal = Proposal {
            bytes: case.component()?.into(),
            digest: None,
            bounds,
            dry_run: false,
            sent_by: "the benchmark".into(),
            forced_by: None,
            steps: Steps::default(),
        };
        let promotion = self.swapper.promote_extension(place, proposal);
        let installed = self.inside.server.block_on(promotion);
        let report = installed.map_err(|error| anyhow!("{error}: {:?}", error.details))?.to_json();
        let only = format!("its hooks: {}", case.hook);
        let checks = report["checks"].as_array().context("no checks")?;
        ensure!(checks.iter().any(|check| check["detail"] == only), "not {only}: {report}");
        Ok(())
    }

    /// The times of calls of each tenant, taking turns.
    fn compare(&self, case: &Case, tenants: [&Tenant; 2]) -> Result<[Timings; 2]> {
        let mut random = Rng::with_seed(7);
        let mut times: [Vec<Duration>; 2] = Default::default();
        for turn in 0..WARM_UP + case.turns {
            for place in 0..2 {
                let at = (turn + place) % 2;
                for _ in 0..TURN {
                    let took = self.time(case.call, tenants[at], &mut random)?;
                    if turn >= WARM_UP {
                        times[at].push(took);
                    }
                }
            }
        }
        Ok(times.map(Timings::new))
    }

    fn time(&self, call: Call, tenant: &Tenant, random: &mut Rng) -> Result<Duration> {
        let kb: &Arc<Kb> = &self.inside.kb;
        let caller = self.inside.caller(&tenant.id);
        let failed = |error: kenning_core::error::Error| anyhow!("{}", error.message);
        let server = &self.inside.server;
        match call {
            Call::Store => {
                let draft = draft(self.texts.fact(random), metadata(random).to_string());
                let begun = Instant::now();
                let stored = server.block_on(kb.store(&caller, vec![Ok(draft.into())]));
                let took = begun.elapsed();
                stored.map_err(failed)?.value.pop().context("no outcome")?.map_err(failed)?;
                Ok(took)
            }
            Call::Get => {
                let id = tenant.facts[random.usize(..FACTS)].clone();
                let begun = Instant::now();
                server.block_on(kb.get(&caller, id)).map_err(failed)?;
                Ok(begun.elapsed())
            }
            Call::Search(mode) => {
                let mut query = query(self.texts.query(random), HITS);
                query.mode = mode;
                let begun = Instant::now();
                let answer = server.block_on(kb.search(&caller, query.into())).map_err(failed)?;
                let took = begun.elapsed();
                ensure!(answer.value.hits.len() == HITS as usize, "too few hits");
                ensure!(answer.value.degraded.is_empty(), "{:?}", answer.value.degraded);
                Ok(took)
            }
        }
    }
}
