//! Which agents have asked for builds since the server's start. It is for people who wonder why a build waits; nothing hangs on it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::OrgId;
use crate::queue::Waiting;

/// Whoever has not asked for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(24 * 60 * 60);
/// How many agents are remembered before those are looked for.
const MANY: usize = 1000;

#[derive(Debug)]
struct Agent {
    labels: BTreeSet<String>,
    asked: Instant,
}

/// Agents by organization and name.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    known: Mutex<HashMap<(OrgId, String), Agent>>,
}

impl Agents {
    /// An agent asks for a build.
    pub(crate) fn asks(&self, org: OrgId, name: &str, labels: &BTreeSet<String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MANY {
            known.retain(|_, agent| agent.asked.elapsed() < FORGOTTEN);
        }
        let agent = Agent {
            labels: labels.clone(),
            asked: Instant::now(),
        };
        known.insert((org, name.to_owned()), agent);
    }

    /// How long ago an agent last asked that could take a build which wants these labels.
    pub(crate) fn last(&self, org: OrgId, wanted: &BTreeSet<String>) -> Option<Duration> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let could = known
            .iter()
            .filter(|((of, _), agent)| *of == org && wanted.is_subset(&agent.labels));
        could.map(|(_, agent)| agent.asked.elapsed()).min()
    }
}

/// Labels as people read them.
pub(crate) fn named(labels: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    quoted.join(", ")
}

/// What a build waits for, in a sentence.
pub(crate) fn explained(waiting: &Waiting, last: Option<Duration>) -> String {
    let what = if waiting.labels.is_empty() {
        "an agent".to_owned()
    } else {
        format!("an agent with {}", named(&waiting.labels))
    };
    let place = match waiting.ahead {
        0 => "no build waits for longer".to_owned(),
        1 => "one build waits for longer".to_owned(),
        ahead => format!("{ahead} builds wait for longer"),
    };
    let seen = match last {
        None => "no such agent has asked for builds since the server's start".to_owned(),
        Some(ago) if ago < Duration::from_secs(60) => "one is there".to_owned(),
        Some(ago) => format!("one last asked for builds {} min ago", ago.as_secs() / 60),
    };
    format!("Waits for {what}; {place}; {seen}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_counts_for_what_its_labels_allow_in_its_organization() {
        let agents = Agents::default();
        let (org, other) = (OrgId::new(), OrgId::new());
        let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        agents.asks(org, "one", &labels(&["gpu", "arm"]));
        assert!(agents.last(org, &labels(&["gpu"])).is_some());
        assert!(agents.last(org, &labels(&[])).is_some());
        assert!(agents.last(org, &labels(&["deploy"])).is_none());
        assert!(agents.last(other, &labels(&[])).is_none());
        agents.asks(org, "one", &labels(&[]));
        assert!(agents.last(org, &labels(&["gpu"])).is_none());
    }

    #[test]
    fn sentence_names_labels_place_and_whether_an_agent_was_seen() {
        let waiting = Waiting {
            labels: ["arm", "gpu"].map(str::to_owned).into(),
            ahead: 2,
        };
        assert_eq!(
            explained(&waiting, None),
            "Waits for an agent with `arm`, `gpu`; 2 builds wait for longer; no such agent has asked for builds since the \
             server's start."
        );
        let any = Waiting {
            labels: BTreeSet::new(),
            ahead: 0,
        };
        assert_eq!(
            explained(&any, Some(Duration::from_secs(130))),
            "Waits for an agent; no build waits for longer; one last asked for builds 2 min ago."
        );
    }
}
