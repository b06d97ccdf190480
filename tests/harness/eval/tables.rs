//! What a run prints.

use std::time::Duration;

use anyhow::Result;

use super::statistics::mean;
use super::{
    Imported, Interval, JudgedSet, MEASURES, Measured, NDCG_10, Paired, Run, SavedRun, intervals,
    paired,
};
use crate::report::Table;

/// Refused documents that are named.
const NAMED: usize = 20;

/// A set, its rows with the interval of each mean, and the paired differences.
pub fn print_quality(set: &JudgedSet, imported: &Imported, run: &Run, took: Duration) {
    let mut columns = vec!["row"];
    columns.extend(MEASURES.iter().flat_map(|measure| [*measure, "95 %"]));
    columns.push("no hit");
    let title = format!(
        "{}, {}: {} queries, {} facts",
        set.name,
        set.split,
        run.queries.len(),
        imported.facts
    );
    let mut table = Table::new(title, 1, &columns);
    let seconds = |time: Duration| format!("{:.0} s", time.as_secs_f64());
    table.note(format!("imported in {}, asked in {}", seconds(imported.took), seconds(took)));
    notes(set, imported).into_iter().for_each(|note| table.note(note));
    for row in &run.rows {
        for (note, times) in &row.notes {
            table.note(format!("{}: {note} ({times} ×)", row.name));
        }
        if row.repeated > 0 {
            table.note(format!("{}: {} searches failed and were repeated", row.name, row.repeated));
        }
        table.row(quality(row));
    }
    table.print();
    print_paired(set, run);
}

fn notes(set: &JudgedSet, imported: &Imported) -> Vec<String> {
    let mut notes = set.notes.clone();
    let partly = imported.partly_embedded as usize;
    for (what, count) in [
        ("facts too long to be embedded whole, their ends found by words only", partly),
        ("documents stored under another id, as no fact can have theirs", imported.renamed.len()),
        ("documents refused, which no query finds", imported.refused.len()),
    ] {
        if count > 0 {
            notes.push(format!("{what}: {count}"));
        }
    }
    for (id, why) in imported.refused.iter().take(NAMED) {
        let judged = set.queries.iter().filter(|query| query.relevant.contains_key(id)).count();
        notes.push(format!("  {id}, relevant to queries: {judged}; {why}"));
    }
    if imported.refused.len() > NAMED {
        notes.push(format!("  and {} more", imported.refused.len() - NAMED));
    }
    notes
}

fn quality(row: &Measured) -> Vec<String> {
    let mut cells = vec![row.name.clone()];
    match &row.scores {
        None => cells.push("refused".into()),
        Some(scores) => {
            let columns: Vec<&[f64]> = scores.iter().map(Vec::as_slice).collect();
            for (column, interval) in scores.iter().zip(intervals(&columns)) {
                cells.extend([format!("{:.4}", mean(column)), between(interval)]);
            }
            cells.push(row.empty.to_string());
        }
    }
    cells
}

fn between(interval: Interval) -> String {
    format!("{:.3} to {:.3}", interval.low, interval.high)
}

const PAIRED: [&str; 7] = ["difference", "mean", "95 %", "p", "better", "worse", "equal"];

fn print_paired(set: &JudgedSet, run: &Run) {
    let (Some(leg), Some(hybrid)) = (run.better_leg(), run.row("hybrid")) else { return };
    let (Some(by_leg), Some(by_hybrid)) = (&leg.scores, &hybrid.scores) else { return };
    let mut table = Table::new(format!("{}: nDCG@10, query by query", set.name), 1, &PAIRED);
    let found = paired(&by_hybrid[NDCG_10], &by_leg[NDCG_10]);
    table.row(cells(format!("hybrid - {}, the better leg", leg.name), &found));
    for row in &run.rows {
        let Some(scores) = &row.scores else { continue };
        if !["text", "vector", "hybrid"].contains(&row.name.as_str()) {
            let found = paired(&scores[NDCG_10], &by_hybrid[NDCG_10]);
            table.row(cells(format!("{} - hybrid", row.name), &found));
        }
    }
    table.print();
}

fn cells(name: String, found: &Paired) -> Vec<String> {
    vec![
        name,
        format!("{:+.4}", found.mean),
        format!("{:+.3} to {:+.3}", found.interval.low, found.interval.high),
        format!("{:.4}", found.p),
        found.better.to_string(),
        found.worse.to_string(),
        found.equal.to_string(),
    ]
}

/// A run beside a saved one, query by query.
///
/// # Errors
/// If the saved run does not have the set.
pub fn print_against(set: &JudgedSet, run: &Run, saved: &SavedRun) -> Result<()> {
    let common = saved.common(set, run)?;
    let columns =
        ["row", "measure", "then", "now", "mean", "95 %", "p", "better", "worse", "equal"];
    let title = format!("{}: against the saved run, {} queries", set.name, common.queries);
    let mut table = Table::new(title, 2, &columns);
    if common.queries < run.queries.len() {
        let left = run.queries.len() - common.queries;
        table.note(format!("{left} queries are not in the saved run"));
    }
    for (row, measure, now, then) in &common.columns {
        let found = paired(now, then);
        let means = [mean(then), mean(now)].map(|mean| format!("{mean:.4}"));
        let mut line = vec![row.clone(), measure.to_string()];
        line.extend(means);
        line.extend(cells(String::new(), &found).into_iter().skip(1));
        table.row(line);
    }
    table.print();
    Ok(())
}

/// All sets in one table, by nDCG@10, with the means over the sets.
pub fn print_summary(runs: &[(String, Run)]) {
    let Some((_, first)) = runs.first() else { return };
    let names: Vec<&str> = first.rows.iter().map(|row| row.name.as_str()).collect();
    let mut columns = vec!["set"];
    columns.extend(&names);
    columns.extend(["hybrid - better leg", "95 %"]);
    let mut table = Table::new(format!("nDCG@10 over {} sets", runs.len()), 1, &columns);
    for (set, run) in runs {
        let mut line = vec![set.clone()];
        line.extend(names.iter().map(|name| shown(run.row(name).map(Measured::ndcg))));
        let leg = run.better_leg().and_then(|leg| leg.scores.as_ref());
        let hybrid = run.row("hybrid").and_then(|hybrid| hybrid.scores.as_ref());
        if let (Some(leg), Some(hybrid)) = (leg, hybrid) {
            let found = paired(&hybrid[NDCG_10], &leg[NDCG_10]);
            line.extend(cells(String::new(), &found).into_iter().skip(1).take(2));
        }
        table.row(line);
    }
    let mut line = vec!["mean".to_string()];
    for name in &names {
        let means: Option<Vec<f64>> =
            runs.iter().map(|(_, run)| run.row(name).map(Measured::ndcg)).collect();
        line.push(shown(means.map(|means| mean(&means))));
    }
    table.row(line);
    table.print();
}

fn shown(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{value:.4}"),
        _ => "refused".into(),
    }
}
