//! Two tenants with keys, extensions and a logic of their own on one server: what one
//! has, no route and no guest shows or gives to the other.

mod imports;
mod routes;

use anyhow::{Context, Result};
use kenning_tests::{
    Answer, Backend, Caller, Server, all_indexed, component, noted, on_both_backends,
};
use serde_json::{Value, json};

use super::support::{create, serve};

on_both_backends!(extensions_of_opposite_effect_do_not_meet);

/// What the one tenant has, and the other guesses.
struct Names {
    tenant: &'static str,
    extension: &'static str,
    fact: &'static str,
    /// A word of the fact's text.
    word: &'static str,
}

const OWNER: Names = Names {
    tenant: "aardvark-inc",
    extension: "quokka-veil",
    fact: "quokka-7",
    word: "quokkaword",
};

/// What nobody has: an answer about it must be like one about what another has.
const NOBODY: Names = Names {
    tenant: "nonesuch-inc",
    extension: "nobody-veil",
    fact: "nobody-7",
    word: "nobodyword",
};

/// What an extension that is granted all may import.
const ALL_GRANTS: &str = "?grant=embedding,index,storage";

struct World {
    server: Server,
    admin: Caller,
    owner: Caller,
    /// With an extension that is granted all, and whoever's key it is.
    other: Caller,
    /// What nobody but the owner may see, beside the names.
    secrets: Vec<String>,
}

impl World {
    async fn start(backend: &Backend) -> Result<Self> {
        let (server, admin) = serve(backend).await?;
        let key = create(&admin, OWNER.tenant, json!({})).await?;
        let owner = admin.key(&key);
        let other = admin.key(&create(&admin, "badger", json!({})).await?);
        let hooks = noted(&std::fs::read(component("hooks")?)?, OWNER.tenant);
        let hides = installed(admin.install(OWNER.tenant, OWNER.extension, hooks, "").await?)?;
        let prying = std::fs::read(component("prying")?)?;
        installed(admin.install("badger", "loud", prying, ALL_GRANTS).await?)?;
        let logic = noted(&std::fs::read(component("logic")?)?, OWNER.tenant);
        let path = format!("?tenant={}", OWNER.tenant);
        let own = installed(admin.swap_logic(logic, &path).await?)?;
        // The owner's extension says this in its log.
        let said = "said in on-store".to_string();
        let id = key.split('_').nth(1).context("an id")?.to_string();
        let names = [OWNER.tenant, OWNER.extension, OWNER.fact, OWNER.word].map(String::from);
        let secrets =
            [&names[..], &[hides, own, said, id, key, "quokkameta".into(), "quokka-8".into()]]
                .concat();
        let world = Self { server, admin, owner, other, secrets };
        let text = format!("say the {} is a secret", OWNER.word);
        let metadata = json!({ "burrow": "quokkameta" });
        for id in [OWNER.fact, "quokka-8"] {
            let fact = json!({ "text": text, "fact_id": id, "metadata": metadata });
            world.owner.store(fact).await?;
        }
        world.other.store(json!({ "text": "my own secret", "fact_id": "mine" })).await?;
        for caller in [&world.owner, &world.other] {
            all_indexed(caller).await?;
        }
        Ok(world)
    }

    /// Asserts that nothing of the owner's is in an answer but what `asked` says itself.
    #[track_caller]
    fn assert_tells_nothing(&self, asked: &str, answer: &Answer) {
        let said = format!("{:?}\n{}", answer.headers, answer.text).to_lowercase();
        for secret in self.secrets.iter().filter(|secret| !asked.contains(*secret)) {
            assert!(!said.contains(&secret.to_lowercase()), "{asked} tells {secret}: {said}");
        }
    }

    /// The place of the owner's newest fact, from which a listing goes on.
    async fn cursor(&self) -> Result<String> {
        let page = self.owner.get("/v1/facts?limit=1").await?;
        Ok(page.json["next_cursor"].as_str().context("a cursor")?.to_string())
    }

    /// All that the owner and the operator see of the owner's.
    async fn owned(&self) -> Result<Vec<Value>> {
        let admin = format!("/v1/admin/tenants/{}/extensions", OWNER.tenant);
        let logs = format!("{admin}/{}/logs", OWNER.extension);
        let logic = format!("/v1/admin/logic?tenant={}", OWNER.tenant);
        let stats = self.owner.get("/v1/stats").await?.json;
        let query = json!({ "query": format!("{} secret", OWNER.word), "top_k": 100 });
        let mut owned = vec![
            json!(self.owner.export().await?),
            json!(self.owner.search(query).await?),
            json!([stats["facts"], stats["indexed"], stats["pending"], stats["index"]["facts"]]),
            json!(stores_said(&self.admin.get(&logs).await?.json)),
        ];
        for path in [admin, logic] {
            let mut listed = self.admin.get(&path).await?.json;
            forget_counts(&mut listed);
            owned.push(listed);
        }
        Ok(owned)
    }
}

/// The lines that the owner's extension wrote when the owner stored; reading leaves some, too.
fn stores_said(logs: &Value) -> Vec<&Value> {
    let lines = logs["lines"].as_array().into_iter().flatten();
    lines.filter(|line| line["message"] == "said in on-store").collect()
}

/// Looking at what a guest guards is a call of it.
fn forget_counts(listed: &mut Value) {
    if let Value::Object(fields) = listed {
        fields.remove("live");
    }
    match listed {
        Value::Object(fields) => fields.values_mut().for_each(forget_counts),
        Value::Array(all) => all.iter_mut().for_each(forget_counts),
        _ => {}
    }
}

/// The digest of what an operator installed.
fn installed(answer: Answer) -> Result<String> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    Ok(answer.json["digest"].as_str().context("a digest")?.to_string())
}

/// One hides a word and the other makes all words loud, at the same time.
async fn extensions_of_opposite_effect_do_not_meet(backend: &Backend) -> Result<()> {
    let world = World::start(backend).await?;
    for round in 0..5 {
        let asked = (0..8).map(|number| {
            let id = format!("both-{}", 8 * round + number);
            let world = &world;
            async move {
                tokio::try_join!(
                    is_seen(&world.owner, &id, "a [hidden] of both", "quokka-veil=1"),
                    is_seen(&world.other, &id, "A SECRET OF BOTH", "loud=1"),
                )
            }
        });
        futures::future::try_join_all(asked).await?;
    }
    Ok(())
}

/// Stores a fact, which leaves as `content` by every way out.
async fn is_seen(caller: &Caller, id: &str, content: &str, extensions: &str) -> Result<()> {
    let stored = json!({ "text": "a secret of both", "fact_id": id, "metadata": { "id": id } });
    caller.store(stored).await?;
    let query = json!({ "query": "both", "mode": "text", "filter": { "id": id } });
    let found = caller.post("/v1/search", query).await?;
    let read = caller.get(&format!("/v1/facts/{id}")).await?;
    assert_eq!(found.json["results"][0]["content"], content, "{}", found.text);
    assert_eq!(read.json["content"], content, "{}", read.text);
    for answer in [found, read] {
        assert_eq!(answer.header("x-kenning-extensions"), extensions);
    }
    Ok(())
}
