//! From a repository to its plans.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::cache::{self, Entry};
use crate::python::{self, Answer, Call, Plans};
use crate::{DslError, look};

/// What to render, and with what.
#[derive(Debug, Clone)]
pub struct RenderRequest {
    /// The repository's root.
    pub root: PathBuf,
    /// Which Python; `None` for the `python3` that `env`'s `PATH` names.
    pub python: Option<PathBuf>,
    /// Where plans are kept between runs, and our Python package; `<data>/plans`.
    pub cache_dir: PathBuf,
    /// The environment that the author's files see.
    pub env: BTreeMap<String, String>,
    /// The time that cache windows are counted by.
    pub now: SystemTime,
}

/// The plans of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// All pipelines, in the order in which the files register them.
    pub pipelines: Vec<RenderedPipeline>,
    /// They were kept from an earlier run.
    pub from_cache: bool,
    /// Python was started.
    pub python_started: bool,
    /// Why these plans are not kept for the next run; `None` when they are.
    pub uncacheable: Option<String>,
    /// What the author's files printed, when they ran.
    pub printed: String,
}

/// One pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedPipeline {
    /// What it is called on a command line.
    pub slug: String,
    /// What it is called before a person.
    pub name: String,
    /// Whether a person may start it.
    pub allow_manual: bool,
    /// What starts it, a JSON array.
    pub triggers_json: String,
    /// The plan: v0 IR JSON, as the author's files made it.
    pub ir_json: String,
}

/// Renders the pipelines of a repository: from the cache where nothing that they were made from has changed,
/// else by running the author's files.
///
/// # Errors
/// There is no pipeline or no Python that will do, or an author's file failed; see [`DslError`].
pub fn render(request: &RenderRequest) -> Result<Rendered, DslError> {
    let root = request
        .root
        .canonicalize()
        .map_err(DslError::io("open", &request.root))?;
    let found = look(&root)?;
    if found.files.is_empty() {
        return Err(DslError::NoPipelineFile {
            root,
            other_tool: found.other_tool,
        });
    }
    let pythons = pythons(request);
    let now = request
        .now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let place = cache::place(&request.cache_dir, &root, &found.files);
    if let Some(mut entry) = cache::load(&place)
        && entry.holds(&pythons, &request.env, now)
    {
        if entry.was_restamped() {
            // Only the next run's speed hangs on this.
            let _ = cache::store(&place, &entry);
        }
        return Ok(Rendered {
            pipelines: entry.pipelines,
            from_cache: true,
            python_started: false,
            uncacheable: None,
            printed: String::new(),
        });
    }
    let package = python::unpack(&request.cache_dir)?;
    let began = SystemTime::now();
    let mut too_old = String::new();
    for candidate in &pythons {
        let call = Call {
            python: candidate,
            package: &package,
            root: &root,
            files: &found.files,
            env: &request.env,
            now,
            limit: python::TIMEOUT,
        };
        let (answer, printed) = python::ask(&call)?;
        let answer = parse(candidate, &answer)?;
        if let Some(version) = answer.too_old {
            let comma = if too_old.is_empty() { "" } else { ", " };
            let _ = write!(too_old, "{comma}{} ({version})", candidate.display());
            continue;
        }
        if let Some(failure) = answer.failure {
            return Err(if failure.kind == "interrupted" {
                DslError::Interrupted
            } else {
                DslError::Author {
                    file: failure.file,
                    line: failure.line,
                    text: failure.text,
                    printed: python::tail(&printed, 20),
                }
            });
        }
        let Some(plans) = answer.plans else {
            return Err(DslError::Answer {
                python: candidate.clone(),
                reason: "it is empty".to_owned(),
            });
        };
        return keep(
            plans,
            &Made {
                pythons: &pythons,
                request,
                place: &place,
                package: &package,
                began,
                files: &found.files,
            },
            printed,
        );
    }
    Err(if too_old.is_empty() {
        DslError::NoPython
    } else {
        DslError::OldPython { found: too_old }
    })
}

fn pythons(request: &RenderRequest) -> Vec<PathBuf> {
    request.python.as_ref().map_or_else(
        || python::candidates(request.env.get("PATH").map(String::as_str)),
        |one| vec![one.clone()],
    )
}

fn parse(python: &Path, answer: &[u8]) -> Result<Answer, DslError> {
    serde_json::from_slice(answer).map_err(|e| DslError::Answer {
        python: python.to_owned(),
        reason: e.to_string(),
    })
}

/// The circumstances in which plans were made.
struct Made<'a> {
    pythons: &'a [PathBuf],
    request: &'a RenderRequest,
    place: &'a Path,
    package: &'a Path,
    began: SystemTime,
    files: &'a [PathBuf],
}

fn keep(plans: Plans, made: &Made<'_>, printed: String) -> Result<Rendered, DslError> {
    if plans.pipelines.is_empty() {
        let files: Vec<String> = made.files.iter().map(|file| file.display().to_string()).collect();
        return Err(DslError::NoPipeline {
            files: files.join(", "),
        });
    }
    let pipelines: Vec<RenderedPipeline> = plans
        .pipelines
        .into_iter()
        .map(|entry: python::Entry| RenderedPipeline {
            slug: entry.slug,
            name: entry.name,
            allow_manual: entry.allow_manual,
            triggers_json: Box::<str>::from(entry.triggers).into_string(),
            ir_json: Box::<str>::from(entry.definition).into_string(),
        })
        .collect();
    let mut rendered = Rendered {
        pipelines,
        from_cache: false,
        python_started: true,
        uncacheable: None,
        printed,
    };
    let inputs = cache::Inputs {
        record: &plans.record,
        window: plans.window,
        pythons: made.pythons,
        python: Path::new(&plans.python),
        env: &made.request.env,
        began: made.began,
    };
    cache::sweep(&made.request.cache_dir, made.package);
    rendered.uncacheable = match Entry::new(rendered.pipelines.clone(), &inputs) {
        Ok(entry) => cache::store(made.place, &entry).err().map(|e| e.to_string()),
        Err(reason) => Some(reason),
    };
    Ok(rendered)
}
