//! What a plugin answered.

use std::process::ExitStatus;
use std::time::Duration;

use serde_json::{Deserializer, Value};

/// The end of one call of a plugin.
#[derive(Clone, Debug)]
#[must_use = "a call whose outcome nobody looks at tests nothing"]
pub struct Outcome {
    pub(crate) call: String,
    pub(crate) operation: String,
    /// How the process ended.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: String,
    /// All it wrote to standard error.
    pub stderr: String,
    /// From just before the process was made until it had ended.
    pub elapsed: Duration,
}

impl Outcome {
    /// The call succeeded: exit status 0, and a result exactly where the specification wants one. Returns that
    /// result, or null where there is none (DEL, CHECK, STATUS, GC).
    #[track_caller]
    pub fn succeeds(self) -> Value {
        assert!(
            self.status.success(),
            "expected success, got {}",
            self.describe()
        );
        let mut documents = self.documents();
        let wanted = usize::from(["ADD", "VERSION"].contains(&self.operation.as_str()));
        assert_eq!(
            documents.len(),
            wanted,
            "JSON documents on stdout of {}",
            self.describe()
        );
        documents.pop().unwrap_or(Value::Null)
    }

    /// The call failed with this code, and `words` stand in its message or details. Returns the error result.
    #[track_caller]
    pub fn fails_with(self, code: u32, words: &str) -> Value {
        let error = self.clone().fails_with_words(words);
        assert_eq!(error["code"], code, "the error code of {}", self.describe());
        error
    }

    /// The call failed, and `words` stand in its message or details. Returns the error result.
    #[track_caller]
    pub fn fails_with_words(self, words: &str) -> Value {
        let error = self.clone().fails();
        let text = format!(
            "{} {}",
            error["msg"].as_str().unwrap_or(""),
            error["details"].as_str().unwrap_or("")
        );
        assert!(
            text.contains(words),
            "expected {words:?} in the error of {}",
            self.describe()
        );
        error
    }

    /// The call failed with this message and no details, as callers that compare errors expect it. Returns the error result.
    #[track_caller]
    pub fn fails_saying(self, message: &str) -> Value {
        let error = self.clone().fails();
        assert_eq!(
            (&error["msg"], error.get("details")),
            (&Value::from(message), None),
            "the error of {}",
            self.describe()
        );
        error
    }

    /// The call failed, with whatever code. Returns the error result.
    #[track_caller]
    pub fn fails(self) -> Value {
        assert!(
            !self.status.success(),
            "expected a failure, got {}",
            self.describe()
        );
        let mut documents = self.documents();
        assert_eq!(
            documents.len(),
            1,
            "JSON documents on stdout of {}",
            self.describe()
        );
        documents.remove(0)
    }

    /// Standard output is nothing, or one JSON document and nothing else; a failure has its error result there.
    #[track_caller]
    pub fn assert_one_document(&self) {
        let documents = self.documents();
        assert!(
            documents.len() <= 1,
            "more than one JSON document on stdout of {}",
            self.describe()
        );
        assert!(
            self.status.code().is_some(),
            "died of a signal: {}",
            self.describe()
        );
        if !self.status.success() {
            let error = documents.first().unwrap_or(&Value::Null);
            let complete = error["code"].is_u64() && error["msg"].is_string();
            assert!(
                complete,
                "a failure without an error result: {}",
                self.describe()
            );
        }
    }

    #[track_caller]
    fn documents(&self) -> Vec<Value> {
        let documents = Deserializer::from_str(&self.stdout).into_iter::<Value>();
        documents
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("no JSON ({error}) on stdout of {}", self.describe()))
    }

    pub(crate) fn describe(&self) -> String {
        let Self {
            call,
            status,
            stdout,
            stderr,
            ..
        } = self;
        format!("{status}\ncall:   {call}\nstdout: {stdout}\nstderr: {stderr}")
    }
}
