//! Which limits are refused, and how much fuel a call has.

use super::*;

#[test]
fn the_defaults_work_together() {
    assert_eq!(Limits::default().validate(), Ok(()));
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let limits = Limits { host_call_bytes: 300 * KIB, ..Limits::default() };
    assert!(limits.validate().unwrap_err().contains("host_call_bytes"));
}

fn names() -> Vec<String> {
    let Ok(serde_json::Value::Object(limits)) = serde_json::to_value(Limits::default()) else {
        panic!("limits are an object");
    };
    limits.into_iter().map(|(name, _)| name).collect()
}

fn with(name: &str, number: u64) -> Result<(), String> {
    let limits = serde_json::json!({ name: number });
    // A number that its type cannot hold is refused before its range is looked at.
    let limits = serde_json::from_value::<Limits>(limits);
    limits.map_err(|error| format!("{name}: {error}"))?.validate()
}

#[test]
fn a_limit_of_zero_is_refused_unless_zero_means_something() {
    let refused = |name: &str| with(name, 0).is_err_and(|why| why.contains("and is 0"));
    let named = with("search_ms", 0).unwrap_err();
    assert!(named.starts_with("[limits]: search_ms must be 1 to "), "{named}");
    for name in names() {
        let has_meaning = limit_ranges::MAY_BE_ZERO.contains(&name.as_str());
        assert_eq!(refused(&name), !has_meaning, "{name}");
    }
}

#[test]
fn a_limit_that_no_machine_has_is_refused() {
    for name in names().iter().filter(|name| !name.contains("fuel")) {
        assert!(with(name, 1 << 45).unwrap_err().contains(name.as_str()), "{name}");
    }
}

#[test]
fn a_percentage_above_one_hundred_is_refused() {
    let limits = Limits { proof_overlap_percent: 101, ..Limits::default() };
    assert!(limits.validate().unwrap_err().contains("proof_overlap_percent"));
    let limits = Limits { proof_errors_percent: 101, ..Limits::default() };
    assert!(limits.validate().unwrap_err().contains("proof_errors_percent"));
}

#[test]
fn fuel_grows_with_the_input_up_to_its_cap() {
    let limits = Limits::default();
    assert!(limits.fuel(0, 0) < limits.fuel(10 * KIB, 0));
    assert!(limits.fuel(0, 0) < limits.fuel(0, 10));
    assert_eq!(limits.fuel(usize::MAX / 2, 1), limits.fuel_max);
}

#[test]
fn the_documentation_names_every_limit_with_its_default() {
    let page = include_str!("../../../../docs/LIMITS.md");
    let serde_json::Value::Object(limits) = serde_json::to_value(Limits::default()).unwrap() else {
        panic!("limits are an object");
    };
    for (name, default) in limits {
        let row = format!("| `{name}` | {default} |");
        assert!(page.contains(&row), "docs/LIMITS.md lacks {row}");
    }
}
