//! Translates queries into the language of the facts, by a service that the settings name.
//!
//! A query that cannot be translated is searched for as it was: that finds more than an error.

use kenning_extension::json::{self, Value, json};
use kenning_extension::{Metadata, OnQuery, Query, Refusal, SettingsSchema, http, log, settings};

/// Where the text is in an answer of LibreTranslate.
const ANSWER: &str = "/translatedText";

/// The extension.
pub struct TranslateQuery;

impl OnQuery for TranslateQuery {
    fn on_query(mut query: Query) -> Result<Query, Refusal> {
        match translated(&query.text, &settings::get()) {
            Ok(text) => query.text = text,
            // Without the query, which is not for everybody who reads the log.
            Err(why) => log::warn(format!("a query was not translated: {why}")),
        }
        Ok(query)
    }
}

impl SettingsSchema for TranslateQuery {
    const SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": {
            "url": { "type": "string", "pattern": "^https?://" },
            "target": { "type": "string", "minLength": 1 },
            "source": { "type": "string", "minLength": 1 },
            "answer": { "type": "string", "pattern": "^/" }
        },
        "required": ["url", "target"],
        "additionalProperties": false
    }"#;
}

kenning_extension::export!(TranslateQuery: OnQuery);
kenning_extension::export_schema!(TranslateQuery);

fn translated(text: &str, settings: &Metadata) -> Result<String, String> {
    let setting = |name: &str| settings.get_str(name);
    let url = setting("url").ok_or("the settings have no `url`")?;
    let target = setting("target").ok_or("the settings have no `target`")?;
    let source = setting("source").unwrap_or_else(|| "auto".into());
    let body = json!({ "q": text, "source": source, "target": target });
    let request = http::Request::new("POST", url).header("content-type", "application/json");
    let request = match settings::secret("api-key") {
        Some(key) => request.header("authorization", format!("Bearer {key}")),
        None => request,
    };
    let answer = request.body(body.to_string()).send().map_err(|error| error.to_string())?;
    if !answer.is_success() {
        return Err(format!("the service answered with {}", answer.status));
    }
    let said: Value =
        json::from_slice(&answer.body).map_err(|_| "the service answered without JSON")?;
    let place = setting("answer").unwrap_or_else(|| ANSWER.into());
    match said.pointer(&place).and_then(Value::as_str).map(str::trim) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("the service's answer has no text at {place}")),
    }
}

#[cfg(test)]
mod tests {
    use kenning_extension::testing::Host;

    use super::*;

    const URL: &str = "https://translate.example.com/translate";

    fn host() -> Host {
        let settings = json!({ "url": URL, "target": "en" });
        Host::new().with_settings(settings.to_string())
    }

    fn asked(host: &Host) -> String {
        host.run(|| TranslateQuery::on_query(Query::new("où est la clé ?"))).unwrap().text
    }

    #[test]
    fn a_query_is_translated_by_the_service_of_the_settings() {
        let answer = http::Response::new(200, r#"{"translatedText":"where is the key?"}"#);
        let host = host().with_answer(URL, answer).with_secret("api-key", "in-a-test-only");
        assert_eq!(asked(&host), "where is the key?");
        let sent = &host.requests()[0];
        let body: Value = json::from_slice(&sent.body).unwrap();
        assert_eq!(body, json!({ "q": "où est la clé ?", "source": "auto", "target": "en" }));
        assert_eq!(sent.headers[1].1, "Bearer in-a-test-only");
        assert!(host.lines().is_empty());
    }

    #[test]
    fn a_query_that_cannot_be_translated_stays_as_it_was_and_the_log_says_why() {
        let slow = http::Error::Timeout("there was no answer in time".into());
        for (host, why) in [
            (host().with_failing(URL, slow), "no answer in time"),
            (host().with_answer(URL, http::Response::new(503, "{}")), "answered with 503"),
            (host().with_answer(URL, http::Response::new(200, "ok")), "without JSON"),
            (host().with_answer(URL, http::Response::new(200, "{}")), "no text at /translatedText"),
            (Host::new(), "have no `url`"),
        ] {
            assert_eq!(asked(&host), "où est la clé ?", "{why}");
            let lines = host.lines();
            assert!(lines.len() == 1 && lines[0].contains(why), "{why}: {lines:?}");
            assert!(!lines[0].contains("clé"), "{lines:?}");
        }
    }
}
