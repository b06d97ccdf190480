//! Ranks facts higher whose metadata have the values that the caller asks for.
//!
//! A search says what it prefers in `extension_options`, for example
//! `{"boost-by-option": {"prefer": {"team": "search"}, "weight": 0.5}}`. The operator decides which
//! fields callers may prefer, and how much: the settings `fields` and `most`.

use kenning_extension::json::{self, Value};
use kenning_extension::{
    Hit, Metadata, OptionsSchema, Query, Ranked, Rerank, SettingsSchema, context, log, settings,
};

/// How much a preferred fact gains if the request does not say, as a fraction of the range of
/// scores.
const WEIGHT: f64 = 0.5;

/// The most that a request may ask for if the settings do not say.
const MOST: f64 = 1.0;

/// The extension.
pub struct BoostByOption;

impl Rerank for BoostByOption {
    fn rerank(_query: &Query, hits: Vec<Hit>) -> Vec<Ranked> {
        let preference = context::options().and_then(|text| Preference::parse(&text));
        boosted(hits, preference.unwrap_or_default())
    }
}

impl SettingsSchema for BoostByOption {
    const SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": {
            "fields": { "type": "array", "items": { "type": "string" } },
            "most": { "type": "number", "minimum": 0 }
        },
        "additionalProperties": false
    }"#;
}

impl OptionsSchema for BoostByOption {
    const SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": {
            "prefer": { "type": "object" },
            "weight": { "type": "number", "minimum": 0 }
        },
        "required": ["prefer"],
        "additionalProperties": false
    }"#;
}

kenning_extension::export!(BoostByOption: Rerank);
kenning_extension::export_schema!(BoostByOption);
kenning_extension::export_options_schema!(BoostByOption);

/// What a caller prefers.
#[derive(Default)]
struct Preference {
    /// Metadata fields and the values that count.
    values: Vec<(String, Value)>,
    weight: f64,
}

impl Preference {
    /// What the options ask for, as far as the settings allow it. The host refuses options that are
    /// not as the schema asks; one that does not know the schema lets them through, and they prefer
    /// nothing.
    fn parse(text: &str) -> Option<Self> {
        let options: Value = json::from_str(text).ok()?;
        let Some(prefer) = options["prefer"].as_object() else {
            log::warn("the options have no object `prefer`");
            return None;
        };
        let settings = settings::get();
        let allowed = |field: &str| match settings.get("fields") {
            Some(Value::Array(fields)) => fields.iter().any(|one| one == field),
            _ => true,
        };
        let (used, left): (Vec<_>, Vec<_>) =
            prefer.iter().partition(|(field, _)| allowed(field.as_str()));
        for (field, _) in left {
            log::warn(format!("the settings do not allow to prefer {field:?}"));
        }
        let most = settings.get("most").and_then(|most| most.as_f64()).unwrap_or(MOST);
        let weight = options["weight"].as_f64().unwrap_or(WEIGHT).clamp(0.0, most);
        let values = used.into_iter().map(|(field, value)| (field.clone(), value.clone()));
        Some(Self { values: values.collect(), weight })
    }

    /// The share of the preferred values that a fact has.
    fn share(&self, metadata: &Metadata) -> f64 {
        let has = |(field, wanted): &&(String, Value)| match metadata.get(field) {
            Some(Value::Array(values)) => values.contains(wanted),
            Some(value) => value == *wanted,
            None => false,
        };
        match self.values.len() {
            0 => 0.0,
            all => self.values.iter().filter(has).count() as f64 / all as f64,
        }
    }
}

/// Scores may be negative and are comparable within one answer only. The boost is therefore added,
/// and scaled by the range of the answer's scores.
fn boosted(hits: Vec<Hit>, preference: Preference) -> Vec<Ranked> {
    let scores = hits.iter().map(|hit| hit.score);
    let best = scores.clone().fold(f64::NEG_INFINITY, f64::max);
    let worst = scores.fold(f64::INFINITY, f64::min);
    let range = if best > worst { best - worst } else { 1.0 };
    let ranked = hits.into_iter().map(|hit| Ranked {
        score: hit.score + preference.weight * range * preference.share(&hit.fact.metadata),
        id: hit.fact.id,
    });
    ranked.collect()
}

#[cfg(test)]
mod tests {
    use kenning_extension::Fact;
    use kenning_extension::json::json;
    use kenning_extension::testing::Host;

    use super::*;

    fn order(host: &Host) -> Vec<String> {
        let hit =
            |id: &str, team: Value, score| Hit::new(Fact::new(id, "x").with("team", team), score);
        let hits = vec![
            hit("best", json!("web"), 1.0),
            hit("ours", json!(["search", "data"]), 0.7),
            hit("last", json!("search"), 0.0),
        ];
        let mut ranked = host.run(|| BoostByOption::rerank(&Query::new("x"), hits));
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked.into_iter().map(|ranked| ranked.id).collect()
    }

    fn asking(options: Value) -> Host {
        Host::new().with_options(options.to_string())
    }

    #[test]
    fn facts_with_the_preferred_value_rise_and_the_weight_says_how_far() {
        assert_eq!(order(&Host::new()), ["best", "ours", "last"]);
        let prefer = json!({ "team": "search" });
        assert_eq!(order(&asking(json!({ "prefer": prefer }))), ["ours", "best", "last"]);
        let more = asking(json!({ "prefer": prefer, "weight": 1.5 }));
        assert_eq!(order(&more), ["ours", "best", "last"], "no more than the range");
        assert_eq!(order(&more.with_settings(r#"{"most":2}"#)), ["ours", "last", "best"]);
    }

    #[test]
    fn a_field_that_the_settings_do_not_allow_is_left_out_and_said() {
        let host = asking(json!({ "prefer": { "team": "search" } }));
        let host = host.with_settings(r#"{"fields":["topic"]}"#);
        assert_eq!(order(&host), ["best", "ours", "last"]);
        assert_eq!(host.lines(), ["the settings do not allow to prefer \"team\""]);
    }

    #[test]
    fn options_that_cannot_be_read_prefer_nothing() {
        for options in [json!([]), json!({}), json!({ "prefer": "search" }), json!(1)] {
            assert_eq!(order(&asking(options)), ["best", "ours", "last"]);
        }
    }
}
