//! `kinetail schema`: what editors check a configuration against.

use std::io::Write;
use std::process::ExitCode;

use crate::config;

/// Prints the JSON Schema of the configuration.
pub fn run(out: &mut dyn Write) -> ExitCode {
    match out.write_all(text().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn text() -> String {
    format!("{:#}\n", config::schema())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_schema_beside_the_examples_is_the_one_that_is_printed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kinetail.schema.json");
        if std::env::var_os("KINETAIL_UPDATE_REFERENCE").is_some() {
            fs::write(&path, text()).unwrap();
        }
        let mut printed = Vec::new();
        assert_eq!(run(&mut printed), ExitCode::SUCCESS);
        let kept = fs::read_to_string(&path).unwrap();
        assert!(
            kept.as_bytes() == printed,
            "write config/kinetail.schema.json anew: KINETAIL_UPDATE_REFERENCE=1 cargo test --lib schema"
        );
    }
}
