//! Masks the texts of an event.

use hm_plugin_protocol::events::{Artifact, BuildEvent, RunHeader};

use super::Scrubber;

impl Scrubber {
    /// Masks every text of an event that is meant for people. Names that others refer to by (keys of steps, ids,
    /// digests, images) stay, and so do lines of output, which a [`super::Mask`] has seen before they were lines.
    pub(in crate::local) fn event(&self, event: &mut BuildEvent) {
        if self.patterns.is_none() {
            return;
        }
        match event {
            BuildEvent::BuildStart {
                header: Some(RunHeader { notices, .. }),
                ..
            } => notices.iter_mut().for_each(|notice| self.cover(notice)),
            BuildEvent::StepQueued {
                display_name,
                command,
                ..
            } => {
                self.cover(display_name);
                self.cover_some(command);
            }
            BuildEvent::StepStart { cache_miss, .. } => self.cover_some(cache_miss),
            BuildEvent::StepCacheHit { artifacts, .. } => self.cover_artifacts(artifacts),
            BuildEvent::StepEnd {
                message, artifacts, ..
            } => {
                self.cover_some(message);
                self.cover_artifacts(artifacts);
            }
            BuildEvent::ChainFailed { message, .. } => self.cover(message),
            _ => {}
        }
    }

    fn cover_artifacts(&self, artifacts: &mut [Artifact]) {
        for artifact in artifacts {
            self.cover(&mut artifact.path);
            for name in artifact.tests.iter_mut().flat_map(|tests| &mut tests.failures) {
                self.cover(name);
            }
        }
    }

    fn cover_some(&self, text: &mut Option<String>) {
        if let Some(text) = text {
            self.cover(text);
        }
    }

    fn cover(&self, text: &mut String) {
        if let std::borrow::Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }
}
