//! Aligned output of names and values.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

/// Returns the rows as a table without borders, one line per row and the values aligned.
///
/// With a `width`, in columns, a value that does not fit is truncated with an ellipsis; without
/// one, lines may have any length. The text must not contain control characters.
///
/// ```
/// let rows = [("kind", "logic"), ("size", "12 bytes")];
/// assert_eq!(kenning_client::table(rows, None), "kind  logic\nsize  12 bytes");
/// ```
pub fn table<N: ToString, V: ToString>(
    rows: impl IntoIterator<Item = (N, V)>,
    width: Option<usize>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_truncation_indicator("…");
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width.try_into().unwrap_or(u16::MAX));
    }
    for (name, value) in rows {
        let mut row = comfy_table::Row::from([name.to_string(), value.to_string()]);
        row.max_height(1);
        table.add_row(row);
    }
    for (column, padding) in table.column_iter_mut().zip([2, 0]) {
        column.set_padding((0, padding));
    }
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_aligned_and_indented_names_keep_their_indentation() {
        let rows = [("quotas", ""), ("  facts", "1 of 7"), ("n", "x")];
        assert_eq!(table(rows, Some(60)), "quotas\n  facts  1 of 7\nn        x");
    }

    #[test]
    fn a_long_value_is_truncated_to_the_width() {
        let long = "word ".repeat(100);
        let shown = table([("name", long.as_str()), ("n", &"x".repeat(100))], Some(40));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 2, "{shown}");
        let widths = lines.iter().map(|line| textwrap::core::display_width(line));
        assert!(widths.max() <= Some(40) && lines[0].ends_with('…'), "{shown}");
        assert_eq!(table([("name", &long)], None).lines().count(), 1);
    }

    #[test]
    fn no_rows_are_no_text() {
        assert_eq!(table([("", ""); 0], None), "");
    }
}
