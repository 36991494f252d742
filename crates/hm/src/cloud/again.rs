//! Where a build that a server ran is run again.

use hm_plugin_protocol::events::BuildEvent;

use super::KeptLogins;
use super::session::server_named;
use crate::config::Config;
use crate::context::Context;
use crate::env_vars;
use crate::fail::{Failure, Result};
use crate::record::Run;

/// Has the configuration name the server, the organization and the pipeline that built `run`.
///
/// # Errors
/// When the record cannot be read, or the token of the environment is for another server.
pub fn at_its_server(context: &Context, config: &mut Config, run: &Run, server: Option<&str>) -> Result<()> {
    if let Some(server) = server {
        if context.environment.get(env_vars::HM_API_TOKEN).is_some() {
            // It must not be sent to another server than it was given for.
            let named = server_named(config, &KeptLogins::read(&context.environment)?)?;
            if named != server {
                return Err(Failure::usage(
                    format!(
                        "run {} was built by {server}, and HM_API_TOKEN is for {named}",
                        run.short_id()
                    ),
                    [format!(
                        "with HM_API_URL={server}, and a token for it, it is built there again"
                    )],
                ));
            }
        }
        config.cloud.api_url = Some(server.to_owned());
    }
    let accepted = run.events(false)?.find_map(|event| match event {
        BuildEvent::BuildAccepted { build, .. } => Some(build),
        _ => None,
    });
    if let Some(build) = accepted {
        config.cloud.org = build.org.or(config.cloud.org.take());
        config.cloud.pipeline = Some(build.pipeline);
    }
    Ok(())
}
