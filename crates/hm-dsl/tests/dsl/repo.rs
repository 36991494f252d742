//! A repository with pipelines, for tests.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hm_dsl::{DslError, RenderRequest, Rendered};
use serde_json::Value;

/// A repository in a temporary directory, and where its plans are kept.
pub struct Repo {
    dir: tempfile::TempDir,
    /// What is rendered, and with what.
    pub request: RenderRequest,
}

impl Repo {
    /// A repository without pipelines.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("repo");
        fs::create_dir_all(root.join(".hm")).unwrap();
        let env = BTreeMap::from([("PATH".to_owned(), env::var("PATH").unwrap())]);
        let request = RenderRequest {
            root,
            python: None,
            cache_dir: dir.path().join("plans"),
            env,
            now: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        };
        Self { dir, request }
    }

    /// A path outside the repository, gone with it.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into the repository.
    pub fn write(&self, path: &str, text: &str) {
        let file = self.request.root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Makes the function the pipeline "ci".
    pub fn pipeline(&self, function: &str) {
        self.write(
            ".hm/ci.py",
            &format!("import harmont as hm\n@hm.pipeline('ci')\n{function}\n"),
        );
    }

    /// Renders the pipelines.
    pub fn render(&self) -> Result<Rendered, DslError> {
        hm_dsl::render(&self.request)
    }

    /// Moves the clock by which cache windows are counted.
    pub fn at(&mut self, seconds: u64) {
        self.request.now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    }

    /// The first pipeline's plan.
    pub fn plan(&self, rendered: &Rendered) -> Value {
        serde_json::from_str(&rendered.pipelines[0].ir_json).unwrap()
    }

    /// The keys of the first pipeline's steps.
    pub fn keys(&self, rendered: &Rendered) -> Vec<String> {
        let plan = self.plan(rendered);
        let nodes = plan["graph"]["nodes"].as_array().unwrap();
        nodes
            .iter()
            .map(|node| node["step"]["key"].as_str().unwrap().to_owned())
            .collect()
    }
}
