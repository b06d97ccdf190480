//! The storage, the embedder, and the keys of tokens.

use std::time::{Duration, Instant};

use kenning_embedder::EmbedderChoice;
use kenning_storage::{Inspection, RedisInspection, StorageLimits, inspect};

use super::Finding;
use crate::config::Config;
use kenning_tenants::Tokens;

/// How long the embedder is waited for: a local one loads its model first.
const PROBE: Duration = Duration::from_secs(15);

/// The oldest major version of Redis whose protocol tells of closed connections.
const OLDEST: u32 = 6;

/// By how much the clocks of two machines may differ.
const SKEW_SECONDS: f64 = 2.0;

const STORAGE: &str = "storage";

pub(super) async fn tokens(config: &Config, findings: &mut Vec<Finding>) {
    let Some(settings) = config.tokens.clone() else { return };
    let from = settings.jwks.to_string();
    let read = async { Tokens::new(settings)?.load().await };
    findings.push(match read.await {
        Ok(keys) => Finding::ok("jwt", format!("{keys} keys of tokens at {from}")),
        Err(error) => Finding::problem(
            "jwt",
            format!("cannot read the keys of tokens at {from}: {error}"),
            "correct --jwt-jwks (KENNING_JWT_JWKS), or start what serves it",
        ),
    });
}

pub(super) async fn storage(config: &Config, is_served: bool, findings: &mut Vec<Finding>) {
    let limits = StorageLimits {
        operation: config.limits.storage_operation,
        allow_eviction: config.allow_eviction,
        tls: config.storage_tls.clone(),
        ..StorageLimits::default()
    };
    match inspect(&config.storage, config.layout.into(), limits).await {
        Ok(Inspection::Embedded { file, bytes }) => {
            let name = file.display();
            let message = match (bytes, is_served) {
                (None, _) => format!("{name} will be made"),
                (Some(bytes), true) => format!("{name}, {} KiB, in use by a server", bytes / 1024),
                (Some(bytes), false) => format!("{name}, {} KiB", bytes / 1024),
            };
            findings.push(Finding::ok(STORAGE, message));
        }
        Ok(Inspection::Redis(said)) => redis(config, &said, findings),
        Err(error) => findings.push(Finding::problem(
            STORAGE,
            error.to_string(),
            "start it, or correct --storage (KENNING_STORAGE)",
        )),
    }
}

fn redis(config: &Config, said: &RedisInspection, findings: &mut Vec<Finding>) {
    let field = |name: &str| said.info.get(name).map_or("", String::as_str);
    let version = field("redis_version");
    let milliseconds = said.round_trip.as_secs_f64() * 1_000.0;
    let message = format!("Redis {version} answers in {milliseconds:.1} ms");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    findings.push(match major {
        Some(major) if major < OLDEST => Finding::warn(
            STORAGE,
            message,
            "use Redis 6 or later, or append ?protocol=resp2 to the address",
        ),
        _ => Finding::ok(STORAGE, message),
    });
    if field("role") == "slave" {
        findings.push(Finding::problem(
            STORAGE,
            "it is a replica, which takes no writes",
            "name its primary with --storage",
        ));
    }
    persistence(&field, findings);
    eviction(config, &field, findings);
    if let Some(ahead) = said.clock_ahead {
        let message = format!("Redis' clock is {:.1} s {}", ahead.abs(), direction(ahead));
        findings.push(match ahead.abs() > SKEW_SECONDS {
            true => Finding::warn("clock", message, "synchronise both machines' clocks (NTP)"),
            false => Finding::ok("clock", message),
        });
    }
}

fn direction(ahead: f64) -> &'static str {
    if ahead < 0.0 { "behind this machine's" } else { "ahead of this machine's" }
}

fn persistence<'a>(field: &impl Fn(&str) -> &'a str, findings: &mut Vec<Finding>) {
    const CHECK: &str = "persistence";
    if field("aof_enabled") != "1" {
        findings.push(Finding::warn(
            CHECK,
            "appendonly is off: what was acknowledged since the last snapshot is lost in a crash",
            "set appendonly yes and appendfsync everysec or always",
        ));
    } else if field("aof_last_write_status") == "err" {
        findings.push(Finding::problem(
            CHECK,
            "the last write to the append-only file failed",
            "look at the disk of Redis, and at its log",
        ));
    } else {
        findings.push(Finding::ok(CHECK, "appendonly is on"));
    }
    if field("rdb_last_bgsave_status") == "err" {
        findings.push(Finding::problem(
            CHECK,
            "the last snapshot failed, and Redis may refuse writes because of it",
            "look at the disk of Redis, and at its log",
        ));
    }
}

fn eviction<'a>(config: &Config, field: &impl Fn(&str) -> &'a str, findings: &mut Vec<Finding>) {
    const CHECK: &str = "eviction";
    let policy = field("maxmemory_policy");
    let message = format!("maxmemory-policy is {policy}");
    let advice = "set maxmemory-policy noeviction: otherwise facts vanish when memory is full";
    findings.push(match policy.split('-').next() {
        Some("allkeys") if config.allow_eviction => {
            Finding::warn(CHECK, format!("{message}, and --allow-eviction accepts it"), advice)
        }
        Some("allkeys") => Finding::problem(CHECK, message, advice),
        Some("volatile") => Finding::warn(CHECK, message, advice),
        _ => Finding::ok(CHECK, message),
    });
    let bytes = |name: &str| field(name).parse::<u64>().unwrap_or_default();
    let (used, most) = (bytes("used_memory"), bytes("maxmemory"));
    if most > 0 && used > most / 10 * 9 {
        findings.push(Finding::warn(
            CHECK,
            format!("Redis uses {used} of {most} bytes of memory"),
            "raise maxmemory: when it is full, writes are refused",
        ));
    }
}

pub(super) async fn embedder(config: &Config, findings: &mut Vec<Finding>) {
    const CHECK: &str = "embedder";
    if config.embedder == EmbedderChoice::Hash {
        let advice = "use local or a remote embedder";
        findings.push(Finding::warn(CHECK, "hash is for tests: its vectors mean nothing", advice));
        return;
    }
    let begun = Instant::now();
    let embedder = match crate::opening::embedder(config) {
        Ok(embedder) => embedder,
        Err(error) => {
            let advice = "run kenning model pull, or correct --embedder";
            findings.push(Finding::problem(CHECK, format!("{error:#}"), advice));
            return;
        }
    };
    findings.push(match embedder.probe(begun + PROBE).await {
        Ok(()) => {
            let profile = embedder.space().map_or("unknown", |space| &space.profile);
            let seconds = begun.elapsed().as_secs_f64();
            Finding::ok(CHECK, format!("{}: {profile}, in {seconds:.1} s", embedder.kind()))
        }
        // Facts are stored and found by their words meanwhile.
        Err(error) => Finding::warn(
            CHECK,
            format!("{} does not embed: {error}", embedder.kind()),
            "start it, or correct --embedder, --embedding-model and KENNING_EMBEDDING_KEY",
        ),
    });
}

#[cfg(test)]
mod tests {
    use super::super::{State, worst};
    use super::*;
    use crate::config::Settings;

    fn judged(fields: &[(&str, &str)], ahead: f64) -> Vec<Finding> {
        let flags = Settings { embedder: Some("hash".into()), ..Settings::default() };
        let config = Config::load(flags, None).unwrap();
        let good = [
            ("redis_version", "7.2.4"),
            ("role", "master"),
            ("aof_enabled", "1"),
            ("maxmemory_policy", "noeviction"),
        ];
        let fields = good.iter().chain(fields);
        let said = RedisInspection {
            info: fields.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            clock_ahead: Some(ahead),
            round_trip: Duration::from_millis(1),
        };
        let mut findings = Vec::new();
        redis(&config, &said, &mut findings);
        findings
    }

    #[test]
    fn a_redis_that_may_lose_facts_is_named() {
        assert_eq!(worst(&judged(&[], 0.1)), State::Ok);
        for (fields, state, said) in [
            (&[("maxmemory_policy", "allkeys-lru")][..], State::Problem, "allkeys-lru"),
            (&[("maxmemory_policy", "volatile-ttl")], State::Warn, "volatile-ttl"),
            (&[("aof_enabled", "0")], State::Warn, "appendonly is off"),
            (&[("aof_last_write_status", "err")], State::Problem, "append-only file"),
            (&[("rdb_last_bgsave_status", "err")], State::Problem, "snapshot"),
            (&[("role", "slave")], State::Problem, "replica"),
            (&[("redis_version", "5.0.1")], State::Warn, "5.0.1"),
            (&[("maxmemory", "100"), ("used_memory", "99")], State::Warn, "99 of 100"),
        ] {
            let findings = judged(fields, 0.0);
            assert_eq!(worst(&findings), state, "{findings:?}");
            let bad = findings.iter().find(|finding| finding.state == state).unwrap();
            assert!(bad.message.contains(said) && !bad.advice.is_empty(), "{bad:?}");
        }
        assert_eq!(worst(&judged(&[], -7.0)), State::Warn);
    }
}
