//! Reading one table: its keys by kind, with everything that is wrong noted where it stands.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use tlbench_hub::HubId;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::problem::{Hint, Position, Problem, ProblemKind, nearest};
use super::words::UnknownWord;

/// The keys that a table may have.
#[derive(Debug)]
pub(super) struct Schema {
    /// As in messages: `in [run]`.
    pub(super) place: &'static str,
    pub(super) keys: &'static [&'static str],
}

/// A text, and what is wrong with it so far.
#[derive(Debug)]
pub(super) struct Document<'a> {
    text: &'a str,
    schemas: &'static [&'static Schema],
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Document<'a> {
    /// `schemas` are those of all tables, so that a key in the wrong one is sent to the right one.
    pub(super) fn new(text: &'a str, schemas: &'static [&'static Schema]) -> Self {
        Self {
            text,
            schemas,
            problems: RefCell::default(),
        }
    }

    pub(super) fn position(&self, span: &Range<usize>) -> Position {
        Position::of(self.text, span.start)
    }

    pub(super) fn note(&self, span: &Range<usize>, kind: ProblemKind) {
        let position = self.position(span);
        self.problems.borrow_mut().push(Problem { position, kind });
    }

    /// Notes that the text is no TOML.
    pub(super) fn note_syntax(&self, error: &toml::de::Error) {
        let span = error.span().unwrap_or_default();
        let at = self.text.get(span.clone()).unwrap_or_default().trim();
        let message = if at.is_empty() || at.contains('\n') {
            error.message().to_owned()
        } else {
            format!("{} at `{at}`", error.message())
        };
        self.note(&span, ProblemKind::Syntax { message });
    }

    /// Notes what serde refuses of a table that was parsed: its numbers are still text there.
    fn note_out_of_range(&self, error: &toml::de::Error, table: &Range<usize>) {
        let span = error.span().unwrap_or_else(|| table.clone());
        let number = self.text.get(span.clone()).unwrap_or_default().to_owned();
        self.note(&span, ProblemKind::OutOfRange { number });
    }

    /// What is wrong, from top to bottom.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.position);
        problems
    }

    fn hint(&self, key: &str, schema: &'static Schema) -> Hint {
        if let Some(key) = nearest(key, schema.keys.iter().copied()) {
            return Hint::Resembles { key };
        }
        let elsewhere = self.schemas.iter().find(|other| other.keys.contains(&key));
        elsewhere.map_or(Hint::Known { keys: schema.keys }, |other| {
            Hint::BelongsElsewhere { place: other.place }
        })
    }
}

/// One table of a [`Document`].
#[derive(Clone, Debug)]
pub(super) struct Section<'a> {
    document: &'a Document<'a>,
    schema: &'static Schema,
    table: &'a DeTable<'a>,
    /// Where it begins, for keys that it lacks.
    span: Range<usize>,
}

impl<'a> Section<'a> {
    /// Notes the keys that `schema` does not have.
    pub(super) fn new(
        document: &'a Document<'a>,
        schema: &'static Schema,
        table: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Self {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !schema.keys.contains(&name) {
                let unknown = ProblemKind::UnknownKey {
                    key: name.to_owned(),
                    place: schema.place,
                    hint: document.hint(name, schema),
                };
                document.note(&key.span(), unknown);
            }
        }
        Self {
            document,
            schema,
            table,
            span,
        }
    }

    /// Where a problem with `key` is shown.
    pub(super) fn span(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    /// Some text; none of it is no text.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.typed(key, "text", non_empty_text)
    }

    /// Some text that has to be there.
    pub(super) fn needed_text(&self, key: &'static str, expected: &'static str) -> Option<String> {
        if !self.has(key) {
            self.note_missing(key, expected);
        }
        self.typed(key, expected, non_empty_text)
    }

    /// Whether there is a `key`, whatever it holds.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Notes that `key` should be there.
    pub(super) fn note_missing(&self, key: &'static str, expected: &'static str) {
        let missing = ProblemKind::MissingKey {
            key,
            place: self.schema.place,
            expected,
        };
        self.document.note(&self.span, missing);
    }

    /// Notes that there is an `other` beside `key`, if there is.
    pub(super) fn excludes(&self, key: &'static str, other: &'static str) {
        if self.has(other) {
            let place = self.schema.place;
            let exclusive = ProblemKind::Exclusive { key, other, place };
            self.document.note(&self.span(key), exclusive);
        }
    }

    /// A model of the Hub.
    pub(super) fn hub_id(&self, key: &'static str) -> Option<HubId> {
        let found = self.typed(key, "a model of the Hub", non_empty_text)?;
        let place = self.schema.place;
        let wrong = |error| ProblemKind::NoHubId { key, place, error };
        found
            .parse()
            .map_err(|error| self.document.note(&self.span(key), wrong(error)))
            .ok()
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<String>> {
        self.typed(key, "a list of texts", |value| {
            let items = value.as_array()?.iter();
            items.map(|item| non_empty_text(item.get_ref())).collect()
        })
    }

    /// A list of token ids.
    pub(super) fn token_ids(&self, key: &str) -> Option<Vec<i64>> {
        self.typed(
            key,
            "a list of token ids, which are whole numbers from 0 on",
            |value| {
                let items = value.as_array().filter(|items| !items.is_empty())?.iter();
                items.map(|item| token_id(item.get_ref())).collect()
            },
        )
    }

    /// A truth value.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", DeValue::as_bool)
    }

    /// A whole number above 0.
    pub(super) fn size(&self, key: &str) -> Option<usize> {
        self.typed(key, "a whole number above 0", |value| {
            let number = value.as_integer()?;
            let number = usize::from_str_radix(number.as_str(), number.radix()).ok()?;
            (number > 0).then_some(number)
        })
    }

    /// A number between 0 and 1, both included.
    pub(super) fn share(&self, key: &str) -> Option<f64> {
        self.typed(key, "a number from 0 to 1", |value| {
            let number = match value {
                DeValue::Integer(number) => number.as_str(),
                DeValue::Float(number) => number.as_str(),
                _ => return None,
            };
            let number: f64 = number.parse().ok()?;
            (0.0..=1.0).contains(&number).then_some(number)
        })
    }

    /// A word that `parse` knows.
    pub(super) fn word<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, UnknownWord>,
    ) -> Option<T> {
        let found = self.text(key)?;
        let unknown = |word| ProblemKind::UnknownWord {
            key: key.to_owned(),
            place: self.schema.place,
            word,
        };
        parse(&found)
            .map_err(|word| self.document.note(&self.span(key), unknown(word)))
            .ok()
    }

    /// A table of which nothing is known here.
    pub(super) fn opaque(&self, key: &str) -> Option<toml::Table> {
        let (_, span) = self.table(key)?;
        let value = self.table.get(key)?.clone();
        toml::Table::deserialize(ValueDeserializer::from(value))
            .map_err(|error| self.document.note_out_of_range(&error, &span))
            .ok()
    }

    /// Tables of which nothing is known here, by name.
    pub(super) fn opaque_tables(
        &self,
        key: &str,
        schema: &'static Schema,
    ) -> BTreeMap<String, toml::Table> {
        let Some((table, span)) = self.table(key) else {
            return BTreeMap::new();
        };
        let section = Self {
            document: self.document,
            schema,
            table,
            span,
        };
        let named = |name: &str| Some((name.to_owned(), section.opaque(name)?));
        table
            .keys()
            .filter_map(|name| named(name.get_ref()))
            .collect()
    }

    /// A table.
    pub(super) fn section(&self, key: &str, schema: &'static Schema) -> Option<Self> {
        let (table, span) = self.table(key)?;
        Some(Self::new(self.document, schema, table, span))
    }

    /// A list of tables.
    pub(super) fn sections(&self, key: &str, schema: &'static Schema) -> Vec<Self> {
        let expected = "a list of tables, each under a header in double brackets";
        self.typed(key, expected, |value| {
            let mut items = value.as_array()?.iter();
            items.all(|item| item.get_ref().is_table()).then_some(())
        });
        let value = self.table.get(key).map(Spanned::get_ref);
        value
            .and_then(DeValue::as_array)
            .into_iter()
            .flat_map(|items| items.iter())
            .filter_map(|item| {
                let table = item.get_ref().as_table()?;
                Some(Self::new(self.document, schema, table, item.span()))
            })
            .collect()
    }

    fn table(&self, key: &str) -> Option<(&'a DeTable<'a>, Range<usize>)> {
        self.typed(key, "a table", |value| value.as_table().map(|_| ()))?;
        let value = self.table.get(key)?;
        Some((value.get_ref().as_table()?, value.span()))
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        parse: impl Fn(&DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.table.get(key)?;
        let parsed = parse(value.get_ref());
        if parsed.is_none() {
            let wrong = ProblemKind::WrongValue {
                key: key.to_owned(),
                place: self.schema.place,
                expected,
                found: shown(value.get_ref()),
            };
            self.document.note(&value.span(), wrong);
        }
        parsed
    }
}

fn non_empty_text(value: &DeValue<'_>) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.trim().is_empty())
        .map(str::to_owned)
}

fn token_id(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    let id = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
    (id >= 0).then_some(id)
}

/// A value for an error message: as it stands there, if it is short.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() <= 60 => format!("\"{text}\""),
        DeValue::String(text) => {
            let start: String = text.chars().take(57).collect();
            format!("\"{start}...\"")
        }
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| shown(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(_) => "a table".to_owned(),
    }
}
