//! Every route of the server, asked by one tenant for what another has.

use anyhow::{Context, Result, bail};
use http::Method;
use kenning_tests::{Answer, Backend, Caller, on_both_backends, send};
use serde_json::{Value, json};

use super::{NOBODY, Names, OWNER, World};

on_both_backends!(no_route_shows_or_changes_what_another_tenant_has);

/// One request.
struct Attempt {
    path: String,
    body: String,
}

/// A filter that matches every fact.
const ANY: &str = "{\"$timestamp\":{\"exists\":true}}";

/// How a tenant may try to reach `of` by a route; a route without an attempt is an error.
fn attempts(route: &str, of: &Names, cursor: &str) -> Result<Vec<Attempt>> {
    let Names { tenant, extension, fact, word } = of;
    let ask = |body: Value| vec![(String::new(), body)];
    let paths = |paths: &[String]| paths.iter().map(|path| (path.clone(), json!({}))).collect();
    // What stands behind the route's path, and the body.
    let attempts: Vec<(String, Value)> = match route {
        "GET /v1/facts" => {
            let filter = format!("?filter={ANY}&cursor={cursor}");
            paths(&[
                format!("?query={word}"),
                format!("?cursor={cursor}"),
                "?limit=1000".into(),
                filter,
            ])
        }
        "GET /v1/count" => paths(&[String::new(), format!("?filter={ANY}")]),
        // Only the owner's facts have a burrow.
        "DELETE /v1/facts" => {
            let filter = "?filter={\"burrow\":{\"exists\":true}}";
            paths(&[filter.into(), format!("{filter}&cursor={cursor}"), "?filter={}".into()])
        }
        "GET /v1/export" => paths(&[String::new(), format!("?filter={ANY}")]),
        "GET /v1/changes" => paths(&["?after=0&follow=false".into(), "?follow=false".into()]),
        "POST /v1/facts" => ask(json!({ "text": "x", "fact_id": fact })),
        "POST /v1/facts/batch" => ask(json!({ "facts": [{ "text": "x", "fact_id": fact }] })),
        "PATCH /v1/facts/{id}" | "PATCH /v1/facts/batch" => {
            ask(json!({ "text": "taken", "metadata": {} }))
        }
        "POST /v1/import" => ask(json!({ "text": "x", "fact_id": fact })),
        "POST /v1/search" => ["hybrid", "vector", "text"]
            .map(|mode| json!({ "query": word, "mode": mode, "top_k": 100, "explain": true }))
            .map(|query| (String::new(), query))
            .into(),
        "POST /v1/search/batch" => ask(json!({ "searches": [
            { "query": word, "facets": ["word"], "highlights": true },
            { "query": word, "mode": "text", "cursor": cursor },
        ] })),
        "GET /v1/admin/logic" | "POST /v1/admin/logic" | "POST /v1/admin/logic/rollback" => {
            paths(&[String::new(), format!("?tenant={tenant}")])
        }
        "POST /v1/admin/tenants" => ask(json!({ "name": tenant })),
        "POST /v1/admin/tenants/{t}/preview" => ask(json!({ "query": "tea" })),
        "PATCH /v1/admin/tenants/{t}" => ask(json!({ "limits": { "facts": 0 } })),
        "POST /v1/admin/tenants/{t}/revoke-key" => ask(json!({ "key_id": "000000000000" })),
        "GET /v1/facts/{id}"
        | "GET /v1/facts/batch"
        | "DELETE /v1/facts/batch"
        | "DELETE /v1/facts/{id}"
        | "GET /v1/imports/{id}"
        | "GET /v1/stats"
        | "GET /v1/admin/tenants"
        | "GET /v1/admin/audit"
        | "GET /v1/admin/requests"
        | "POST /v1/admin/backup"
        | "POST /v1/admin/tenants/{t}/import"
        | "GET /v1/admin/requests/{id}"
        | "GET /v1/admin/requests/{id}/replay"
        | "DELETE /v1/admin/requests/{id}/replay"
        | "GET /v1/admin/requests/{id}/component"
        | "GET /v1/admin/tenants/{t}"
        | "DELETE /v1/admin/tenants/{t}"
        | "POST /v1/admin/tenants/{t}/rotate-key"
        | "GET /v1/admin/tenants/{t}/audit"
        | "GET /v1/admin/tenants/{t}/extensions"
        | "PUT /v1/admin/tenants/{t}/extensions/{name}"
        | "PATCH /v1/admin/tenants/{t}/extensions/{name}"
        | "PUT /v1/admin/tenants/{t}/extensions/{name}/settings"
        | "DELETE /v1/admin/tenants/{t}/extensions/{name}"
        | "POST /v1/admin/tenants/{t}/extensions/{name}/rollback"
        | "GET /v1/admin/tenants/{t}/extensions/{name}/logs"
        | "GET /v1/admin/tenants/{t}/extensions/{name}/dead-letters"
        | "DELETE /v1/admin/tenants/{t}/extensions/{name}/dead-letters"
        | "POST /v1/admin/tenants/{t}/extensions/{name}/dead-letters/replay"
        | "GET /v1/admin/tenants/{t}/extensions/{name}/stats"
        | "GET /v1/admin/digests/{digest}"
        | "POST /v1/admin/digests/{digest}/revoke"
        | "DELETE /v1/admin/digests/{digest}/revoke"
        | "GET /healthz"
        | "GET /livez"
        | "GET /readyz"
        | "GET /metrics"
        | "GET /openapi.json" => ask(json!({})),
        other => bail!("nothing is tried with {other}: say here what a tenant could try"),
    };
    let (_, path) = route.split_once(' ').context("a route")?;
    let path = path.replace("{id}", fact).replace("{t}", tenant).replace("{name}", extension);
    let attempt = |(rest, body): (String, Value)| Attempt {
        path: format!("{path}{rest}"),
        body: body.to_string(),
    };
    Ok(attempts.into_iter().map(attempt).collect())
}

/// All that OpenAPI knows.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Every route that the server describes, such as `GET /v1/facts`.
async fn routes(server: &Caller) -> Result<Vec<String>> {
    let document = server.get("/openapi.json").await?.json;
    let mut routes = Vec::new();
    for (path, operations) in document["paths"].as_object().context("paths")? {
        let methods = METHODS.iter().filter(|method| operations.get(**method).is_some());
        routes.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    assert!(routes.len() >= 28, "routes were read: {routes:?}");
    Ok(routes)
}

impl Attempt {
    async fn by(&self, caller: &Caller, route: &str) -> Result<Answer> {
        let (method, _) = route.split_once(' ').context("a route")?;
        let request = caller.request(Method::from_bytes(method.as_bytes())?, &self.path);
        send(request.body(self.body.clone())).await
    }
}

async fn no_route_shows_or_changes_what_another_tenant_has(backend: &Backend) -> Result<()> {
    let world = World::start(backend).await?;
    let before = world.owned().await?;
    let cursor = world.cursor().await?;
    for route in routes(&world.server).await? {
        let guesses = attempts(&route, &OWNER, &cursor)?;
        let blind = attempts(&route, &NOBODY, &cursor)?;
        for (guess, blind) in guesses.iter().zip(&blind) {
            let answer = guess.by(&world.other, &route).await?;
            let asked = format!("{route} {} {}", guess.path, guess.body);
            world.assert_tells_nothing(&asked, &answer);
            let same = blind.by(&world.other, &route).await?;
            let what = (answer.status, answer.code());
            assert_eq!(what, (same.status, same.code()), "{asked}: {}", answer.text);
            match route.contains("/v1/admin/") {
                true => answer.assert_error(403, "forbidden"),
                false => assert!(answer.status < 500, "{asked}: {}", answer.text),
            }
            // Nor does a header make a key another's.
            let named = guess.by(&world.other.tenant(OWNER.tenant), &route).await?;
            world.assert_tells_nothing(&asked, &named);
            if route.contains(" /v1/") {
                named.assert_error(403, "forbidden");
            }
            // What the guesses stored is one's own, and would be in later answers.
            for id in [OWNER.fact, NOBODY.fact] {
                world.other.delete(&format!("/v1/facts/{id}")).await?;
            }
        }
    }
    assert_eq!(world.owned().await?, before);
    assert_eq!(world.other.get("/v1/facts/mine").await?.json["content"], "MY OWN SECRET");
    Ok(())
}
