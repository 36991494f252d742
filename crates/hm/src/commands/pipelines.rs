//! `hm pipelines`.

use std::collections::BTreeMap;

use hm_dsl::RenderedPipeline;
use hm_exec::Plan;
use serde_json::value::RawValue;

use super::table;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::pipelines::render_all;
use crate::repository;

/// Lists the repository's pipelines.
///
/// # Errors
/// When they do not render, or the output cannot be written.
pub fn pipelines(context: &Context, json: bool) -> Result<u8> {
    let root = context.root()?;
    let rendered = render_all(context, root, &repository::source_meta(root), &BTreeMap::new())?;
    let text = if json {
        rendered
            .pipelines
            .iter()
            .map(as_json)
            .collect::<Result<String>>()?
    } else {
        let mut rows = vec![["PIPELINE", "STEPS", "NAME"].map(str::to_owned).to_vec()];
        for pipeline in &rendered.pipelines {
            let steps = match Plan::parse(pipeline.ir_json.clone()) {
                Ok(plan) => plan.summary.step_count.to_string(),
                Err(_) => "invalid".into(),
            };
            rows.push(vec![pipeline.slug.clone(), steps, pipeline.name.clone()]);
        }
        table::columns(&rows)
    };
    context.printer.data(&text).map_err(Failure::Output)?;
    Ok(exit::PASSED)
}

#[derive(serde::Serialize)]
struct Line<'a> {
    slug: &'a str,
    name: &'a str,
    allow_manual: bool,
    triggers: &'a RawValue,
}

fn as_json(pipeline: &RenderedPipeline) -> Result<String> {
    let output = |error: serde_json::Error| Failure::Output(error.into());
    let line = Line {
        slug: &pipeline.slug,
        name: &pipeline.name,
        allow_manual: pipeline.allow_manual,
        triggers: serde_json::from_str(&pipeline.triggers_json).map_err(output)?,
    };
    Ok(serde_json::to_string(&line).map_err(output)? + "\n")
}
