//! Conditions: they must say something, and be no deeper than can be read.

use super::Validator;
use crate::config::diagnostics::Path;
use crate::config::raw;
use crate::process::{Bounds, Condition, Test};

impl Validator<'_> {
    pub(super) fn condition(&mut self, path: &Path, typed: &raw::Condition) -> Condition {
        let raw::Condition { all, any, not, fields } = typed;
        let mut conditions = Vec::new();
        for (list, key, join) in
            [(all, "all", Condition::All as fn(Vec<Condition>) -> Condition), (any, "any", Condition::Any)]
        {
            let Some(list) = list else { continue };
            let path = path.key(key);
            if list.0.is_empty() {
                self.error(&path, "is empty; write at least one condition");
            }
            let inner = list.iter().map(|(index, one)| self.condition(&path.index(index), one)).collect();
            conditions.push(join(inner));
        }
        if let Some(not) = not {
            let not = self.condition(&path.key("not"), not);
            conditions.push(Condition::Not(Box::new(not)));
        }
        for (name, test) in &fields.0 {
            let Some(test) = test else { continue };
            let tests = self.tests(&path.key(name), test);
            let field = |test| Condition::Field { name: name.clone(), test };
            conditions.extend(tests.into_iter().map(field));
        }
        if all.is_none() && any.is_none() && not.is_none() && fields.0.is_empty() {
            self.error(path, "is empty; say what must hold, such as `level: error`");
        }
        match <[Condition; 1]>::try_from(conditions) {
            Ok([only]) => only,
            Err(several) => Condition::All(several),
        }
    }

    fn tests(&mut self, path: &Path, typed: &raw::FieldTest) -> Vec<Test> {
        let typed = match typed {
            raw::FieldTest::Is(value) => return vec![Test::OneOf(vec![value.0.clone()])],
            raw::FieldTest::OneOf(values) => {
                if values.0.is_empty() {
                    self.error(path, "is empty; write at least one value");
                }
                return vec![Test::OneOf(values.iter().map(|(_, value)| value.0.clone()).collect())];
            }
            raw::FieldTest::Tests(tests) => tests,
        };
        let bounds = Bounds {
            above: typed.above,
            at_least: typed.at_least,
            below: typed.below,
            at_most: typed.at_most,
        };
        let mut tests = Vec::new();
        tests.extend(typed.matches.as_ref().map(|pattern| Test::Matches(pattern.0.clone())));
        tests.extend(typed.exists.map(Test::Exists));
        tests.extend((bounds != Bounds::default()).then_some(Test::Number(bounds)));
        if tests.is_empty() {
            self.error(path, "is empty; allowed: matches, exists, above, at_least, below, at_most");
        }
        tests
    }
}
