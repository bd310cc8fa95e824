//! A lenient JSON reader with precise complaints.
//!
//! Configurations written for the reference plugins rely on how Go reads JSON: keys match in any case, `null`
//! is absent, of duplicates the last counts, unknown keys are accepted. [`Object`] reads like that.
//!
//! Every reading method records what is wrong in [`Problems`], with the path of the key, the value and what is
//! allowed, and goes on with nothing; so one run reports all faults of a configuration. Check
//! [`Problems::finish`] before you act on what was read.

mod read;

use core::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::code::Code;
use crate::error::Error;

pub use read::{Object, Problems, Value};

/// A JSON value that keeps the order of keys, and duplicates.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number
    Number(serde_json::Number),
    /// A string
    String(String),
    /// An array
    Array(Vec<Json>),
    /// An object
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses one document; what follows it must be white space.
    ///
    /// # Errors
    /// Code 6 with the parser's words, line and column.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::new(Code::Decode, format!("not JSON: {error}")))
    }

    /// The document on one line.
    pub fn to_line(&self) -> String {
        // A tree of strings, numbers and lists always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The document over several lines, for people.
    pub fn to_pretty(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// What JSON calls it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<u32> for Json {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
                Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Json, E> {
                Ok(Json::String(value.to_owned()))
            }
            fn visit_string<E: de::Error>(self, value: String) -> Result<Json, E> {
                Ok(Json::String(value))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::Array(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    list.push(entry);
                }
                Ok(Json::Object(list))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::String(value) => serializer.serialize_str(value),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// Builds an object key by key; what is absent leaves no key.
#[derive(Default)]
pub struct ObjectWriter(Vec<(String, Json)>);

impl ObjectWriter {
    /// Adds a key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Json>) -> Self {
        self.0.push((key.to_owned(), value.into()));
        self
    }

    /// Adds a key if there is a value.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl Into<Json>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds a list if it is not empty.
    #[must_use]
    pub fn with_list(self, key: &str, items: Vec<Json>) -> Self {
        if items.is_empty() {
            return self;
        }
        self.with(key, Json::Array(items))
    }
}

impl From<ObjectWriter> for Json {
    fn from(writer: ObjectWriter) -> Self {
        Self::Object(writer.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_keeps_the_order_of_keys() {
        let json: Json = ObjectWriter::default()
            .with("b", "x")
            .with_some("none", None::<u32>)
            .with("a", Json::Array(vec![1u32.into()]))
            .into();
        assert_eq!(json.to_line(), r#"{"b":"x","a":[1]}"#);
        assert_eq!(
            json.to_pretty(),
            "{\n  \"b\": \"x\",\n  \"a\": [\n    1\n  ]\n}"
        );
    }
}
