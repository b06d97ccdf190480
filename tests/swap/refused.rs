//! What cannot take a guest's place is refused with the reason, and the live generation
//! serves on.

use anyhow::Result;
use kenning_tests::{Answer, Caller, RedisServer, Server, Setup, component, until};
use tokio::task::JoinSet;

use super::{ANY_TIME, Place, promoted};
use crate::components::logic_of;

/// A server with a first generation in both places.
async fn serve_with(setup: Setup) -> Result<Server> {
    let server = Server::start_with(setup).await?;
    for place in Place::BOTH {
        let answer = place.put(&server, place.component("first")?, "").await?;
        promoted(&answer, place.first());
    }
    Ok(server)
}

async fn serve() -> Result<Server> {
    serve_with(Setup::patient()).await
}

/// Asserts that both places are as they were, for callers and for operators.
async fn nothing_changed(server: &Caller) -> Result<()> {
    for place in Place::BOTH {
        place.serves(server, place.first()).await?;
        let listed = place.listed(server).await?;
        assert_eq!(listed["generations"].as_array().map(Vec::len), Some(1), "{listed}");
        assert_eq!(listed["active"], place.first(), "{listed}");
    }
    Ok(())
}

#[track_caller]
fn assert_incompatible(answer: &Answer, because: &str) {
    answer.assert_error(422, "incompatible_component");
    assert!(answer.text.contains(because), "{because}: {}", answer.text);
}

#[tokio::test]
async fn what_is_no_component() -> Result<()> {
    let server = serve().await?;
    for place in Place::BOTH {
        let whole = place.component("second")?;
        for (bytes, because) in [
            (&b""[..], "empty"),
            (b"not WebAssembly", "not WebAssembly"),
            (b"\0asm\x01\0\0\0", "core module"),
            (&whole[..whole.len() / 2], "component"),
            (&[&whole[..], b"and more"].concat(), "component"),
        ] {
            assert_incompatible(&place.put(&server, bytes.to_vec(), "").await?, because);
        }
    }
    nothing_changed(&server).await
}

#[tokio::test]
async fn a_component_for_another_world_or_version() -> Result<()> {
    let server = serve().await?;
    let text = |text: &str| wat::parse_str(text);
    let of_another_host = "(component (import \"wasi:keyvalue/store@0.2.0\" (instance)))";
    let newer = "(component (import \"kenning:knowledge/log@0.2.0\"
        (instance $i (export \"log\" (func))))
        (export \"kenning:knowledge/on-read@0.2.0\" (instance $i)))";
    let all = "?grant=index,storage,embedding";
    for (place, bytes, parameters, because) in [
        (Place::Logic, Place::Extension.component("")?, "", "it is no logic"),
        (Place::Logic, text("(component)")?, "", "it is no logic"),
        (Place::Logic, text(of_another_host)?, "", "wasi:keyvalue/store@0.2.0"),
        (Place::Logic, logic_of("0.2.0")?, "", "kenning:knowledge@0.2.0"),
        (Place::Extension, Place::Logic.component("")?, all, "only a logic may"),
        (Place::Extension, text("(component)")?, "", "it has no hook"),
        (Place::Extension, text(of_another_host)?, "", "wasi:keyvalue/store@0.2.0"),
        (Place::Extension, text(newer)?, "", "kenning:knowledge@0.2.0"),
    ] {
        assert_incompatible(&place.put(&server, bytes, parameters).await?, because);
    }
    nothing_changed(&server).await
}

#[tokio::test]
async fn an_import_that_was_not_granted_is_named_with_the_flag_that_grants_it() -> Result<()> {
    let server = serve().await?;
    let dedupe = std::fs::read(component("dedupe")?)?;
    for (granted, missing) in [
        ("", "index,storage"),
        ("?grant=", "index,storage"),
        ("?grant=[]", "index,storage"),
        ("?grant=index", "storage"),
        ("?grant=storage,embedding", "index"),
    ] {
        let answer = Place::Extension.put(&server, dedupe.clone(), granted).await?;
        assert_incompatible(&answer, &format!("`--grant {missing}`"));
    }
    nothing_changed(&server).await
}

#[tokio::test]
async fn bytes_with_another_digest_than_was_said() -> Result<()> {
    let server = serve().await?;
    for place in Place::BOTH {
        let second = place.component("second")?;
        let first = kenning_runtime::compiler::digest(&place.component("first")?);
        for said in ["sha256:00", &first] {
            let answer = place.put(&server, second.clone(), &format!("?digest={said}")).await?;
            answer.assert_invalid("/digest");
        }
    }
    nothing_changed(&server).await
}

#[tokio::test]
async fn a_typo_in_a_bound() -> Result<()> {
    let server = serve().await?;
    let of_both = [
        ("?max_erors_percent=1", "/max_erors_percent"),
        ("?max_errors_percent=1.5", "/max_errors_percent"),
        ("?max_errors_percent=-1", "/max_errors_percent"),
        ("?max_errors_percent=101", "/max_errors_percent"),
        ("?min_overlap_percent=ten", "/min_overlap_percent"),
        ("?min_overlap_percent=101", "/min_overlap_percent"),
        ("?max_fuel_percent=-5", "/max_fuel_percent"),
        ("?max_time_percent=", "/max_time_percent"),
        ("?max_time_percent=200&max_time_percent=300", "/max_time_percent"),
        ("?dry_run=maybe", "/dry_run"),
        ("?force=yes", "/force"),
    ];
    let of_extensions = [
        ("?ordre=1", "/ordre"),
        ("?order=first", "/order"),
        ("?grant=everything", "/grant"),
        ("?on_failure=open", "/on_failure"),
    ];
    for place in Place::BOTH {
        for (parameters, pointer) in of_both {
            let answer = place.put(&server, place.component("second")?, parameters).await?;
            answer.assert_invalid(pointer);
        }
    }
    for (parameters, pointer) in of_extensions {
        let bytes = Place::Extension.component("second")?;
        Place::Extension.put(&server, bytes, parameters).await?.assert_invalid(pointer);
    }
    nothing_changed(&server).await
}

#[tokio::test]
async fn a_name_that_could_not_stand_in_a_path() -> Result<()> {
    let server = serve().await?;
    let long = "x".repeat(64);
    let install = async |tenant: &str, name: &str| {
        server.install(tenant, name, Place::Extension.component("second")?, "").await
    };
    for name in
        ["a%2Fb", "..%2F..%2Fhooks", "%2Fhooks", "UPPER", "-first", "dots..", "a%00", "%20", &long]
    {
        install("default", name).await?.assert_invalid("/name");
    }
    install("default", "a/b").await?.assert_error(404, "not_found");
    install("default", "hooks/..%2Fb").await?.assert_error(404, "not_found");
    for tenant in ["a%2Fb", "..%2Fdefault"] {
        install(tenant, "hooks").await?.assert_invalid("/tenant");
        let path = format!("?tenant={tenant}");
        let logic = Place::Logic.component("second")?;
        Place::Logic.put(&server, logic, &path).await?.assert_invalid("/tenant");
    }
    let listed = server.get("/v1/admin/tenants/default/extensions").await?;
    assert_eq!(listed.json["extensions"].as_array().map(Vec::len), Some(1), "{}", listed.text);
    nothing_changed(&server).await
}

#[tokio::test]
async fn of_two_swaps_at_once_one_wins_and_the_other_is_told() -> Result<()> {
    for place in Place::BOTH {
        let server = Server::start().await?;
        let (mut won, mut told) = (0, 0);
        let mut swaps = JoinSet::new();
        for number in 0..6 {
            let (caller, note) = ((*server).clone(), number.to_string());
            swaps.spawn(async move { place.put(&caller, place.component(&note)?, "").await });
        }
        while let Some(answer) = swaps.join_next().await {
            let answer = answer??;
            match answer.status {
                200 => won += 1,
                _ => {
                    answer.assert_error(409, "conflict");
                    told += 1;
                }
            }
        }
        assert!(won >= 1 && won + told == 6, "{place:?}: {won} won, {told} were told");
        place.serves(&server, place.first() + won - 1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_swap_while_redis_is_away() -> Result<()> {
    let mut redis = RedisServer::start();
    let setup = Setup { storage: Some(redis.url()), ..Setup::patient() };
    let server = serve_with(setup).await?;
    redis.kill();
    for place in Place::BOTH {
        let answer = until("the swap is refused", async || {
            let answer = place.put(&server, place.component("second")?, "").await?;
            // A connection that breaks under a call may first pass for one that is late.
            Ok((answer.code() == "storage_unavailable").then_some(answer))
        })
        .await?;
        answer.assert_error(503, "storage_unavailable");
    }
    redis.restart();
    until("facts are read again", async || {
        let answer = server.get("/v1/facts").await?;
        assert_eq!(answer.header("x-kenning-extensions"), "hooks=1", "{}", answer.text);
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    nothing_changed(&server).await?;
    for place in Place::BOTH {
        let answer = place.put(&server, place.component("second")?, ANY_TIME).await?;
        promoted(&answer, place.first() + 1);
    }
    Ok(())
}
