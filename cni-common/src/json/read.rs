//! Reading keys one by one, and recording what is wrong with them.

use core::fmt;
use core::str::FromStr;
use std::cell::RefCell;

use super::Json;
use crate::code::Code;
use crate::error::Error;
use crate::excerpt;
use crate::ident::Invalid;

/// What was found wrong while a configuration was read.
#[derive(Debug, Default)]
pub struct Problems(RefCell<Found>);

#[derive(Debug, Default)]
struct Found {
    /// The different codes, in the order of their first fault.
    codes: Vec<Code>,
    texts: Vec<String>,
    /// How many faults there are beyond those with a text.
    more: usize,
}

/// How many faults are named: whoever has as many mends one kind at a time.
const NAMED: usize = 20;

/// How many items a list may have: more than there can be use for.
const ITEMS: usize = 1 << 16;

impl Problems {
    /// Records a fault.
    pub fn add(&self, code: Code, text: impl Into<String>) {
        let mut found = self.0.borrow_mut();
        if !found.codes.contains(&code) {
            found.codes.push(code);
        }
        if found.texts.len() < NAMED {
            let text = text.into();
            let text = excerpt::shortened(&text, excerpt::PART).into_owned();
            // A key may be read twice, for this plugin and for its IPAM plugin.
            if !found.texts.contains(&text) {
                found.texts.push(text);
            }
        } else {
            found.more = found.more.saturating_add(1);
        }
    }

    /// All that was recorded, as one error: its code is 6 if a value has the wrong type, else 7 if a value is
    /// impossible, else that of the first fault.
    pub fn finish(&self) -> Result<(), Error> {
        let found = self.0.borrow();
        let code_of = |code: Code| found.codes.contains(&code).then_some(code);
        let Some(code) = code_of(Code::Decode)
            .or_else(|| code_of(Code::InvalidConfig))
            .or_else(|| found.codes.first().copied())
        else {
            return Ok(());
        };
        let text = found.texts.join("; ");
        Err(Error::new(
            code,
            match found.more {
                0 => text,
                more => format!("{text}; and {more} more"),
            },
        ))
    }
}

/// A value that is present, and the path of keys that leads to it.
#[derive(Clone)]
pub struct Value<'a> {
    json: &'a Json,
    path: String,
    problems: &'a Problems,
}

impl<'a> Value<'a> {
    /// The path, such as `ipam.addresses[0].gateway`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The value as it was written.
    pub fn json(&self) -> &'a Json {
        self.json
    }

    /// Records that the value cannot be: `rule` completes the sentence `mtu: 10 …`.
    pub fn refuse(&self, rule: impl fmt::Display) {
        self.problem(Code::InvalidConfig, rule);
    }

    /// Records that the value asks for what cannot be done here.
    pub fn unsupported(&self, why: impl fmt::Display) {
        self.problem(Code::Unsupported, why);
    }

    fn problem(&self, code: Code, rule: impl fmt::Display) {
        self.problems.add(
            code,
            format!("{}: {} {rule}", self.path, self.json.to_line()),
        );
    }

    fn wrong_type(&self, wanted: &str) {
        let found = if *self.json == Json::Null {
            String::from("null")
        } else {
            format!("{} is {}", self.json.to_line(), self.json.kind())
        };
        self.problems.add(
            Code::Decode,
            format!("{}: {found}, where {wanted} is wanted", self.path),
        );
    }

    /// The value as a string.
    pub fn string(&self) -> Option<&'a str> {
        if let Json::String(text) = self.json {
            return Some(text);
        }
        self.wrong_type("a string");
        None
    }

    /// The value as a boolean.
    pub fn bool(&self) -> Option<bool> {
        if let Json::Bool(value) = self.json {
            return Some(*value);
        }
        self.wrong_type("true or false");
        None
    }

    /// The value as a whole number within `allowed`.
    pub fn integer(&self, allowed: core::ops::RangeInclusive<i64>) -> Option<i64> {
        let Json::Number(number) = self.json else {
            self.wrong_type("a whole number");
            return None;
        };
        if number.is_f64() {
            self.wrong_type("a whole number");
            return None;
        }
        let number = number.as_i64().filter(|number| allowed.contains(number));
        if number.is_none() {
            self.refuse(format_args!(
                "must be between {} and {}",
                allowed.start(),
                allowed.end()
            ));
        }
        number
    }

    /// The value as a number without sign that is at most `most`.
    pub fn unsigned(&self, most: u32) -> Option<u32> {
        self.integer(0..=i64::from(most))
            .and_then(|number| u32::try_from(number).ok())
    }

    /// The value as an object.
    pub fn object(&self) -> Option<Object<'a>> {
        if let Json::Object(entries) = self.json {
            return Some(Object {
                entries,
                path: self.path.clone(),
                problems: self.problems,
            });
        }
        self.wrong_type("an object");
        None
    }

    /// The items of a list; none when it is no list.
    pub fn items(&self) -> Vec<Self> {
        let Json::Array(items) = self.json else {
            self.wrong_type("a list");
            return Vec::new();
        };
        if items.len() > ITEMS {
            self.refuse(format_args!("must have at most {ITEMS} items"));
            return Vec::new();
        }
        items
            .iter()
            .enumerate()
            .map(|(place, json)| Self {
                json,
                path: format!("{}[{place}]", self.path),
                problems: self.problems,
            })
            .collect()
    }

    /// The value as text that `T` can be parsed from.
    pub fn parse<T: FromStr<Err = Invalid>>(&self) -> Option<T> {
        self.parse_with(T::from_str)
    }

    /// The value as text that `parse` accepts.
    pub fn parse_with<T>(&self, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<T> {
        match parse(self.string()?) {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.problems
                    .add(Code::InvalidConfig, format!("{}: {invalid}", self.path));
                None
            }
        }
    }
}

/// An object whose keys are read one by one.
#[derive(Clone)]
pub struct Object<'a> {
    entries: &'a [(String, Json)],
    path: String,
    problems: &'a Problems,
}

impl<'a> Object<'a> {
    /// The outermost object.
    ///
    /// # Errors
    /// Code 6 when the document is no object.
    pub fn root(json: &'a Json, problems: &'a Problems) -> Result<Self, Error> {
        let Json::Object(entries) = json else {
            return Err(Error::new(
                Code::Decode,
                format!(
                    "the configuration is {}, where an object is wanted",
                    json.kind()
                ),
            ));
        };
        Ok(Self {
            entries,
            path: String::new(),
            problems,
        })
    }

    /// An object without keys, for what is optional.
    pub fn empty(problems: &'a Problems) -> Self {
        Self {
            entries: &[],
            path: String::new(),
            problems,
        }
    }

    /// The path of one of its keys.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            return key.to_owned();
        }
        format!("{}.{key}", self.path)
    }

    /// Records that a key is missing or contradicts another; `text` follows the key's path.
    pub fn refuse(&self, key: &str, text: impl fmt::Display) {
        self.problems.add(
            Code::InvalidConfig,
            format!("{}: {text}", self.path_of(key)),
        );
    }

    /// Records a fault that lies elsewhere than in one key; `text` says where.
    pub fn report(&self, code: Code, text: impl Into<String>) {
        self.problems.add(code, text);
    }

    /// The value of a key, in any case, the last of duplicates; `null` is absent.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.find(key).filter(|value| *value.json != Json::Null)
    }

    /// Like [`Object::get`], but an explicit `null` is found.
    pub fn find(&self, key: &str) -> Option<Value<'a>> {
        let named = |entry: &&(String, Json)| entry.0.eq_ignore_ascii_case(key);
        let set = |entry: &&(String, Json)| named(entry) && entry.1 != Json::Null;
        // In Go a `null` leaves what an earlier duplicate set.
        let entry = self
            .entries
            .iter()
            .rfind(set)
            .or_else(|| self.entries.iter().rfind(named));
        entry.map(|(_, json)| Value {
            json,
            path: self.path_of(key),
            problems: self.problems,
        })
    }

    /// The keys and values as written, for a map whose keys the user chooses.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.entries.iter().map(|(key, json)| {
            let value = Value {
                json,
                path: self.path_of(key),
                problems: self.problems,
            };
            (key.as_str(), value)
        })
    }

    /// A string.
    pub fn string(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.string()
    }

    /// A string that is not empty; the empty one is absent.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.string(key).filter(|text| !text.is_empty())
    }

    /// A boolean; absent is `false`.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key)
            .and_then(|value| value.bool())
            .unwrap_or(false)
    }

    /// A number without sign that is at most `most`.
    pub fn unsigned(&self, key: &str, most: u32) -> Option<u32> {
        self.get(key)?.unsigned(most)
    }

    /// An object.
    pub fn object(&self, key: &str) -> Option<Object<'a>> {
        self.get(key)?.object()
    }

    /// The items of a list; absent is empty.
    pub fn items(&self, key: &str) -> Vec<Value<'a>> {
        self.get(key).map(|value| value.items()).unwrap_or_default()
    }

    /// The strings of a list; absent is empty.
    pub fn strings(&self, key: &str) -> Vec<String> {
        self.items(key)
            .iter()
            .filter_map(|item| item.string().map(str::to_owned))
            .collect()
    }

    /// Text that `T` can be parsed from; the empty text is absent.
    pub fn parse<T: FromStr<Err = Invalid>>(&self, key: &str) -> Option<T> {
        self.parse_with(key, T::from_str)
    }

    /// Text that `parse` accepts; the empty text is absent.
    pub fn parse_with<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let value = self.get(key)?;
        if *value.json == Json::String(String::new()) {
            return None;
        }
        value.parse_with(parse)
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
