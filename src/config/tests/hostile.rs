//! No text makes it panic, or take memory without end.

use proptest::prelude::*;

use super::*;

#[test]
fn aliases_cannot_grow_without_end() {
    let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{}, ", level - 1).repeat(9);
        text.push_str(&format!("b{level}: &a{level} [{before}]\n"));
    }
    assert!(messages(&text)[0].contains("aliases included"));
}

#[test]
fn nesting_cannot_go_on_without_end() {
    assert_eq!(messages(&"[".repeat(10_000)).len(), 1);
    assert!(messages(&"- ".repeat(10_000))[0].contains("deeper than"));
    assert!(messages(&"[".repeat(100))[0].contains("deeper than"));
}

#[test]
fn patterns_are_bounded_in_length_and_number() {
    let with = |patterns: String| {
        format!(
            "destinations: {{d: {{type: directory, path: /d}}}}\nroutes: [{{files: [{patterns}], to: d}}]\n"
        )
    };
    let long = messages(&with(format!("'/{}'", "{a,b}*".repeat(200))));
    assert!(long.len() == 1 && long[0].contains("at most 1024"), "{long:?}");
    let many: Vec<String> = (0..1001).map(|number| format!("/var/log/{number}.log")).collect();
    let many = messages(&with(many.join(", ")));
    assert!(many.len() == 1 && many[0].contains("at most 1000"), "{many:?}");
}

fn word() -> impl Strategy<Value = String> {
    let words = [
        "destinations",
        "routes",
        "type",
        "firehose",
        "kinesis",
        "directory",
        "files",
        "to",
        "tail",
        "process",
        "parse",
        "json",
        "add",
        "rename",
        "remove",
        "max_size",
        "buffer",
        "a",
        "1",
        "-1",
        "1.5",
        "true",
        "null",
        "~",
        "''",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        ":",
        ": ",
        "- ",
        "-",
        "\n",
        "\n  ",
        "\n    ",
        "&a",
        "*a",
        "<<",
        "<<: *a",
        "!t",
        "!!str",
        "|",
        ">",
        "#",
        "?",
        ",",
        "${env:X}",
        "$",
        "${",
        "---",
        "...",
        "%",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{0}",
        "ä",
        "64MiB",
        "5s",
    ];
    prop_oneof![proptest::sample::select(words.to_vec()).prop_map(str::to_owned), ".{0,4}"]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(.|\n){0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_mixture_of_yaml_makes_it_panic(words in proptest::collection::vec(word(), 0..60)) {
        let _ = read(&words.concat());
    }

    #[test]
    fn a_good_file_with_a_word_replaced_never_panics(at in 0usize..60, with in word()) {
        let mut words: Vec<&str> = DESIGN.split_inclusive(' ').collect();
        let at = at % words.len();
        words[at] = &with;
        let _ = read(&words.concat());
    }
}
