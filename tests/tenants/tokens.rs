//! JSON Web Tokens in place of keys.

use std::convert::Infallible;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kenning_tests::{Answer, Caller, Server, Setup, component, until};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::issuer::{self, Pair, claims, now, unsigned};
use super::support::{ADMIN, assert_unauthorized, create};

/// A server that accepts tokens signed by the keys at `jwks`, with the tenant `acme`.
async fn serve(jwks: &str) -> Result<(Server, Caller)> {
    let plain = Setup { admin_key: Some(ADMIN), ..Setup::patient() };
    let config = plain.config.clone().unwrap_or_default() + &issuer::config(jwks);
    let server = Server::start_with(Setup { config: Some(config), ..plain }).await?;
    let admin = server.key(ADMIN);
    create(&admin, "acme", json!({})).await?;
    Ok((server, admin))
}

fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

async fn asked(server: &Caller, token: &str) -> Result<Answer> {
    server.key(token).get("/v1/stats").await
}

#[tokio::test]
async fn a_token_is_good_only_if_everything_about_it_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let jwks = folder.path().join("jwks.json");
    let pairs = [("rsa", Pair::rsa().await?), ("ec", Pair::ec()?), ("ed", Pair::ed()?)];
    let public: Vec<Value> = pairs.iter().map(|(id, pair)| pair.public(id)).collect();
    fs::write(&jwks, key_set(&public))?;
    let (server, admin) = serve(&jwks.display().to_string()).await?;
    create(&admin, "gone", json!({})).await?;
    assert_eq!(admin.delete("/v1/admin/tenants/gone").await?.status, 200);
    let strangers = [Pair::rsa().await?, Pair::ec()?, Pair::ed()?];
    for ((id, pair), stranger) in pairs.iter().zip(&strangers) {
        let good = pair.token(id, &claims(json!({})))?;
        let answer = asked(&server, &good).await?;
        assert_eq!(
            (answer.status, &answer.json["tenant"]),
            (200, &json!("acme")),
            "{}",
            answer.text
        );
        server.key(&good).tenant("other").get("/v1/stats").await?.assert_error(403, "forbidden");
        for (others, said) in [
            (json!({ "aud": ["other", issuer::AUDIENCE] }), None),
            (json!({ "nbf": now() - 10, "iat": now() }), None),
            (json!({ "exp": now() - 3_600 }), Some("has expired")),
            (json!({ "exp": null }), Some("no claim exp")),
            (json!({ "exp": (now() + 600).to_string() }), Some("exp")),
            (json!({ "nbf": now() + 3_600 }), Some("not valid yet")),
            (json!({ "nbf": "tomorrow" }), Some("nbf")),
            (json!({ "aud": "other" }), Some("another audience")),
            (json!({ "aud": null }), Some("no claim aud")),
            (json!({ "iss": "https://id.example" }), Some("another issuer")),
            (json!({ "iss": null }), Some("no claim iss")),
            (json!({ "tenant": null }), Some("names no tenant")),
            (json!({ "tenant": ["acme"] }), Some("names no tenant")),
            (json!({ "tenant": "a/b" }), Some("is no name")),
            (json!({ "tenant": "nobody" }), Some("not here")),
            (json!({ "tenant": "gone" }), Some("not here")),
        ] {
            let answer = asked(&server, &pair.token(id, &claims(others.clone()))?).await?;
            let Some(said) = said else {
                assert_eq!(answer.status, 200, "{others}: {}", answer.text);
                continue;
            };
            assert_unauthorized(&answer);
            assert!(answer.text.contains(said), "{others}: {}", answer.text);
        }
        let claims = claims(json!({}));
        let (head, rest) = good.split_once('.').context("a head")?;
        let signature = rest.split_once('.').context("a signature")?.1;
        let none = unsigned(&json!({ "alg": "none", "kid": id }), &claims);
        let critical = json!({ "alg": pair.algorithm(), "kid": id, "crit": ["b64"], "b64": false });
        let other = unsigned(&json!({}), &json!({ "tenant": "other" }));
        let other = other.split_once('.').context("claims")?.1;
        for (what, token) in [
            ("another's key", stranger.token(id, &claims)?),
            ("a key that nobody knows", pair.token("unknown", &claims)?),
            ("no key named", pair.token_with(&json!({ "alg": pair.algorithm() }), &claims)?),
            ("none", format!("{none}.")),
            ("none with a signature", format!("{none}.{signature}")),
            ("no signature", format!("{head}.{}.", rest.split_once('.').unwrap_or_default().0)),
            ("HMAC with the public key", pair.token_by_hmac(id, &claims)?),
            ("HS256 in the head", pair.token_with(&json!({ "alg": "HS256", "kid": id }), &claims)?),
            ("RS512 in the head", pair.token_with(&json!({ "alg": "RS512", "kid": id }), &claims)?),
            ("what nobody understands", pair.token_with(&critical, &claims)?),
            ("other claims", format!("{head}.{other}.{signature}")),
            (
                "no claims",
                pair.token_with(&json!({ "alg": pair.algorithm(), "kid": id }), &json!([]))?,
            ),
            ("one letter less", good[..good.len() - 1].to_owned()),
        ] {
            let answer = asked(&server, &token).await?;
            assert_eq!(answer.status, 401, "{what} for {id}: {}", answer.text);
            assert_unauthorized(&answer);
        }
        // The key's own algorithm with another key's signature.
        for (other, by) in &pairs {
            let head = json!({ "alg": pair.algorithm(), "kid": other });
            if other != id {
                assert_unauthorized(&asked(&server, &pair.token_with(&head, &claims)?).await?);
                assert_unauthorized(&asked(&server, &by.token(id, &claims)?).await?);
            }
        }
    }
    // Keys go on as before.
    let key = create(&admin, "beta", json!({})).await?;
    assert_eq!(server.key(&key).get("/v1/stats").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn an_extension_is_told_the_subject_the_scopes_and_the_attributes_of_a_token() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (jwks, pair) = (folder.path().join("jwks.json"), Pair::ed()?);
    fs::write(&jwks, key_set(&[pair.public("k")]))?;
    let plain = Setup { admin_key: Some(ADMIN), ..Setup::patient() };
    let config =
        plain.config.clone().unwrap_or_default() + &issuer::config(&jwks.display().to_string());
    let config = config
        + "tenant-claim = \"https://kb.example/org\"\nscopes_claim = \"roles\"\n\
                           attributes_claim = \"about\"\n";
    let server = Server::start_with(Setup { config: Some(config), ..plain }).await?;
    let admin = server.key(ADMIN);
    create(&admin, "acme", json!({})).await?;
    let asking = fs::read(component("asking")?)?;
    assert_eq!(admin.install("acme", "asking", asking, "").await?.status, 200);
    let said = json!({
        "tenant": null, "https://kb.example/org": "acme", "scope": "admin",
        "roles": ["kenning:write", "read", "viewer"], "about": { "groups": ["board"] },
    });
    let caller = server.key(&pair.token("k", &claims(said.clone()))?);
    caller.store(json!({ "text": "tea", "id": "f" })).await?;
    let told = caller.get("/v1/facts/f").await?.json["metadata"]["stored_by"].clone();
    assert_eq!(told["key"], Value::Null, "{told}");
    assert_eq!(
        (&told["subject"], &told["scopes"], &told["attributes"]),
        (&json!("ada"), &json!(["read", "write"]), &said["about"]),
        "{told}"
    );
    for (about, subject) in [
        (json!("x"), "ada"),
        (json!({ "x": "x".repeat(1_024) }), "ada"),
        (json!({}), &"x".repeat(513)),
    ] {
        let mut wrong = said.clone();
        (wrong["about"], wrong["sub"]) = (about, json!(subject));
        assert_unauthorized(&asked(&server, &pair.token("k", &claims(wrong))?).await?);
    }
    Ok(())
}

/// A server of a key set, whose text can be changed.
struct Publisher {
    url: String,
    text: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Publisher {
    async fn start(text: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/keys", listener.local_addr()?);
        let text = Arc::new(Mutex::new(text));
        let served = text.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = service_fn(async |_| {
                    let text = served.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
                });
                // One request for each connection, so that the end of the task is the end of all.
                let http = http1::Builder::new().keep_alive(false).clone();
                let _ = http.serve_connection(TokioIo::new(stream), answer).await;
            }
        });
        Ok(Self { url, text, task })
    }

    fn publish(&self, text: String) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn keys_are_fetched_again_for_a_new_one_and_stay_when_the_issuer_is_away() -> Result<()> {
    let [old, new, never] = [Pair::ec()?, Pair::ed()?, Pair::ed()?];
    let publisher = Publisher::start(key_set(&[old.public("old")])).await?;
    let (server, _admin) = serve(&publisher.url).await?;
    let by = |pair: &Pair, id: &str| pair.token(id, &claims(json!({})));
    let [by_old, by_new, by_never] = [by(&old, "old")?, by(&new, "new")?, by(&never, "never")?];
    assert_eq!(asked(&server, &by_old).await?.status, 200);
    assert_unauthorized(&asked(&server, &by_new).await?);
    publisher.publish(key_set(&[old.public("old"), new.public("new")]));
    until("the new key is known", async || {
        Ok((asked(&server, &by_new).await?.status == 200).then_some(()))
    })
    .await?;
    // What is no key set, or too long, changes nothing.
    publisher.publish(" ".repeat(300 * 1024) + &key_set(&[never.public("never")]));
    assert_unauthorized(&asked(&server, &by_never).await?);
    // The old key is withdrawn, and another published.
    publisher.publish(key_set(&[new.public("new"), never.public("never")]));
    until("another key is known", async || {
        Ok((asked(&server, &by_never).await?.status == 200).then_some(()))
    })
    .await?;
    assert_unauthorized(&asked(&server, &by_old).await?);
    drop(publisher);
    assert_unauthorized(&asked(&server, &by_old).await?);
    for known in [&by_new, &by_never] {
        assert_eq!(asked(&server, known).await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_when_it_changes_and_a_broken_one_is_not_taken() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let jwks = folder.path().join("jwks.json");
    let [old, new] = [Pair::ec()?, Pair::ec()?];
    fs::write(&jwks, key_set(&[old.public("old")]))?;
    let (server, _admin) = serve(&jwks.display().to_string()).await?;
    let [by_old, by_new] =
        [old.token("old", &claims(json!({})))?, new.token("new", &claims(json!({})))?];
    assert_eq!(asked(&server, &by_old).await?.status, 200);
    fs::write(&jwks, "{")?;
    assert_unauthorized(&asked(&server, &by_new).await?);
    assert_eq!(asked(&server, &by_old).await?.status, 200);
    fs::write(&jwks, key_set(&[new.public("new")]))?;
    until("the new key is known", async || {
        Ok((asked(&server, &by_new).await?.status == 200).then_some(()))
    })
    .await?;
    assert_unauthorized(&asked(&server, &by_old).await?);
    Ok(())
}

#[tokio::test]
async fn a_server_without_its_issuer_starts_and_says_that_it_cannot_tell_yet() -> Result<()> {
    let pair = Pair::ed()?;
    let token = pair.token("k", &claims(json!({})))?;
    let closed = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/keys", closed.local_addr()?);
    drop(closed);
    let (server, admin) = serve(&url).await?;
    let answer = asked(&server, &token).await?;
    answer.assert_error(503, "overloaded");
    assert!(answer.text.contains(&url), "{}", answer.text);
    assert_eq!(admin.get("/v1/admin/tenants").await?.status, 200);
    Ok(())
}
