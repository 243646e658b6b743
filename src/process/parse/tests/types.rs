use super::*;
use crate::process::TimeFormat;

fn typed(kind: Type, text: &str) -> Option<Json> {
    let parse = Parse {
        types: vec![("v".into(), kind), ("absent".into(), Type::Int)],
        ..Parse::with(Parser::Csv(Csv { fields: vec!["v".into()], delimiter: b'\t' }))
    };
    Some(applied(&parse, text.as_bytes())?["v"].clone())
}

#[test]
fn texts_become_numbers_and_booleans() {
    for (kind, text, expected) in [
        (Type::Int, "42", json!(42)),
        (Type::Int, "-7", json!(-7)),
        (Type::Int, "18446744073709551615", json!(u64::MAX)),
        (Type::Int, "-", json!(null)),
        (Type::Float, "0.25", json!(0.25)),
        (Type::Float, "1e3", json!(1000.0)),
        (Type::Float, "7", json!(7.0)),
        (Type::Bool, "TRUE", json!(true)),
        (Type::Bool, "off", json!(false)),
        (Type::Text, " x ", json!("x")),
        (Type::Text, "-", json!(null)),
    ] {
        assert_eq!(typed(kind.clone(), text), Some(expected), "{kind:?} {text}");
    }
}

#[test]
fn a_text_that_is_not_of_its_type_fails_the_step_and_loses_nothing() {
    for (kind, text) in [
        (Type::Int, "1.5"),
        (Type::Int, "99999999999999999999"),
        (Type::Float, "inf"),
        (Type::Float, "NaN"),
        (Type::Bool, "maybe"),
        (Type::Time(TimeFormat::new(&[], None).unwrap()), "soon"),
    ] {
        assert_eq!(typed(kind.clone(), text), None, "{kind:?} {text}");
    }
}

#[test]
fn times_become_rfc_3339_in_utc() {
    let format = TimeFormat::new(&["%d/%b/%Y:%H:%M:%S %z"], None).unwrap();
    assert_eq!(typed(Type::Time(format), "10/Oct/2026:13:55:36 -0700"), Some(json!("2026-10-10T20:55:36Z")));
}

#[test]
fn json_values_are_converted_too() {
    let parse = Parse {
        types: vec![("n".into(), Type::Text), ("s".into(), Type::Int), ("o".into(), Type::Text)],
        ..Parse::with(Parser::Json)
    };
    let made = applied(&parse, br#"{"n":12.50,"s":"7","k":1}"#);
    assert_eq!(made, Some(json!({"n": "12.50", "s": 7, "k": 1})));
    assert_eq!(applied(&parse, br#"{"o":{"x":1}}"#), None);
}
