//! A kept plan.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::input::{Input, Read};
use super::stamp::Stamp;
use crate::RenderedPipeline;
use crate::python::Record;

/// How many files, directories and questions about paths are checked at most. Beyond that, checking costs more
/// than running Python.
const MAX_INPUTS: usize = 5000;
/// A change this long ago is told apart from any later one by its time alone.
const SETTLED: Duration = Duration::from_secs(2);

/// What a plan was made from, as Python reports it.
pub(crate) struct Inputs<'a> {
    pub(crate) record: &'a Record,
    pub(crate) window: (i64, i64),
    pub(crate) pythons: &'a [PathBuf],
    pub(crate) python: &'a Path,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) began: SystemTime,
}

/// Plans, and what they were made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) pipelines: Vec<RenderedPipeline>,
    window: (i64, i64),
    pythons: Vec<(PathBuf, Option<Stamp>)>,
    python: (PathBuf, Option<Stamp>),
    /// Digests of the variables that were read, never their values: they may be secrets.
    variables: BTreeMap<String, Option<String>>,
    environment: Option<String>,
    inputs: Vec<Input>,
    #[serde(skip)]
    restamped: bool,
}

impl Entry {
    /// # Errors
    /// The reason why these plans cannot be kept.
    pub(crate) fn new(pipelines: Vec<RenderedPipeline>, from: &Inputs<'_>) -> Result<Self, String> {
        let record = from.record;
        if let Some(reason) = &record.uncacheable {
            return Err(reason.clone());
        }
        let lists = [
            (&record.opened, Read::Bytes),
            (&record.listed, Read::Names),
            (&record.probed, Read::Kind),
            (&record.stated, Read::Stat),
        ];
        let count: usize = lists.iter().map(|(paths, _)| paths.len()).sum();
        if count > MAX_INPUTS {
            return Err(format!(
                "it reads {count} files and directories, more than {MAX_INPUTS}"
            ));
        }
        let mut inputs = Vec::with_capacity(count);
        for (paths, read) in lists {
            for path in paths {
                inputs.push(Input::new(path, read, from.began)?);
            }
        }
        let variables = record
            .variables
            .iter()
            .map(|name| (name.clone(), from.env.get(name).map(|v| digest(v))))
            .collect();
        Ok(Self {
            pipelines,
            window: from.window,
            pythons: from
                .pythons
                .iter()
                .map(|path| (path.clone(), stamp(path)))
                .collect(),
            python: (from.python.to_owned(), stamp(from.python)),
            variables,
            environment: record.whole_environment.then(|| digest_all(from.env)),
            inputs,
            restamped: false,
        })
    }

    /// Whether running the author's files today would give the same plans.
    pub(crate) fn holds(&mut self, pythons: &[PathBuf], env: &BTreeMap<String, String>, now: u64) -> bool {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let settled = SystemTime::now() - SETTLED;
        (self.window.0..self.window.1).contains(&now)
            && self.pythons.iter().map(|(path, _)| path).eq(pythons)
            && self
                .pythons
                .iter()
                .chain([&self.python])
                .all(|(path, then)| stamp(path) == *then)
            && self
                .variables
                .iter()
                .all(|(name, then)| env.get(name).map(|v| digest(v)) == *then)
            && self
                .environment
                .as_ref()
                .is_none_or(|then| digest_all(env) == *then)
            && self
                .inputs
                .iter_mut()
                .all(|input| input.holds(settled, &mut self.restamped))
    }

    /// Whether checking it renewed stamps, so that writing it again makes the next check quicker.
    pub(crate) const fn was_restamped(&self) -> bool {
        self.restamped
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().map(|meta| Stamp::of(&meta))
}

fn digest(value: &str) -> String {
    blake3::hash(value.as_bytes()).to_hex().to_string()
}

fn digest_all(env: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in env {
        hasher
            .update(name.as_bytes())
            .update(b"\0")
            .update(value.as_bytes())
            .update(b"\0");
    }
    hasher.finalize().to_hex().to_string()
}
