//! What a person is told on the way into a step: what is as it was there, and what is not.

use std::collections::BTreeSet;

use hm_exec::local::Reopened;

use super::place::Place;
use crate::secrets::Resolved;

/// One line or two; none for a command in a step that has nothing to be told of.
pub fn surroundings(
    place: &Place,
    secrets: &Resolved,
    opened: &Reopened,
    is_interactive: bool,
    today: bool,
) -> Vec<String> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let services = opened.services();
    if !services.is_empty() {
        let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
        with.push(format!("its services {} started anew", names.join(", ")));
    }
    for (name, _) in services.iter().filter(|(_, lost)| *lost) {
        without.push(format!(
            "service {name} has nothing of what earlier steps put into it"
        ));
    }
    let caches: Vec<String> = opened
        .exec()
        .caches
        .iter()
        .map(|cache| cache.path.display().to_string())
        .collect();
    if !caches.is_empty() {
        with.push(format!(
            "its cache directories {} (copies: what is written there is thrown away)",
            caches.join(", ")
        ));
    }
    let found: Vec<&str> = secrets.values.keys().map(String::as_str).collect();
    if !found.is_empty() {
        with.push(format!("its secrets {}", found.join(", ")));
    }
    let wanted: BTreeSet<&str> = place.secrets.iter().map(|secret| secret.name.as_str()).collect();
    for name in wanted {
        match secrets.unresolved.get(name) {
            _ if secrets.values.contains_key(name) => {}
            Some(why) => without.push(format!("no secret {name}: {why}")),
            None => without.push(format!(
                "no secret {name}: nothing says where its value is (--secret does)"
            )),
        }
    }
    if opened.has_todays_source() {
        without.push(match today {
            true => "the source is today's".into(),
            false => "the source that the run saw is gone: this is today's".into(),
        });
    }
    if is_interactive && place.shell_program() == "sh" {
        let shell = place.shell.as_ref().map_or("sh", hm_pipeline_ir::Shell::as_str);
        without.push(format!("the shell is bash where there is one, and not `{shell}`"));
    }
    let mut lines = Vec::new();
    let place = format!("{} of run {}", place.label, place.run.short_id());
    match (is_interactive, with.is_empty()) {
        (false, true) => {}
        (_, true) => lines.push(format!("{place}; exit to leave")),
        (true, false) => lines.push(format!("{place}, with {}; exit to leave", with.join(", "))),
        (false, false) => lines.push(format!("{place}, with {}", with.join(", "))),
    }
    if !without.is_empty() {
        lines.push(format!("not as in the step: {}", without.join("; ")));
    }
    lines
}
