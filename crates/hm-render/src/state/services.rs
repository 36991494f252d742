use hm_plugin_protocol::events::StdStream;

use super::tail::Tail;

/// How many services of a step are heard: more than a plan can name for it.
const HEARD: usize = 64;

/// The newest output of one of a step's services.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServiceOutput {
    /// The service's name.
    pub service: String,
    /// What it printed while the step ran.
    pub tail: Tail,
}

pub(super) fn push(
    outputs: &mut Vec<ServiceOutput>,
    service: &str,
    stream: StdStream,
    line: &str,
    partial: bool,
) {
    let known = outputs.iter().position(|output| output.service == service);
    let at = known.unwrap_or_else(|| {
        if outputs.len() < HEARD {
            outputs.push(ServiceOutput {
                service: service.to_owned(),
                tail: Tail::default(),
            });
        }
        outputs.len() - 1
    });
    if known.is_some() || outputs[at].service == service {
        outputs[at].tail.push(stream, line, partial);
    }
}
