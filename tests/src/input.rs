//! What is handed to a plugin on its standard input.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What goes to a plugin's standard input: a JSON value, or any text at all.
#[derive(Clone, Debug)]
pub struct Conf(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Json(Value),
    Text(Vec<u8>),
}

impl From<Value> for Conf {
    fn from(value: Value) -> Self {
        Self(Kind::Json(value))
    }
}

impl From<&Value> for Conf {
    fn from(value: &Value) -> Self {
        Self(Kind::Json(value.clone()))
    }
}

impl From<&str> for Conf {
    fn from(text: &str) -> Self {
        Self(Kind::Text(text.as_bytes().to_vec()))
    }
}

impl From<&[u8]> for Conf {
    fn from(text: &[u8]) -> Self {
        Self(Kind::Text(text.to_vec()))
    }
}

/// A configuration of version 1.1.0 for the network `testnet`; `keys` are added and win.
#[track_caller]
pub fn conf(kind: &str, keys: Value) -> Value {
    conf_for("testnet", kind, keys)
}

/// Like [`conf`], for another network.
#[track_caller]
pub fn conf_for(network: &str, kind: &str, keys: Value) -> Value {
    let mut conf = json!({ "cniVersion": "1.1.0", "name": network, "type": kind });
    let Value::Object(keys) = keys else {
        panic!("the keys of a configuration are an object, not {keys}")
    };
    conf.as_object_mut().expect("an object").extend(keys);
    conf
}

impl Conf {
    /// The bytes, with these keys added.
    #[track_caller]
    pub(crate) fn into_input(self, keys: &BTreeMap<String, Value>) -> Vec<u8> {
        match self.0 {
            Kind::Text(text) => text,
            Kind::Json(mut value) => {
                if !keys.is_empty() {
                    let object = value
                        .as_object_mut()
                        .expect("a configuration to put keys into");
                    object.extend(keys.clone());
                }
                value.to_string().into_bytes()
            }
        }
    }
}
