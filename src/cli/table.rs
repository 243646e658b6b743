//! Tables for people.

use std::fmt::Write as _;
use std::time::SystemTime;

/// Rows under a head, each column as wide as its widest cell. Numbers stand to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([head[column].chars().count()]).max().unwrap_or_default()
        })
        .collect();
    let numeric: Vec<bool> = (0..head.len())
        .map(|column| {
            let mut cells = rows.iter().filter_map(|row| row.get(column));
            cells.all(|cell| cell.starts_with(|first: char| first.is_ascii_digit()))
        })
        .collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|name| name.to_uppercase()).collect();
    for row in [&head].into_iter().chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if numeric[column] {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// As RFC 3339, to the second.
pub(super) fn time(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_to_the_right() {
        let rows = [vec!["a".into(), "1".into()], vec!["long".into(), "1000".into()]];
        assert_eq!(table(&["name", "bytes"], &rows), "NAME  BYTES\na         1\nlong   1000\n");
        assert_eq!(table(&["name"], &[]), "NAME\n");
    }
}
