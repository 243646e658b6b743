use super::*;
use crate::process::Pattern;

fn csv(delimiter: u8) -> Parser {
    Parser::Csv(Csv { fields: ["a", "b", "c"].map(str::to_owned).to_vec(), delimiter })
}

#[test]
fn csv_lines() {
    let lines = [
        ("1,two,3.0", json!({"a": "1", "b": "two", "c": "3.0"})),
        ("1,two", json!({"a": "1", "b": "two", "c": null})),
        (",,", json!({"a": "", "b": "", "c": ""})),
        ("1,2,3,4,5", json!({"a": "1", "b": "2", "c": "3"})),
        (r#""say ""hi"", you",b,"""""#, json!({"a": "say \"hi\", you", "b": "b", "c": "\""})),
        (r#"1,"x""#, json!({"a": "1", "b": "x", "c": null})),
        (r#""1","","#, json!({"a": "1", "b": "", "c": ""})),
        ("\"two\nlines\",b", json!({"a": "two\nlines", "b": "b", "c": null})),
        (r#"a "quoted" word,b,c"#, json!({"a": "a \"quoted\" word", "b": "b", "c": "c"})),
        ("\"x\",b\nmore,c", Json::Null),
    ];
    golden(&csv(b','), &lines);
    golden(&csv(b'\t'), &[("1\t2,3\t\"4\t5\"", json!({"a": "1", "b": "2,3", "c": "4\t5"}))]);
}

fn groups(pattern: &str, names: &[&str]) -> Result<Parser, String> {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    Groups::new(Pattern::new(pattern)?, &names).map(Parser::Regex)
}

#[test]
fn lines_by_a_pattern() {
    let named = groups(r"^(?<level>[A-Z]+) (?:\[(?<id>\d+)\] )?(?<text>.*)$", &[]).unwrap();
    let lines = [
        ("WARN [7] é \"x\"", json!({"level": "WARN", "id": "7", "text": "é \"x\""})),
        ("WARN no id", json!({"level": "WARN", "text": "no id"})),
        ("warn", Json::Null),
    ];
    golden(&named, &lines);
    let numbered = groups(r"^(\S+)(?: (\d+))?", &["word", "number"]).unwrap();
    golden(
        &numbered,
        &[("a 1", json!({"word": "a", "number": "1"})), ("a", json!({"word": "a", "number": null}))],
    );
}

#[test]
fn a_pattern_that_gives_nothing_is_refused() {
    assert!(groups("(a)", &["x", "y"]).unwrap_err().contains("names 2 fields, and the pattern has 1 groups"));
    assert!(groups("(a)", &[]).unwrap_err().starts_with("has no named group"));
    assert!(groups("(a", &["x"]).unwrap_err().contains("unclosed group"));
    assert!(groups(r"(?<x>\w{1000}){1000}", &[]).unwrap_err().contains("becomes larger than 4 MiB"));
}
